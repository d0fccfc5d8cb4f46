//! What happened in a run, in its order, and the judgement of it.
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
//! It decides nothing but that, and knows the world only by its clock. Pure.

use super::mail::{Shape, number_in, number_of};
use super::plan::{Class, HOME, Plan, Way};
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

/// What a run came to, for reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages answered 250.
    pub accepted: u64,
    /// Copies of them.
    pub copies: u64,
    /// Copies taken by hosts.
    pub taken: u64,
    /// Copies of those taken more than once: at a crash, or where an answer was lost.
    pub duplicates: u64,
    /// Copies failed or expired.
    pub failed: u64,
    /// Lives of the server that have ended,
    pub lives: u64,
    /// those of them that were ended by force.
    pub crashes: u64,
    /// The most bytes of content and batches in memory at any time, over all shards.
    pub held_max: u64,
    /// The most beyond what content may take.
    pub held_beside_max: u64,
    /// Copies in doubt that counted as delivered.
    pub assumed: u64,
    /// Messages of which a record was damaged.
    pub rotten: u64,
}

impl Tally {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.copies += other.copies;
        self.taken += other.taken;
        self.duplicates += other.duplicates;
        self.failed += other.failed;
        self.lives += other.lives;
        self.crashes += other.crashes;
        self.held_max = self.held_max.max(other.held_max);
        self.held_beside_max = self.held_beside_max.max(other.held_beside_max);
        self.assumed += other.assumed;
        self.rotten += other.rotten;
    }
}

impl Ledger {
    /// Nothing has happened. With a story it is told in words as well.
    pub fn new(plan: Rc<Plan>, story: Option<Story>) -> Self {
        let case = |mail: &super::mail::Mail| Case {
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

    fn is_rotten(&self, case: &Case) -> bool {
        let id = case.received.as_deref().and_then(bits_of);
        id.is_some_and(|id| self.rotten.contains(&id))
    }

    /// Whether a record was damaged that is no message's of the plan's: a report's, then.
    fn is_report_rotten(&self) -> bool {
        let known: BTreeSet<u64> = self
            .cases
            .iter()
            .filter_map(|case| bits_of(case.received.as_deref()?))
            .collect();
        !self.rotten.is_subset(&known)
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

    /// Whether a copy may be taken that was taken before, or that has ended.
    fn judge_taking(
        &mut self,
        (at, life): (u64, usize),
        recipient: &str,
        (number, index): (usize, usize),
    ) {
        let case = &self.cases[number];
        let copy = &case.copies[index];
        // What comes of a connection says nothing of lives after it.
        let ended = copy.ends.iter().rfind(|end| end.1 <= life).copied();
        let Some((when, earlier)) = copy.takings.last().copied() else {
            return;
        };
        if self.is_rotten(case) {
            return;
        }
        let what = match ended {
            _ if self.plan.is_sent_once() && case.class == Class::Fsync => "though it was noted",
            Some((_, ended, _)) if ended == life => "though it had ended in this life",
            Some((ended_at, ended, _)) if !self.may_note_be_lost(case, ended_at, ended) => {
                "though its end was committed"
            }
            None if earlier == life && self.plan.hears_every_answer() => "though it was answered",
            _ => return,
        };
        self.problem(
            at,
            format_args!("{recipient} was taken again, {what}; the first at {when}"),
        );
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

    /// A line of the server's event log.
    pub fn event(&mut self, at: u64, line: &[u8]) {
        self.entries += 1;
        let Ok(event) = serde_json::from_slice::<serde_json::Value>(line) else {
            let line = String::from_utf8_lossy(line).into_owned();
            return self.problem(at, format_args!("no line of JSON: {line}"));
        };
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let kind = text(&event["type"]);
        let id = text(&event["id"]);
        let recipients: Vec<String> = match &event["recipient"] {
            serde_json::Value::Array(all) => all.iter().map(text).collect(),
            one => vec![text(one)],
        };
        if self.story.is_some() {
            let response = &event["response"];
            self.tell(
                at,
                format_args!(
                    "event: {kind} {id} {recipients:?} {} {}",
                    response["code"], response["content"]
                ),
            );
        }
        match kind.as_str() {
            "Rejection" => return,
            "Reception" => return self.reception(at, &id, &recipients),
            _ => {}
        }
        let told = match kind.as_str() {
            // No host has answered: there is no code.
            "Delivery" if event["response"]["code"].as_u64() == Some(0) => Told::Assumed,
            "Delivery" => Told::Delivered,
            "Bounce" => Told::Bounced,
            "Expiration" => Told::Expired,
            _ => return,
        };
        let age_ms = event["latency_ms"].as_u64().unwrap_or_default();
        // It ends when its next attempt would come too late.
        let queue = &self.plan.config.queue;
        let interval = queue.max_retry_interval.unwrap_or(queue.max_age);
        let soonest = queue.max_age.saturating_sub(2 * interval).as_millis() as u64;
        if told == Told::Expired && age_ms < soonest {
            self.problem(at, format_args!("{recipients:?} expired after {age_ms} ms"));
        }
        for recipient in &recipients {
            // What cannot be read any more has no recipients to name. The disk's failure may not have been
            // heard of yet, so that is judged in the end.
            if recipient.is_empty() {
                self.unread.push((at, id.clone()));
                continue;
            }
            if let Some((number, index)) = self.copy_of(recipient) {
                self.end(at, number, index, &id, told);
            } else if let Some(number) = number_in(recipient).filter(|n| *n < self.cases.len()) {
                self.cases[number].report_failed |= told != Told::Delivered;
            } else {
                self.problem(
                    at,
                    format_args!("{kind} for {recipient:?}, who was never written to"),
                );
            }
        }
    }

    /// Whether the content of a message may be gone, or a report's.
    fn may_be_unreadable(&self, id: &str) -> bool {
        let case = self
            .cases
            .iter()
            .find(|case| case.received.as_deref() == Some(id));
        let is_rotten = || bits_of(id).is_some_and(|id| self.rotten.contains(&id));
        is_rotten() || case.is_some_and(|case| self.may_be_lost(case))
    }

    /// Whether what was written then in a weaker class went with a write or a sync that failed later. A call is
    /// said to fail when it begins, and takes with it what was written until it ends.
    fn has_failed_since(&self, when: u64) -> bool {
        let call = self.plan.disk.write_micros.end + self.plan.disk.sync_micros.end;
        self.last_loss.is_some_and(|last| last + call >= when)
    }

    fn reception(&mut self, at: u64, id: &str, recipients: &[String]) {
        let number = recipients.first().and_then(|first| number_in(first));
        let Some(number) = number.filter(|number| *number < self.cases.len()) else {
            return self.problem(at, format_args!("reception of {id}, which nobody sent"));
        };
        let mut sent: Vec<&String> = self.plan.mails[number].recipients.iter().collect();
        let mut came: Vec<&String> = recipients.iter().collect();
        sent.sort();
        came.sort();
        if sent != came {
            self.problem(at, format_args!("{number} was received for {recipients:?}"));
        }
        let case = &mut self.cases[number];
        let before = case.received.replace(id.to_owned());
        let is_offered = case.promise == Promise::Offered;
        if before.is_some() || !is_offered {
            let promise = case.promise.clone();
            self.problem(
                at,
                format_args!("{number} was received as {id}, before as {before:?}, {promise:?}"),
            );
        }
    }

    fn end(&mut self, at: u64, number: usize, index: usize, id: &str, told: Told) {
        let life = self.lives.len();
        let case = &mut self.cases[number];
        let copy = &mut case.copies[index];
        let before = copy.ends.last().copied();
        copy.ends.push((at, life, told));
        let delivered = copy.ends.iter().filter(|end| end.2 == Told::Delivered);
        let (delivered, taken) = (delivered.count(), copy.takings.len());
        let refusals = copy.refusals;
        let recipient = &self.plan.mails[number].recipients[index];
        let recipient = recipient.clone();
        if delivered > taken {
            self.problem(
                at,
                format_args!("{recipient}: {delivered} deliveries told, {taken} taken"),
            );
        }
        if told == Told::Assumed && !self.plan.assumes() {
            self.problem(at, format_args!("{recipient} counts as delivered"));
        }
        if told == Told::Bounced && refusals == 0 && !self.may_fail(number, &recipient) {
            self.problem(
                at,
                format_args!("{recipient} failed for good, and nobody refused it"),
            );
        }
        if let Some(received) = self.cases[number].received.clone()
            && received != id
        {
            self.problem(
                at,
                format_args!("{recipient} ended as {id}, received as {received}"),
            );
        }
        let Some((when, earlier, _)) = before else {
            return;
        };
        if earlier == life {
            return self.problem(at, format_args!("{recipient} ended twice in one life"));
        }
        let case = &self.cases[number];
        if !self.is_rotten(case) && !self.may_note_be_lost(case, when, earlier) {
            let (ended, how) = self.lives[earlier];
            let age = ended - when;
            self.problem(
                at,
                format_args!(
                    "{recipient} ended again: its end was {age} us old when the server {how:?}"
                ),
            );
        }
    }

    /// Whether a note of then may have gone with the life it was written in, or with a later power cut: by
    /// its class, or since it was not committed yet.
    fn may_note_be_lost(&self, case: &Case, when: u64, life: usize) -> bool {
        let (ended, how) = self.lives[life];
        let is_young = how != End::Stopped && ended - when <= self.plan.note_micros_max();
        // It waits from its first commit on for a disk that takes it.
        let waits = self.illnesses.iter().any(|(from, to)| {
            *from <= when + self.plan.note_micros_max() && *to + RECOVERY_MICROS_MAX >= ended
        });
        let by_class = match (case.class, how) {
            (Class::Fsync, _) => false,
            (Class::Memory, End::Killed | End::PowerCut) => true,
            (Class::Write | Class::Memory, _) => {
                self.has_lost_power(life) || self.has_failed_since(when)
            }
        };
        is_young || waits || by_class
    }

    /// Whether a copy may fail without a host that refused it.
    fn may_fail(&self, number: usize, recipient: &str) -> bool {
        let Some(domain) = self.plan.domain(recipient) else {
            return true;
        };
        let takes_all = || {
            let hosts = domain.hosts.iter().map(|host| &self.plan.hosts[*host]);
            hosts.into_iter().all(super::plan::Host::takes_eight_bit)
        };
        matches!(domain.way, Way::NullMx | Way::Missing)
            || (self.plan.mails[number].shape == Shape::EightBit && !takes_all())
    }

    /// The judgement of a whole run: all that is wrong.
    pub fn judge(&mut self, at: u64) -> Vec<String> {
        for number in 0..self.cases.len() {
            self.judge_case(at, number);
        }
        for (at, id) in std::mem::take(&mut self.unread) {
            if !self.may_be_unreadable(&id) {
                self.problem(at, format_args!("{id} could not be read when it ended"));
            }
        }
        self.problems.clone()
    }

    fn judge_case(&mut self, at: u64, number: usize) {
        let mail = self.plan.mails[number].clone();
        let case = self.cases[number].clone();
        if mail.shape.is_refused() && case.received.is_some() {
            self.problem(at, format_args!("{number}, {:?}, was received", mail.shape));
        }
        if matches!(
            case.promise,
            Promise::Unsent | Promise::Refused(452 | 500..)
        ) && case.received.is_some()
        {
            self.problem(
                at,
                format_args!("{number} was received, {:?}", case.promise),
            );
        }
        // What the server has told to be received is promised, even if its sender did not hear the answer.
        let is_promised = matches!(case.promise, Promise::Accepted(_) | Promise::Offered);
        if !is_promised || case.received.is_none() || self.may_be_lost(&case) {
            return;
        }
        for (recipient, copy) in mail.recipients.iter().zip(&case.copies) {
            let is_delivered = copy.ends.iter().any(|end| end.2.is_delivery());
            let is_failed = copy.ends.iter().any(|end| !end.2.is_delivery());
            if !is_delivered && !is_failed {
                let taken = copy.takings.len();
                self.problem(
                    at,
                    format_args!("{recipient} of {number} is lost, taken {taken}"),
                );
            }
            let is_told = copy.reports > 0
                || mail.sender.is_empty()
                || case.report_failed
                || self.is_report_rotten();
            if is_failed && !is_delivered && !is_told {
                self.problem(
                    at,
                    format_args!("{recipient} failed, and its sender was not told"),
                );
            }
        }
    }

    /// Whether the life in which it was accepted ended in a way that its class does not outlast.
    fn may_be_lost(&self, case: &Case) -> bool {
        if self.is_rotten(case) {
            return true;
        }
        // A sync that fails may take with it what was only written before.
        if case.class != Class::Fsync && self.has_failed_since(case.offered_at) {
            return true;
        }
        let Some((_, end)) = self.lives.get(case.life) else {
            return false;
        };
        match case.class {
            Class::Fsync => false,
            Class::Memory if *end != End::Stopped => true,
            Class::Write | Class::Memory => self.has_lost_power(case.life),
        }
    }

    /// Whether what a process wrote in that life, and did not sync, may be gone: until a later start has
    /// come to its end, for that syncs what it finds.
    fn has_lost_power(&self, since: usize) -> bool {
        let mut later = self.lives.iter().enumerate().skip(since);
        let decided = later.find_map(|(life, (_, end))| match end {
            End::PowerCut => Some(true),
            _ if life > since && self.has_started[life] => Some(false),
            _ => None,
        });
        decided.unwrap_or(false)
    }

    /// What the run came to.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for case in &self.cases {
            tally.accepted += u64::from(matches!(case.promise, Promise::Accepted(_)));
            for copy in &case.copies {
                let taken = copy.takings.len() as u64;
                tally.copies += u64::from(matches!(case.promise, Promise::Accepted(_)));
                tally.taken += u64::from(taken > 0);
                tally.duplicates += taken.saturating_sub(1);
                tally.failed += u64::from(copy.ends.iter().any(|end| !end.2.is_delivery()));
                let assumed = copy.ends.iter().filter(|end| end.2 == Told::Assumed);
                tally.assumed += assumed.count() as u64;
            }
        }
        let crashes = self.lives.iter().filter(|life| life.1 != End::Stopped);
        tally.lives = self.lives.len() as u64;
        tally.crashes = crashes.count() as u64;
        tally.held_max = self.held_max;
        tally.held_beside_max =
            (self.held_max + self.plan.held_beside()).saturating_sub(self.plan.held_bytes_max());
        tally.rotten = self.rotten.len() as u64;
        tally
    }
}

/// An id as a record has it.
fn bits_of(id: &str) -> Option<u64> {
    Id::parse(id.as_bytes()).map(Id::to_bits)
}
