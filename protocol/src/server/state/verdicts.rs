//! What the caller's answers change. Which question is open was decided by `step`.

use super::{Phase, Question, Session};
use crate::reply::Reply;
use crate::sasl::base64;
use crate::server::state::{LastWord, NEVER, Swallow};
use crate::server::{Turn, greeting};
use alloc::vec::Vec;

impl Session<'_> {
    /// Answers the open turn. The reply is the verdict: a positive one moves the dialogue on, 421
    /// closes. A refused DATA or end of data ends the transaction, a refused MAIL begins none, a
    /// refused AUTH ends the exchange, and a refused recipient leaves the others alone.
    ///
    /// # Panics
    /// If `turn` is not the one that is open.
    pub fn reply(&mut self, turn: Turn, reply: &Reply<'_>, out: &mut Vec<u8>) {
        let question = self.spend(turn);
        assert!(
            question != Question::Nothing,
            "a turn was answered that is not open"
        );
        if reply.is_positive() {
            self.granted(question, reply, out);
            return;
        }
        //= RFC 2034 section 4: neither the greeting nor the reply to EHLO carries a status
        match question {
            Question::Connected | Question::Ehlo | Question::Helo => reply.write_plain(out),
            _ => self.say(reply, out),
        }
        //= RFC 5321 section 3.8: 421 to any command says that the connection is closing
        if reply.code.get() == 421 {
            self.hang_up();
        } else {
            self.refused(question, reply);
        }
    }

    /// Answers the open turn of an AUTH exchange with 334 and this challenge, which the session
    /// writes in base64. How long it may be is the mechanism's affair: no line of ours is cut here.
    //= RFC 4954 section 4: a challenge is 334 and nothing but base64, which may be empty
    ///
    /// # Panics
    /// If this turn is not the one that is open, or none of AUTH.
    pub fn challenge(&mut self, turn: Turn, challenge: &[u8], out: &mut Vec<u8>) {
        let question = self.spend(turn);
        assert!(
            question == Question::Auth,
            "a challenge answers an open turn of AUTH"
        );
        out.extend_from_slice(b"334 ");
        base64::encode(challenge, out);
        out.extend_from_slice(b"\r\n");
        self.phase = Phase::Exchange;
    }

    /// The question that `turn` was for; `Nothing` if it is not the open one.
    fn spend(&mut self, turn: Turn) -> Question {
        let question = core::mem::replace(&mut self.open, Question::Nothing);
        if turn.0 == self.serial {
            question
        } else {
            Question::Nothing
        }
    }

    fn granted(&mut self, question: Question, reply: &Reply<'_>, out: &mut Vec<u8>) {
        match question {
            Question::Connected => {
                greeting::write_greeting(self.config, reply, out);
                self.phase = Phase::Greeted;
            }
            Question::Ehlo | Question::Helo => {
                let extended = question == Question::Ehlo;
                greeting::write_hello(self.config, extended, self.tls, reply, out);
                self.phase = Phase::Idle;
            }
            //= RFC 5321 section 4.3.2: DATA is answered with 354, and nothing else lets it begin
            Question::Data => {
                let begins = reply.code.is_intermediate();
                self.say(if begins { reply } else { &Reply::START_DATA }, out);
                self.begin_body(Phase::Data);
            }
            Question::FirstChunk => self.begin_body(Phase::Chunk),
            // <https://www.postfix.org/XCLIENT_README.html>: success is the greeting, once more.
            Question::XClient => {
                let greets = reply.code == Reply::GREETING.code;
                let reply = if greets { reply } else { &Reply::GREETING };
                greeting::write_greeting(self.config, reply, out);
                self.begin_anew();
            }
            _ => self.say(reply, out),
        }
        match question {
            Question::StartTls => self.phase = Phase::Handshake,
            Question::Auth => self.note_auth(reply),
            Question::Mail => {
                self.phase = Phase::Envelope;
                self.mails = self.mails.saturating_add(1);
                self.excused = false;
            }
            Question::Recipient => self.recipients += 1,
            Question::EndOfData => self.forget_faults(),
            Question::EndOfDataFor => {
                self.forget_faults();
                self.answer_next();
            }
            _ => {}
        }
    }

    fn refused(&mut self, question: Question, reply: &Reply<'_>) {
        match question {
            Question::Connected => self.phase = Phase::Refused,
            Question::Auth => {
                self.phase = Phase::Idle;
                // It is guesses at a password that are counted here, and few are to be had.
                if reply.code.is_permanent() {
                    self.count_error();
                }
                return;
            }
            Question::Mail => self.excused = true,
            Question::Recipient => self.recipient_refused = true,
            Question::Data => {
                self.end_transaction();
                self.excused = true;
            }
            Question::FirstChunk => self.refuse_first_chunk(reply),
            Question::EndOfDataFor => self.answer_next(),
            _ => {}
        }
        if reply.code.is_permanent() {
            self.refusals = self.refusals.saturating_add(1);
            if self.refusals >= self.config.limits.refusal_count_max {
                self.last_word = LastWord::TooManyErrors;
            }
        }
    }

    /// The exchange goes on, or has succeeded.
    fn note_auth(&mut self, reply: &Reply<'_>) {
        if reply.code.is_intermediate() {
            self.phase = Phase::Exchange;
        } else {
            self.phase = Phase::Idle;
            self.authenticated = true;
        }
    }

    /// The first chunk is thrown away. It is answered already; where it is the last as well, LMTP
    /// owes the same to each recipient behind the first.
    //= RFC 2033 section 4.3: BDAT with LAST has a reply for each successful RCPT
    fn refuse_first_chunk(&mut self, reply: &Reply<'_>) {
        let owed = self.answer_count() - 1;
        self.end_transaction();
        self.excused = true;
        self.begin_swallow(Swallow::Chunk);
        self.owed = owed;
        self.again = (owed > 0).then_some((reply.code, reply.status));
    }

    /// A message was taken: what the peer did wrong before is forgiven.
    fn forget_faults(&mut self) {
        self.since = NEVER;
        self.commands = 0;
        self.errors = 0;
        self.refusals = 0;
    }

    /// Another client speaks from here on, over the same connection. TLS stays, since it is the
    /// connection's; AUTH was somebody else's.
    fn begin_anew(&mut self) {
        self.phase = Phase::Greeted;
        self.authenticated = false;
        self.excused = false;
        self.mails = 0;
        self.forget_faults();
    }

    /// One of LMTP's recipients has its answer.
    fn answer_next(&mut self) {
        self.answered += 1;
        if self.answered >= self.recipients {
            self.end_transaction();
        }
    }
}
