//! Which records of a segment a damaged byte belongs to: read from the segment's bytes without the log's
//! own code, so that the log cannot excuse itself. Pure.

const BLOCK_LEN: usize = 4096;
const RECORD_HEADER_LEN: usize = 32;

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// The records of the segment's present life: where each starts and ends, and whose it is.
fn records(content: &[u8]) -> impl Iterator<Item = (usize, usize, u64)> {
    let generation = u64_at(content, 16).unwrap_or(0);
    (BLOCK_LEN..content.len()).step_by(8).filter_map(move |at| {
        let id = u64_at(content, at + 16)?;
        let end = at + RECORD_HEADER_LEN + u32_at(content, at + 8)? as usize;
        let is_one = u64_at(content, at + 24)? == generation && id != 0 && end <= content.len();
        is_one.then_some((at, end, id))
    })
}

/// A byte somewhere up to the end of the last record, chosen by a number, and the ids of whose records it
/// is a part; none if there is no record.
pub(super) fn place(content: &[u8], chosen: u64) -> Option<(u64, Vec<u64>)> {
    let records: Vec<_> = records(content).collect();
    let end = records.iter().map(|record| record.1).max()?;
    let offset = chosen as usize % end;
    let hit = records
        .iter()
        .filter(|(start, end, _)| (*start..*end).contains(&offset));
    Some((offset as u64, hit.map(|record| record.2).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_belongs_to_the_record_around_it() {
        let mut content = vec![0; 3 * BLOCK_LEN];
        content[16..24].copy_from_slice(&77u64.to_le_bytes());
        for (at, len, id) in [(4144, 100u32, 5u64), (8240, 200, 6)] {
            content[at + 8..at + 12].copy_from_slice(&len.to_le_bytes());
            content[at + 16..at + 24].copy_from_slice(&id.to_le_bytes());
            content[at + 24..at + 32].copy_from_slice(&77u64.to_le_bytes());
        }
        let end = 8240 + 32 + 200;
        assert_eq!(place(&content, 4144), Some((4144, vec![5])));
        assert_eq!(place(&content, 4144 + 131), Some((4275, vec![5])));
        assert_eq!(place(&content, 4144 + 132), Some((4276, Vec::new())));
        assert_eq!(place(&content, end - 1), Some((end - 1, vec![6])));
        assert_eq!(place(&content, end + 3), Some((3, Vec::new())));
        assert_eq!(place(&[0; 9000], 4), None);
    }
}
