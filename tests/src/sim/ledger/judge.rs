//! The judgement of what is noted: which notes and messages a crash or an ill disk may have taken, what may
//! be taken again, and what is wrong when a run is over.
//!
//! It notes nothing but problems: what happened is the parent's to note. Pure.

use super::{Case, End, Ledger, Promise, RECOVERY_MICROS_MAX, Told, bits_of};
use crate::sim::mail::Shape;
use crate::sim::plan::{Class, Host, Way};
use std::collections::BTreeSet;

impl Ledger {
    pub(super) fn is_rotten(&self, case: &Case) -> bool {
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

    /// Whether a copy may be taken that was taken before, or that has ended.
    pub(super) fn judge_taking(
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
            // It got too old by an attempt without an answer, and what that sent comes later.
            Some((ended_at, ended, Told::Expired)) if ended == life && when <= ended_at => return,
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

    /// Whether a note of then may have gone with the life it was written in, or with a later power cut: by
    /// its class, or since it was not committed yet.
    pub(super) fn may_note_be_lost(&self, case: &Case, when: u64, life: usize) -> bool {
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
    pub(super) fn may_fail(&self, number: usize, recipient: &str) -> bool {
        let Some(domain) = self.plan.domain(recipient) else {
            return true;
        };
        let takes_all = || {
            let hosts = domain.hosts.iter().map(|host| &self.plan.hosts[*host]);
            hosts.into_iter().all(Host::takes_eight_bit)
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
}
