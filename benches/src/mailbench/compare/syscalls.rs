//! System calls of a server, counted by `perf` in a short phase of their own: counting slows the server, so no rate
//! or processor time of that phase is kept.

use super::watch::{Trouble, failed};
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// A count under way. Lives from `begin` to `end`; a dropped one is ended.
#[derive(Debug)]
pub(crate) struct Counting {
    perf: Child,
    /// Its closing ends the count.
    input: Option<ChildStdin>,
    output: PathBuf,
}

impl Counting {
    /// Counts the calls of these processes, and of the children they have from now on.
    ///
    /// `perf` counts while a program runs, and that program is `cat`: once it has echoed a byte the count is under way, and
    /// when it has no more input the count is over. So nothing has to be waited for by the clock.
    ///
    /// # Errors
    /// Why calls cannot be counted here.
    pub(crate) fn begin(pids: &[u32], directory: &Path) -> Result<Self, Trouble> {
        let what = "system calls cannot be counted (perf stat)";
        let output = directory.join("perf.csv");
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        let mut perf = Command::new("perf")
            .args(["stat", "-x,", "-e", "raw_syscalls:sys_enter", "-o"])
            .arg(&output)
            .args(["-p", &pids.join(","), "--", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| failed(what, error))?;
        let (input, echo) = (perf.stdin.take(), perf.stdout.take());
        let mut counting = Self {
            perf,
            input,
            output,
        };
        let mut byte = [0; 1];
        let begun = match (&mut counting.input, echo) {
            (Some(input), Some(mut echo)) => input
                .write_all(b"\n")
                .and_then(|()| echo.read_exact(&mut byte)),
            _ => unreachable!("both were asked for"),
        };
        begun.map_err(|error| failed(what, error))?;
        Ok(counting)
    }

    /// Ends the count: how many.
    ///
    /// # Errors
    /// What is wrong with what `perf` says.
    pub(crate) fn end(mut self) -> Result<u64, Trouble> {
        drop(self.input.take());
        let status = self.perf.wait().map_err(|error| failed("perf", error))?;
        let text = fs::read_to_string(&self.output).unwrap_or_default();
        counted(&text)
            .ok_or_else(|| Trouble::Failed(format!("perf ended ({status}) and said: {text:?}")))
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // Its `cat` ends with it: its input is closed.
        drop(self.input.take());
        let _ = self.perf.kill();
        let _ = self.perf.wait();
    }
}

/// The count in what `perf stat -x,` writes: value, unit, event, ...
fn counted(text: &str) -> Option<u64> {
    let is_count = |line: &&str| line.contains(",raw_syscalls:sys_enter,");
    let line = text.lines().find(is_count)?;
    line.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_out_of_what_perf_says() {
        for (text, count) in [
            (
                "# started on Sun Nov 29\n\n3,,raw_syscalls:sys_enter,70312,100.00,,\n",
                Some(3),
            ),
            (
                "281733,,raw_syscalls:sys_enter,991,100.00,,\n",
                Some(281_733),
            ),
            ("<not counted>,,raw_syscalls:sys_enter,0,100.00,,\n", None),
            ("<not supported>,,raw_syscalls:sys_enter,0,100.00,,\n", None),
            ("", None),
        ] {
            assert_eq!(counted(text), count, "{text}");
        }
    }
}
