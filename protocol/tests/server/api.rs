//! What a caller may and must do: turns, what to read next, when to hurry, where to stop.

use mailrail_protocol::command::{AttributeSet, Other};
use mailrail_protocol::extension::Extension;
use mailrail_protocol::limits::{AUTH_LINE_LEN_MAX, COMMAND_LINE_LEN_MAX, REPLY_LEN_MAX};
use mailrail_protocol::reply::{Code, Reply};
use mailrail_protocol::sasl::{Mechanism, Mechanisms};
use mailrail_protocol::server::{Config, Event, Expects, Peer, Session, Tls, Turn};
use mailrail_protocol::time::Instant;
use std::time::Duration;

const START: Instant = Instant::from_micros(7);

fn later(seconds: u64) -> Instant {
    START.after(Duration::from_secs(seconds))
}

/// Everything that changes with the connection.
fn with_all() -> Config {
    let mut config = Config::new("mx.example");
    let mechanisms = Mechanism::ALL
        .into_iter()
        .fold(Mechanisms::NONE, Mechanisms::with);
    config.extensions = config
        .extensions
        .with(Extension::StartTls)
        .with_mechanisms(mechanisms)
        .with_x_client(AttributeSet::X_CLIENT);
    config.mechanisms_in_clear = mechanisms;
    config
}

/// A session and what it wrote.
struct Caller<'c> {
    session: Session<'c>,
    out: Vec<u8>,
}

impl<'c> Caller<'c> {
    fn new(config: &'c Config) -> Self {
        Self {
            session: Session::new(config, Peer::PLAIN, START),
            out: Vec::new(),
        }
    }

    /// Takes one event that owes an answer.
    fn turn(&mut self, input: &str) -> Turn {
        let mut rest = input.as_bytes();
        let event = self.session.receive(START, &mut rest, &mut self.out);
        assert!(rest.is_empty());
        match event {
            Event::Connected(turn)
            | Event::Hello(_, turn)
            | Event::Auth(_, turn)
            | Event::Sasl(_, turn)
            | Event::StartTls(turn)
            | Event::Other(Other::XClient(_), turn)
            | Event::Mail(_, turn)
            | Event::Recipient(_, turn)
            | Event::Data(turn)
            | Event::EndOfData(turn) => turn,
            other => panic!("no turn: {other:?}"),
        }
    }

    fn say(&mut self, input: &str, reply: &Reply<'_>) {
        let turn = self.turn(input);
        self.session.reply(turn, reply, &mut self.out);
    }

    /// Goes as far as a recipient that was taken.
    fn greeted(config: &'c Config) -> Self {
        let mut caller = Self::new(config);
        caller.say("", &Reply::GREETING);
        caller.say("EHLO a.example\r\n", &Reply::HELLO);
        caller
    }

    /// Behind EHLO, and behind what else was said.
    fn ready_for_tls(config: &'c Config, before: &str) -> Self {
        let mut caller = Self::greeted(config);
        if !before.is_empty() {
            caller.say(before, &Reply::AUTHENTICATED);
        }
        if !before.starts_with("AUTH") {
            caller.say("EHLO a.example\r\n", &Reply::HELLO);
        }
        caller.out.clear();
        caller
    }

    fn with_recipient(config: &'c Config) -> Self {
        let mut caller = Self::greeted(config);
        caller.say("MAIL FROM:<>\r\n", &Reply::SENDER_OK);
        caller.say("RCPT TO:<y@mx.example>\r\n", &Reply::RECIPIENT_OK);
        caller
    }

    fn event<'i>(&mut self, input: &mut &'i [u8]) -> Event<'i> {
        self.session.receive(START, input, &mut self.out)
    }

    fn body_left(&self) -> Option<Option<u64>> {
        match self.session.expects() {
            Expects::Line => None,
            Expects::Body { left } => Some(left),
        }
    }
}

#[test]
#[should_panic(expected = "a turn was dropped")]
fn a_turn_must_be_answered() {
    let config = Config::new("mx.example");
    let mut caller = Caller::new(&config);
    let _dropped = caller.turn("");
    let _ = caller.event(&mut &b""[..]);
}

#[test]
#[should_panic(expected = "a turn was answered that is not open")]
fn another_sessions_turn_is_refused() {
    let config = Config::new("mx.example");
    let mut first = Caller::new(&config);
    let mut second = Caller::new(&config);
    first.say("", &Reply::GREETING);
    let _open = first.turn("EHLO a.example\r\n");
    let foreign = second.turn("");
    first.session.reply(foreign, &Reply::HELLO, &mut first.out);
}

#[test]
#[should_panic(expected = "there is no body to abort")]
fn abort_belongs_to_a_body() {
    let config = Config::new("mx.example");
    Caller::greeted(&config).session.abort(&Reply::LOCAL_ERROR);
}

#[test]
#[should_panic(expected = "an aborted message was not taken")]
fn abort_promises_nothing() {
    let config = Config::new("mx.example");
    let mut caller = Caller::with_recipient(&config);
    caller.say("DATA\r\n", &Reply::START_DATA);
    caller.session.abort(&Reply::QUEUED);
}

#[test]
#[should_panic(expected = "no handshake was asked for")]
fn tls_belongs_to_a_handshake() {
    let config = Config::new("mx.example");
    Caller::greeted(&config).session.tls_established(Tls::PLAIN);
}

#[test]
fn what_to_read_next() {
    let config = Config::new("mx.example");
    let mut caller = Caller::with_recipient(&config);
    assert_eq!(caller.body_left(), None);
    caller.say("BDAT 10\r\n", &Reply::OK);
    assert_eq!(caller.body_left(), Some(Some(10)));
    assert_eq!(caller.event(&mut &b"abc"[..]), Event::Body(b"abc"));
    assert_eq!(caller.body_left(), Some(Some(7)));
    assert_eq!(caller.event(&mut &b"1234567"[..]), Event::Body(b"1234567"));
    assert_eq!(caller.body_left(), Some(Some(0)));
    assert!(matches!(caller.event(&mut &b""[..]), Event::Answered(..)));
    assert_eq!(caller.body_left(), None);
    caller.say("BDAT 0 LAST\r\n", &Reply::QUEUED);
    assert_eq!(caller.body_left(), None);

    let mut caller = Caller::with_recipient(&config);
    caller.say("DATA\r\n", &Reply::START_DATA);
    assert_eq!(caller.body_left(), Some(None));
    caller.session.abort(&Reply::LOCAL_ERROR);
    assert_eq!(caller.body_left(), None, "nothing more of it is wanted");
}

#[test]
fn quiet_is_between_transactions() {
    let config = Config::new("mx.example");
    let mut caller = Caller::new(&config);
    assert!(!caller.session.is_quiet(), "a greeting is owed");
    caller.say("", &Reply::GREETING);
    assert!(caller.session.is_quiet());
    caller.say("EHLO a.example\r\n", &Reply::HELLO);
    assert!(caller.session.is_quiet());
    let turn = caller.turn("MAIL FROM:<>\r\n");
    assert!(!caller.session.is_quiet());
    caller
        .session
        .reply(turn, &Reply::SENDER_OK, &mut caller.out);
    assert!(!caller.session.is_quiet());
    caller.say("RCPT TO:<y@mx.example>\r\n", &Reply::RECIPIENT_OK);
    caller.say("DATA\r\n", &Reply::START_DATA);
    assert!(!caller.session.is_quiet());
    caller.say(".\r\n", &Reply::QUEUED);
    assert!(caller.session.is_quiet());
}

#[test]
fn no_deadline_while_the_turn_is_ours() {
    let config = Config::new("mx.example");
    let mut caller = Caller::greeted(&config);
    assert_eq!(caller.event(&mut &b""[..]), Event::NeedInput);
    assert_eq!(caller.session.deadline(), Some(later(300)));
    let turn = caller.turn("MAIL FROM:<>\r\n");
    assert_eq!(caller.session.deadline(), None);
    caller
        .session
        .reply(turn, &Reply::SENDER_OK, &mut caller.out);
    // The answer took a while: the peer's time begins when it is waited for.
    let event = caller
        .session
        .receive(later(100), &mut &b""[..], &mut caller.out);
    assert_eq!(event, Event::NeedInput);
    assert_eq!(caller.session.deadline(), Some(later(400)));
}

#[test]
fn a_timeout_too_early_changes_nothing() {
    let config = Config::new("mx.example");
    let mut caller = Caller::greeted(&config);
    assert_eq!(caller.event(&mut &b"NOO"[..]), Event::NeedInput);
    caller.out.clear();
    caller.session.handle_timeout(later(299), &mut caller.out);
    assert_eq!(caller.out, b"");
    assert_eq!(caller.event(&mut &b"NOO"[..]), Event::NeedInput);
    caller.session.handle_timeout(later(300), &mut caller.out);
    assert!(caller.out.starts_with(b"421 4.4.2 "));
    assert_eq!(caller.event(&mut &b"NOOP\r\n"[..]), Event::Close);
    assert_eq!(caller.session.deadline(), None);
    let len = caller.out.len();
    caller.session.handle_timeout(later(900), &mut caller.out);
    assert_eq!(caller.out.len(), len, "the last word was said");
}

#[test]
fn the_last_word_stays_the_last() {
    let config = Config::new("mx.example");
    let mut caller = Caller::greeted(&config);
    let mut input = &b"QUIT\r\nNOOP\r\n"[..];
    assert_eq!(caller.event(&mut input), Event::Close);
    let len = caller.out.len();
    assert_eq!(caller.event(&mut input), Event::Close);
    assert_eq!(input, b"NOOP\r\n");
    assert_eq!(caller.out.len(), len);
}

/// Whatever was said before it, and whatever comes behind it.
#[test]
fn bytes_behind_starttls_are_never_read() {
    let config = with_all();
    for before in [
        "",
        "EHLO a.example\r\n",
        "AUTH PLAIN AAAA\r\n",
        "XCLIENT ADDR=192.0.2.1\r\n",
    ] {
        for behind in [
            "MAIL FROM:<evil@a.example>\r\n",
            "EHLO a\r\n",
            "\r\n",
            "x",
            "\x16\x03\x01",
        ] {
            // In the same packet.
            let mut caller = Caller::ready_for_tls(&config, before);
            let packet = format!("STARTTLS\r\n{behind}");
            let mut input = packet.as_bytes();
            assert_eq!(caller.event(&mut input), Event::Close);
            assert_eq!(caller.out, b"554 5.7.0 Data behind STARTTLS\r\n");
            assert_eq!(input, behind.as_bytes(), "none of it is read");
            // In a packet that came while the answer was thought over.
            let mut caller = Caller::ready_for_tls(&config, before);
            caller.say("STARTTLS\r\n", &Reply::START_TLS);
            assert_eq!(caller.out, b"220 2.0.0 Ready to start TLS\r\n");
            assert_eq!(caller.event(&mut behind.as_bytes()), Event::Close);
            assert_eq!(caller.out, b"220 2.0.0 Ready to start TLS\r\n");
        }
    }
}

/// Everything that a peer in clear text could bring about.
#[test]
fn nothing_survives_the_handshake() {
    let config = with_all();
    let mut caller = Caller::ready_for_tls(&config, "AUTH PLAIN AAAA\r\n");
    assert!(caller.session.is_authenticated());
    caller.say("STARTTLS\r\n", &Reply::START_TLS);
    assert_eq!(caller.event(&mut &b""[..]), Event::Handshake);
    caller.session.tls_established(Tls::PLAIN);
    assert!(!caller.session.is_authenticated());
    for command in ["MAIL FROM:<>\r\n", "AUTH PLAIN AAAA\r\n", "STARTTLS\r\n"] {
        caller.out.clear();
        let event = caller.event(&mut command.as_bytes());
        assert!(matches!(event, Event::Answered(..)), "{event:?}");
        assert!(caller.out.starts_with(b"503 "), "EHLO comes first");
    }
    caller.say("EHLO a.example\r\n", &Reply::HELLO);
    caller.say("AUTH PLAIN AAAA\r\n", &Reply::AUTHENTICATED);
    assert!(caller.session.is_authenticated());
}

#[test]
fn a_peer_behind_tls_is_not_offered_it_again() {
    let mut config = Config::new("mx.example");
    config.extensions = config.extensions.with(Extension::StartTls);
    let mut caller = Caller::new(&config);
    caller.session = Session::new(&config, Peer::TLS, START);
    caller.say("", &Reply::GREETING);
    caller.say("EHLO a.example\r\n", &Reply::HELLO);
    let said = String::from_utf8(caller.out).unwrap();
    assert!(said.contains("PIPELINING") && !said.contains("STARTTLS"));
}

#[test]
#[should_panic(expected = "a challenge answers an open turn of AUTH")]
fn a_challenge_belongs_to_auth() {
    let config = Config::new("mx.example");
    let mut caller = Caller::greeted(&config);
    let turn = caller.turn("MAIL FROM:<>\r\n");
    caller.session.challenge(turn, b"", &mut caller.out);
}

#[test]
#[should_panic(expected = "a challenge answers an open turn of AUTH")]
fn a_challenge_wants_the_open_turn() {
    let config = with_all();
    let mut caller = Caller::greeted(&config);
    let mut other = Caller::greeted(&config);
    let _open = caller.turn("AUTH PLAIN\r\n");
    let foreign = other.turn("EHLO b.example\r\n");
    other.session.reply(foreign, &Reply::HELLO, &mut other.out);
    let foreign = other.turn("AUTH PLAIN\r\n");
    caller.session.challenge(foreign, b"", &mut caller.out);
}

#[test]
fn a_challenge_is_never_cut() {
    let config = with_all();
    let mut caller = Caller::greeted(&config);
    caller.out.clear();
    let turn = caller.turn("AUTH LOGIN\r\n");
    let challenge = [b'x'; 9000];
    caller.session.challenge(turn, &challenge, &mut caller.out);
    assert_eq!(caller.out.len(), b"334 ".len() + 12_000 + b"\r\n".len());
    assert!(caller.out.starts_with(b"334 eHh4eHh4") && caller.out.ends_with(b"eHh4\r\n"));
}

#[test]
fn a_334_that_the_caller_wrote_itself_goes_on_too() {
    let config = with_all();
    let mut caller = Caller::greeted(&config);
    caller.out.clear();
    caller.say(
        "AUTH LOGIN\r\n",
        &Reply::plain(Code::of(334), "VXNlcm5hbWU6"),
    );
    assert_eq!(caller.out, b"334 VXNlcm5hbWU6\r\n");
    assert!(!caller.session.is_authenticated());
    caller.say("AAAA\r\n", &Reply::AUTHENTICATED);
    assert!(caller.session.is_authenticated());
}

#[test]
fn what_a_buffer_must_hold() {
    let config = Config::new("mx.example");
    assert_eq!(config.line_len_max(), COMMAND_LINE_LEN_MAX);
    let config = with_all();
    assert_eq!(config.line_len_max(), AUTH_LINE_LEN_MAX);
    // One octet less than that is all that ever stays unread.
    let mut caller = Caller::greeted(&config);
    let line = [b"AUTH PLAIN ", &[b'A'; AUTH_LINE_LEN_MAX][..]].concat();
    let mut input = &line[..AUTH_LINE_LEN_MAX - 1];
    assert_eq!(caller.event(&mut input), Event::NeedInput);
    assert_eq!(input.len(), AUTH_LINE_LEN_MAX - 1);
    let mut input = &line[..AUTH_LINE_LEN_MAX];
    assert!(matches!(caller.event(&mut input), Event::Answered(..)));
}

#[test]
fn mechanisms_follow_the_connection() {
    let mut config = with_all();
    let offered = |config: &Config, tls| {
        let mechanisms = config.mechanisms(tls);
        let named = config.offered(tls);
        assert_eq!(named.mechanisms(), mechanisms);
        assert_eq!(named.has(Extension::Auth), !mechanisms.is_empty());
        Mechanism::ALL.map(|each| mechanisms.has(each))
    };
    let (mut binding, mut certificate) = (Tls::PLAIN, Tls::PLAIN);
    binding.channel_binding = true;
    certificate.client_certificate = true;
    //                                         PLUS   SCRAM  EXT    BEARER XOAUTH PLAIN  LOGIN
    assert_eq!(
        offered(&config, None),
        [false, true, false, true, true, true, true]
    );
    config.mechanisms_in_clear = Mechanisms::NONE.with(Mechanism::ScramSha256);
    assert_eq!(
        offered(&config, None),
        [false, true, false, false, false, false, false]
    );
    assert_eq!(
        offered(&config, Some(Tls::PLAIN)),
        [false, true, false, true, true, true, true]
    );
    assert_eq!(
        offered(&config, Some(binding)),
        [true, true, false, true, true, true, true]
    );
    assert_eq!(
        offered(&config, Some(certificate)),
        [false, true, true, true, true, true, true]
    );
    config.mechanisms_in_clear = Mechanisms::NONE;
    assert_eq!(offered(&config, None), [false; 7]);
}

#[test]
fn xclient_may_bring_another_config() {
    let first = with_all();
    let mut second = Config::new("second.example");
    second.greeting = "again".into();
    let mut caller = Caller::greeted(&first);
    let turn = caller.turn("XCLIENT ADDR=192.0.2.1\r\n");
    caller.session.set_config(&second);
    caller.out.clear();
    caller.session.reply(turn, &Reply::OK, &mut caller.out);
    assert_eq!(caller.out, b"220 second.example ESMTP again\r\n");
    assert!(caller.session.is_quiet());
    caller.out.clear();
    caller.say("HELO b.example\r\n", &Reply::HELLO);
    assert_eq!(caller.out, b"250 second.example\r\n");
}

#[test]
fn lmtp_gives_one_reply_a_call() {
    let mut config = Config::new("mx.example");
    config.lmtp = true;
    let mut caller = Caller::new(&config);
    caller.say("", &Reply::GREETING);
    caller.say("LHLO a.example\r\n", &Reply::HELLO);
    caller.say("MAIL FROM:<>\r\n", &Reply::SENDER_OK);
    for _ in 0..1000 {
        caller.say("RCPT TO:<y@mx.example>\r\n", &Reply::RECIPIENT_OK);
    }
    caller.say("DATA\r\n", &Reply::START_DATA);
    caller.session.abort(&Reply::STORAGE_FULL);
    let mut input = &b".\r\nNOOP\r\n"[..];
    for _ in 0..1000 {
        caller.out.clear();
        assert!(!caller.session.is_quiet());
        assert!(matches!(caller.event(&mut input), Event::Answered(..)));
        assert!(caller.out.starts_with(b"452 4.3.1 ") && caller.out.len() < 100);
    }
    assert!(caller.session.is_quiet());
    caller.out.clear();
    caller.event(&mut input);
    assert_eq!(
        (caller.out.as_slice(), input),
        (&b"250 2.0.0 Ok\r\n"[..], &b""[..])
    );
}

#[test]
fn another_config_from_here_on() {
    let first = Config::new("first.example");
    let second = Config::new("second.example");
    let mut caller = Caller::greeted(&first);
    caller.out.clear();
    caller.session.set_config(&second);
    caller.say("HELO a.example\r\n", &Reply::HELLO);
    assert_eq!(caller.out, b"250 second.example\r\n");
}

#[test]
fn a_reply_of_any_length_is_bounded() {
    let mut config = Config::new(&"h".repeat(10_000));
    config.greeting = "g".repeat(10_000);
    let text = "t".repeat(10_000);
    let mut caller = Caller::new(&config);
    caller.say("", &Reply::GREETING);
    assert!(
        caller.out.len() <= 2 * REPLY_LEN_MAX,
        "{}",
        caller.out.len()
    );
    caller.out.clear();
    caller.say("EHLO a.example\r\n", &Reply::HELLO.with_text(&text));
    assert!(caller.out.ends_with(b"250 SMTPUTF8\r\n"));
    assert!(
        caller.out.len() <= 2 * REPLY_LEN_MAX,
        "{}",
        caller.out.len()
    );
    caller.out.clear();
    caller.say("MAIL FROM:<>\r\n", &Reply::SENDER_OK.with_text(&text));
    assert!(caller.out.len() <= REPLY_LEN_MAX, "{}", caller.out.len());
}

#[test]
fn a_session_is_small() {
    assert!(size_of::<Session<'_>>() <= 144);
}
