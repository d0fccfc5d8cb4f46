//! What a `> message` line of a transcript says, and the envelope that it makes.

use mailrail_protocol::address::{Charset, ForwardPath, Mailbox, ReversePath};
use mailrail_protocol::client::{BodyKind, Envelope, Recipient};
use mailrail_protocol::command::{
    DeliverBy, Hold, Notify, OriginalRecipient, Priority, Return, Submitter,
};
use mailrail_protocol::xtext::Xtext;

#[derive(Default)]
pub(crate) struct Message {
    from: String,
    to: Vec<String>,
    size: Option<u64>,
    body: Option<BodyKind>,
    utf8: bool,
    plain: bool,
    require_tls: bool,
    return_: Option<Return>,
    envelope_id: Option<String>,
    submitter: Option<String>,
    deliver_by: Option<DeliverBy>,
    hold: Option<Hold>,
    priority: Option<Priority>,
    notify: Option<Notify>,
    original: Option<String>,
}

impl Message {
    pub(crate) fn parse(words: &str) -> Self {
        let mut message = Self::default();
        for word in words.split_whitespace() {
            match word.split_once('=') {
                Some((name, value)) => message.set(name, value),
                None if word == "8bit" => message.body = Some(BodyKind::EightBitMime),
                None if word == "7bit" => message.body = Some(BodyKind::SevenBit),
                None if word == "binary" => message.body = Some(BodyKind::BinaryMime),
                None if word == "utf8" => message.utf8 = true,
                None if word == "plain" => message.plain = true,
                None if word == "requiretls" => message.require_tls = true,
                None => panic!("a message has no {word}"),
            }
        }
        message
    }

    fn set(&mut self, name: &str, value: &str) {
        match name {
            "from" => self.from = value.into(),
            "to" => self.to = value.split(',').map(Into::into).collect(),
            "count" => self.to = vec!["y@b.example".into(); value.parse().unwrap()],
            "long" => {
                // Lines of 204 octets.
                let to = format!("y@{}example", format!("{}.", "a".repeat(60)).repeat(3));
                self.to = vec![to; value.parse().unwrap()];
            }
            "domains" => {
                let count: usize = value.parse().unwrap();
                self.to = (0..count).map(|n| format!("y@{n}.example")).collect();
            }
            "size" => self.size = Some(value.parse().unwrap()),
            "ret" if value == "full" => self.return_ = Some(Return::Full),
            "ret" => self.return_ = Some(Return::Headers),
            "envid" => self.envelope_id = Some(value.into()),
            "auth" => self.submitter = Some(value.into()),
            "by" => self.deliver_by = Some(deliver_by(value)),
            "holdfor" => self.hold = Some(Hold::For(value.parse().unwrap())),
            "holduntil" => self.hold = Some(Hold::Until(value.parse().unwrap())),
            "priority" => self.priority = Priority::new(value.parse().unwrap()),
            "notify" => self.notify = Some(notify(value)),
            "orcpt" => self.original = Some(value.into()),
            _ => panic!("a message has no {name}"),
        }
    }

    pub(crate) fn with<R>(&self, look: impl FnOnce(&Envelope<'_>) -> R) -> R {
        let from = match self.from.as_str() {
            "" => ReversePath::Null,
            from => ReversePath::Mailbox(mailbox(from)),
        };
        let recipients: Vec<_> = self.to.iter().map(|to| self.recipient(to)).collect();
        let mut envelope = Envelope::new(from, &recipients);
        envelope.leading_dots = !self.plain;
        let mail = &mut envelope.mail;
        mail.size = self.size;
        mail.body = self.body;
        mail.smtputf8 = self.utf8;
        mail.require_tls = self.require_tls;
        mail.return_ = self.return_;
        mail.envelope_id = self.envelope_id.as_deref().map(xtext);
        mail.submitter = self.submitter.as_deref().map(|text| match text {
            "<>" => Submitter::Unknown,
            text => Submitter::Mailbox(xtext(text)),
        });
        mail.deliver_by = self.deliver_by;
        mail.hold = self.hold;
        mail.priority = self.priority;
        look(&envelope)
    }

    fn recipient<'m>(&'m self, to: &'m str) -> Recipient<'m> {
        let mut recipient = Recipient::new(match to {
            "postmaster" => ForwardPath::Postmaster("postmaster"),
            to => ForwardPath::Mailbox(mailbox(to)),
        });
        recipient.notify = self.notify;
        recipient.original = self.original.as_deref().map(|text| {
            let (address_type, address) = text.split_once(';').expect("a type and an address");
            OriginalRecipient::new(address_type, xtext(address)).expect("an atom")
        });
        recipient
    }
}

fn mailbox(text: &str) -> Mailbox<'_> {
    Mailbox::parse(text.as_bytes(), Charset::Utf8).expect("a mailbox")
}

fn xtext(text: &str) -> Xtext<'_> {
    Xtext::parse_utf8(text.as_bytes()).expect("xtext")
}

/// `120R`, `-5NT`
fn deliver_by(text: &str) -> DeliverBy {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_uppercase());
    DeliverBy {
        seconds: digits.parse().unwrap(),
        notify: text.contains('N'),
        trace: text.contains('T'),
    }
}

fn notify(text: &str) -> Notify {
    text.split(',')
        .map(|word| match word {
            "never" => Notify::NEVER,
            "success" => Notify::SUCCESS,
            "failure" => Notify::FAILURE,
            "delay" => Notify::DELAY,
            _ => panic!("nobody is notified of {word}"),
        })
        .fold(Notify::NEVER, Notify::with)
}
