//! A message that is to be sent: made from choices, and what must be seen of it on the other side.
//! How it fares is not known here.

use super::tape::Tape;
use mailrail_protocol::address::{Charset, ForwardPath, Mailbox, ReversePath};
use mailrail_protocol::client::{BodyKind, Config, Envelope, Mail, Recipient, Unsendable};
use mailrail_protocol::extension::{Extension, Extensions};

#[derive(Debug)]
pub(crate) struct Letter {
    from: String,
    pub(crate) to: Vec<String>,
    pub(crate) content: Vec<u8>,
    body: Option<BodyKind>,
    size_known: bool,
    header_utf8: bool,
    leading_dots: bool,
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
            content = content.repeat(200);
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
        Self {
            from,
            to,
            content,
            body: (!content_ascii || shape & 1 != 0).then_some(BodyKind::EightBitMime),
            size_known: shape & 6 != 2,
            header_utf8: shape == 15,
            leading_dots: dots || shape & 8 == 0,
        }
    }

    pub(crate) fn with_envelope<R>(&self, work: impl FnOnce(&Envelope<'_>) -> R) -> R {
        let recipients: Vec<_> = (0..self.to.len()).map(|n| self.recipient(n)).collect();
        let mut envelope = Envelope::new(self.reverse_path(), &recipients);
        envelope.mail.size = self.size_known.then_some(self.content.len() as u64);
        envelope.mail.body = self.body;
        envelope.mail.smtputf8 = self.header_utf8;
        envelope.leading_dots = self.leading_dots;
        work(&envelope)
    }

    fn reverse_path(&self) -> ReversePath<'_> {
        match &*self.from {
            "" => ReversePath::Null,
            from => ReversePath::Mailbox(mailbox(from)),
        }
    }

    fn recipient(&self, n: usize) -> Recipient<'_> {
        Recipient::new(ForwardPath::Mailbox(mailbox(&self.to[n])))
    }

    fn is_utf8(&self) -> bool {
        let mut addresses = self.to.iter().chain([&self.from]);
        self.header_utf8 || addresses.any(|address| !address.is_ascii())
    }

    /// Why a peer that offers this cannot have it; in this order, should there be several reasons.
    pub(crate) fn unsendable(&self, offered: &Extensions, _config: &Config) -> Vec<Unsendable> {
        let len = self.content.len() as u64;
        let too_large = offered.size_max().is_some_and(|size_max| len > size_max);
        let reasons = [
            (
                self.is_utf8() && !offered.has(Extension::SmtpUtf8),
                Unsendable::Utf8,
            ),
            (
                self.body == Some(BodyKind::EightBitMime) && !offered.has(Extension::EightBitMime),
                Unsendable::EightBit,
            ),
            (self.size_known && too_large, Unsendable::TooLarge),
        ];
        let reasons = reasons.into_iter().filter(|(holds, _)| *holds);
        reasons.map(|(_, reason)| reason).collect()
    }

    /// The line of MAIL that a peer must get that offers this.
    pub(crate) fn mail_line(&self, offered: &Extensions) -> Vec<u8> {
        let mut mail = Mail::new(self.reverse_path());
        let size = self.content.len() as u64;
        mail.size = (self.size_known && offered.has(Extension::Size)).then_some(size);
        mail.body = self.body;
        mail.smtputf8 = self.is_utf8();
        let mut line = Vec::new();
        mail.write(&mut line);
        line
    }

    /// The line of RCPT that a peer must get that offers this.
    pub(crate) fn recipient_line(&self, n: usize, _offered: &Extensions) -> Vec<u8> {
        let mut line = Vec::new();
        self.recipient(n).write(&mut line);
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
        let text = String::from_utf8_lossy(&self.content).replace("\r\n", "");
        !text.contains(['\r', '\n', '\0'])
    }
}
