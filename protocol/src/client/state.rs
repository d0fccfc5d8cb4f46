//! The state of a session, and the only file that changes it. What to send and how long to wait is
//! decided in `next`; what was sent is remembered in `window`.

use super::next::{Way, pipelines, plan, step, timeout};
use super::stage::{Answers, Phase, Stage};
use super::window::{Kind, Window};
use super::{Answer, Config, Envelope, Event, Fate, Next, Other, Segments, Violation};
use crate::body::stuff::Edge;
use crate::command::write::{self, DATA, QUIT, RESET, START_TLS};
use crate::extension::{self, Extensions};
use crate::reply::parse::{Fault, Reader};
use crate::sasl::Mechanism;
use crate::time::Instant;
use alloc::vec::Vec;

/// Octets of a peer's bytes that are shown with a violation.
const SHOWN_LEN_MAX: usize = 512;

/// One dialogue with a server: some 400 bytes, no heap, no buffer of its own.
#[derive(Debug)]
pub struct Session<'c> {
    config: &'c Config,
    extensions: Extensions,
    phase: Phase,
    window: Window,
    reader: Reader,
    /// For the oldest command of the window; set anew when that changes.
    deadline: Option<Instant>,
    /// As far as answers have come, the peer has a transaction open: only RSET gets it back.
    stale: bool,
    /// The peer has taken a message on this connection.
    proven: bool,
    /// The newest transaction, the only one that is still being sent.
    stage: Stage,
    way: Way,
    recipient_count: u16,
    written_count: u16,
    /// Octets that the chunk still lacks.
    chunk_left: u64,
    leading_dots: bool,
    edge: Edge,
    /// An older transaction was sent to its end and is not answered yet.
    behind: bool,
    older_recipient_count: u16,
    /// The answers to the oldest transaction that is still open.
    answers: Answers,
}

impl<'c> Session<'c> {
    /// A session that waits for the greeting; it answers it with EHLO by itself.
    #[must_use]
    pub fn new(config: &'c Config, now: Instant) -> Self {
        let mut window = Window::new();
        window.push(Kind::Greeting, 0);
        Self {
            config,
            extensions: Extensions::NONE,
            phase: Phase::Opening,
            window,
            reader: Reader::default(),
            deadline: Some(now.after(config.timeouts.greeting)),
            stale: false,
            proven: false,
            stage: Stage::None,
            way: Way::Data,
            recipient_count: 0,
            written_count: 0,
            chunk_left: 0,
            leading_dots: true,
            edge: Edge::LineStart,
            behind: false,
            older_recipient_count: 0,
            answers: Answers::default(),
        }
    }

    /// What the peer offered; nothing before [`Event::Ready`].
    #[must_use]
    pub const fn extensions(&self) -> Extensions {
        self.extensions
    }

    /// May `begin` be called? Between transactions, and, if the peer offers PIPELINING, as soon as
    /// the content was sent whole, when no more than this one transaction is unanswered.
    //= RFC 2920 section 3.1: the end of the content may be followed by the next transaction's commands
    #[must_use]
    pub fn can_begin(&self) -> bool {
        self.phase == Phase::Ready
            && match self.stage {
                Stage::None => true,
                Stage::Ended => !self.behind && self.pipelines(),
                _ => false,
            }
    }

    /// Opens the next transaction: from now on `write` is called with its envelope.
    ///
    /// # Panics
    /// If `can_begin` says no.
    pub fn begin(&mut self) {
        assert!(
            self.can_begin(),
            "a transaction was begun inside another one"
        );
        self.behind = self.stage == Stage::Ended;
        self.older_recipient_count = self.recipient_count;
        self.stage = Stage::Begun;
    }

    /// Appends every command of the newest transaction that the peer is ready for. Calling it twice
    /// changes nothing.
    ///
    /// # Panics
    /// If the envelope has no recipients, or more than 65,535.
    pub fn write(&mut self, envelope: &Envelope<'_>, out: &mut Vec<u8>) -> Next {
        if self.phase != Phase::Ready {
            return Next::Wait;
        }
        if matches!(self.stage, Stage::Begun | Stage::Cleared) && self.may_send(0) {
            self.open(envelope, out);
        }
        if self.stage == Stage::Envelope {
            self.write_recipients(envelope, out);
            if self.written_count == self.recipient_count && self.write_go(envelope, out) {
                return Next::Body;
            }
        }
        if self.stage == Stage::Body {
            Next::Body
        } else {
            Next::Wait
        }
    }

    /// MAIL, and RSET before it where the peer may have an older transaction open.
    fn open(&mut self, envelope: &Envelope<'_>, out: &mut Vec<u8>) {
        assert!(
            !envelope.recipients.is_empty(),
            "a transaction has a recipient"
        );
        let planned = plan(envelope, self.extensions, self.proven, self.config);
        let (mail, way) = match planned {
            Ok(planned) => planned,
            Err(reason) => {
                self.stage = Stage::Unsendable(reason);
                return;
            }
        };
        if self.stage == Stage::Begun {
            self.stage = Stage::Cleared;
            //= RFC 3030 section 2: after a BDAT that failed, or may yet fail, RSET clears the way
            let unsure = if self.behind {
                self.way != Way::Data
            } else {
                self.stale
            };
            if unsure {
                self.send(Kind::Reset, RESET, out);
            }
        }
        let from = out.len();
        mail.write(out);
        if !self.count(Kind::Mail, from, out) {
            return;
        }
        self.stage = Stage::Envelope;
        self.way = way;
        self.written_count = 0;
        self.recipient_count =
            u16::try_from(envelope.recipients.len()).expect("at most 65,535 recipients");
        self.leading_dots = envelope.leading_dots;
        self.edge = Edge::LineStart;
    }

    fn write_recipients(&mut self, envelope: &Envelope<'_>, out: &mut Vec<u8>) {
        assert!(
            envelope.recipients.len() == usize::from(self.recipient_count),
            "an envelope was changed inside its transaction"
        );
        let left = envelope
            .recipients
            .get(usize::from(self.written_count)..)
            .unwrap_or_default();
        for recipient in left {
            if self.newest().refused() || !self.may_send(0) {
                return;
            }
            let from = out.len();
            recipient.write(out);
            if !self.count(Kind::Recipient, from, out) {
                return;
            }
            self.written_count += 1;
        }
    }

    /// DATA, or BDAT. True if the content may follow.
    fn write_go(&mut self, envelope: &Envelope<'_>, out: &mut Vec<u8>) -> bool {
        let answers = self.newest();
        let all_answered = answers.answered == self.written_count;
        if answers.nobody(self.recipient_count) {
            return false;
        }
        match (self.way, envelope.mail.size) {
            (Way::Chunk, _) if !all_answered => {}
            (Way::Chunk | Way::ChunkAtOnce, Some(size)) => {
                let from = out.len();
                write::chunk_last(size, out);
                if self.count(Kind::Chunk, from, out) {
                    self.chunk_left = size;
                    self.stage = if size == 0 { Stage::Ended } else { Stage::Body };
                    return true;
                }
            }
            _ => {
                if self.may_send(DATA.len()) {
                    self.send(Kind::Data, DATA, out);
                    self.stage = Stage::Asked;
                }
            }
        }
        false
    }

    /// Takes at most one reply off the front of `input`. An incomplete one is not consumed.
    ///
    /// While the content is being sent it may be called between two chunks, if there is something
    /// to read; it need not.
    pub fn receive<'i>(
        &mut self,
        now: Instant,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
    ) -> Event<'i> {
        match self.phase {
            Phase::Closed | Phase::TurnedAway => return Event::Closed,
            Phase::Ending(violation) => return self.broken(violation, &[]),
            Phase::Handshake => return Event::Handshake,
            Phase::Opening | Phase::Ready | Phase::Quitting => {}
        }
        if let Some(event) = self.settle() {
            return event;
        }
        let before = *input;
        match self.reader.take(input) {
            Err(fault) => self.broken(violation(fault), before),
            Ok(Some(answer)) => {
                self.deadline = None;
                let more = !input.is_empty();
                self.digest(answer, more, out)
            }
            Ok(None) => {
                if let (None, Some(oldest)) = (self.deadline, self.window.oldest()) {
                    self.deadline = Some(now.after(timeout(oldest, self.config)));
                }
                Event::NeedInput
            }
        }
    }

    /// The end of a transaction that no answer marks.
    fn settle(&mut self) -> Option<Event<'static>> {
        if self.behind {
            return None;
        }
        if let Stage::Unsendable(reason) = self.stage {
            self.finish();
            return Some(Event::Unsendable(reason));
        }
        let dead = match self.stage {
            Stage::GivenUp => true,
            Stage::Envelope => self.answers.nobody(self.recipient_count),
            _ => false,
        };
        if !(dead && self.window.is_empty()) {
            return None;
        }
        self.finish();
        Some(Event::Over)
    }

    /// What an answer does.
    fn digest<'i>(&mut self, answer: Answer<'i>, more: bool, out: &mut Vec<u8>) -> Event<'i> {
        //= RFC 5321 section 3.8: 421 may answer any command, and none: the server hangs up
        if answer.code.get() == 421 {
            self.phase = Phase::TurnedAway;
            return Event::Close(answer);
        }
        let Some(kind) = self.window.pop() else {
            return self.unasked(answer);
        };
        let positive = answer.is_positive();
        let go_on = positive && kind == Kind::Data;
        if answer.code.is_intermediate() != go_on && kind != Kind::Quit {
            return self.broken(Violation::Unexpected(step(kind)), answer.raw());
        }
        match kind {
            Kind::Greeting if positive => self.hello(Kind::Hello, out),
            Kind::Hello if positive => {
                self.extensions = extension::parse::parse(answer.lines());
                self.ready()
            }
            //= RFC 5321 section 3.2: a server that does not know EHLO is asked by HELO
            Kind::Hello if answer.code.is_permanent() => self.hello(Kind::HelloOld, out),
            Kind::HelloOld if positive => self.ready(),
            Kind::Greeting | Kind::Hello | Kind::HelloOld => {
                //= RFC 5321 section 3.1: after a refusal the client says QUIT
                out.extend_from_slice(QUIT);
                self.close(answer)
            }
            Kind::StartTls if !positive => {
                self.phase = Phase::Ready;
                Event::TlsRefused(answer)
            }
            //= RFC 3207 section 6: what came in clear text behind the answer must not count as encrypted
            Kind::StartTls if more => self.broken(Violation::BytesBehindStartTls, answer.raw()),
            Kind::StartTls => {
                self.phase = Phase::Handshake;
                Event::Handshake
            }
            Kind::Reset if positive => self.taken_back(),
            Kind::Reset => self.broken(Violation::Unexpected(step(kind)), answer.raw()),
            Kind::Mail => {
                self.answers.mail = Some(positive);
                self.stale |= positive;
                Event::Mail(answer)
            }
            Kind::Recipient => self.recipient(answer),
            Kind::Data if positive => self.go(out),
            Kind::Data if self.answers.taken > 0 => self.sent(answer),
            Kind::Data => {
                self.stage = Stage::GivenUp;
                Event::Answered
            }
            Kind::End => {
                self.stale = false;
                self.sent(answer)
            }
            Kind::EndOfNothing => self.taken_back(),
            Kind::Chunk => self.chunk_answered(answer),
            Kind::Quit => self.close(answer),
        }
    }

    /// The peer has forgotten the transaction that it had open.
    fn taken_back(&mut self) -> Event<'static> {
        self.stale = false;
        Event::Answered
    }

    /// An answer while nothing is outstanding: only the content can be meant.
    fn unasked<'i>(&mut self, answer: Answer<'i>) -> Event<'i> {
        if self.stage == Stage::Body && !answer.is_positive() {
            return self.refused(answer);
        }
        self.broken(Violation::Unasked, answer.raw())
    }

    fn recipient<'i>(&mut self, answer: Answer<'i>) -> Event<'i> {
        let recipient = self.answers.answered;
        self.answers.answered += 1;
        if self.answers.refused() {
            // Whatever it says, it has no sender: the refusal of MAIL has told all.
            return Event::Answered;
        }
        self.answers.taken += u16::from(answer.is_positive());
        Event::Recipient(recipient, answer)
    }

    /// 354.
    fn go(&mut self, out: &mut Vec<u8>) -> Event<'static> {
        if self.answers.taken > 0 {
            self.stage = Stage::Body;
            return Event::SendBody;
        }
        //= RFC 2920 section 3.1: with no recipient left, a 354 is followed by the dot alone
        self.send(Kind::EndOfNothing, b".\r\n", out);
        self.stage = Stage::GivenUp;
        Event::Answered
    }

    /// The answer to BDAT LAST: of the older transaction if there are two.
    fn chunk_answered<'i>(&mut self, answer: Answer<'i>) -> Event<'i> {
        let positive = answer.is_positive();
        if !self.behind && self.stage == Stage::Body {
            // It should not come before the last octet; a refusal is understood all the same.
            return if positive {
                self.broken(Violation::Unexpected(step(Kind::Chunk)), answer.raw())
            } else {
                self.refused(answer)
            };
        }
        if positive {
            self.stale = false;
        }
        if self.answers.taken > 0 {
            return self.sent(answer);
        }
        //= RFC 2920 section 3.1: whatever follows when no recipient was taken, no message went anywhere
        self.finish();
        Event::Over
    }

    /// The pieces to send for this chunk of the content: slices of it, cut where a dot goes out twice.
    ///
    /// # Panics
    /// If no content is due, or if there is more of it than `Envelope::size` said.
    pub fn segments<'b>(&mut self, chunk: &'b [u8]) -> Segments<'b> {
        if chunk.is_empty() {
            return Segments::whole(chunk);
        }
        assert!(self.stage == Stage::Body, "content where none is due");
        self.deadline = None;
        if self.way != Way::Data {
            self.chunk_left = self
                .chunk_left
                .checked_sub(chunk.len() as u64)
                .expect("content must not be longer than its envelope says");
            if self.chunk_left == 0 {
                self.stage = Stage::Ended;
            }
            //= RFC 3030 section 2: the octets of a chunk go out as they are
            return Segments::whole(chunk);
        }
        let edge = self.edge;
        self.edge = edge.after(chunk);
        if self.leading_dots {
            Segments::stuffed(edge, chunk)
        } else {
            Segments::whole(chunk)
        }
    }

    /// The content is complete: appends its end.
    ///
    /// # Panics
    /// If no content is due, or if there was less of it than `Envelope::size` said.
    pub fn end_body(&mut self, out: &mut Vec<u8>) {
        if self.way != Way::Data {
            assert!(
                self.stage != Stage::Body,
                "content must not be shorter than its envelope says"
            );
            return;
        }
        assert!(
            self.stage == Stage::Body,
            "the end of content where none is due"
        );
        //= RFC 5321 section 4.1.1.4: the dot stands on a line of its own, so the last line must have ended
        let end: &[u8] = if self.edge == Edge::LineStart {
            b".\r\n"
        } else {
            b"\r\n.\r\n"
        };
        self.send(Kind::End, end, out);
        self.stage = Stage::Ended;
    }

    /// Appends AUTH, behind [`Event::Ready`] and between transactions, with an initial response (which the session
    /// writes in base64) if there is one. False if that response made the line too long: then it was left
    /// out, and the peer's first challenge, which is empty, is to be answered with it.
    //= RFC 4954 section 4: an initial response that does not fit into the line is not sent with it
    ///
    /// # Panics
    /// In a transaction, or if the peer does not offer the mechanism.
    pub fn auth(
        &mut self,
        mechanism: Mechanism,
        initial: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> bool {
        let _ = (mechanism, initial, out);
        unimplemented!()
    }

    /// Appends the answer to [`Event::Challenge`], in base64.
    ///
    /// # Panics
    /// If no challenge waits for an answer.
    pub fn respond(&mut self, response: &[u8], out: &mut Vec<u8>) {
        let _ = (response, out);
        unimplemented!()
    }

    /// Answers [`Event::Challenge`] by giving up; [`Event::AuthRefused`] will follow.
    ///
    /// # Panics
    /// If no challenge waits for an answer.
    pub fn cancel_auth(&mut self, out: &mut Vec<u8>) {
        let _ = out;
        unimplemented!()
    }

    /// Appends a command that is no part of a transaction; [`Event::Other`] will tell the answer. Behind
    /// XCLIENT the dialogue begins anew: after a positive answer comes [`Event::Ready`] again.
    ///
    /// # Panics
    /// In a transaction.
    pub fn ask(&mut self, other: &Other<'_>, out: &mut Vec<u8>) {
        let _ = (other, out);
        unimplemented!()
    }

    /// Announces the next piece of the content, where `write` says [`Next::Chunk`]: `len` octets, and whether
    /// they are the last ones.
    ///
    /// # Panics
    /// If no chunk is due.
    //= RFC 3030 section 2: BDAT, the number of octets, and LAST with the last of the chunks
    pub fn chunk(&mut self, len: u64, last: bool, out: &mut Vec<u8>) {
        let _ = (len, last, out);
        unimplemented!()
    }

    /// Gives up the newest transaction: `Over` will follow. `false` if it is too late, since the
    /// content is due, asked for, or on its way: then only hanging up can stop it.
    ///
    /// Between transactions it sends RSET if the peer needs one. There is no need to: the next
    /// transaction sees to it by itself.
    pub fn reset(&mut self, out: &mut Vec<u8>) -> bool {
        match self.stage {
            Stage::Asked | Stage::Body | Stage::Ended => return false,
            Stage::GivenUp | Stage::Unsendable(_) => return true,
            Stage::Begun | Stage::Cleared => self.stage = Stage::GivenUp,
            Stage::None if !self.stale || !self.window.is_empty() => {}
            Stage::None | Stage::Envelope => {
                if self.stage == Stage::Envelope {
                    self.stage = Stage::GivenUp;
                }
                if self.may_send(RESET.len()) {
                    self.send(Kind::Reset, RESET, out);
                }
            }
        }
        true
    }

    /// Appends QUIT, whose answer will be [`Event::Close`]; the answers before it still come. True
    /// if it has been sent, now or before. False in the middle of a transaction, and, for a peer
    /// without PIPELINING, while an answer is outstanding: ask again later, or hang up.
    pub fn quit(&mut self, out: &mut Vec<u8>) -> bool {
        let idle = matches!(self.stage, Stage::None | Stage::Ended);
        let quiet = self.window.is_empty() || self.pipelines();
        if self.phase == Phase::Ready && idle && quiet {
            self.send(Kind::Quit, QUIT, out);
            self.phase = Phase::Quitting;
        }
        self.phase == Phase::Quitting
    }

    /// Appends STARTTLS, right after [`Event::Ready`].
    ///
    /// # Panics
    /// In a transaction.
    pub fn start_tls(&mut self, out: &mut Vec<u8>) {
        assert!(
            self.phase == Phase::Ready && self.stage == Stage::None && self.window.is_empty(),
            "STARTTLS in the middle of something"
        );
        self.send(Kind::StartTls, START_TLS, out);
        //= RFC 3207 section 4: nothing is sent behind STARTTLS before its answer has come
        self.phase = Phase::Opening;
    }

    /// The handshake is done: the dialogue starts again with EHLO.
    ///
    /// # Panics
    /// If no handshake was due.
    pub fn tls_established(&mut self, out: &mut Vec<u8>) {
        assert!(
            self.phase == Phase::Handshake,
            "a handshake that nobody asked for"
        );
        //= RFC 3207 section 4.2: whatever was learnt before the handshake is forgotten
        self.extensions = Extensions::NONE;
        self.phase = Phase::Opening;
        let _ = self.hello(Kind::Hello, out);
    }

    /// When the peer's time is up; `None` while nothing is waited for.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// If the deadline has passed, the next event is [`Event::Broken`].
    pub fn handle_timeout(&mut self, now: Instant) {
        let late = self.deadline.is_some_and(|deadline| deadline <= now);
        if let (true, Some(oldest)) = (late, self.window.oldest()) {
            self.deadline = None;
            self.phase = Phase::Ending(Violation::Silent(step(oldest)));
        }
    }

    /// What became of the transactions that no event has ended, oldest first; `None` for those
    /// that do not exist. To be asked when the connection has ended, for whatever reason.
    #[must_use]
    pub fn fates(&self) -> [Option<Fate>; 2] {
        let (stage, answers, away) = (self.stage, self.answers, self.phase == Phase::TurnedAway);
        if self.behind {
            let older = Stage::Ended.fate(answers, self.older_recipient_count, away);
            return [
                older,
                stage.fate(Answers::default(), self.recipient_count, away),
            ];
        }
        [stage.fate(answers, self.recipient_count, away), None]
    }

    fn pipelines(&self) -> bool {
        pipelines(self.extensions, self.config)
    }

    /// May one more command of this length go out before the next answer?
    fn may_send(&self, len: usize) -> bool {
        self.window.is_empty() || (self.pipelines() && self.window.has_room(len))
    }

    fn send(&mut self, kind: Kind, line: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(line);
        self.window.push(kind, line.len());
    }

    /// Remembers the command that was written at `from`, or takes it back if it has no room yet.
    fn count(&mut self, kind: Kind, from: usize, out: &mut Vec<u8>) -> bool {
        let len = out.len() - from;
        if !self.may_send(len) {
            out.truncate(from);
            return false;
        }
        self.window.push(kind, len);
        true
    }

    fn hello(&mut self, kind: Kind, out: &mut Vec<u8>) -> Event<'static> {
        let from = out.len();
        write::hello(kind == Kind::Hello, &self.config.hostname, out);
        self.window.push(kind, out.len() - from);
        Event::Answered
    }

    fn ready(&mut self) -> Event<'static> {
        self.phase = Phase::Ready;
        Event::Ready(self.extensions)
    }

    /// The answers to the newest transaction.
    fn newest(&self) -> Answers {
        if self.behind {
            Answers::default()
        } else {
            self.answers
        }
    }

    /// The oldest transaction has ended.
    fn finish(&mut self) {
        self.answers = Answers::default();
        if !core::mem::take(&mut self.behind) {
            self.stage = Stage::None;
        }
    }

    fn sent<'i>(&mut self, answer: Answer<'i>) -> Event<'i> {
        self.proven |= answer.is_positive();
        self.finish();
        Event::Sent(answer)
    }

    fn refused<'i>(&mut self, answer: Answer<'i>) -> Event<'i> {
        self.finish();
        self.phase = Phase::Closed;
        Event::Refused(answer)
    }

    fn close<'i>(&mut self, answer: Answer<'i>) -> Event<'i> {
        self.phase = Phase::Closed;
        Event::Close(answer)
    }

    fn broken<'i>(&mut self, violation: Violation, bytes: &'i [u8]) -> Event<'i> {
        self.phase = Phase::Closed;
        self.deadline = None;
        Event::Broken(violation, bytes.get(..SHOWN_LEN_MAX).unwrap_or(bytes))
    }
}

const fn violation(fault: Fault) -> Violation {
    match fault {
        Fault::Malformed => Violation::Malformed,
        Fault::CodesDiffer => Violation::CodesDiffer,
        Fault::TooLong => Violation::TooLong,
    }
}
