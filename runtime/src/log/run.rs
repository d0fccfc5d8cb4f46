//! Runs: the chunks of a flight, grouped into as few calls as their places in the file allow. Which batches fly together
//! is `commit`'s, how a call is made `disk`'s.

use crate::buffer::Chunk;
use std::future::{Future, poll_fn};
use std::io;
use std::task::Poll;

/// Chunks in one call: below what the kernel takes (1,024).
const RUN_COUNT_MAX: usize = 256;

/// Chunks that are written by one call.
pub(super) struct Run<'c> {
    pub(super) offset: u64,
    len: u64,
    pub(super) chunks: Vec<&'c Chunk>,
}

/// The chunks of batches, each of which begins at an offset, those that lie one behind the other in one run: of messages
/// of 100 KB that is a call for each flight instead of two for each message.
pub(super) fn runs<'c, B>(batches: impl Iterator<Item = (u64, B)>) -> Vec<Run<'c>>
where
    B: IntoIterator<Item = &'c Chunk>,
{
    let mut runs: Vec<Run<'c>> = Vec::new();
    for (mut offset, chunks) in batches {
        for chunk in chunks {
            let len = chunk.block().len() as u64;
            match runs.last_mut() {
                Some(run) if run.offset + run.len == offset && run.chunks.len() < RUN_COUNT_MAX => {
                    run.chunks.push(chunk);
                    run.len += len;
                }
                _ => runs.push(Run {
                    offset,
                    len,
                    chunks: vec![chunk],
                }),
            }
            offset += len;
        }
    }
    runs
}

/// Runs all of them at the same time; the first error counts, but none is left behind.
pub(super) async fn all(
    futures: impl IntoIterator<Item = impl Future<Output = io::Result<()>>>,
) -> io::Result<()> {
    let mut futures: Vec<_> = futures
        .into_iter()
        .map(|future| Some(Box::pin(future)))
        .collect();
    let mut result = Ok(());
    poll_fn(|context| {
        let mut open = false;
        for slot in &mut futures {
            let Some(future) = slot else { continue };
            match future.as_mut().poll(context) {
                Poll::Pending => open = true,
                Poll::Ready(ended) => {
                    *slot = None;
                    if result.is_ok() {
                        result = ended;
                    }
                }
            }
        }
        if open { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::ChunkMut;

    fn chunk(len: usize) -> Chunk {
        ChunkMut::with_len(len).freeze(len)
    }

    /// Where each run begins, how long it is and of how many chunks.
    fn told(runs: &[Run<'_>]) -> Vec<(u64, u64, usize)> {
        let tell = |run: &Run<'_>| (run.offset, run.len, run.chunks.len());
        runs.iter().map(tell).collect()
    }

    #[test]
    fn neighbours_are_written_by_one_call() {
        let (small, large) = (chunk(4096), chunk(65536));
        let batches = [
            (4096, vec![&small, &large]),
            (4096 + 4096 + 65536, vec![&small]),
            (1 << 20, vec![&large]),
            ((1 << 20) + 65536, vec![]),
            ((1 << 20) + 65536, vec![&small]),
            (1 << 21, vec![&small]),
        ];
        let runs = runs(batches.into_iter());
        let expected = [
            (4096, 4096 + 65536 + 4096, 3),
            (1 << 20, 65536 + 4096, 2),
            (1 << 21, 4096, 1),
        ];
        assert_eq!(told(&runs), expected);
    }

    #[test]
    fn a_run_is_no_longer_than_the_kernel_takes() {
        let small = chunk(4096);
        let runs = runs([(0, vec![&small; 2 * RUN_COUNT_MAX + 1])].into_iter());
        let len = RUN_COUNT_MAX as u64 * 4096;
        let expected = [
            (0, len, RUN_COUNT_MAX),
            (len, len, RUN_COUNT_MAX),
            (2 * len, 4096, 1),
        ];
        assert_eq!(told(&runs), expected);
    }
}
