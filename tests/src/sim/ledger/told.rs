//! What the server's event log tells, line by line: each against what senders and hosts have noted.
//!
//! What a crash or an ill disk may excuse is `judge`'s. Pure.

use super::{Ledger, Promise, Told};
use crate::sim::mail::number_in;

impl Ledger {
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
}
