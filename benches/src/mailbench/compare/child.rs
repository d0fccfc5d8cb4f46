//! A child process of the comparison, which does not outlive it: whoever drops the value has ended the process.

use super::watch::{Trouble, Watch, failed};
use mailrail_runtime::clock;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// A process, its name for error messages, and where it writes what troubles it.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    name: String,
    errors: PathBuf,
}

impl Running {
    /// Starts it; its standard error goes to `directory/NAME.errors`, and it is given no input.
    ///
    /// # Errors
    /// When the program is not there, or the file cannot be written.
    pub(crate) fn start(
        command: &mut Command,
        name: &str,
        directory: &Path,
    ) -> Result<Self, Trouble> {
        let errors = directory.join(format!("{name}.errors"));
        let file = File::create(&errors).map_err(|error| failed(errors.display(), error))?;
        let child = command
            .stdin(Stdio::null())
            .stderr(file)
            .spawn()
            .map_err(|error| failed(command.get_program().display(), error))?;
        Ok(Self {
            child,
            name: name.into(),
            errors,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended and not yet been waited for: its counters in /proc can still be read.
    pub(crate) fn has_ended(&self) -> bool {
        let Some(pid) = pid_of(&self.child) else {
            return true;
        };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // An error says that it is no child any more, so it has been waited for.
        !matches!(waitid(WaitId::Pid(pid), options), Ok(None))
    }

    /// What it ended with, if it has.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn status(&mut self) -> Result<Option<ExitStatus>, Trouble> {
        self.child
            .try_wait()
            .map_err(|error| failed(&self.name, error))
    }

    /// Fails when it has ended, which it should not have.
    ///
    /// # Errors
    /// With the last that it wrote.
    pub(crate) fn still_runs(&mut self) -> Result<(), Trouble> {
        match self.status()? {
            None => Ok(()),
            Some(status) => Err(self.ended(status)),
        }
    }

    /// The error of one that ended with `status`, with the last lines that it wrote.
    pub(crate) fn ended(&self, status: ExitStatus) -> Trouble {
        let text = std::fs::read(&self.errors).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(ERROR_LINES_MAX)..].join(" | ");
        failed(format_args!("{} ended ({status})", self.name), last)
    }

    /// Asks it to end by SIGTERM, and ends it when it has not after `limit_ms`.
    ///
    /// # Errors
    /// An interruption, in which case the drop ends it.
    pub(crate) fn stop(&mut self, watch: &Watch, limit_ms: u64) -> Result<(), Trouble> {
        if self.status()?.is_some() {
            return Ok(());
        }
        if let Some(pid) = pid_of(&self.child) {
            // It may end at this very moment.
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline_us = clock::after(limit_ms * 1000);
        watch.until(deadline_us, 5, || Ok(self.status()?.is_some()))?;
        Ok(())
    }
}

/// Lines of a failed process that its error message shows.
const ERROR_LINES_MAX: usize = 3;

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // It may end at this very moment; then waiting is all there is to do.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_ends_with_its_value_and_tells_why_it_ended_before() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut command = Command::new("sleep");
        let running = Running::start(command.arg("60"), "sleep", directory.path());
        let running = running.expect("started");
        let pid = running.pid();
        assert!(!running.has_ended());
        drop(running);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());

        let mut command = Command::new("sh");
        command.args(["-c", "echo first >&2; echo second >&2; exit 3"]);
        let mut running = Running::start(&mut command, "shell", directory.path()).expect("started");
        let watch = Watch::new().expect("signals");
        let ended = watch.until(clock::NEVER, 1, || Ok(running.has_ended()));
        assert_eq!(ended, Ok(true));
        let Err(Trouble::Failed(text)) = running.still_runs() else {
            panic!("it has ended");
        };
        assert_eq!(text, "shell ended (exit status: 3): first | second");
        let mut missing = Command::new("/nowhere/at/all");
        assert!(Running::start(&mut missing, "missing", directory.path()).is_err());
    }
}
