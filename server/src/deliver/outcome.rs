//! What the answers of a dialogue mean for the recipients of a parcel. Pure.

use crate::message::answer::ANSWER_LEN_MAX;
use crate::message::{self, Class, Status};
use mailrail_protocol::client::{Answer, Fate, Unsendable};
use mailrail_runtime::tls::TlsInfo;
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

/// What is said of recipients that count as delivered without an answer.
const ASSUMED: &str = "assumed delivered: sent to its end, and no answer came";

/// What is said of recipients in doubt, and what ended the connection where that is known.
pub fn in_doubt(last_word: Option<&OwnedAnswer>) -> OwnedAnswer {
    //= RFC 3463 section 3.5: X.4.2 is a bad connection
    let status = Status::new(Class::Transient, 4, 2);
    let mut answer = OwnedAnswer::local(421, status, IN_DOUBT);
    if let Some(last_word) = last_word {
        answer.text.extend_from_slice(b": ");
        answer.text.extend_from_slice(&last_word.text);
        answer.text.truncate(ANSWER_LEN_MAX);
    }
    answer
}

const IN_DOUBT: &str = "in doubt: sent to its end, and no answer came";

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
    /// Of those to try again, the ones of whom the journal says that they may have the message.
    pub doubt: u128,
    /// Who answered.
    pub peer: Option<SocketAddr>,
    /// Under which name it was looked for.
    pub host: String,
    /// Inside which TLS it answered.
    pub tls: Option<TlsInfo>,
    /// The connection ended before it had carried a message and before one recipient of this one was answered:
    /// nothing is known of the peer but that it was there.
    pub is_silent: bool,
}

impl Report {
    /// A report in which all recipients share one answer of our own.
    pub fn all(bits: u128, answer: OwnedAnswer) -> Self {
        let mut report = Self {
            delivered: Vec::new(),
            failed: Vec::new(),
            deferred: Vec::new(),
            doubt: 0,
            peer: None,
            host: String::new(),
            tls: None,
            is_silent: false,
        };
        report.add(bits, answer);
        report
    }

    /// As [`Self::all`], with further recipients that have another answer.
    #[must_use]
    pub fn and(mut self, bits: u128, answer: OwnedAnswer) -> Self {
        self.add(bits, answer);
        self
    }

    /// Takes those in doubt out of those to try again; the last answer that one of them got.
    fn take_doubt(&mut self) -> (u128, Option<OwnedAnswer>) {
        let doubt = std::mem::take(&mut self.doubt);
        let mut last = None;
        for part in &mut self.deferred {
            if part.bits & doubt != 0 {
                part.bits &= !doubt;
                last = Some(part.answer.clone());
            }
        }
        self.deferred.retain(|part| part.bits != 0);
        (doubt, last)
    }

    /// Those in doubt, and these as well, count as delivered. The peer has not said so: there is no code.
    pub fn assume_delivered(&mut self, others: u128) {
        let (doubt, last) = self.take_doubt();
        let mut text = ASSUMED.as_bytes().to_vec();
        if let Some(last) = last {
            text.extend_from_slice(b": ");
            text.extend_from_slice(&last.text);
        }
        text.truncate(ANSWER_LEN_MAX);
        let answer = OwnedAnswer {
            code: 0,
            status: None,
            text,
        };
        self.add(doubt | others, answer);
    }

    /// Those in doubt stay so, and their answer tells it.
    pub fn hold(&mut self) {
        let (doubt, last) = self.take_doubt();
        self.add(doubt, in_doubt(last.as_ref()));
        self.doubt = doubt;
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
    pub fn new(recipients: Bits, peer: SocketAddr, host: &str, tls: Option<TlsInfo>) -> Self {
        let mut report = Report::all(
            0,
            OwnedAnswer::local(0, Status::new(Class::Success, 0, 0), ""),
        );
        report.peer = Some(peer);
        report.tls = tls;
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

    /// Recipients that may have the message once its end was sent.
    pub const fn unanswered(&self) -> u128 {
        self.open
    }

    /// Whether no recipient was answered, neither at RCPT nor by what holds for all.
    pub const fn is_silent(&self) -> bool {
        self.open == self.recipients.bits && self.accepted == 0
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
    /// whole, so that trying again at once does no harm. With `is_noted` the journal was told before the end
    /// was sent.
    pub fn lost(mut self, fate: Fate, last_word: OwnedAnswer, is_noted: bool) -> Option<Report> {
        if self.open == 0 {
            return Some(self.report);
        }
        let untouched = self.open == self.recipients.bits;
        match fate {
            Fate::Unsent if untouched => None,
            Fate::Unsent | Fate::InDoubt | Fate::Answered => {
                if fate == Fate::InDoubt && is_noted {
                    self.report.doubt = self.open;
                }
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
    use mailrail_protocol::reply::parse::Reader;

    #[test]
    fn a_last_word_delivers_nothing() {
        let recipients = Bits {
            first: 0,
            bits: 0b11,
        };
        let peer = SocketAddr::from(([192, 0, 2, 1], 25));
        for (code, expected) in [(221, 450), (250, 450), (421, 421), (554, 450)] {
            let last_word = OwnedAnswer::local(code, Status::new(Class::Transient, 4, 2), "bye");
            let outcome = Outcome::new(recipients, peer, "mx.example", None);
            let report = outcome
                .lost(Fate::InDoubt, last_word, false)
                .expect("a report");
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

    #[test]
    fn a_peer_that_takes_a_recipient_is_not_silent() {
        let answer = |line: &'static [u8]| {
            let mut input = line;
            let answer = Reader::default().take(&mut input);
            answer.expect("well-formed").expect("whole")
        };
        let recipients = Bits {
            first: 0,
            bits: 0b11,
        };
        let peer = SocketAddr::from(([192, 0, 2, 1], 25));
        let mut outcome = Outcome::new(recipients, peer, "mx.example", None);
        outcome.mail(&answer(b"250 ok\r\n"));
        assert!(outcome.is_silent());
        for line in [b"250 ok\r\n", b"550 no\r\n"] {
            let mut outcome = outcome.clone();
            outcome.recipient(0, &answer(line));
            assert!(!outcome.is_silent());
        }
        outcome.mail(&answer(b"450 not now\r\n"));
        assert!(!outcome.is_silent());
    }
}
