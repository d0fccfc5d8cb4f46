//! A message that is to be sent: made from choices, and what must be seen of it on the other side.
//! How it fares is not known here.

use super::tape::Tape;
use mailrail_protocol::address::{Charset, ForwardPath, Mailbox, ReversePath};
use mailrail_protocol::client::{BodyKind, Config, Envelope, Mail, Recipient, Unsendable};
use mailrail_protocol::command::{
    DeliverBy, Hold, Notify, OriginalRecipient, Priority, Return, Submitter,
};
use mailrail_protocol::extension::{Extension, Extensions};
use mailrail_protocol::xtext::Xtext;

#[derive(Debug)]
pub(crate) struct Letter {
    from: String,
    pub(crate) to: Vec<String>,
    pub(crate) content: Vec<u8>,
    body: Option<BodyKind>,
    size_known: bool,
    header_utf8: bool,
    leading_dots: bool,
    wishes: Wishes,
}

/// What is asked for the message beside its delivery.
#[derive(Debug)]
struct Wishes {
    require_tls: bool,
    return_: Option<Return>,
    envelope_id: Option<&'static str>,
    /// Empty: nobody that could be named.
    submitter: Option<&'static str>,
    deliver_by: Option<DeliverBy>,
    hold: Option<Hold>,
    priority: Option<Priority>,
    notify: Option<Notify>,
    original: Option<(&'static str, &'static str)>,
}

impl Wishes {
    /// Mostly none.
    fn new(tape: &mut Tape<'_>) -> Self {
        let by = |seconds, notify, trace| {
            Some(DeliverBy {
                seconds,
                notify,
                trace,
            })
        };
        let both = Notify::SUCCESS.with(Notify::DELAY);
        Self {
            require_tls: tape.choice(8) == 7,
            return_: [None, Some(Return::Full), Some(Return::Headers)][tape.choice(3)],
            envelope_id: [None, Some("an+20id"), Some("+3D")][tape.choice(3)],
            submitter: [
                None,
                Some(""),
                Some("u@a.example"),
                Some("gr\u{fc}n@a.example"),
            ][tape.choice(4)],
            deliver_by: [
                None,
                None,
                by(60, true, false),
                by(-60, true, true),
                by(60, false, true),
                by(600, false, false),
            ][tape.choice(6)],
            hold: [
                None,
                None,
                Some(Hold::For(60)),
                Some(Hold::For(6000)),
                Some(Hold::Until(1000)),
            ][tape.choice(5)],
            priority: [None, Priority::new(-9), Priority::new(9)][tape.choice(3)],
            notify: [None, Some(Notify::NEVER), Some(Notify::FAILURE), Some(both)][tape.choice(4)],
            original: [
                None,
                Some(("rfc822", "o+2Bo@a.example")),
                Some(("utf-8", "gr\u{fc}n@a.example")),
            ][tape.choice(3)],
        }
    }
}

const LINES: [&[u8]; 10] = [
    b"text",
    b"",
    b".",
    b"..",
    b".text",
    b"a longer line of text, which has some words in it.",
    b"gr\xc3\xbcn",
    b"bare\nLF, and\rCR",
    b"\n.",
    b"nul\0",
];

/// What a letter is sent to.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    pub(crate) offered: Extensions,
    pub(crate) encrypted: bool,
}

fn xtext(text: &str) -> Xtext<'_> {
    Xtext::parse_utf8(text.as_bytes()).expect("encoded text")
}

fn submitter(name: &str) -> Submitter<'_> {
    match name {
        "" => Submitter::Unknown,
        name => Submitter::Mailbox(xtext(name)),
    }
}

fn mailbox(text: &str) -> Mailbox<'_> {
    Mailbox::parse(text.as_bytes(), Charset::Utf8).expect("a mailbox")
}

impl Letter {
    /// The `number` stands in each of its addresses.
    pub(crate) fn new(number: usize, tape: &mut Tape<'_>) -> Self {
        let from = match tape.choice(8) {
            6 => String::new(),
            7 => format!("gr\u{fc}n.{number}@a.example"),
            _ => format!("x.{number}@a.example"),
        };
        let to = (0..=[0, 1, 2, 3, 5, 140][tape.choice(6)]).map(|recipient| {
            let domain = ["b.example", "b.example", "c.example", "d\u{fc}.example"];
            let domain = domain[if recipient == 0 { 0 } else { tape.choice(4) }];
            format!("{recipient}.{number}@{domain}")
        });
        let to = to.collect();
        let mut content = Vec::new();
        for _ in 0..tape.choice(6) {
            content.extend_from_slice(LINES[tape.choice(LINES.len() as u8)]);
            content.extend_from_slice(b"\r\n");
        }
        if tape.rarely() {
            content = content.repeat(50);
        }
        match tape.choice(16) {
            13 => content.extend_from_slice(b"no line end"),
            14 => content.extend_from_slice(b"half of one\r"),
            15 => content.extend_from_slice(b"."),
            _ => {}
        }
        let dots = content.starts_with(b".") || content.windows(3).any(|three| three == b"\r\n.");
        let content_ascii = content.is_ascii();
        let shape = tape.choice(16);
        let body = match tape.choice(6) {
            4 => Some(BodyKind::BinaryMime),
            5 if content_ascii => Some(BodyKind::SevenBit),
            _ => (!content_ascii || shape & 1 != 0).then_some(BodyKind::EightBitMime),
        };
        Self {
            from,
            to,
            content,
            body,
            size_known: shape & 6 != 2,
            header_utf8: shape == 15,
            leading_dots: dots || shape & 8 == 0,
            wishes: Wishes::new(tape),
        }
    }

    pub(crate) fn recipients(&self) -> Vec<Recipient<'_>> {
        (0..self.to.len()).map(|n| self.recipient(n)).collect()
    }

    pub(crate) fn envelope<'e>(&'e self, recipients: &'e [Recipient<'e>]) -> Envelope<'e> {
        let mut envelope = Envelope::new(self.reverse_path(), recipients);
        let (mail, wishes) = (&mut envelope.mail, &self.wishes);
        mail.size = self.size_known.then_some(self.content.len() as u64);
        mail.body = self.body;
        mail.smtputf8 = self.header_utf8;
        mail.require_tls = wishes.require_tls;
        mail.return_ = wishes.return_;
        mail.envelope_id = wishes.envelope_id.map(xtext);
        mail.submitter = wishes.submitter.map(submitter);
        mail.deliver_by = wishes.deliver_by;
        mail.hold = wishes.hold;
        mail.priority = wishes.priority;
        envelope.leading_dots = self.leading_dots;
        envelope
    }

    fn reverse_path(&self) -> ReversePath<'_> {
        match &*self.from {
            "" => ReversePath::Null,
            from => ReversePath::Mailbox(mailbox(from)),
        }
    }

    fn recipient(&self, n: usize) -> Recipient<'_> {
        let mut recipient = Recipient::new(ForwardPath::Mailbox(mailbox(&self.to[n])));
        recipient.notify = self.wishes.notify;
        recipient.original = self.wishes.original.map(|(kind, address)| {
            OriginalRecipient::new(kind, xtext(address)).expect("an address")
        });
        recipient
    }

    fn is_utf8(&self) -> bool {
        let mut addresses = self.to.iter().chain([&self.from]);
        self.header_utf8 || addresses.any(|address| !address.is_ascii())
    }

    /// Why this letter cannot go to such a peer: every reason there is.
    pub(crate) fn unsendable(&self, peer: &Peer, config: &Config) -> Vec<Unsendable> {
        let offers = |extension| peer.offered.has(extension);
        let len = self.content.len() as u64;
        let size_max = peer.offered.size_max();
        let by_chunks = config.chunking && offers(Extension::Chunking);
        let future = peer.offered.future_release();
        let reasons = [
            (
                self.is_utf8() && !offers(Extension::SmtpUtf8),
                Unsendable::Utf8,
            ),
            (
                self.body == Some(BodyKind::EightBitMime) && !offers(Extension::EightBitMime),
                Unsendable::EightBit,
            ),
            (
                self.body == Some(BodyKind::BinaryMime)
                    && !(by_chunks && offers(Extension::BinaryMime)),
                Unsendable::Binary,
            ),
            (
                self.size_known && size_max.is_some_and(|size_max| len > size_max),
                Unsendable::TooLarge,
            ),
            (
                self.wishes.require_tls && !(peer.encrypted && offers(Extension::RequireTls)),
                Unsendable::RequireTls,
            ),
            (
                self.wishes.deliver_by.is_some_and(|by| {
                    let shortest = peer.offered.deliver_by_min();
                    !by.notify
                        && (!offers(Extension::DeliverBy)
                            || i64::from(by.seconds) < i64::from(shortest))
                }),
                Unsendable::DeliverBy,
            ),
            (
                self.wishes.hold.is_some_and(|hold| {
                    !offers(Extension::FutureRelease)
                        || match hold {
                            Hold::For(seconds) => seconds > future.interval_max_s,
                            Hold::Until(moment) => moment > future.until_max,
                        }
                }),
                Unsendable::Hold,
            ),
        ];
        let reasons = reasons.into_iter().filter(|(holds, _)| *holds);
        reasons.map(|(_, reason)| reason).collect()
    }

    /// The line of MAIL that such a peer must get.
    pub(crate) fn mail_line(&self, peer: &Peer) -> Vec<u8> {
        let offers = |extension| peer.offered.has(extension);
        let wishes = &self.wishes;
        let mut mail = Mail::new(self.reverse_path());
        if offers(Extension::Size) && self.size_known {
            mail.size = Some(self.content.len() as u64);
        }
        // What holds without a word is not said.
        mail.body = self.body.filter(|body| *body != BodyKind::SevenBit);
        mail.smtputf8 = self.is_utf8();
        mail.require_tls = wishes.require_tls;
        if offers(Extension::Dsn) {
            mail.return_ = wishes.return_;
            mail.envelope_id = wishes.envelope_id.map(xtext);
        }
        if offers(Extension::Auth) {
            mail.submitter = match wishes.submitter {
                Some(name) if !name.is_ascii() => Some(Submitter::Unknown),
                name => name.map(submitter),
            };
        }
        if offers(Extension::DeliverBy) {
            mail.deliver_by = wishes.deliver_by;
        }
        mail.hold = wishes.hold;
        if offers(Extension::MtPriority) {
            mail.priority = wishes.priority;
        }
        let mut line = Vec::new();
        mail.write(&mut line);
        line
    }

    /// The line of RCPT that such a peer must get.
    pub(crate) fn recipient_line(&self, n: usize, peer: &Peer) -> Vec<u8> {
        let mut recipient = self.recipient(n);
        if !peer.offered.has(Extension::Dsn) {
            recipient = Recipient::new(recipient.to);
        }
        if !self.is_utf8() {
            let original = recipient.original;
            recipient.original = original.filter(|one| one.address().as_str().is_ascii());
        }
        let mut line = Vec::new();
        recipient.write(&mut line);
        line
    }

    /// What must arrive: by DATA the last line must end.
    pub(crate) fn arrives(&self, by_data: bool) -> Vec<u8> {
        let mut content = self.content.clone();
        //= RFC 5321 section 4.1.1.4: a CRLF is added where the last line has none
        if by_data && !content.is_empty() && !content.ends_with(b"\r\n") {
            content.extend_from_slice(b"\r\n");
        }
        content
    }

    /// Nothing in it that a strict server refuses.
    pub(crate) fn is_clean(&self) -> bool {
        if self.body == Some(BodyKind::BinaryMime) {
            return true;
        }
        let text = String::from_utf8_lossy(&self.content).replace("\r\n", "");
        !text.contains(['\r', '\n', '\0'])
    }
}
