//! What happened in a run, in its order. What the event log tells of it is `told`'s, the judgement `judge`'s,
//! what runs came to `tally`'s.
//!
//! The rules, for each copy (a message for one recipient):
//! * what was answered 250 ends: delivered, or failed with a report to its sender;
//! * what was refused, or never sent to its end, is never delivered;
//! * what is delivered is the message, byte for byte;
//! * a copy comes twice only where an answer was lost, or where the note of its end waited for its commit at
//!   a crash: never where it is noted that its end follows, and the policy is not to send it again;
//! * a flipped bit costs no more than the message of whose records it was a part;
//! * memory stays within its bound;
//! * the event log tells the same: no delivery that no host has taken, no reception that was not offered.
//!
//! It decides nothing of what happens, and knows the world only by its clock. Pure.

mod judge;
mod tally;
mod told;

pub use tally::Tally;

use super::mail::{Mail, number_in, number_of};
use super::plan::{Class, HOME, Plan};
use crate::message::without_received;
use mailrail::message::Id;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::rc::Rc;

/// So long after the disk is well again, in microseconds, a note that it did not take may still wait: the
/// pause before it is written anew, and a new segment for it.
const RECOVERY_MICROS_MAX: u64 = 3_000_000;

/// How a life of the server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As it should.
    Stopped,
    /// Its process was killed.
    Killed,
    /// Its machine lost its power.
    PowerCut,
}

/// What the sender of a message knows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Promise {
    /// It was not sent to its end.
    Unsent,
    /// It may have been sent to its end, and nothing was answered.
    Offered,
    /// It was answered 250 with this id.
    Accepted(String),
    /// It was refused with this code.
    Refused(u16),
}

/// An end that the event log tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Delivered,
    /// In doubt, and taken for delivered.
    Assumed,
    Bounced,
    Expired,
}

impl Told {
    fn is_delivery(self) -> bool {
        matches!(self, Self::Delivered | Self::Assumed)
    }
}

/// A message for one recipient.
#[derive(Clone, Debug, Default)]
struct Copy {
    /// When a host took it, and in which life.
    takings: Vec<(u64, usize)>,
    /// Its ends by the event log: when, in which life, and what.
    ends: Vec<(u64, usize, Told)>,
    /// How often a host refused it for good.
    refusals: u32,
    /// How often a report named it.
    reports: u32,
}

/// How the server's disk is, as far as the plan has a hand in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Health {
    /// It is full, stands still, or some of its calls fail;
    pub is_ill: bool,
    /// writes or syncs among them.
    pub is_losing: bool,
    /// Calls that are still to fail, one by one;
    pub pending: u32,
    /// writes and syncs among them.
    pub pending_losses: u32,
}

#[derive(Clone, Debug)]
struct Case {
    promise: Promise,
    class: Class,
    /// The life in which it was offered, and when.
    life: usize,
    offered_at: u64,
    /// The id by the event log.
    received: Option<String>,
    copies: Vec<Copy>,
    /// A report to its sender failed, or was assumed to be delivered, which nobody is told of.
    report_failed: bool,
}

/// What happened, in words.
pub type Story = Rc<RefCell<String>>;

/// What happened so far.
#[derive(Debug)]
pub struct Ledger {
    plan: Rc<Plan>,
    cases: Vec<Case>,
    /// How the lives before the present one ended, and when.
    lives: Vec<(u64, End)>,
    /// Whether their starts came to an end.
    has_started: Vec<bool>,
    /// Whether the present one's did.
    is_up: bool,
    entries: u64,
    problems: Vec<String>,
    story: Option<Story>,
    /// When the disk was not well.
    illnesses: Vec<(u64, u64)>,
    /// How it was when it was last looked at,
    health: Health,
    /// and when that was.
    looked_at: u64,
    /// When a write or a sync may have failed for the last time: what was not synced then may be gone.
    last_loss: Option<u64>,
    /// Messages that could not be read when they ended, and when that was.
    unread: Vec<(u64, String)>,
    held_max: u64,
    /// Whose records were damaged.
    rotten: BTreeSet<u64>,
}

impl Ledger {
    /// Nothing has happened. With a story it is told in words as well.
    pub fn new(plan: Rc<Plan>, story: Option<Story>) -> Self {
        let case = |mail: &Mail| Case {
            promise: Promise::Unsent,
            class: Class::Fsync,
            life: 0,
            offered_at: 0,
            received: None,
            copies: vec![Copy::default(); mail.recipients.len()],
            report_failed: false,
        };
        Self {
            cases: plan.mails.iter().map(case).collect(),
            plan,
            lives: Vec::new(),
            has_started: Vec::new(),
            is_up: false,
            entries: 0,
            problems: Vec::new(),
            story,
            illnesses: Vec::new(),
            health: Health::default(),
            looked_at: 0,
            last_loss: None,
            unread: Vec::new(),
            held_max: 0,
            rotten: BTreeSet::new(),
        }
    }

    /// Which life of the server this is.
    pub fn life(&self) -> usize {
        self.lives.len()
    }

    /// How much was entered.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Something that is told in the story, and not judged.
    pub fn tell(&mut self, at: u64, what: std::fmt::Arguments<'_>) {
        if let Some(story) = &self.story {
            let (seconds, micros) = (at / 1_000_000, at % 1_000_000);
            let _ = writeln!(story.borrow_mut(), "{seconds:>5}.{micros:06} {what}");
        }
    }

    fn problem(&mut self, at: u64, what: std::fmt::Arguments<'_>) {
        self.tell(at, format_args!("!! {what}"));
        self.problems.push(what.to_string());
    }

    /// Something is wrong that others have found.
    pub fn wrong(&mut self, at: u64, what: &str) {
        self.problem(at, format_args!("{what}"));
    }

    /// How the disk is.
    pub fn disk(&mut self, at: u64, health: Health) {
        let before = std::mem::replace(&mut self.health, health);
        if health.is_losing || before.is_losing || health.pending_losses < before.pending_losses {
            self.last_loss = Some(at);
        }
        let has_failed = health.pending < before.pending;
        if health.is_ill || before.is_ill || has_failed {
            let from = if health.is_ill && !before.is_ill && !has_failed {
                at
            } else {
                self.looked_at
            };
            match self.illnesses.last_mut() {
                Some(last) if from <= last.1 + RECOVERY_MICROS_MAX => last.1 = at,
                _ => self.illnesses.push((from, at)),
            }
        }
        self.looked_at = at;
    }

    /// A record of these was damaged.
    pub fn rotted(&mut self, ids: &[u64]) {
        self.rotten.extend(ids);
    }

    /// Whether a message may have been sent to its end.
    pub fn has_left(&self, number: usize) -> bool {
        self.cases[number].promise != Promise::Unsent
    }

    /// So many bytes of content and batches are in memory.
    pub fn held(&mut self, at: u64, bytes: u64) {
        let most = self.plan.held_bytes_max();
        if bytes > most && self.held_max <= most {
            self.problem(
                at,
                format_args!("{bytes} bytes are in memory, {most} may be"),
            );
        }
        self.held_max = self.held_max.max(bytes);
    }

    /// A message is about to be sent to its end.
    pub fn offered(&mut self, at: u64, number: usize, class: Class) {
        self.entries += 1;
        self.tell(
            at,
            format_args!("sender: {number} leaves, {}", class.name()),
        );
        let life = self.lives.len();
        let case = &mut self.cases[number];
        case.class = class;
        (case.life, case.offered_at) = (life, at);
        if case.promise == Promise::Unsent {
            case.promise = Promise::Offered;
        }
    }

    /// A message was answered 250.
    pub fn accepted(&mut self, at: u64, number: usize, id: &str) {
        self.entries += 1;
        self.tell(at, format_args!("sender: {number} is accepted as {id}"));
        let case = &mut self.cases[number];
        let is_told = case.received.as_deref() == Some(id);
        case.promise = Promise::Accepted(id.to_owned());
        if !is_told {
            let told = case.received.clone();
            self.problem(
                at,
                format_args!("{number} was accepted as {id}, and the event log says {told:?}"),
            );
        }
    }

    /// A message was refused.
    pub fn refused(&mut self, at: u64, number: usize, code: u16) {
        self.entries += 1;
        self.tell(at, format_args!("sender: {number} is refused with {code}"));
        self.cases[number].promise = Promise::Refused(code);
    }

    /// A host has refused a copy for good.
    pub fn refused_by_host(&mut self, at: u64, recipient: &str) {
        self.entries += 1;
        self.tell(at, format_args!("host: refuses {recipient}"));
        if let Some((number, index)) = self.copy_of(recipient) {
            self.cases[number].copies[index].refusals += 1;
        }
    }

    /// A host has taken a message from a life of the server, and is about to say so.
    pub fn taken(
        &mut self,
        at: u64,
        life: usize,
        is_report: bool,
        recipients: &[String],
        content: &[u8],
    ) {
        self.entries += 1;
        self.tell(
            at,
            format_args!("host: takes {recipients:?}, {} bytes", content.len()),
        );
        for recipient in recipients {
            match self.copy_of(recipient) {
                Some((number, index)) => {
                    self.taken_copy((at, life), recipient, (number, index), content)
                }
                None if is_report && recipient.ends_with(HOME) => {
                    self.taken_report(at, recipient, content);
                }
                None => self.problem(at, format_args!("{recipient} was never written to")),
            }
        }
    }

    fn taken_copy(
        &mut self,
        (at, life): (u64, usize),
        recipient: &str,
        (number, index): (usize, usize),
        content: &[u8],
    ) {
        self.judge_taking((at, life), recipient, (number, index));
        self.cases[number].copies[index].takings.push((at, life));
        let is_whole = content.starts_with(b"Received: ")
            && without_received(content) == self.plan.mails[number].content();
        if !is_whole {
            self.problem(
                at,
                format_args!("the copy for {recipient} is not what was sent"),
            );
        }
        match self.cases[number].promise {
            Promise::Unsent => {
                self.problem(
                    at,
                    format_args!("{recipient} got what was never sent to its end"),
                );
            }
            // An error of the disk: what became of it is not known.
            Promise::Refused(451) if !self.illnesses.is_empty() => {}
            Promise::Refused(code) => {
                self.problem(
                    at,
                    format_args!("{recipient} got what was refused with {code}"),
                );
            }
            Promise::Offered | Promise::Accepted(_) => {}
        }
    }

    fn taken_report(&mut self, at: u64, recipient: &str, content: &[u8]) {
        let number = number_in(recipient).filter(|number| *number < self.cases.len());
        let Some(number) = number else {
            return self.problem(
                at,
                format_args!("a report for {recipient}, who wrote nothing"),
            );
        };
        if number_of(content).is_some_and(|returned| returned != number) {
            self.problem(
                at,
                format_args!("the report for {recipient} sends another message back"),
            );
        }
        let text = String::from_utf8_lossy(content);
        let mut named = 0;
        for line in text.lines() {
            let Some(failed) = line.strip_prefix("Final-Recipient: rfc822; ") else {
                continue;
            };
            named += 1;
            match self.copy_of(failed.trim()) {
                Some((other, index)) if other == number => {
                    self.cases[number].copies[index].reports += 1;
                }
                _ => self.problem(
                    at,
                    format_args!("the report for {recipient} names {failed}"),
                ),
            }
        }
        if named == 0 {
            self.problem(
                at,
                format_args!("a report for {recipient} that names nobody"),
            );
        }
    }

    fn copy_of(&self, recipient: &str) -> Option<(usize, usize)> {
        let number = number_in(recipient)?;
        let mail = self.plan.mails.get(number)?;
        let index = mail.recipients.iter().position(|each| each == recipient)?;
        Some((number, index))
    }

    /// The server has started.
    pub fn started(&mut self, at: u64, what: std::fmt::Arguments<'_>) {
        self.is_up = true;
        self.tell(at, format_args!("server: has started, {what}"));
    }

    /// A life of the server has ended.
    pub fn life_ended(&mut self, at: u64, end: End) {
        self.entries += 1;
        self.tell(at, format_args!("server: {end:?}"));
        self.lives.push((at, end));
        self.has_started.push(std::mem::take(&mut self.is_up));
    }
}

/// An id as a record has it.
fn bits_of(id: &str) -> Option<u64> {
    Id::parse(id.as_bytes()).map(Id::to_bits)
}
