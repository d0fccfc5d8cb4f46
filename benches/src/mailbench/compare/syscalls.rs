//! System calls of a server, counted by `perf` in a short phase of their own: counting slows the server, so no rate
//! or processor time of that phase is kept.

use super::results::Round;
use super::watch::{Trouble, failed};
use crate::report::Cpu;
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

/// What a long load took beyond a short one: both made, used and closed the same connections, so that what is left is of
/// messages alone.
pub(crate) fn steady(long: Round, short: &Round) -> Round {
    let less = |of: Cpu, by: Cpu| Cpu {
        user_us: of.user_us.saturating_sub(by.user_us),
        system_us: of.system_us.saturating_sub(by.system_us),
    };
    let fewer = |of: Option<u64>, by: Option<u64>| Some(of?.saturating_sub(by?));
    Round {
        messages: long.messages.saturating_sub(short.messages),
        copies: fewer(long.copies, short.copies),
        seconds: (long.seconds - short.seconds).max(0.0),
        cpu: less(long.cpu, short.cpu),
        source_cpu: less(long.source_cpu, short.source_cpu),
        sink_cpu: less(long.sink_cpu, short.sink_cpu),
        syscalls: fewer(long.syscalls, short.syscalls),
        ..long
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
    fn what_connections_cost_is_in_both_and_so_in_neither() {
        let round = |messages, syscalls, seconds| Round {
            messages,
            copies: Some(messages),
            seconds,
            cpu: Cpu {
                user_us: messages * 10 + 7000,
                system_us: messages * 30 + 9000,
            },
            syscalls,
            ..Round::default()
        };
        // Five calls a message, and a thousand besides.
        let (long, short) = (
            round(4000, Some(21_000), 2.0),
            round(1000, Some(6000), 0.75),
        );
        let found = steady(long, &short);
        assert_eq!(found.syscalls_a_message(), Some(5.0));
        assert_eq!((found.messages, found.copies), (3000, Some(3000)));
        assert_eq!((found.cpu.user_us, found.cpu.system_us), (30_000, 90_000));
        assert!((found.seconds - 1.25).abs() < 1e-9);
        assert_eq!(steady(round(10, None, 1.0), &short).syscalls, None);
    }

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
