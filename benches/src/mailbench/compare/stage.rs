//! A scenario carried out: sink and servers, warm-up, rounds in turn, the count of system calls, the audit. What it
//! finds are values of `results`; what a scenario is, is `scenario`'s, and what one round is, `round`'s.

use super::adapter::{Adapter, Certificate, Server, Tools};
use super::cast::{Cast, Scenery};
use super::contestant::{Contestant, Whole, count_losses, share_copied, tell_held, told};
use super::ends::{self, Sink};
use super::held::{self, Held};
use super::plan::{self, Turn, Variant};
use super::results::{self, Round};
use super::round::{Course, Outcome, Target};
use super::scenario::{Amount, Beside, Scenario};
use super::syscalls::{self, Counting};
use super::watch::{Trouble, Watch, failed};
use super::{known_as, probe};
use crate::cli::{CompareOptions, Ends};
use std::path::{Path, PathBuf};

/// Seconds of the round that finds out how fast a server is, where the length of a round is given in seconds.
const CALIBRATION_S: f64 = 2.0;
/// Seconds of the phase in which system calls are counted.
const SYSCALLS_S: f64 = 4.0;
/// Before it a shorter one, by this part, is counted and taken off: what connections cost at their begin and end.
const SHORT_PART: u64 = 4;
/// A sink to which nothing came for so long is quiet, and is looked at so often.
const QUIET_MS: u64 = 2000;
const QUIET_LOOKS_MAX: u32 = 15;
/// The part of the highest rate at which an open loop asks for latencies.
const RATE_SHARE: f64 = 0.5;

/// What all scenarios share.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    pub(crate) options: &'a CompareOptions,
    pub(crate) watch: &'a Watch,
    pub(crate) tools: Tools,
    /// Where everything is written that goes away at the end; on the disk that is measured.
    pub(crate) directory: PathBuf,
    pub(crate) certificate: Option<Certificate>,
    /// The next run's number: each load of the comparison has its own.
    pub(crate) next_run: u32,
}

/// A scenario at work.
struct Play<'a> {
    scenario: &'a Scenario,
    variants: &'a [Variant],
    kind: Ends,
    directory: PathBuf,
    cast: Cast,
    sink: Sink,
    held: Vec<(usize, usize, Held)>,
}

impl Stage<'_> {
    /// Carries a scenario out, with these servers.
    ///
    /// # Errors
    /// An interruption, or that there is no sink.
    pub(crate) fn play(
        &mut self,
        scenario: &Scenario,
        adapters: &[&Adapter],
    ) -> Result<Vec<results::Scenario>, Trouble> {
        let kind = self.options.ends.unwrap_or(scenario.ends);
        let why = match scenario.beside {
            Beside::Unmeasured(why) => Some(why.to_owned()),
            Beside::Waiting(_) => ends::missing(Ends::Postfix),
            _ => ends::missing(kind),
        };
        let variants = plan::variants(scenario);
        let turns = plan::turns(&variants, adapters.len());
        let mut contestants: Vec<Contestant> = turns
            .iter()
            .map(|turn| Contestant::new(*turn, &variants, adapters))
            .collect();
        if let Some(why) = why {
            contestants
                .iter_mut()
                .for_each(|one| one.missing = Some(why.clone()));
            return Ok(told(
                scenario,
                &variants,
                adapters,
                kind,
                contestants,
                Vec::new(),
            ));
        }
        let directory = self.directory.join(scenario.name);
        std::fs::create_dir_all(&directory).map_err(|error| failed(directory.display(), error))?;
        let dns_port = adapters.iter().find_map(|adapter| adapter.dns_port());
        let address = self.options.address;
        let wanted = &scenario.sink;
        let sink = Sink::start(kind, wanted, dns_port, address, &directory, self.watch)?;
        let scenery = Scenery {
            tools: &self.tools,
            directory: &directory,
            address,
            certificate: self.certificate.as_ref(),
            watch: self.watch,
        };
        let cast = Cast::start(adapters, scenario, &variants, &sink, &scenery)?;
        let mut play = Play {
            scenario,
            variants: &variants,
            kind,
            directory,
            cast,
            sink,
            held: Vec::new(),
        };
        let mut notes = self.prepare(&mut play, &mut contestants)?;
        self.rounds(&mut play, &mut contestants)?;
        self.count_syscalls(&mut play, &mut contestants)?;
        let (copied, troubles) = play.cast.stop();
        notes.extend(troubles);
        if let Err(trouble) = play.sink.finish(self.watch) {
            match trouble {
                Trouble::Interrupted => return Err(trouble),
                Trouble::Failed(why) => notes.push(why),
            }
        }
        count_losses(&play.sink, &mut contestants);
        share_copied(&copied, &variants, &mut contestants);
        let mut found = told(scenario, &variants, adapters, kind, contestants, notes);
        for (variant, server, held) in &play.held {
            tell_held(
                &mut found[*variant],
                &known_as(adapters[*server].name()),
                held,
            );
        }
        if play.variants.iter().any(|variant| variant.has_direct) {
            match probe::at_rest(&play.directory) {
                Ok(probe) => found[0].probe = probe,
                Err(error) => found[0].notes.push(format!("no probe: {error}")),
            }
        }
        // The copies of a big round are big files.
        let _ = std::fs::remove_dir_all(&play.directory);
        Ok(found)
    }

    /// What each server shall hold, the warm-up, and how many messages a round has.
    fn prepare(
        &mut self,
        play: &mut Play<'_>,
        contestants: &mut [Contestant],
    ) -> Result<Vec<String>, Trouble> {
        let (scenario, mut notes) = (play.scenario, Vec::new());
        for contestant in contestants {
            let held = self.hold(play, contestant.turn);
            let done = held.and_then(|()| self.warm_up(play, contestant));
            self.judge(play, contestant, done)?;
            if scenario.beside == Beside::Syncs && contestant.missing.is_none() {
                let rate = contestant.rate * RATE_SHARE;
                contestant.load.rate = Some(rate);
                let amount = plan::amount(scenario, &contestant.name, self.options.messages);
                contestant.messages = amount.messages(rate);
                notes.push(format!(
                    "{}: at most {:.0} messages/s in a closed loop, then an open one of {rate:.0}",
                    contestant.name, contestant.rate
                ));
            }
        }
        Ok(notes)
    }

    fn hold(&self, play: &mut Play<'_>, turn: Turn) -> Result<(), Trouble> {
        let variant = &play.variants[turn.variant];
        let (Some(server_index), Some(count)) = (turn.server, variant.held) else {
            return Ok(());
        };
        let server = play.cast.server(server_index, variant)?;
        say(
            play.scenario.name,
            format_args!("{} shall hold {count}", variant.name),
        );
        let (beside, limit_s) = (play.scenario.beside, self.options.limit_s);
        let (directory, watch) = (play.directory.as_path(), self.watch);
        let sink = &mut play.sink;
        let held = held::hold(beside, count, server, sink, directory, limit_s, watch)?;
        play.held.push((turn.variant, server_index, held));
        Ok(())
    }

    /// A load that counts for nothing but the number of messages of a round.
    fn warm_up(
        &mut self,
        play: &mut Play<'_>,
        contestant: &mut Contestant,
    ) -> Result<Whole, Trouble> {
        let asked = self.options.messages;
        let amount = plan::amount(play.scenario, &contestant.name, asked);
        let mut messages = plan::warm_up(play.scenario, asked);
        let begun = self.run(play, contestant, messages)?;
        contestant.rate = begun.round.rate().unwrap_or(0.0);
        let mut whole = Whole::of(&begun);
        if matches!(amount, Amount::Seconds(_)) || play.scenario.beside == Beside::Syncs {
            messages = Amount::Seconds(CALIBRATION_S).messages(contestant.rate);
            messages = messages.min(asked.unwrap_or(u64::MAX));
            let found = self.run(play, contestant, messages)?;
            contestant.rate = found.round.rate().unwrap_or(contestant.rate);
            whole = Whole::of(&found);
        }
        contestant.messages = amount.messages(contestant.rate);
        Ok(whole)
    }

    fn rounds(
        &mut self,
        play: &mut Play<'_>,
        contestants: &mut [Contestant],
    ) -> Result<(), Trouble> {
        let rounds = plan::rounds(play.scenario, self.options.rounds);
        let turns: Vec<usize> = (0..contestants.len()).collect();
        for round in 0..rounds {
            for index in plan::rotated(&turns, round) {
                let contestant = &mut contestants[index];
                if contestant.missing.is_some() {
                    continue;
                }
                let probe = self.probe_beside(play);
                let done = self.run(play, contestant, contestant.messages);
                let probe = probe.and_then(|probe| probe.end().ok());
                let done = done.map(|mut outcome| {
                    outcome.round.index = round;
                    outcome.round.probe = probe.unwrap_or_default();
                    if let Some(rate) = contestant.load.rate {
                        let figures = &mut outcome.round.figures;
                        figures.insert("offered_rate_per_s".into(), rate);
                    }
                    tell_round(play, contestant, &outcome.round, rounds);
                    let whole = Whole::of(&outcome);
                    contestant.outcomes.push(outcome);
                    whole
                });
                self.judge(play, contestant, done)?;
            }
        }
        Ok(())
    }

    /// A process that asks the disk during the load.
    fn probe_beside(&self, play: &Play<'_>) -> Option<probe::Beside> {
        (play.scenario.beside == Beside::Syncs)
            .then(|| probe::Beside::start(&play.directory, self.options.limit_s).ok())
            .flatten()
    }

    /// System calls in a phase of its own.
    fn count_syscalls(
        &mut self,
        play: &mut Play<'_>,
        contestants: &mut [Contestant],
    ) -> Result<(), Trouble> {
        if play.scenario.counts_syscalls.is_none() {
            return Ok(());
        }
        for contestant in contestants {
            let Some(server) = contestant.turn.server else {
                continue;
            };
            if contestant.missing.is_some() {
                continue;
            }
            let messages = Amount::Seconds(SYSCALLS_S).messages(contestant.rate);
            let short = messages / SHORT_PART;
            let both = self
                .counted(play, contestant, server, short)
                .and_then(|short| Ok((self.counted(play, contestant, server, messages)?, short)));
            match both {
                Ok((long, short)) => {
                    let mut round = syscalls::steady(long, &short);
                    round
                        .notes
                        .push("slowed by the count of system calls".into());
                    let each = round.syscalls_a_message().unwrap_or(0.0);
                    let name = &contestant.name;
                    say(
                        play.scenario.name,
                        format_args!("{name}: {each:.2} system calls each"),
                    );
                    contestant.syscalls = Some(round);
                }
                Err(Trouble::Interrupted) => return Err(Trouble::Interrupted),
                Err(Trouble::Failed(why)) => contestant.notes.push(why),
            }
        }
        Ok(())
    }

    /// A round, and the system calls of the server in it.
    fn counted(
        &mut self,
        play: &mut Play<'_>,
        contestant: &Contestant,
        server: usize,
        messages: u64,
    ) -> Result<Round, Trouble> {
        let variant = &play.variants[contestant.turn.variant];
        let pids = play.cast.server(server, variant)?.pids();
        let counting = Counting::begin(&pids, &play.directory)?;
        let mut round = self.run(play, contestant, messages.max(1))?.round;
        round.syscalls = Some(counting.end()?);
        Ok(round)
    }

    /// One that failed is out; an interruption concerns all.
    fn judge(
        &self,
        play: &mut Play<'_>,
        contestant: &mut Contestant,
        done: Result<Whole, Trouble>,
    ) -> Result<(), Trouble> {
        let (why, may_stay) = match done {
            Ok(Whole::Yes) => return Ok(()),
            // What is still in it may come in anybody's turn.
            Ok(Whole::No(why)) => (why, false),
            Err(Trouble::Failed(why)) => (why, true),
            Err(Trouble::Interrupted) => return Err(Trouble::Interrupted),
        };
        let name = play.scenario.name;
        say(name, format_args!("{} is out: {why}", contestant.name));
        if let Some(server) = contestant.turn.server {
            let variant = &play.variants[contestant.turn.variant];
            // Other variants may share the server: it stays if it still lives, and nothing of the failed load with it.
            let lives = |server: &mut Server| ends::greets(server.address());
            let lives = play.cast.server(server, variant).is_ok_and(lives);
            if !(may_stay && lives && self.is_quiet(&mut play.sink)?) {
                play.cast.dismiss(server, variant, &why);
            }
        }
        contestant.missing = Some(why);
        Ok(())
    }

    /// Waits until nothing more comes to the sink; false when there is no end of it.
    fn is_quiet(&self, sink: &mut Sink) -> Result<bool, Trouble> {
        let mut before = sink.count()?;
        for _ in 0..QUIET_LOOKS_MAX {
            self.watch.pause(QUIET_MS)?;
            let now = sink.count()?;
            if now == before {
                return Ok(true);
            }
            before = now;
        }
        Ok(false)
    }

    fn run(
        &mut self,
        play: &mut Play<'_>,
        contestant: &Contestant,
        messages: u64,
    ) -> Result<Outcome, Trouble> {
        let run = self.next_run;
        self.next_run = self.next_run.wrapping_add(1);
        let variant = &play.variants[contestant.turn.variant];
        let target = match contestant.turn.server {
            Some(server) => Target::Server(play.cast.server(server, variant)?),
            None => Target::Direct(play.sink.address()),
        };
        let mut course = Course {
            watch: self.watch,
            sink: &mut play.sink,
            kind: play.kind,
            directory: &play.directory,
            limit_s: self.options.limit_s,
        };
        course.run(target, &contestant.load, messages, run)
    }
}

/// A line of what goes on, for whoever waits.
pub(crate) fn say(scenario: &str, what: impl std::fmt::Display) {
    eprintln!("{scenario:<16} {what}");
}

fn tell_round(play: &Play<'_>, contestant: &Contestant, round: &Round, rounds: u32) {
    let (number, server) = (round.index + 1, &contestant.name);
    let of = match play.variants {
        [_] => String::new(),
        variants => format!(" ({})", variants[contestant.turn.variant].name),
    };
    let rate = round.rate().unwrap_or(0.0);
    let cpu_us = round.cpu_us().unwrap_or(0.0);
    let ends_us = round.ends_cpu_us().unwrap_or(0.0);
    let final_ms = round.latencies.get(results::step::FINAL).map(|times| {
        let ms = |us| us as f64 / 1000.0;
        format!(
            ", final 250 p50 {:.2} p99 {:.2} ms",
            ms(times.p50),
            ms(times.p99)
        )
    });
    say(
        play.scenario.name,
        format_args!(
            "round {number}/{rounds}  {server:<16} {rate:>9.0} messages/s  {cpu_us:>8.1} us each, \
             ends {ends_us:.1}{}{of}",
            final_ms.unwrap_or_default()
        ),
    );
}

/// Where a scenario's files are.
pub(crate) fn directory_of(out: &Path) -> PathBuf {
    out.join(format!("run-{}", std::process::id()))
}
