//! A whole dialogue with the server's session, whose caller answers by a simple rule: in pieces it is
//! the same as whole, and whatever comes, the session stays within what it promises.

use mailrail_protocol::command::AttributeSet;
use mailrail_protocol::extension::{Extension, FutureRelease};
use mailrail_protocol::limits::REPLY_LEN_MAX;
use mailrail_protocol::reply::Reply;
use mailrail_protocol::sasl::{Mechanism, Mechanisms};
use mailrail_protocol::server::{Config, Event, Expects, Other, Peer, Session, Tls, Turn, Verdict};
use mailrail_protocol::time::Instant;

/// Octets of settings, of each of which the six low bits count: so they can be letters.
const SETTINGS_LEN: usize = 4;

/// Settings, then what the client sends.
pub(crate) fn run(bytes: &[u8]) {
    let Some((settings, bytes)) = bytes.split_first_chunk::<SETTINGS_LEN>() else {
        return;
    };
    let setting = Setting::new(settings);
    let [whole, single, sevens] = [bytes.len().max(1), 1, 7].map(|len| talk(&setting, bytes, len));
    // Bytes behind STARTTLS are refused only where they can be seen: there the pieces matter.
    if !setting.config.extensions.has(Extension::StartTls) {
        assert_eq!(single, whole);
        assert_eq!(sevens, whole);
    }
}

struct Setting {
    config: Config,
    peer: Peer,
    /// The caller refuses every third time, or never.
    refuses: bool,
}

impl Setting {
    fn new(settings: &[u8; SETTINGS_LEN]) -> Self {
        let is_on = |octet: usize, bit: u8| settings[octet] >> bit & 1 == 1;
        let mut tls = Tls::PLAIN;
        tls.channel_binding = is_on(3, 1);
        tls.client_certificate = is_on(3, 2);
        Self {
            config: config(is_on),
            peer: if is_on(3, 0) {
                Peer::behind(tls)
            } else {
                Peer::PLAIN
            },
            refuses: is_on(3, 3),
        }
    }
}

fn config(is_on: impl Fn(usize, u8) -> bool) -> Config {
    let mut config = Config::new("mx.example");
    let mut extensions = config.extensions;
    if is_on(0, 0) {
        extensions = extensions.without(Extension::Chunking);
    }
    if is_on(0, 1) {
        extensions = extensions.without(Extension::SmtpUtf8);
    }
    if is_on(0, 2) {
        extensions = extensions.with(Extension::StartTls);
    }
    if is_on(0, 3) {
        (config.strictness.bare_line_ends, config.strictness.nul) =
            (Verdict::Accept, Verdict::Accept);
    }
    if is_on(0, 4) {
        extensions = extensions.with_size_max(100);
    }
    if is_on(0, 5) {
        config.limits.error_count_max = 2;
        config.limits.recipient_count_max = 2;
        config.limits.swallow_max = 50;
    }
    let mechanisms = Mechanism::ALL
        .into_iter()
        .fold(Mechanisms::NONE, Mechanisms::with);
    if is_on(1, 0) {
        extensions = extensions.with_mechanisms(mechanisms);
    }
    if is_on(1, 1) {
        config.mechanisms_in_clear = mechanisms;
    }
    config.auth_required = is_on(1, 2);
    config.tls_required = is_on(1, 3);
    config.lmtp = is_on(1, 4);
    config.private_commands = is_on(1, 5);
    if is_on(2, 0) {
        extensions = extensions.with(Extension::BinaryMime);
    }
    if is_on(2, 1) {
        extensions = extensions
            .with_x_client(AttributeSet::X_CLIENT)
            .with_x_forward(AttributeSet::X_FORWARD);
    }
    if is_on(2, 2) {
        extensions = extensions.with(Extension::Help).with(Extension::Etrn);
    }
    if is_on(2, 3) {
        let strictness = &mut config.strictness;
        for verdict in [
            &mut strictness.bare_lf_in_commands,
            &mut strictness.spaces_around_colon,
            &mut strictness.missing_brackets,
            &mut strictness.utf8_unannounced,
            &mut strictness.hello_syntax,
            &mut strictness.address_lengths,
        ] {
            *verdict = Verdict::Accept;
        }
    }
    if is_on(2, 4) {
        extensions = extensions.with(Extension::Limits);
        config.limits.mail_count_max = 2;
    }
    if is_on(2, 5) {
        config.strictness.text_line_len_max = Some(20);
    }
    if is_on(3, 4) {
        extensions = extensions
            .with(Extension::Dsn)
            .with(Extension::RequireTls)
            .with_deliver_by_min(60)
            .with(Extension::MtPriority)
            .with_future_release(FutureRelease {
                interval_max_s: 1000,
                until_max: u64::from(u32::MAX),
            });
    }
    config.extensions = extensions;
    config
}

/// What is written, each message that was taken, and how many recipients of LMTP were answered.
#[derive(PartialEq, Eq, Debug, Default)]
struct Seen {
    written: Vec<u8>,
    messages: Vec<Vec<u8>>,
    delivered: u32,
}

/// The caller: what it was told, and what it holds the session to.
struct Caller<'s> {
    setting: &'s Setting,
    seen: Seen,
    body: Vec<u8>,
    turns: u32,
    recipients: u32,
    tls: bool,
}

impl Caller<'_> {
    /// The verdict on a turn: mostly yes.
    fn verdict(&mut self, yes: Reply<'static>) -> Reply<'static> {
        self.turns += 1;
        match self.setting.refuses && self.turns.is_multiple_of(3) {
            true if self.turns.is_multiple_of(2) => Reply::LOCAL_ERROR,
            true => Reply::REFUSED_BY_POLICY,
            false => yes,
        }
    }

    fn answer(&mut self, session: &mut Session<'_>, event: Event<'_>, out: &mut Vec<u8>) {
        let config = &self.setting.config;
        let (turn, yes): (Turn, _) = match event {
            Event::Connected(turn) => (turn, Reply::GREETING),
            Event::Hello(hello, turn) => {
                assert!(hello.extended || !config.lmtp, "LMTP knows no HELO");
                (turn, Reply::HELLO)
            }
            Event::StartTls(turn) => {
                assert!(!self.tls, "TLS is started once");
                (turn, Reply::START_TLS)
            }
            Event::Auth(auth, turn) => {
                assert!(!session.is_authenticated(), "once is enough");
                let tls = self.tls.then_some(Tls::PLAIN);
                assert!(
                    config.mechanisms(tls).has(auth.mechanism) || self.setting.peer.tls.is_some(),
                    "only what is offered"
                );
                if auth.initial.is_none() {
                    return session.challenge(turn, b"more", out);
                }
                (turn, Reply::AUTHENTICATED)
            }
            Event::Sasl(response, turn) => {
                if response.len().is_multiple_of(5) {
                    return session.challenge(turn, b"still more", out);
                }
                (turn, Reply::AUTHENTICATED)
            }
            Event::Mail(mail, turn) => {
                assert!(session.is_authenticated() || !config.auth_required);
                assert!(self.tls || !(config.tls_required || mail.require_tls));
                self.recipients = 0;
                (turn, Reply::SENDER_OK)
            }
            Event::Recipient(_, turn) => {
                let reply = self.verdict(Reply::RECIPIENT_OK);
                self.recipients += u32::from(reply.is_positive());
                return session.reply(turn, &reply, out);
            }
            Event::Other(Other::XClient(_), turn) => (turn, Reply::GREETING),
            Event::Other(other, turn) => (turn, other.default_reply()),
            Event::Data(turn) => {
                assert!(self.recipients > 0, "a body is for somebody");
                self.body.clear();
                (turn, Reply::OK)
            }
            Event::EndOfData(turn) => {
                assert!(!config.lmtp);
                self.seen.messages.push(std::mem::take(&mut self.body));
                (turn, Reply::QUEUED)
            }
            Event::EndOfDataFor(number, turn) => {
                assert!(config.lmtp && number < self.recipients);
                if number == 0 {
                    self.seen.messages.push(std::mem::take(&mut self.body));
                }
                self.seen.delivered += 1;
                let reply = self.verdict(Reply::DELIVERED);
                session.reply(turn, &reply, out);
                assert_eq!(session.is_quiet(), number + 1 == self.recipients);
                return;
            }
            Event::Handshake => {
                self.tls = true;
                session.tls_established(Tls::PLAIN);
                return assert!(!session.is_authenticated(), "nothing survives");
            }
            Event::Reset => return self.body.clear(),
            Event::Body(slice) => return self.body.extend_from_slice(slice),
            Event::NeedInput | Event::Close | Event::Answered(..) => return,
        };
        assert_eq!(session.deadline(), None, "the turn is the caller's");
        let reply = self.verdict(yes);
        session.reply(turn, &reply, out);
    }
}

fn talk(setting: &Setting, bytes: &[u8], piece_len: usize) -> Seen {
    let now = Instant::from_micros(0);
    let mut session = Session::new(&setting.config, setting.peer, now);
    let mut caller = Caller {
        setting,
        seen: Seen::default(),
        body: Vec::new(),
        turns: 0,
        recipients: 0,
        tls: setting.peer.tls.is_some(),
    };
    let (mut start, mut end) = (0, 0);
    loop {
        let mut input = &bytes[start..end];
        let expects = session.expects();
        let mut out = Vec::new();
        let event = session.receive(now, &mut input, &mut out);
        let used = start..end - input.len();
        let (waits, closes) = (event == Event::NeedInput, event == Event::Close);
        if waits {
            assert!(
                input.len() < setting.config.line_len_max(),
                "too much is left unread"
            );
            assert!(session.deadline().is_some(), "a wait has an end");
        }
        if let Event::Body(slice) = event {
            let range = bytes[used.clone()].as_ptr_range();
            assert_eq!(
                range.end,
                slice.as_ptr_range().end,
                "the last of what was taken"
            );
            if let Expects::Body { left: Some(left) } = expects {
                assert!(slice.len() as u64 <= left);
            }
        }
        caller.answer(&mut session, event, &mut out);
        assert!(out.len() <= REPLY_LEN_MAX, "one step, one reply");
        assert!(out.is_empty() || out.ends_with(b"\r\n"), "whole lines");
        caller.seen.written.extend_from_slice(&out);
        start = used.end;
        if closes || (waits && end == bytes.len()) {
            return caller.seen;
        }
        if waits {
            end = (end + piece_len).min(bytes.len());
        }
    }
}
