//! From a command to the line that a client sends.
//!
//! Nothing can break out of its line. Addresses, xtext and attributes are what their types say;
//! where a caller's own text is written, whatever its place may not hold (control characters but tabs, and
//! spaces in a name) becomes a question mark; a number beyond the grammar becomes the nearest that
//! is not.

use super::parse::is_base64;
use super::{
    Auth, BodyKind, DeliverBy, Etrn, Hold, Mail, Notify, Other, Recipient, Return, Submitter, date,
};
use crate::address::ForwardPath;
use crate::ascii::push_decimal;
use crate::sasl::{Mechanism, base64};
use alloc::vec::Vec;

/// RSET
pub const RESET: &[u8] = b"RSET\r\n";
/// DATA
pub const DATA: &[u8] = b"DATA\r\n";
/// QUIT
pub const QUIT: &[u8] = b"QUIT\r\n";
/// STARTTLS
pub const START_TLS: &[u8] = b"STARTTLS\r\n";
/// The line that ends an exchange of AUTH.
//= RFC 4954 section 4: a client gives an exchange up with a line of one asterisk
pub const CANCEL_AUTH: &[u8] = b"*\r\n";

/// The largest number of nine digits, which is what times may have.
const NINE_DIGITS: u32 = 999_999_999;

impl Mail<'_> {
    /// Appends the line, CRLF included.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"MAIL FROM:<");
        out.extend_from_slice(self.from.as_str().as_bytes());
        out.push(b'>');
        if let Some(size) = self.size {
            //= RFC 1870 section 3: SIZE=, the octets of the content
            out.extend_from_slice(b" SIZE=");
            push_decimal(out, size);
        }
        match self.body {
            None => {}
            Some(BodyKind::SevenBit) => out.extend_from_slice(b" BODY=7BIT"),
            Some(BodyKind::EightBitMime) => out.extend_from_slice(b" BODY=8BITMIME"),
            Some(BodyKind::BinaryMime) => out.extend_from_slice(b" BODY=BINARYMIME"),
        }
        if self.smtputf8 {
            //= RFC 6531 section 3.4: SMTPUTF8, without a value
            out.extend_from_slice(b" SMTPUTF8");
        }
        if self.require_tls {
            //= RFC 8689 section 3: REQUIRETLS, without a value
            out.extend_from_slice(b" REQUIRETLS");
        }
        //= RFC 3461 section 4.3: RET=FULL or RET=HDRS
        match self.return_ {
            None => {}
            Some(Return::Full) => out.extend_from_slice(b" RET=FULL"),
            Some(Return::Headers) => out.extend_from_slice(b" RET=HDRS"),
        }
        if let Some(envelope_id) = self.envelope_id.filter(|id| !id.is_empty()) {
            //= RFC 3461 section 4.4: ENVID=xtext
            out.extend_from_slice(b" ENVID=");
            out.extend_from_slice(envelope_id.as_str().as_bytes());
        }
        match self.submitter {
            None => {}
            //= RFC 4954 section 5: AUTH=<> where nobody is known
            Some(Submitter::Unknown) => out.extend_from_slice(b" AUTH=<>"),
            Some(Submitter::Mailbox(mailbox)) => {
                out.extend_from_slice(b" AUTH=");
                out.extend_from_slice(mailbox.as_str().as_bytes());
            }
        }
        if let Some(by) = self.deliver_by {
            deliver_by(by, out);
        }
        //= RFC 4865 section 3: HOLDFOR=seconds, or HOLDUNTIL=moment
        match self.hold {
            None => {}
            Some(Hold::For(seconds)) => {
                out.extend_from_slice(b" HOLDFOR=");
                push_decimal(out, u64::from(seconds.clamp(1, NINE_DIGITS)));
            }
            Some(Hold::Until(moment)) => {
                out.extend_from_slice(b" HOLDUNTIL=");
                out.extend_from_slice(&date::write(moment));
            }
        }
        if let Some(priority) = self.priority {
            //= RFC 6710 section 7: a negative number has a hyphen, a positive one no sign
            out.extend_from_slice(b" MT-PRIORITY=");
            push_signed(i32::from(priority.get()), out);
        }
        out.extend_from_slice(b"\r\n");
    }
}

//= RFC 2852 section 4: BY=by-time ";" by-mode [by-trace]
fn deliver_by(by: DeliverBy, out: &mut Vec<u8>) {
    let most = NINE_DIGITS as i32;
    //= RFC 2852 section 4: with the mode R a time is above zero
    let least = if by.notify { -most } else { 1 };
    out.extend_from_slice(b" BY=");
    push_signed(by.seconds.clamp(least, most), out);
    out.extend_from_slice(if by.notify { b";N" } else { b";R" });
    if by.trace {
        out.push(b'T');
    }
}

impl Recipient<'_> {
    /// Appends the line, CRLF included.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"RCPT TO:<");
        let path = match self.to {
            ForwardPath::Mailbox(mailbox) => mailbox.as_str(),
            ForwardPath::Postmaster(written) if written.eq_ignore_ascii_case("postmaster") => {
                written
            }
            ForwardPath::Postmaster(_) => "postmaster",
        };
        out.extend_from_slice(path.as_bytes());
        out.push(b'>');
        if let Some(wanted) = self.notify {
            notify(wanted, out);
        }
        if let Some(original) = self.original {
            //= RFC 3461 section 4.2: ORCPT=addr-type;xtext
            out.extend_from_slice(b" ORCPT=");
            out.extend_from_slice(original.address_type().as_bytes());
            out.push(b';');
            out.extend_from_slice(original.address().as_str().as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

//= RFC 3461 section 4.1: NEVER by itself, or the others with commas between
fn notify(wanted: Notify, out: &mut Vec<u8>) {
    out.extend_from_slice(b" NOTIFY=");
    if wanted.is_never() {
        out.extend_from_slice(b"NEVER");
        return;
    }
    let words = Notify::WORDS.iter().filter(|(_, each)| wanted.has(*each));
    for (index, (word, _)) in words.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(word.as_bytes());
    }
}

impl Auth<'_> {
    /// Appends the line, CRLF included; the initial response is base64 already.
    pub fn write(&self, out: &mut Vec<u8>) {
        auth_word(self.mechanism, self.initial.map(<[u8]>::is_empty), out);
        let initial = self.initial.unwrap_or_default().iter();
        out.extend(initial.map(|&octet| if is_base64(octet) { octet } else { b'?' }));
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends AUTH with an initial response, or without, that is not encoded yet.
//= RFC 4954 section 4: an initial response goes as base64, and as an equals sign where it is empty
pub fn auth(mechanism: Mechanism, initial: Option<&[u8]>, out: &mut Vec<u8>) {
    auth_word(mechanism, initial.map(<[u8]>::is_empty), out);
    base64::encode(initial.unwrap_or_default(), out);
    out.extend_from_slice(b"\r\n");
}

fn auth_word(mechanism: Mechanism, initial_is_empty: Option<bool>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"AUTH ");
    out.extend_from_slice(mechanism.keyword().as_bytes());
    match initial_is_empty {
        None => {}
        Some(true) => out.extend_from_slice(b" ="),
        Some(false) => out.push(b' '),
    }
}

impl Other<'_> {
    /// Appends the line, CRLF included.
    ///
    /// [`Other::Private`] is written as it stands: its answer must be one reply, and it must leave
    /// the dialogue where it was.
    pub fn write(&self, out: &mut Vec<u8>) {
        if let Self::Private(line) = self {
            push_text(line, out);
            out.extend_from_slice(b"\r\n");
            return;
        }
        out.extend_from_slice(self.verb().word().as_bytes());
        match *self {
            Self::Verify(text) | Self::Expand(text) | Self::Help(text) => argument(text, out),
            Self::XClient(pairs) | Self::XForward(pairs) => argument(pairs.as_str(), out),
            //= RFC 1985 section 5.2: "@" before a domain with all below it, "#" before a queue's name
            Self::Etrn(Etrn::Node(name)) => etrn(b" ", name, out),
            Self::Etrn(Etrn::Subdomains(name)) => etrn(b" @", name, out),
            Self::Etrn(Etrn::Queue(name)) => etrn(b" #", name, out),
            Self::Noop | Self::Private(_) => {}
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn argument(text: &str, out: &mut Vec<u8>) {
    if !text.is_empty() {
        out.push(b' ');
        push_text(text, out);
    }
}

fn etrn(mark: &[u8], name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(mark);
    push_name(name, out);
}

/// Appends EHLO, or HELO for a server that does not know EHLO.
//= RFC 5321 section 4.1.1.1: EHLO or HELO and the client's name
pub fn hello(extended: bool, name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(if extended { b"EHLO " } else { b"HELO " });
    push_name(name, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends LHLO, which LMTP has in place of both.
//= RFC 2033 section 4.1: LHLO, which means what EHLO means
pub fn lmtp_hello(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"LHLO ");
    push_name(name, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends BDAT for a piece of `size` octets.
//= RFC 3030 section 2: BDAT, the number of octets, and LAST with the last of the pieces
pub fn chunk(size: u64, last: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"BDAT ");
    push_decimal(out, size);
    out.extend_from_slice(if last { b" LAST\r\n" } else { b"\r\n" });
}

/// Appends BDAT for content that goes in one piece of `size` octets.
pub fn chunk_last(size: u64, out: &mut Vec<u8>) {
    chunk(size, true, out);
}

fn push_signed(number: i32, out: &mut Vec<u8>) {
    if number < 0 {
        out.push(b'-');
    }
    push_decimal(out, u64::from(number.unsigned_abs()));
}

/// A name: visible ASCII, and a question mark for everything else.
fn push_name(name: &str, out: &mut Vec<u8>) {
    let octets = name.bytes();
    out.extend(octets.map(|octet| {
        if octet.is_ascii_graphic() {
            octet
        } else {
            b'?'
        }
    }));
}

/// A text: a question mark for control characters, except for tabs.
fn push_text(text: &str, out: &mut Vec<u8>) {
    let is_clean = |octet: u8| octet == b'\t' || !octet.is_ascii_control();
    let octets = text.bytes();
    out.extend(octets.map(|octet| if is_clean(octet) { octet } else { b'?' }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{Charset, Mailbox, ReversePath};
    use crate::command::{OriginalRecipient, Priority};
    use crate::xtext::Xtext;
    use alloc::string::String;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn mail_with_everything() {
        let mailbox = Mailbox::parse(b"x@a.example", Charset::Ascii).unwrap();
        let mut mail = Mail::new(ReversePath::Mailbox(mailbox));
        mail.size = Some(7);
        mail.body = Some(BodyKind::BinaryMime);
        mail.smtputf8 = true;
        mail.require_tls = true;
        mail.return_ = Some(Return::Headers);
        mail.envelope_id = Xtext::parse(b"a+20b");
        mail.submitter = Some(Submitter::Unknown);
        mail.deliver_by = Some(DeliverBy {
            seconds: -3,
            notify: true,
            trace: true,
        });
        mail.hold = Some(Hold::Until(0));
        mail.priority = Priority::new(-4);
        assert_eq!(
            written(|out| mail.write(out)),
            "MAIL FROM:<x@a.example> SIZE=7 BODY=BINARYMIME SMTPUTF8 REQUIRETLS RET=HDRS ENVID=a+20b \
             AUTH=<> BY=-3;NT HOLDUNTIL=1970-01-01T00:00:00Z MT-PRIORITY=-4\r\n"
        );
    }

    #[test]
    fn numbers_beyond_the_grammar() {
        let mut mail = Mail::new(ReversePath::Null);
        let line = |mail: &Mail<'_>| written(|out| mail.write(out));
        for (seconds, notify, expected) in [
            (i32::MIN, true, "-999999999;N"),
            (i32::MAX, true, "999999999;N"),
            (0, true, "0;N"),
            (0, false, "1;R"),
            (-5, false, "1;R"),
        ] {
            mail.deliver_by = Some(DeliverBy {
                seconds,
                notify,
                trace: false,
            });
            let expected = alloc::format!("MAIL FROM:<> BY={expected}\r\n");
            assert_eq!(line(&mail), expected);
        }
        mail.deliver_by = None;
        for (hold, expected) in [
            (Hold::For(0), "HOLDFOR=1"),
            (Hold::For(u32::MAX), "HOLDFOR=999999999"),
            (Hold::Until(u64::MAX), "HOLDUNTIL=9999-12-31T23:59:59Z"),
        ] {
            mail.hold = Some(hold);
            assert_eq!(line(&mail), alloc::format!("MAIL FROM:<> {expected}\r\n"));
        }
    }

    #[test]
    fn recipient_with_everything() {
        let mut recipient = Recipient::new(ForwardPath::Postmaster("PostMaster"));
        recipient.notify = Some(Notify::FAILURE.with(Notify::SUCCESS));
        let address = Xtext::parse(b"y@b").unwrap();
        recipient.original = OriginalRecipient::new("rfc822", address);
        assert_eq!(
            written(|out| recipient.write(out)),
            "RCPT TO:<PostMaster> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;y@b\r\n"
        );
        recipient.notify = Some(Notify::NEVER);
        recipient.original = None;
        assert_eq!(
            written(|out| recipient.write(out)),
            "RCPT TO:<PostMaster> NOTIFY=NEVER\r\n"
        );
    }

    #[test]
    fn the_others() {
        for (other, line) in [
            (Other::Verify("x y"), "VRFY x y"),
            (Other::Expand("list"), "EXPN list"),
            (Other::Help(""), "HELP"),
            (Other::Help("MAIL"), "HELP MAIL"),
            (Other::Noop, "NOOP"),
            (Other::Etrn(Etrn::Node("a")), "ETRN a"),
            (Other::Etrn(Etrn::Subdomains("a")), "ETRN @a"),
            (Other::Etrn(Etrn::Queue("a")), "ETRN #a"),
            (Other::Private("XDEBUG on"), "XDEBUG on"),
        ] {
            assert_eq!(
                written(|out| other.write(out)).strip_suffix("\r\n"),
                Some(line)
            );
        }
    }

    #[test]
    fn nothing_breaks_out_of_its_line() {
        const EVIL: &str = "a b\r\nRSET\r\n\0\t\u{7f}";
        let lines = [
            written(|out| hello(true, EVIL, out)),
            written(|out| lmtp_hello(EVIL, out)),
            written(|out| Other::Verify(EVIL).write(out)),
            written(|out| Other::Expand(EVIL).write(out)),
            written(|out| Other::Help(EVIL).write(out)),
            written(|out| Other::Private(EVIL).write(out)),
            written(|out| Other::Etrn(Etrn::Queue(EVIL)).write(out)),
            written(|out| Recipient::new(ForwardPath::Postmaster(EVIL)).write(out)),
            written(|out| auth(Mechanism::Plain, Some(EVIL.as_bytes()), out)),
            written(|out| {
                let initial = Some(EVIL.as_bytes());
                let mechanism = Mechanism::Plain;
                Auth { mechanism, initial }.write(out);
            }),
        ];
        for line in lines {
            let text = line.strip_suffix("\r\n").unwrap();
            let breaks = |c: char| c.is_control() && c != '\t';
            assert!(!text.contains(breaks), "{line:?}");
        }
        assert_eq!(written(|out| hello(false, "a b\n", out)), "HELO a?b?\r\n");
    }

    #[test]
    fn auth_lines() {
        let line = |initial| written(|out| auth(Mechanism::Plain, initial, out));
        assert_eq!(line(None), "AUTH PLAIN\r\n");
        assert_eq!(line(Some(b"")), "AUTH PLAIN =\r\n");
        assert_eq!(line(Some(b"\0a\0b")), "AUTH PLAIN AGEAYg==\r\n");
    }

    #[test]
    fn chunks() {
        assert_eq!(written(|out| chunk(5, false, out)), "BDAT 5\r\n");
        assert_eq!(written(|out| chunk_last(0, out)), "BDAT 0 LAST\r\n");
    }
}
