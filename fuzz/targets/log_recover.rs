//! A segment of the log as a start finds it: whatever its bytes, it is read to its end, in pieces
//! the same as whole, and what is handed out lies where it says.

use mailrail_runtime::log::examine;

/// The segment's bytes; what is missing behind them is zeros or the file's early end.
pub(crate) fn run(segment: &[u8]) {
    let whole = read(segment, segment.len());
    for piece_len in [512, 4096, 5000] {
        assert_eq!(read(segment, piece_len), whole);
    }
}

fn read(segment: &[u8], piece_len: usize) -> Vec<String> {
    let mut seen = Vec::new();
    let examined = examine(segment, piece_len, &mut |record| {
        let place = record.position;
        assert!(place.offset as usize + record.head.len() <= segment.len());
        assert!(record.head.len() <= place.len as usize);
        seen.push(format!(
            "{} {} {place:?} {:?}",
            record.kind, record.id, record.head
        ));
    });
    if let Some(examined) = &examined {
        assert_eq!(examined.record_count, seen.len() as u64);
    }
    seen.push(format!("{examined:?}"));
    seen
}
