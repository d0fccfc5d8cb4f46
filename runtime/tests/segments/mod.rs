//! Small segments of one log, so that a test sees many of them; where their files are, and how they are hurt.

use std::path::{Path, PathBuf};

use mailrail_runtime::log::Options;

pub(crate) const SEGMENT_LEN: usize = 256 << 10;

pub(crate) fn options(directory: &Path) -> Options {
    Options {
        segment_len: SEGMENT_LEN as u32,
        first_segment_len: 128 << 10,
        batch_len_max: 64 << 10,
        reserve_len: 8 << 10,
        min_free_space: 0,
        ..Options::new(directory, 1)
    }
}

/// The file of a segment.
pub(crate) fn segment(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("log-1/segment-{number:08x}"))
}

/// Changes a segment's bytes.
pub(crate) fn hurt(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}
