//! What the answers of a dialogue mean for the recipients of a parcel. Pure.

use crate::message::answer::ANSWER_LEN_MAX;
use crate::message::{self, Class, Status};
use mailrail_protocol::client::{Answer, Fate, Unsendable};
use std::net::SocketAddr;

/// Some recipients of a message: bit n is the recipient at `first + n` of its envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    /// The first recipient of the group.
    pub first: u16,
    /// Which of the group.
    pub bits: u128,
}

impl Bits {
    /// The envelope positions, in order.
    pub fn positions(self) -> impl Iterator<Item = usize> {
        let mut bits = self.bits;
        std::iter::from_fn(move || {
            let bit = bits.trailing_zeros();
            (bit < 128).then(|| {
                bits &= bits - 1;
                usize::from(self.first) + bit as usize
            })
        })
    }

    /// The bit of the recipient that was named as number `index` in the transaction.
    fn nth(self, index: u16) -> u128 {
        let mut bits = self.bits;
        for _ in 0..index {
            bits &= bits.wrapping_sub(1);
        }
        bits & bits.wrapping_neg()
    }
}

/// An answer that outlives the bytes it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedAnswer {
    /// The reply code.
    pub code: u16,
    /// The enhanced status, where one was given.
    pub status: Option<Status>,
    /// The text, its lines joined, cut to what is kept.
    pub text: Vec<u8>,
}

impl OwnedAnswer {
    /// A copy of what the peer said.
    pub fn of(answer: &Answer<'_>) -> Self {
        let mut text = Vec::new();
        answer.append_text(&mut text);
        text.truncate(ANSWER_LEN_MAX);
        Self {
            code: answer.code.get(),
            status: answer.status,
            text,
        }
    }

    /// An answer of our own, where the peer gave none.
    pub fn local(code: u16, status: Status, text: &str) -> Self {
        Self {
            code,
            status: Some(status),
            text: text.as_bytes().to_vec(),
        }
    }

    /// As it is stored and told on.
    pub fn borrow(&self) -> message::Answer<'_> {
        message::Answer::new(self.code, self.status, &self.text)
    }

    /// Whether there is no use in trying again.
    pub const fn is_permanent(&self) -> bool {
        self.code >= 500
    }
}

/// Recipients that share an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which of the group.
    pub bits: u128,
    /// What they were answered.
    pub answer: OwnedAnswer,
}

/// What became of a parcel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Those that the peer has taken.
    pub delivered: Vec<Part>,
    /// Those that it never will.
    pub failed: Vec<Part>,
    /// Those to try again.
    pub deferred: Vec<Part>,
    /// Who answered.
    pub peer: Option<SocketAddr>,
    /// Under which name it was looked for.
    pub host: String,
}

impl Report {
    /// A report in which all recipients share one answer of our own.
    pub fn all(bits: u128, answer: OwnedAnswer) -> Self {
        let mut report = Self {
            delivered: Vec::new(),
            failed: Vec::new(),
            deferred: Vec::new(),
            peer: None,
            host: String::new(),
        };
        report.add(bits, answer);
        report
    }

    fn add(&mut self, bits: u128, answer: OwnedAnswer) {
        if bits == 0 {
            return;
        }
        let parts = match answer.code {
            ..400 => &mut self.delivered,
            400..500 => &mut self.deferred,
            500.. => &mut self.failed,
        };
        match parts.iter_mut().find(|part| part.answer == answer) {
            Some(part) => part.bits |= bits,
            None => parts.push(Part { bits, answer }),
        }
    }
}

/// The answers to one transaction, as they come.
#[derive(Clone, Debug)]
pub struct Outcome {
    recipients: Bits,
    /// Recipients without an answer of their own.
    open: u128,
    /// Recipients that were taken at RCPT.
    accepted: u128,
    report: Report,
}

impl Outcome {
    /// Nothing answered yet.
    pub fn new(recipients: Bits, peer: SocketAddr, host: &str) -> Self {
        let mut report = Report::all(
            0,
            OwnedAnswer::local(0, Status::new(Class::Success, 0, 0), ""),
        );
        report.peer = Some(peer);
        report.host.push_str(host);
        Self {
            recipients,
            open: recipients.bits,
            accepted: 0,
            report,
        }
    }

    /// MAIL was answered: a refusal holds for everybody.
    pub fn mail(&mut self, answer: &Answer<'_>) {
        if !answer.is_positive() {
            self.everybody_left(OwnedAnswer::of(answer));
        }
    }

    /// The recipient of this number was answered.
    pub fn recipient(&mut self, index: u16, answer: &Answer<'_>) {
        let bit = self.recipients.nth(index) & self.open;
        if answer.is_positive() {
            self.accepted |= bit;
        } else {
            self.open &= !bit;
            self.report.add(bit, OwnedAnswer::of(answer));
        }
    }

    /// The message was answered: it holds for those that were taken at RCPT.
    pub fn sent(&mut self, answer: &Answer<'_>) {
        self.everybody_left(OwnedAnswer::of(answer));
    }

    /// The recipients from this number on were left over, and nobody was told of them: the report will not
    /// mention them, so that the same attempt goes on with them.
    pub fn left_over(&mut self, from: u16) {
        let mut left_over = self.recipients.bits;
        for _ in 0..from {
            left_over &= left_over.wrapping_sub(1);
        }
        self.recipients.bits &= !left_over;
        self.open &= !left_over;
    }

    /// Whether everybody was left over.
    pub const fn is_untried(&self) -> bool {
        self.recipients.bits == 0
    }

    /// The peer cannot be given this message.
    pub fn unsendable(&mut self, reason: Unsendable) {
        let text = match reason {
            Unsendable::TooLarge => "the message is larger than the next host takes",
            Unsendable::EightBit => "the next host does not take 8-bit content",
            Unsendable::Utf8 => "the next host does not take SMTPUTF8",
            Unsendable::Binary => "the next host does not take binary content",
            Unsendable::RequireTls => "the next host does not promise REQUIRETLS",
            Unsendable::DeliverBy => "the next host does not promise delivery in time",
            Unsendable::Hold => "the next host does not hold messages so long",
            _ => "the next host cannot be given this message",
        };
        self.everybody_left(OwnedAnswer::local(554, reason.status(), text));
    }

    /// The connection ended first. `None`: nobody was answered for good and the content was not sent
    /// whole, so that trying again at once does no harm.
    pub fn lost(mut self, fate: Fate, last_word: OwnedAnswer) -> Option<Report> {
        if self.open == 0 {
            return Some(self.report);
        }
        let untouched = self.open == self.recipients.bits;
        match fate {
            Fate::Unsent if untouched => None,
            Fate::Unsent | Fate::InDoubt | Fate::Answered => {
                let last_word = if !(400..500).contains(&last_word.code) {
                    // What was said of the connection is no verdict on these recipients, good or bad.
                    OwnedAnswer {
                        code: 450,
                        ..last_word
                    }
                } else {
                    last_word
                };
                self.everybody_left(last_word);
                Some(self.report)
            }
        }
    }

    /// The transaction has ended, and everybody has an answer.
    pub fn finish(mut self) -> Report {
        if self.open != 0 {
            let answer = OwnedAnswer::local(
                451,
                Status::new(Class::Transient, 5, 0),
                "the next host gave no answer for this recipient",
            );
            self.everybody_left(answer);
        }
        self.report
    }

    fn everybody_left(&mut self, answer: OwnedAnswer) {
        let bits = std::mem::take(&mut self.open);
        self.report.add(bits, answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_word_delivers_nothing() {
        let recipients = Bits {
            first: 0,
            bits: 0b11,
        };
        let peer = SocketAddr::from(([192, 0, 2, 1], 25));
        for (code, expected) in [(221, 450), (250, 450), (421, 421), (554, 450)] {
            let last_word = OwnedAnswer::local(code, Status::new(Class::Transient, 4, 2), "bye");
            let outcome = Outcome::new(recipients, peer, "mx.example");
            let report = outcome.lost(Fate::InDoubt, last_word).expect("a report");
            assert_eq!(
                (report.delivered, report.failed),
                (vec![], vec![]),
                "{code}"
            );
            assert_eq!(report.deferred.len(), 1);
            assert_eq!(report.deferred[0].bits, 0b11);
            assert_eq!(report.deferred[0].answer.code, expected);
        }
    }
}
