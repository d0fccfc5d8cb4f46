//! The probe: whether this machine lets us have an executor, asked before anything can panic.
//!
//! glommio ends the process with a panic where io_uring is missing; so one small ring is asked for
//! first, and every refusal is turned into a sentence that names the limit and the remedy.

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};
use rustix::io::Errno;
use rustix::io_uring::{io_uring_params, io_uring_setup};
use rustix::process::{Resource, getrlimit};
use std::io;
use std::time::Duration;

use super::Options;
use crate::clock;

/// glommio refuses to start below this.
const LOCKED_MEMORY_MIN: u64 = 512 * 1024;
/// After a restart the kernel frees the locked memory of the old process with some delay.
const RETRY_MICROS: u64 = 1_000_000;

/// Why the shards did not start. The text names the limit and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The kernel has no io_uring.
    #[error(
        "this kernel has no io_uring: Linux 5.11 or later is needed, built with CONFIG_IO_URING"
    )]
    IoUringMissing,
    /// io_uring is there but not for us.
    #[error(
        "io_uring is forbidden here: set sysctl kernel.io_uring_disabled=0, or, in a container, \
         allow io_uring_setup, io_uring_enter and io_uring_register in its seccomp profile"
    )]
    IoUringForbidden,
    /// The limit of locked memory is below what one executor needs.
    #[error(
        "the limit of locked memory (RLIMIT_MEMLOCK) is {limit} bytes, at least {needed} are needed: \
         raise it with `ulimit -l 8192`, LimitMEMLOCK=8M in the systemd unit, or \
         --ulimit memlock=8388608 for a container"
    )]
    LockedMemoryLimit {
        /// What it is.
        limit: u64,
        /// What one shard takes.
        needed: u64,
    },
    /// The limit is high enough for one executor, but other ones of this user have used it up.
    #[error(
        "no locked memory is left for shard {index} (RLIMIT_MEMLOCK is {limit} bytes for all \
         processes of this user): raise it with `ulimit -l`, LimitMEMLOCK= in the systemd unit or \
         --ulimit memlock= for a container, or start fewer shards"
    )]
    LockedMemoryUsed {
        /// Which shard did not start.
        index: usize,
        /// What the limit is.
        limit: u64,
    },
    /// Anything else, with what was being done.
    #[error("cannot {doing}: {source}")]
    Other {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Whether one small ring can be had.
pub(super) fn check() -> Result<(), StartError> {
    let limit = locked_memory_limit();
    if limit < LOCKED_MEMORY_MIN {
        return Err(StartError::LockedMemoryLimit {
            limit,
            needed: LOCKED_MEMORY_MIN,
        });
    }
    retry(Errno::NOMEM, || {
        let mut parameters = io_uring_params::default();
        // SAFETY: no flag is set, so the call reads no descriptor from the parameters; the ring it
        // returns is closed at once and its memory is never mapped.
        unsafe { io_uring_setup(1, &mut parameters) }.map(drop)
    })
    .map_err(|error| match error {
        Errno::NOSYS => StartError::IoUringMissing,
        Errno::PERM | Errno::ACCESS => StartError::IoUringForbidden,
        Errno::NOMEM => StartError::LockedMemoryUsed { index: 0, limit },
        error => StartError::Other {
            doing: "set up an io_uring",
            source: error.into(),
        },
    })
}

/// An executor for shard `index` on the calling thread, which is pinned if a core is given.
pub(super) fn executor(
    options: &Options,
    index: usize,
    core: Option<usize>,
) -> Result<LocalExecutor, StartError> {
    let make = || {
        LocalExecutorBuilder::new(core.map_or(Placement::Unbound, Placement::Fixed))
            .name("shard")
            .ring_depth(options.ring_depth)
            .io_memory(options.io_memory)
            .preempt_timer(Duration::from_micros(options.preempt_micros))
            .make()
            .map_err(io::Error::from)
    };
    let until = clock::after(RETRY_MICROS);
    loop {
        match make() {
            Ok(executor) => return Ok(executor),
            Err(error) if !is_memory(&error) => {
                return Err(StartError::Other {
                    doing: "start an executor",
                    source: error,
                });
            }
            Err(_) if clock::micros() < until => std::thread::sleep(PAUSE),
            Err(_) => {
                let limit = locked_memory_limit();
                return Err(StartError::LockedMemoryUsed { index, limit });
            }
        }
    }
}

const PAUSE: Duration = Duration::from_millis(20);

fn retry<T>(on: Errno, call: impl Fn() -> Result<T, Errno>) -> Result<T, Errno> {
    let until = clock::after(RETRY_MICROS);
    loop {
        match call() {
            Err(error) if error == on && clock::micros() < until => std::thread::sleep(PAUSE),
            result => return result,
        }
    }
}

fn is_memory(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::NOMEM.raw_os_error())
}

fn locked_memory_limit() -> u64 {
    getrlimit(Resource::Memlock).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_io_uring() {
        check().unwrap();
    }

    #[test]
    fn a_core_that_does_not_exist_is_an_error_not_a_panic() {
        let error = executor(&Options::default(), 0, Some(100_000)).unwrap_err();
        assert!(
            matches!(
                error,
                StartError::Other {
                    doing: "start an executor",
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn every_sentence_names_limit_and_remedy() {
        let used = StartError::LockedMemoryUsed {
            index: 3,
            limit: 8_388_608,
        }
        .to_string();
        for word in [
            "shard 3",
            "8388608",
            "RLIMIT_MEMLOCK",
            "LimitMEMLOCK",
            "ulimit -l",
        ] {
            assert!(used.contains(word), "{used}");
        }
        assert!(
            StartError::IoUringForbidden
                .to_string()
                .contains("kernel.io_uring_disabled")
        );
    }
}
