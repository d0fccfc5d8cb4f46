//! What was promised, what came and how often, over a row of crashes. Pure.
//!
//! At least once is the promise, so a copy may come twice when a crash lay between the peer's 250 and the
//! disk's word for the note of it. How many may is reckoned here from what can be seen outside, in order
//! and without a clock's mercy: a log commits in the order of its records, so a message that was
//! acknowledged proves that all outcomes noted before its last byte was sent are durable. What the sink
//! took after that moment is one batch at most; what it took before can come again only if its answer had
//! not been read, and then its connection was still busy with it: a delivery in flight.

use std::collections::{HashMap, HashSet};

use mailrail::message::Id;

use crate::Received;
use crate::message;

/// One message that was answered 250.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The test's id for it.
    pub id: String,
    /// The log that owns it, when it is one of our servers that has taken it.
    pub log: Option<u16>,
    /// The copies that have to come.
    pub recipients: Vec<&'static str>,
    /// When its transaction began, in microseconds of the clock that stamps what the sink takes.
    pub begun: u64,
}

/// The end of a process, by force. Stamped and counted when it is certain that it does nothing more.
#[derive(Clone, Copy, Debug)]
struct Crash {
    at: u64,
    /// Connections of the sink so far.
    connections: usize,
}

/// A copy at the sink.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    round: usize,
    log: Option<u16>,
    at: u64,
}

/// Promises and arrivals.
#[derive(Debug, Default)]
pub struct Tally {
    crashes: Vec<Crash>,
    promised: HashSet<String>,
    missing: usize,
    arrived: HashMap<String, Vec<Arrival>>,
    /// By round and log, when the last acknowledged transaction began.
    proven: HashMap<(usize, Option<u16>), u64>,
}

/// What a tally comes to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Copies that were promised.
    pub promised: usize,
    /// Those that never came.
    pub lost: Vec<String>,
    /// Arrivals beyond the first of each copy.
    pub duplicates: usize,
    /// The most that one crash has caused.
    pub most: usize,
    /// What was permitted there.
    pub permitted: usize,
    /// Crashes that caused more than is permitted, and copies that came twice without one.
    pub excesses: Vec<String>,
    /// Copies that came although nobody read their 250.
    pub unpromised: usize,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            promised,
            lost,
            duplicates,
            most,
            permitted,
            unpromised,
            ..
        } = self;
        let lost = lost.len();
        write!(
            f,
            "{promised} copies acknowledged, {lost} lost, {duplicates} duplicates (at most {most} of one crash, \
             where {permitted} were permitted), {unpromised} came that were committed but not acknowledged"
        )
    }
}

impl Tally {
    /// Nothing promised, nothing come.
    pub fn new() -> Self {
        Self::default()
    }

    /// A message was acknowledged.
    pub fn promise(&mut self, promise: &Promise) {
        let round = self
            .crashes
            .partition_point(|crash| crash.at <= promise.begun);
        let proven = self.proven.entry((round, promise.log)).or_default();
        *proven = promise.begun.max(*proven);
        for recipient in &promise.recipients {
            let copy = copy(&promise.id, recipient);
            self.missing += usize::from(!self.arrived.contains_key(&copy));
            self.promised.insert(copy);
        }
    }

    /// The sink took a message.
    ///
    /// # Panics
    /// If it has no id.
    pub fn arrive(&mut self, received: &Received) {
        let id = received.id.as_deref().expect("an id");
        // By its connection: the sink may find out only now what it was sent before the crash.
        let arrival = Arrival {
            round: self
                .crashes
                .partition_point(|crash| crash.connections <= received.connection),
            log: log_of(&received.content),
            at: received.at,
        };
        for recipient in &received.recipients {
            let copy = copy(id, recipient);
            let arrivals = self.arrived.entry(copy).or_insert_with_key(|copy| {
                self.missing -= usize::from(self.promised.contains(copy));
                Vec::new()
            });
            arrivals.push(arrival);
        }
    }

    /// The server is gone, at `at` microseconds and after this many connections to the sink.
    pub fn crash(&mut self, at: u64, connections: usize) {
        self.crashes.push(Crash { at, connections });
    }

    /// Promised copies that have not come yet.
    pub const fn missing(&self) -> usize {
        self.missing
    }

    /// The end of it, where at most `in_flight_max` deliveries were in flight at any time.
    pub fn outcome(&self, in_flight_max: usize) -> Outcome {
        let mut outcome = Outcome {
            promised: self.promised.len(),
            lost: self
                .promised
                .iter()
                .filter(|copy| !self.arrived.contains_key(*copy))
                .cloned()
                .collect(),
            unpromised: self
                .arrived
                .keys()
                .filter(|copy| !self.promised.contains(*copy))
                .count(),
            ..Outcome::default()
        };
        let mut caused = vec![0; self.crashes.len()];
        let mut permitted = vec![in_flight_max; self.crashes.len()];
        for (copy, arrivals) in &self.arrived {
            outcome.duplicates += arrivals.len() - 1;
            let last = arrivals.iter().map(|arrival| arrival.round).max();
            let mut rounds = Vec::new();
            for arrival in arrivals {
                if rounds.contains(&arrival.round) {
                    let excess = format!("{copy} came twice in round {}", arrival.round);
                    outcome.excesses.push(excess);
                    continue;
                }
                rounds.push(arrival.round);
                if arrival.round == self.crashes.len() {
                    continue;
                }
                caused[arrival.round] += usize::from(Some(arrival.round) != last);
                let proven = self.proven.get(&(arrival.round, arrival.log));
                permitted[arrival.round] += usize::from(proven.is_none_or(|&at| arrival.at >= at));
            }
        }
        for (round, (&caused, &permitted)) in caused.iter().zip(&permitted).enumerate() {
            if caused > outcome.most {
                (outcome.most, outcome.permitted) = (caused, permitted);
            }
            if caused > permitted {
                let excess = format!("crash {round}: {caused} duplicates, {permitted} permitted");
                outcome.excesses.push(excess);
            }
        }
        outcome.lost.sort();
        outcome
    }
}

fn copy(id: &str, recipient: &str) -> String {
    format!("{id} {recipient}")
}

/// The log that owns a message, by the id in its Received field.
fn log_of(content: &[u8]) -> Option<u16> {
    let field = &content[..content.len() - message::without_received(content).len()];
    let field = std::str::from_utf8(field).ok()?;
    let (_, rest) = field.split_once("id ")?;
    let id: Id = rest.split([' ', ';', '\r']).next()?.parse().ok()?;
    Some(id.log())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPIENT: &str = "one@first.example";

    fn promise(id: &str, begun: u64) -> Promise {
        Promise {
            id: id.to_owned(),
            log: Some(0),
            recipients: vec![RECIPIENT],
            begun,
        }
    }

    fn arrival(id: &str, connection: usize, at: u64) -> Received {
        let content = format!(
            "Received: from a by b with ESMTP id {};\r\n Mon\r\n{}: {id}\r\n\r\n",
            String::from_utf8_lossy(&Id::from_bits(1).text()),
            message::ID_HEADER
        );
        Received {
            sender: String::new(),
            recipients: vec![RECIPIENT.to_owned()],
            content: content.into_bytes(),
            id: Some(id.to_owned()),
            connection,
            parameters: String::new(),
            by_bdat: false,
            at,
        }
    }

    #[test]
    fn what_never_came_is_lost() {
        let mut tally = Tally::new();
        tally.promise(&promise("a", 1));
        tally.promise(&promise("b", 1));
        tally.arrive(&arrival("b", 0, 2));
        tally.arrive(&arrival("c", 0, 2));
        assert_eq!(tally.missing(), 1);
        let outcome = tally.outcome(0);
        assert_eq!(outcome.lost, ["a one@first.example"]);
        assert_eq!((outcome.promised, outcome.unpromised), (2, 1));
    }

    #[test]
    fn a_duplicate_is_permitted_behind_the_last_word_of_the_disk() {
        let mut tally = Tally::new();
        tally.arrive(&arrival("a", 0, 5));
        tally.arrive(&arrival("b", 0, 15));
        // Proves what was noted before 10.
        tally.promise(&promise("c", 10));
        tally.crash(20, 1);
        tally.arrive(&arrival("b", 1, 30));
        tally.arrive(&arrival("c", 1, 31));
        let outcome = tally.outcome(0);
        assert_eq!(
            (outcome.duplicates, outcome.most, outcome.permitted),
            (1, 1, 1)
        );
        assert_eq!(outcome.excesses, [""; 0]);

        tally.arrive(&arrival("a", 1, 32));
        assert_eq!(
            tally.outcome(0).excesses,
            ["crash 0: 2 duplicates, 1 permitted"]
        );
        assert_eq!(tally.outcome(1).excesses, [""; 0], "one was in flight");
    }

    #[test]
    fn a_duplicate_without_a_crash_is_never_permitted() {
        let mut tally = Tally::new();
        tally.arrive(&arrival("a", 0, 5));
        tally.arrive(&arrival("a", 0, 6));
        assert_eq!(
            tally.outcome(9).excesses,
            ["a one@first.example came twice in round 0"]
        );
    }

    #[test]
    fn an_old_connection_is_of_the_old_round() {
        let mut tally = Tally::new();
        tally.crash(20, 1);
        tally.arrive(&arrival("a", 1, 25));
        tally.arrive(&arrival("a", 0, 26));
        let outcome = tally.outcome(0);
        assert_eq!((outcome.most, outcome.permitted), (1, 1));
    }
}
