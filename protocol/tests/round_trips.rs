//! What one side writes the other reads back: replies, commands and announcements. No session lives
//! here.

use mailrail_protocol::address::{Charset, ForwardPath, Mailbox, ReversePath};
use mailrail_protocol::command::parse::{self, Bdat};
use mailrail_protocol::command::{
    Attribute, AttributeSet, Attributes, Auth, BodyKind, DeliverBy, Etrn, Hold, Mail, Notify,
    OriginalRecipient, Other, OwnedMail, OwnedRecipient, Priority, PriorityProfile, Recipient,
    Return, Strictness, Submitter, Value, Verb, Verdict, write,
};
use mailrail_protocol::extension::{self, Extension, Extensions, FutureRelease, Limits};
use mailrail_protocol::reply::parse::Reader;
use mailrail_protocol::reply::{Code, Reply, Status};
use mailrail_protocol::sasl::{Mechanism, Mechanisms, base64};
use mailrail_protocol::xtext::Xtext;
use proptest::option::of;
use proptest::prelude::*;

const INTERVAL_MAX_S: u32 = 999_999_999;
const UNTIL_MAX: u64 = 253_402_300_799;

/// All that a server can offer, without any limit.
fn everything() -> Extensions {
    let all = Extension::ALL.into_iter();
    all.fold(Extensions::NONE, Extensions::with)
        .with_mechanisms(all_mechanisms())
        .with_future_release(FutureRelease {
            interval_max_s: INTERVAL_MAX_S,
            until_max: UNTIL_MAX,
        })
}

fn all_mechanisms() -> Mechanisms {
    let all = Mechanism::ALL.into_iter();
    all.fold(Mechanisms::NONE, Mechanisms::with)
}

/// All that can be borne.
fn lenient() -> Strictness {
    let mut strictness = Strictness::STRICT;
    strictness.spaces_around_colon = Verdict::Accept;
    strictness.missing_brackets = Verdict::Accept;
    strictness.utf8_unannounced = Verdict::Accept;
    strictness.hello_syntax = Verdict::Accept;
    strictness.address_lengths = Verdict::Accept;
    strictness
}

/// The argument of a written line, whose verb is this one.
fn argument(line: &[u8], expected: Verb) -> &[u8] {
    let line = line.strip_suffix(b"\r\n").expect("a line ends with CRLF");
    assert!(!line.iter().any(u8::is_ascii_control), "one line");
    let (verb, argument) = parse::verb(line).expect("a verb");
    assert_eq!(verb, expected);
    argument
}

fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9]{1,10}@[a-z]{1,10}\\.[a-z]{2,3}",
        "\"[a-z .@<>]{1,10}\"@[a-z]{1,10}\\.[a-z]{2,3}",
        "[a-z]{1,5}\\.[a-z]{1,5}@\\[192\\.0\\.2\\.[1-9]\\]",
        "[äöü]{1,5}@[a-z]{1,10}\\.[a-z]{2,3}",
    ]
}

fn body_kind() -> impl Strategy<Value = BodyKind> {
    prop_oneof![
        Just(BodyKind::SevenBit),
        Just(BodyKind::EightBitMime),
        Just(BodyKind::BinaryMime),
    ]
}

fn deliver_by() -> impl Strategy<Value = DeliverBy> {
    let seconds = prop_oneof![-5i32..5, -999_999_999i32..=999_999_999];
    (seconds, any::<bool>(), any::<bool>()).prop_map(|(seconds, notify, trace)| DeliverBy {
        seconds: if notify {
            seconds
        } else {
            seconds.abs().max(1)
        },
        notify,
        trace,
    })
}

fn hold() -> impl Strategy<Value = Hold> {
    prop_oneof![
        (1..=INTERVAL_MAX_S).prop_map(Hold::For),
        (0..=UNTIL_MAX).prop_map(Hold::Until),
    ]
}

/// What a mail is made of, owned.
#[derive(Clone, Debug)]
struct MailParts {
    from: Option<String>,
    size: Option<u64>,
    body: Option<BodyKind>,
    smtputf8: bool,
    require_tls: bool,
    return_: Option<Return>,
    envelope_id: Option<String>,
    submitter: Option<Option<String>>,
    deliver_by: Option<DeliverBy>,
    hold: Option<Hold>,
    priority: Option<Priority>,
}

fn mail_parts() -> impl Strategy<Value = MailParts> {
    let return_ = prop_oneof![Just(Return::Full), Just(Return::Headers)];
    let priority = (-9i8..=9).prop_map(|number| Priority::new(number).unwrap());
    (
        (of(address()), of(any::<u64>()), of(body_kind())),
        (any::<bool>(), any::<bool>(), of(return_)),
        (of("[ -~]{1,30}"), of(of(address()))),
        (of(deliver_by()), of(hold()), of(priority)),
    )
        .prop_map(|(one, two, three, four)| MailParts {
            from: one.0,
            size: one.1,
            body: one.2,
            smtputf8: two.0,
            require_tls: two.1,
            return_: two.2,
            envelope_id: three.0.map(|id| encoded(&id)),
            submitter: three
                .1
                .map(|mailbox| mailbox.map(|mailbox| encoded(&mailbox))),
            deliver_by: four.0,
            hold: four.1,
            priority: four.2,
        })
}

fn encoded(text: &str) -> String {
    let mut out = String::new();
    Xtext::encode_str(text.as_bytes(), &mut out);
    out
}

fn xtext(text: &str) -> Xtext<'_> {
    Xtext::parse(text.as_bytes()).unwrap()
}

impl MailParts {
    fn mail(&self) -> Mail<'_> {
        let from = self.from.as_ref();
        let from = from.map(|from| Mailbox::parse(from.as_bytes(), Charset::Utf8).unwrap());
        let mut mail = Mail::new(from.map_or(ReversePath::Null, ReversePath::Mailbox));
        mail.size = self.size;
        mail.body = self.body;
        mail.smtputf8 = self.smtputf8 || !mail.from.as_str().is_ascii();
        mail.require_tls = self.require_tls;
        mail.return_ = self.return_;
        mail.envelope_id = self.envelope_id.as_deref().map(xtext);
        mail.submitter = self.submitter.as_ref().map(|mailbox| match mailbox {
            None => Submitter::Unknown,
            Some(mailbox) => Submitter::Mailbox(xtext(mailbox)),
        });
        mail.deliver_by = self.deliver_by;
        mail.hold = self.hold;
        mail.priority = self.priority;
        mail
    }
}

fn notify() -> impl Strategy<Value = Notify> {
    let each = [Notify::SUCCESS, Notify::FAILURE, Notify::DELAY];
    (0usize..8).prop_map(move |bits| {
        let wanted = (0..3).filter(|index| bits & (1 << index) != 0);
        wanted.fold(Notify::NEVER, |all, index| all.with(each[index]))
    })
}

/// A type of address, and an address as it is written.
fn original() -> impl Strategy<Value = (String, String)> {
    prop_oneof![
        ("rfc822|RFC822|x400|x-a!b", "[ -~]{0,40}").prop_map(|(kind, text)| (kind, encoded(&text))),
        ("utf-8|UTF-8", "([a-zäöü@.-]|\\\\x\\{FC\\}){1,30}"),
    ]
}

fn other() -> impl Strategy<Value = (usize, String)> {
    (0usize..7, "[!-~äöü]{1,10}( [!-~äöü]{1,10}){0,3}")
}

fn mechanism() -> impl Strategy<Value = Mechanism> {
    (0..Mechanism::ALL.len()).prop_map(|index| Mechanism::ALL[index])
}

proptest! {
    #[test]
    fn mail(parts in mail_parts()) {
        let mail = parts.mail();
        let mut wire = Vec::new();
        mail.write(&mut wire);
        let argument = argument(&wire, Verb::Mail);
        prop_assert_eq!(parse::mail(argument, &everything(), &Strictness::STRICT), Ok(mail));
        let kept = OwnedMail::from(mail);
        prop_assert_eq!(kept.as_mail(), mail);
        prop_assert_eq!(parse::mail(argument, &everything(), &lenient()), Ok(mail));
        // Where nothing is offered, no parameter is known.
        let plain = Mail::new(mail.from);
        let expected = if mail == plain { Ok(plain) } else { Err(()) };
        let found = parse::mail(argument, &Extensions::NONE, &lenient()).map_err(drop);
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn recipient(
        to in of(address()),
        notify in of(notify()),
        original in of(original()),
    ) {
        let to = to.as_ref().map(|to| Mailbox::parse(to.as_bytes(), Charset::Utf8).unwrap());
        let to = to.map_or(ForwardPath::Postmaster("PostMaster"), ForwardPath::Mailbox);
        let mut recipient = Recipient::new(to);
        recipient.notify = notify;
        recipient.original = original.as_ref().map(|(kind, address)| {
            let address = Xtext::parse_utf8(address.as_bytes()).unwrap();
            OriginalRecipient::new(kind, address).unwrap()
        });
        let mut wire = Vec::new();
        recipient.write(&mut wire);
        let argument = argument(&wire, Verb::Recipient);
        let offered = everything();
        for strictness in [Strictness::STRICT, lenient()] {
            let found = parse::recipient(argument, true, &offered, &strictness);
            prop_assert_eq!(found, Ok(recipient));
            let kept = OwnedRecipient::from(recipient);
            prop_assert_eq!(kept.as_recipient(), recipient);
        }
        let found = parse::recipient(argument, false, &offered, &Strictness::STRICT);
        prop_assert_eq!(found.is_ok(), to.as_str().is_ascii());
    }

    #[test]
    fn others((kind, text) in other()) {
        let name: String = text.chars().filter(char::is_ascii_graphic).collect();
        let name = format!("n{name}");
        let private = format!("XX{name} {text}");
        let other = match kind {
            0 => Other::Verify(&text),
            1 => Other::Expand(&text),
            2 => Other::Help(&text),
            3 => Other::Noop,
            4 => Other::Etrn(Etrn::Node(&name)),
            5 => Other::Etrn(Etrn::Subdomains(&name)),
            6 => Other::Etrn(Etrn::Queue(&name)),
            _ => unreachable!(),
        };
        let mut wire = Vec::new();
        other.write(&mut wire);
        prop_assert_eq!(parse::other(other.verb(), argument(&wire, other.verb())), Ok(other));
        let private = Other::Private(&private);
        wire.clear();
        private.write(&mut wire);
        let line = wire.strip_suffix(b"\r\n").unwrap();
        prop_assert_eq!(parse::other(Verb::Unknown, line), Ok(private));
    }

    /// Whatever a caller passes, one line leaves.
    #[test]
    fn any_text_stays_in_its_line(text in "\\PC{0,10}[\r\n\0\t ]{0,3}\\PC{0,10}", octets: Vec<u8>) {
        let mut lines = vec![Vec::new(); 8];
        Other::Verify(&text).write(&mut lines[0]);
        Other::Help(&text).write(&mut lines[1]);
        Other::Private(&text).write(&mut lines[2]);
        Other::Etrn(Etrn::Node(&text)).write(&mut lines[3]);
        write::hello(true, &text, &mut lines[4]);
        write::lmtp_hello(&text, &mut lines[5]);
        Recipient::new(ForwardPath::Postmaster(&text)).write(&mut lines[6]);
        let initial = Some(&octets[..]);
        Auth { mechanism: Mechanism::Plain, initial }.write(&mut lines[7]);
        for line in lines {
            let line = line.strip_suffix(b"\r\n").unwrap();
            prop_assert!(!line.iter().any(|&octet| octet != b'\t' && octet.is_ascii_control()));
        }
    }

    #[test]
    fn attributes(
        values in proptest::collection::vec((0usize..10, of(any::<Vec<u8>>())), 1..8),
        forward: bool,
    ) {
        let known = if forward { AttributeSet::X_FORWARD } else { AttributeSet::X_CLIENT };
        let pairs = values.iter().map(|(index, value)| {
            let value = value.as_deref().map_or(Value::Unavailable, Value::Known);
            (Attribute::ALL[*index], value)
        });
        let mut text = String::new();
        let pairs = pairs.filter(|(attribute, _)| known.has(*attribute));
        if let Some(attributes) = Attributes::encode(pairs, &mut text) {
            let other = if forward { Other::XForward(attributes) } else { Other::XClient(attributes) };
            let mut wire = Vec::new();
            other.write(&mut wire);
            prop_assert_eq!(parse::other(other.verb(), argument(&wire, other.verb())), Ok(other));
        }
    }

    #[test]
    fn auth(mechanism in mechanism(), initial in of(any::<Vec<u8>>())) {
        let (mut wire, mut again) = (Vec::new(), Vec::new());
        write::auth(mechanism, initial.as_deref(), &mut wire);
        let found = parse::auth(argument(&wire, Verb::Auth), all_mechanisms()).unwrap();
        prop_assert_eq!(found.mechanism, mechanism);
        let mut decoded = Vec::new();
        let is_base64 = found.initial.is_none_or(|text| base64::decode(text, &mut decoded));
        prop_assert!(is_base64);
        prop_assert_eq!(found.initial.map(|_| decoded), initial);
        found.write(&mut again);
        prop_assert_eq!(again, wire);
    }

    #[test]
    fn chunks(size: u64, last: bool) {
        let mut wire = Vec::new();
        write::chunk(size, last, &mut wire);
        prop_assert_eq!(parse::bdat(argument(&wire, Verb::Bdat)), Ok(Bdat { size, last }));
    }

    #[test]
    fn hello(name in "[a-z0-9]{1,10}(\\.[a-z0-9]{1,10}){0,3}|\\[192\\.0\\.2\\.[1-9]\\]", extended: bool) {
        let verb = if extended { Verb::Ehlo } else { Verb::Helo };
        let (mut wire, mut lmtp) = (Vec::new(), Vec::new());
        write::hello(extended, &name, &mut wire);
        let found = parse::hello(extended, argument(&wire, verb), &Strictness::STRICT).unwrap();
        prop_assert_eq!((found.extended, found.name), (extended, &name[..]));
        write::lmtp_hello(&name, &mut lmtp);
        let found = parse::hello(true, argument(&lmtp, Verb::Lhlo), &Strictness::STRICT).unwrap();
        prop_assert_eq!((found.extended, found.name), (true, &name[..]));
    }

    #[test]
    fn announcements(
        bits in proptest::collection::vec(any::<bool>(), Extension::ALL.len()),
        size_max: u64,
        recipient_count_max in 1u32..=999_999,
        deliver_by_min in 0u32..=999_999_999,
        interval_max_s in 1..=INTERVAL_MAX_S,
        until_max in 0..=UNTIL_MAX,
        mechanism in mechanism(),
    ) {
        let limits = Limits { recipient_count_max, ..Limits::default() };
        let mechanisms = Mechanisms::NONE.with(mechanism);
        let wanted = Extension::ALL.into_iter().zip(bits).filter(|(_, wanted)| *wanted);
        let mut set = wanted.fold(Extensions::NONE, |set, (extension, _)| match extension {
            Extension::Size => set.with_size_max(size_max),
            Extension::Auth => set.with_mechanisms(mechanisms),
            Extension::Limits => set.with_limits(limits),
            Extension::DeliverBy => set.with_deliver_by_min(deliver_by_min),
            Extension::FutureRelease => {
                set.with_future_release(FutureRelease { interval_max_s, until_max })
            }
            Extension::MtPriority => set.with_priority_profile(PriorityProfile::Mixer),
            Extension::XClient => set.with_x_client(AttributeSet::X_CLIENT),
            Extension::XForward => set.with_x_forward(AttributeSet::X_FORWARD),
            plain => set.with(plain),
        });
        if !set.has(Extension::Chunking) {
            set = set.without(Extension::BinaryMime);
        }
        let mut wire = Vec::new();
        set.write("mx.example", &mut wire);
        let answer = Reader::default().take(&mut &wire[..]).unwrap().unwrap();
        prop_assert_eq!(extension::parse::parse(answer.lines()), set);
    }

    /// What is strictly right is understood the same by those who bear more.
    #[test]
    fn leniency_changes_nothing_that_is_right(
        text in "(FROM|TO) ?: ?<?[a-z@.\"ü ]{0,12}>?( SIZE=[0-9]{1,3}| BODY=7BIT| SMTPUTF8| ENVID=x| NOTIFY=NEVER){0,2}",
    ) {
        let (text, offered) = (text.as_bytes(), everything());
        if let Ok(mail) = parse::mail(text, &offered, &Strictness::STRICT) {
            prop_assert_eq!(parse::mail(text, &offered, &lenient()), Ok(mail));
        }
        if let Ok(recipient) = parse::recipient(text, true, &offered, &Strictness::STRICT) {
            prop_assert_eq!(parse::recipient(text, true, &offered, &lenient()), Ok(recipient));
        }
    }

    #[test]
    fn replies(
        code in 200u16..600,
        status in of((0u16..1000, 0u16..1000)),
        lines in proptest::collection::vec("[A-Za-z(<>)]([A-Za-z .,:@-]{0,60}[a-z])?", 1..6),
    ) {
        let code = Code::new(code).unwrap();
        let status = status.map(|(subject, detail)| Status::for_code(code, subject, detail));
        let text = lines.join("\r\n");
        let reply = Reply { code, status, text: text.as_bytes() };
        let mut wire = Vec::new();
        reply.write(&mut wire);
        let mut input = wire.as_slice();
        let answer = Reader::default().take(&mut input).unwrap().unwrap();
        prop_assert!(input.is_empty());
        prop_assert_eq!(answer.code, code);
        prop_assert_eq!(answer.status, status.filter(|_| !code.is_intermediate()));
        let read: Vec<&[u8]> = answer.lines().collect();
        let written: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        prop_assert_eq!(read, written);
    }
}

#[test]
fn a_recipient() {
    for text in [
        "y@b.example",
        "\"y <z>\"@[IPv6:2001:db8::1]",
        "gr\u{fc}n@b.example",
    ] {
        let to = Mailbox::parse(text.as_bytes(), Charset::Utf8).unwrap();
        let mut wire = Vec::new();
        Recipient::new(ForwardPath::Mailbox(to)).write(&mut wire);
        assert_eq!(wire, format!("RCPT TO:<{text}>\r\n").as_bytes());
    }
    let mut wire = Vec::new();
    Recipient::new(ForwardPath::Postmaster("PostMaster")).write(&mut wire);
    assert_eq!(wire, b"RCPT TO:<PostMaster>\r\n");
}
