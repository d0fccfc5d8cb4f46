//! A whole dialogue of the client's session with a peer that says anything. Each transaction that
//! was begun ends once, or with the connection, and nothing goes on for ever.

use mailrail_protocol::address::{Charset, ForwardPath, Mailbox, ReversePath};
use mailrail_protocol::client::{
    BodyKind, Config, Envelope, Event, Next, Other, Recipient, Session,
};
use mailrail_protocol::command::{DeliverBy, Hold, Notify, Priority, Return, Submitter, parse};
use mailrail_protocol::sasl::Mechanism;
use mailrail_protocol::time::Instant;

const CONTENT: &[u8] = b"Subject: x\r\n\r\n.dot\r\ntext\r\n";

/// Two octets of settings, then what the peer sends.
pub(crate) fn run(bytes: &[u8]) {
    let Some((&settings, bytes)) = bytes.split_first_chunk() else {
        return;
    };
    for piece_len in [1, 7, bytes.len().max(1)] {
        talk(u16::from_le_bytes(settings), bytes, piece_len);
    }
}

fn mailbox(text: &str) -> Mailbox<'_> {
    Mailbox::parse(text.as_bytes(), Charset::Utf8).expect("a mailbox")
}

/// What the caller has done, and what it waits for.
struct Caller<'c> {
    session: Session<'c>,
    out: Vec<u8>,
    begun: u32,
    over: u32,
    asked: u32,
    asking: bool,
    /// Octets of the newest content that are sent.
    sent_len: usize,
    is_written: bool,
    /// Recipients of the oldest transaction: sent, answered, taken, delivered.
    left_over: Option<u16>,
    answered: u16,
    taken: u16,
    delivered: u16,
}

fn talk(settings: u16, bytes: &[u8], piece_len: usize) {
    let is_set = |bit: u16| settings >> bit & 1 == 1;
    let mut config = Config::new("client.example");
    config.pipelining = !is_set(0);
    config.chunking = !is_set(1);
    config.lmtp = is_set(8);
    config.own_chunks = is_set(9);
    let to = ["y@mx.example", "z@mx.example", "z@MX2.example"].map(|to| {
        let mut to = Recipient::new(ForwardPath::Mailbox(mailbox(to)));
        to.notify = is_set(5).then_some(Notify::SUCCESS);
        to
    });
    let from = if is_set(2) {
        "ü@a.example"
    } else {
        "x@a.example"
    };
    let mut envelope = Envelope::new(ReversePath::Mailbox(mailbox(from)), &to);
    envelope.leading_dots = true;
    let mail = &mut envelope.mail;
    mail.size = (!is_set(3)).then_some(CONTENT.len() as u64);
    if is_set(4) {
        mail.body = Some(if is_set(6) {
            BodyKind::BinaryMime
        } else {
            BodyKind::EightBitMime
        });
    }
    if is_set(5) {
        mail.return_ = Some(Return::Full);
        mail.submitter = Some(Submitter::Unknown);
        mail.priority = Priority::new(1);
        mail.deliver_by = Some(DeliverBy {
            seconds: 60,
            notify: is_set(7),
            trace: false,
        });
    }
    mail.require_tls = is_set(10);
    mail.hold = is_set(11).then_some(Hold::For(60));

    let now = Instant::from_micros(0);
    let session = if is_set(12) {
        Session::over_tls(&config, now)
    } else {
        Session::new(&config, now)
    };
    let mut caller = Caller {
        session,
        out: Vec::new(),
        begun: 0,
        over: 0,
        asked: if is_set(13) { 0 } else { 2 },
        asking: false,
        sent_len: 0,
        is_written: true,
        left_over: None,
        answered: 0,
        taken: 0,
        delivered: 0,
    };
    let (mut start, mut end) = (0, 0);
    // Each reply is good for a few steps; whatever comes, there are no more.
    for _ in 0..16 * (bytes.len() + 4) {
        caller.write(&envelope);
        let mut input = &bytes[start..end];
        let event = caller.session.receive(now, &mut input, &mut caller.out);
        start = end - input.len();
        match event {
            Event::NeedInput => {
                caller.out.clear();
                if end == bytes.len() {
                    return;
                }
                end = (end + piece_len).min(bytes.len());
            }
            Event::Close(_) | Event::Broken(..) | Event::Closed => {
                let _ = caller.session.fates();
                return;
            }
            event => caller.hear(&event),
        }
        caller.go_on(is_set(14));
    }
    panic!("it goes on for ever");
}

impl Caller<'_> {
    /// All that may be written now.
    fn write(&mut self, envelope: &Envelope<'_>) {
        while self.begun > self.over {
            let rest = &CONTENT[self.sent_len..];
            let len = match self.session.write(envelope, &mut self.out) {
                Next::Body if !self.is_written => rest.len(),
                Next::Chunk if !self.is_written => {
                    let len = rest.len().min(9);
                    let last = len == rest.len();
                    self.session.chunk(len as u64, last, &mut self.out);
                    self.is_written = last;
                    len
                }
                _ => return,
            };
            for chunk in rest[..len].chunks(5) {
                for piece in self.session.segments(chunk) {
                    self.out.extend_from_slice(piece);
                }
            }
            self.sent_len += len;
            if self.sent_len < CONTENT.len() {
                continue;
            }
            self.is_written = true;
            self.session.end_body(&mut self.out);
            if self.begun < 3 && self.session.can_begin() {
                self.begin();
            }
        }
    }

    fn begin(&mut self) {
        self.session.begin();
        self.begun += 1;
        self.sent_len = 0;
        self.is_written = false;
    }

    fn hear(&mut self, event: &Event<'_>) {
        match event {
            Event::Handshake => self.session.tls_established(&mut self.out),
            Event::Challenge(challenge) if challenge.len() % 2 == 0 => {
                self.session.respond(challenge, &mut self.out);
            }
            Event::Challenge(_) => self.session.cancel_auth(&mut self.out),
            Event::Authenticated(_) | Event::AuthRefused(_) | Event::Other(_) => {
                assert!(self.asking, "nothing was asked");
                self.asking = false;
            }
            Event::LeftOver(from) => {
                assert!(self.left_over.is_none() && self.answered == 0 && *from < 3);
                self.left_over = Some(*from);
            }
            Event::Recipient(n, answer) => {
                assert_eq!(*n, self.answered);
                assert!(*n < self.left_over.unwrap_or(3));
                self.answered += 1;
                self.taken += u16::from(answer.is_positive());
            }
            Event::Delivered(n, _) => {
                assert_eq!(*n, self.delivered);
                assert!(*n < self.taken);
                self.delivered += 1;
            }
            Event::Sent(_) | Event::Over | Event::Unsendable(_) | Event::Refused(_) => {
                self.over += 1;
                self.left_over = None;
                (self.answered, self.taken, self.delivered) = (0, 0, 0);
            }
            _ => {}
        }
        assert!(self.over <= self.begun, "a transaction ended twice");
    }

    /// Between transactions: a question, a next one, or QUIT.
    fn go_on(&mut self, tls: bool) {
        if self.begun != self.over {
            return;
        }
        if self.session.can_ask() && self.asked < 2 {
            self.asked += 1;
            if tls && self.asked == 1 && !self.session.is_encrypted() {
                return self.session.start_tls(&mut self.out);
            }
            self.asking = true;
            let offered = self.session.extensions().mechanisms();
            if offered.has(Mechanism::Plain) && !self.session.is_authenticated() {
                self.session
                    .auth(Mechanism::Plain, Some(b"\0u\0p"), &mut self.out);
            } else if self.asked == 1 {
                let (verb, argument) = parse::verb(b"XCLIENT NAME=c.example").expect("a verb");
                let other = parse::other(verb, argument).expect("a command");
                self.session.ask(&other, &mut self.out);
            } else {
                self.session.ask(&Other::Noop, &mut self.out);
            }
        } else if self.begun < 3 && self.session.can_begin() && !self.asking {
            self.begin();
        } else if self.begun == 3 || self.session.is_used_up() {
            self.session.quit(&mut self.out);
        }
    }
}
