//! What a caller may and must do: turns, what to read next, when to hurry, where to stop.

use mailrail_protocol::limits::REPLY_LEN_MAX;
use mailrail_protocol::reply::Reply;
use mailrail_protocol::server::{Config, Event, Expects, Peer, Session, Tls, Turn};
use mailrail_protocol::time::Instant;
use std::time::Duration;

const START: Instant = Instant::from_micros(7);

fn later(seconds: u64) -> Instant {
    START.after(Duration::from_secs(seconds))
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

#[test]
fn bytes_behind_starttls_are_never_read() {
    let mut config = Config::new("mx.example");
    let starttls = mailrail_protocol::extension::Extension::StartTls;
    config.extensions = config.extensions.with(starttls);
    // In the same packet.
    let mut caller = Caller::greeted(&config);
    caller.out.clear();
    let mut input = &b"STARTTLS\r\nMAIL FROM:<evil@a.example>\r\n"[..];
    assert_eq!(caller.event(&mut input), Event::Close);
    assert!(caller.out.starts_with(b"554 "));
    // In a packet that came while the answer was thought over.
    let mut caller = Caller::greeted(&config);
    let Event::StartTls(turn) = caller.event(&mut &b"STARTTLS\r\n"[..]) else {
        panic!("STARTTLS is offered");
    };
    caller
        .session
        .reply(turn, &Reply::START_TLS, &mut caller.out);
    assert_eq!(caller.event(&mut &b"RSET\r\n"[..]), Event::Close);
}

#[test]
fn a_peer_behind_tls_is_not_offered_it_again() {
    let mut config = Config::new("mx.example");
    let starttls = mailrail_protocol::extension::Extension::StartTls;
    config.extensions = config.extensions.with(starttls);
    let mut caller = Caller::new(&config);
    caller.session = Session::new(&config, Peer::TLS, START);
    caller.say("", &Reply::GREETING);
    caller.say("EHLO a.example\r\n", &Reply::HELLO);
    let said = String::from_utf8(caller.out).unwrap();
    assert!(said.contains("PIPELINING") && !said.contains("STARTTLS"));
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
