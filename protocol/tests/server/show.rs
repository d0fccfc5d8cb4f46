//! What a session said, as a transcript writes it: parameters, commands, and octets that are no text.

use mailrail_protocol::command::{Etrn, Mail, Recipient, Submitter};
use mailrail_protocol::server::Other;

/// A sender, and each parameter that was given.
pub(super) fn show_mail(mail: &Mail<'_>) -> String {
    let mut words = vec![format!("Mail <{}>", mail.from)];
    words.extend(mail.size.map(|size| format!("size={size}")));
    words.extend(mail.body.map(|body| format!("body={body:?}")));
    words.extend(mail.smtputf8.then(|| "smtputf8".into()));
    words.extend(mail.require_tls.then(|| "require_tls".into()));
    words.extend(mail.return_.map(|part| format!("return={part:?}")));
    let id = mail.envelope_id;
    words.extend(id.map(|id| format!("envelope_id={}", id.as_str())));
    words.extend(mail.submitter.map(|submitter| match submitter {
        Submitter::Unknown => "submitter=<>".into(),
        Submitter::Mailbox(mailbox) => format!("submitter={}", mailbox.as_str()),
    }));
    words.extend(mail.deliver_by.map(|by| {
        let mode = if by.notify { 'N' } else { 'R' };
        let trace = if by.trace { "T" } else { "" };
        format!("deliver_by={};{mode}{trace}", by.seconds)
    }));
    words.extend(mail.hold.map(|hold| format!("hold={hold:?}")));
    let priority = mail.priority;
    words.extend(priority.map(|priority| format!("priority={}", priority.get())));
    words.join(" ")
}

/// A recipient, and each parameter that was given.
pub(super) fn show_recipient(recipient: &Recipient<'_>) -> String {
    let mut entry = format!("Recipient <{}>", recipient.to);
    if let Some(notify) = recipient.notify {
        entry += &format!(" notify={notify}");
    }
    if let Some(original) = recipient.original {
        let address = original.address();
        entry += &format!(" original={};{}", original.address_type(), address.as_str());
    }
    entry
}

/// A command as it is written: its verb and its argument.
pub(super) fn show_other(other: &Other<'_>) -> String {
    let argument = match other {
        Other::Verify(text) | Other::Expand(text) | Other::Help(text) => escape(text.as_bytes()),
        Other::Etrn(etrn) => match etrn {
            Etrn::Node(name) => (*name).into(),
            Etrn::Subdomains(name) => format!("@{name}"),
            Etrn::Queue(name) => format!("#{name}"),
        },
        Other::XClient(attributes) | Other::XForward(attributes) => attributes.as_str().into(),
        Other::Private(line) => return format!("Private {}", escape(line.as_bytes())),
        other => format!("{other:?}"),
    };
    format!("{} {argument}", other.verb().word())
        .trim_end()
        .into()
}

pub(super) fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (&letter, behind) = rest.split_first().unwrap();
        rest = behind;
        out.push(match letter {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let (digits, behind) = rest.split_at(2);
                rest = behind;
                u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
            }
            other => panic!("unknown escape: {}", other as char),
        });
    }
    out
}

pub(super) fn escape(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\r' => out += "\\r",
                '\n' => out += "\\n",
                '\t' => out += "\\t",
                '\0' => out += "\\0",
                '\\' => out += "\\\\",
                c if c.is_control() => out += &format!("\\x{:02x}", c as u32),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            out += &format!("\\x{byte:02x}");
        }
    }
    out
}
