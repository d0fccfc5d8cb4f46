//! Runs a transcript against a server session: the bytes of one peer in, cut in any way, and one
//! log out, of what the session told its caller and of what it wrote. No expectation lives here.
//!
//! The lines of a transcript:
//! ```text
//! # a sentence: what it shows, and the section that says so
//! begin                    greeting and HELO, as they usually are; in LMTP, LHLO and what it shows
//! begin ehlo               greeting and EHLO, without the reply to it
//! config size_max=100 without=CHUNKING
//! C EHLO a.example         bytes in; CRLF is added; \r \n \t \0 \\ and \xNN are understood
//! C+ half a line           the same without CRLF
//! C* 3 abc                 the same text three times, without CRLF
//! ? Hello a.example = 250  an event, and the answer to it
//! S 250-mx.example         a line out
//! S* 3 250 2.0.0 Ok        the same line three times
//! @ +300s                  time passes
//! ! shut_down              the caller does something: shut_down, tls, abort NAME
//! = is_quiet yes           the caller asks, and is told: is_quiet, is_authenticated
//! ```
//! What is answered is expected on the wire as well, except where the session says it in its own
//! words: to `Connected`, to `Hello`, the positive answer to `Data` and to XCLIENT, and behind ` = ! `.
//! An answer of 334 to AUTH is a challenge: its text is what the session encodes.
//!
//! `config tls=` begins with a connection that is encrypted, and `! tls` ends with one: `binding` and
//! `certificate` say what is known of it. Some settings are lists, parted by commas.

use super::settings::tls;
use super::show::{escape, show_mail, show_other, show_recipient, unescape};
use mailrail_protocol::extension::Extension;
use mailrail_protocol::limits::REPLY_LEN_MAX;
use mailrail_protocol::reply::{Code, Reply, Status};
use mailrail_protocol::server::{Config, Event, Expects, Peer, Session, Tls, Turn};
use mailrail_protocol::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// A transcript, read.
pub(super) struct Transcript {
    pub(super) config: Config,
    pub(super) peer: Peer,
    pub(super) steps: Vec<Step>,
    /// What must be seen, in order.
    pub(super) expected: Vec<String>,
    /// One for each turn; `None` says yes in the usual words.
    answers: Vec<Option<Answer>>,
}

/// What happens to the session, from its caller's side.
pub(super) enum Step {
    Feed(Vec<u8>),
    Pass(Duration),
    ShutDown,
    Tls(Tls),
    Ask(&'static str),
    Abort(&'static Reply<'static>),
}

#[derive(Clone)]
struct Answer {
    code: Code,
    status: Option<Status>,
    text: Vec<u8>,
}

/// How the bytes are cut.
pub(super) enum Cut {
    Whole,
    Bytes,
    Seeded(u64),
}

impl Cut {
    fn next(&mut self, left: usize) -> usize {
        match self {
            Self::Whole => left,
            Self::Bytes => 1,
            Self::Seeded(seed) => {
                *seed = seed
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let most = if *seed >> 63 == 0 { 7 } else { 200 };
                1 + (*seed >> 33) as usize % most.min(left)
            }
        }
    }
}

impl Transcript {
    pub(super) fn parse(text: &str) -> Self {
        let mut this = Self {
            config: Config::new("mx.example"),
            peer: Peer::PLAIN,
            steps: Vec::new(),
            expected: Vec::new(),
            answers: Vec::new(),
        };
        text.lines().for_each(|line| this.line(line));
        this
    }

    /// What `begin` stands for.
    const BEGINNING: &str = "\
? Connected
S 220 mx.example ESMTP
C HELO a.example
? Helo a.example
S 250 mx.example";

    /// The same in LMTP, with as few extensions as will do.
    const BEGINNING_OF_LMTP: &str = "\
config only=PIPELINING,ENHANCEDSTATUSCODES,CHUNKING
? Connected
S 220 mx.example LMTP
C LHLO a.example
? Lhlo a.example
S 250-mx.example
S 250-PIPELINING
S 250-ENHANCEDSTATUSCODES
S 250 CHUNKING";

    /// And with EHLO.
    const BEGINNING_EXTENDED: &str = "\
? Connected
S 220 mx.example ESMTP
C EHLO a.example
? Ehlo a.example";

    fn begin(&mut self, how: &str) {
        let beginning = match how {
            "" if self.config.lmtp => Self::BEGINNING_OF_LMTP,
            "" => Self::BEGINNING,
            "ehlo" => Self::BEGINNING_EXTENDED,
            other => panic!("no such beginning: {other}"),
        };
        beginning.lines().for_each(|line| self.line(line));
    }

    fn line(&mut self, line: &str) {
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        match mark {
            "" | "#" => {}
            "begin" => self.begin(rest),
            "config" => rest
                .split_whitespace()
                .for_each(|word| self.configure(word)),
            "C" => self.feed(&[&unescape(rest)[..], b"\r\n"].concat()),
            "C+" => self.feed(&unescape(rest)),
            "C*" => {
                let (count, text) = rest.split_once(' ').unwrap();
                self.feed(&unescape(text).repeat(count.parse().unwrap()));
            }
            "S" => self.expected.push(format!("S {rest}")),
            "S*" => {
                let (count, text) = rest.split_once(' ').unwrap();
                let count = count.parse().unwrap();
                let lines = std::iter::repeat_n(format!("S {text}"), count);
                self.expected.extend(lines);
            }
            "?" => self.event(rest),
            "@" => {
                let seconds = rest.strip_prefix('+').and_then(|s| s.strip_suffix('s'));
                let seconds = seconds.unwrap().parse().unwrap();
                self.steps.push(Step::Pass(Duration::from_secs(seconds)));
            }
            "!" => self.steps.push(match rest {
                "shut_down" => Step::ShutDown,
                "tls" => Step::Tls(Tls::PLAIN),
                "tls binding" => Step::Tls(tls("binding")),
                "tls certificate" => Step::Tls(tls("certificate")),
                "abort LOCAL_ERROR" => Step::Abort(&Reply::LOCAL_ERROR),
                "abort STORAGE_FULL" => Step::Abort(&Reply::STORAGE_FULL),
                "abort SHUTTING_DOWN" => Step::Abort(&Reply::SHUTTING_DOWN),
                other => panic!("unknown deed: {other}"),
            }),
            "=" => {
                self.expected.push(format!("= {rest}"));
                self.steps.push(Step::Ask(match rest.split(' ').next() {
                    Some("is_quiet") => "is_quiet",
                    Some("is_authenticated") => "is_authenticated",
                    other => panic!("nobody can be asked: {other:?}"),
                }));
            }
            other => panic!("unknown mark: {other:?} in {line:?}"),
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        match self.steps.last_mut() {
            Some(Step::Feed(before)) => before.extend_from_slice(bytes),
            _ => self.steps.push(Step::Feed(bytes.to_vec())),
        }
    }

    fn event(&mut self, text: &str) {
        let Some((event, answer)) = text.split_once(" = ") else {
            self.expected.push(format!("? {}", text.trim_end()));
            let word = text.split(' ').next().unwrap();
            if !["Body", "Reset", "Close", "Handshake"].contains(&word) {
                self.answers.push(None);
            }
            return;
        };
        let event = event.trim_end();
        self.expected.push(format!("? {event}"));
        let (answer, differs) = match answer.strip_prefix("! ") {
            Some(answer) => (answer, true),
            None => (answer, false),
        };
        let answer = Answer::parse(answer);
        let own_words = differs
            || event == "Connected"
            || ["Ehlo ", "Helo ", "Lhlo "]
                .iter()
                .any(|hello| event.starts_with(hello))
            || (event.starts_with("XCLIENT ") && answer.code.is_positive())
            || answer.is_challenge(event)
            || (event == "Data" && answer.code.is_positive());
        if !own_words {
            let status = self.config.extensions.has(Extension::EnhancedStatusCodes);
            let line = answer.line(status);
            self.expected.push(format!("S {line}"));
        }
        self.answers.push(Some(answer));
    }

    /// Runs it and says what was seen.
    pub(super) fn run(&self, mut cut: Cut) -> Vec<String> {
        let answers = self.answers.iter().cloned().collect();
        let mut runner = Runner::new(&self.config, self.peer, answers);
        runner.turn_over();
        for step in &self.steps {
            runner.flush_body();
            match step {
                Step::Feed(bytes) => {
                    let mut rest = &bytes[..];
                    while !rest.is_empty() {
                        let (now, later) = rest.split_at(cut.next(rest.len()));
                        runner.unread.extend_from_slice(now);
                        rest = later;
                        runner.turn_over();
                    }
                }
                Step::Pass(time) => {
                    runner.now = runner.now.after(*time);
                    let mut out = Vec::new();
                    runner.session.handle_timeout(runner.now, &mut out);
                    runner.log_out(&out);
                    runner.turn_over();
                }
                Step::ShutDown => {
                    runner.session.shut_down();
                    runner.turn_over();
                }
                Step::Tls(tls) => {
                    runner.session.tls_established(*tls);
                    runner.turn_over();
                }
                Step::Ask(what) => {
                    let yes = match *what {
                        "is_quiet" => runner.session.is_quiet(),
                        _ => runner.session.is_authenticated(),
                    };
                    runner.note(format!("= {what} {}", if yes { "yes" } else { "no" }));
                }
                Step::Abort(reply) => {
                    runner.session.abort(reply);
                    runner.turn_over();
                }
            }
        }
        runner.finish()
    }
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
        let code = Code::new(code.parse().unwrap()).unwrap();
        let (word, behind) = rest.split_once(' ').unwrap_or((rest, ""));
        let numbers: Vec<u16> = word.split('.').filter_map(|n| n.parse().ok()).collect();
        let (status, text) = match numbers[..] {
            [_, subject, detail] => (Some(Status::for_code(code, subject, detail)), behind),
            _ => (None, rest),
        };
        let text = unescape(text);
        Self { code, status, text }
    }

    /// 334 to AUTH or to a response: for `Session::challenge`.
    fn is_challenge(&self, event: &str) -> bool {
        let is_auth = event.starts_with("Auth ") || event.starts_with("Sasl");
        is_auth && self.code == Code::of(334)
    }

    fn line(&self, with_status: bool) -> String {
        let text = escape(&self.text);
        match self.status {
            Some(status) if with_status => format!("{} {status} {text}", self.code),
            _ => format!("{} {text}", self.code),
        }
    }
}

/// A session and its caller.
pub(super) struct Runner<'c> {
    config: &'c Config,
    session: Session<'c>,
    now: Instant,
    unread: Vec<u8>,
    log: Vec<String>,
    /// Consecutive slices are one body to the log: how it is cut depends on the input's cuts.
    body: Vec<u8>,
    answers: VecDeque<Option<Answer>>,
    stopped: bool,
}

impl<'c> Runner<'c> {
    fn new(config: &'c Config, peer: Peer, answers: VecDeque<Option<Answer>>) -> Self {
        let now = Instant::from_micros(1_000_000);
        Self {
            config,
            session: Session::new(config, peer, now),
            now,
            unread: Vec::new(),
            log: Vec::new(),
            body: Vec::new(),
            answers,
            stopped: false,
        }
    }

    fn turn_over(&mut self) {
        let mut used_up = 0;
        // Closed is closed: nothing more is read.
        while !self.stopped {
            let unread = std::mem::take(&mut self.unread);
            let mut input = &unread[..];
            let mut out = Vec::new();
            let expects = self.session.expects();
            let event = self.session.receive(self.now, &mut input, &mut out);
            let used = unread.len() - input.len();
            used_up += used;
            assert!(out.len() <= REPLY_LEN_MAX, "one call, one reply");
            self.check(&event, expects, &unread[..used], input);
            self.log_out(&out);
            let done = matches!(event, Event::NeedInput | Event::Handshake | Event::Close);
            self.log_event(event);
            self.unread = unread[used..].to_vec();
            if done {
                break;
            }
            assert!(used_up < 1 << 30, "it goes on for ever");
        }
    }

    fn check(&self, event: &Event<'_>, expects: Expects, used: &[u8], left: &[u8]) {
        match event {
            Event::Body(slice) => {
                assert!(!slice.is_empty());
                assert!(
                    used.as_ptr_range().end == slice.as_ptr_range().end,
                    "a slice of body is the last of what was taken"
                );
                if let Expects::Body { left: Some(left) } = expects {
                    assert!(slice.len() as u64 <= left);
                }
            }
            Event::NeedInput => {
                assert!(
                    left.len() < self.config.line_len_max(),
                    "too much is left unread"
                );
                assert!(self.session.deadline().is_some(), "a wait has an end");
            }
            _ => {}
        }
    }

    fn log_out(&mut self, out: &[u8]) {
        let Some(lines) = out.strip_suffix(b"\r\n") else {
            assert!(out.is_empty(), "half a line was written");
            return;
        };
        for line in lines.split(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            self.note(format!("S {}", escape(line)));
        }
    }

    fn note(&mut self, entry: String) {
        self.flush_body();
        self.log.push(entry);
    }

    fn flush_body(&mut self) {
        if !self.body.is_empty() {
            let body = std::mem::take(&mut self.body);
            self.log.push(format!("? Body {}", escape(&body)));
        }
    }

    fn log_event(&mut self, event: Event<'_>) {
        match event {
            Event::NeedInput | Event::Answered(..) => {}
            Event::Body(slice) => self.body.extend_from_slice(slice),
            Event::Reset => self.note("? Reset".into()),
            Event::Handshake => self.note("? Handshake".into()),
            Event::Close => {
                self.stopped = true;
                self.note("? Close".into());
            }
            Event::Connected(turn) => self.answer("Connected".into(), turn),
            Event::Hello(hello, turn) => {
                let verb = match hello.extended {
                    true if self.config.lmtp => "Lhlo",
                    true => "Ehlo",
                    false => "Helo",
                };
                self.answer(format!("{verb} {}", hello.name), turn);
            }
            Event::StartTls(turn) => self.answer("StartTls".into(), turn),
            Event::Mail(mail, turn) => {
                self.answer(show_mail(&mail), turn);
            }
            Event::Recipient(recipient, turn) => {
                self.answer(show_recipient(&recipient), turn);
            }
            Event::Other(other, turn) => {
                self.answer(show_other(&other), turn);
            }
            Event::Auth(auth, turn) => {
                let mut entry = format!("Auth {}", auth.mechanism.keyword());
                match auth.initial {
                    None => {}
                    Some(b"") => entry += " (empty)",
                    Some(initial) => entry += &format!(" {}", escape(initial)),
                }
                self.answer(entry, turn);
            }
            Event::Sasl(response, turn) => {
                let entry = format!("Sasl {}", escape(response));
                self.answer(entry.trim_end().into(), turn);
            }
            Event::EndOfDataFor(n, turn) => self.answer(format!("EndOfDataFor {n}"), turn),
            Event::Data(turn) => self.answer("Data".into(), turn),
            Event::EndOfData(turn) => {
                let findings = self.session.findings();
                let mut entry = String::from("EndOfData");
                for (flag, name) in [
                    (findings.leading_dots, "leading_dots"),
                    (findings.eight_bit, "eight_bit"),
                    (findings.nul, "nul"),
                    (findings.bare_cr, "bare_cr"),
                    (findings.bare_lf, "bare_lf"),
                    (findings.unterminated, "unterminated"),
                ] {
                    if flag {
                        entry += " ";
                        entry += name;
                    }
                }
                self.answer(entry, turn);
            }
        }
    }

    fn answer(&mut self, entry: String, turn: Turn) {
        self.note(format!("? {entry}"));
        assert_eq!(self.session.deadline(), None, "the turn is the caller's");
        let given = self.answers.pop_front().flatten();
        let given = given.unwrap_or_else(|| default_answer(&entry));
        if given.is_challenge(&entry) {
            let mut out = Vec::new();
            self.session.challenge(turn, &given.text, &mut out);
            return self.log_out(&out);
        }
        let reply = Reply {
            code: given.code,
            status: given.status,
            text: &given.text,
        };
        let mut out = Vec::new();
        self.session.reply(turn, &reply, &mut out);
        self.log_out(&out);
    }

    fn finish(mut self) -> Vec<String> {
        self.flush_body();
        self.log
    }
}

/// Where a transcript says nothing (or there is none): yes to everything.
fn default_answer(entry: &str) -> Answer {
    let mut words = entry.split(' ');
    let (event, argument) = (
        words.next().unwrap(),
        words.nth(usize::from(entry.starts_with("Auth"))),
    );
    let reply = match event {
        "Connected" => Reply::GREETING,
        "Ehlo" | "Helo" | "Lhlo" => Reply::HELLO,
        "Mail" => Reply::SENDER_OK,
        "Recipient" => Reply::RECIPIENT_OK,
        "EndOfData" => Reply::QUEUED,
        "EndOfDataFor" => Reply::DELIVERED,
        "Auth" | "Sasl" => match argument {
            // As good as any rule, and it lets dialogues get everywhere.
            None => Reply::plain(Code::of(334), "more"),
            Some(text) if text.len() % 2 == 0 => Reply::AUTHENTICATED,
            Some(_) => Reply::BAD_CREDENTIALS,
        },
        "VRFY" => Reply::CANNOT_VERIFY,
        "HELP" => Reply::HELP,
        "EXPN" | "ETRN" => Reply::NOT_IMPLEMENTED,
        "StartTls" => Reply::TLS_UNAVAILABLE,
        _ => Reply::OK,
    };
    Answer {
        code: reply.code,
        status: reply.status,
        text: reply.text.to_vec(),
    }
}

/// Feeds `bytes` to a fresh session whose caller says yes to everything.
pub(super) fn run_bytes(config: &Config, peer: Peer, bytes: &[u8], cut: Cut) -> Vec<String> {
    let transcript = Transcript {
        config: config.clone(),
        peer,
        steps: vec![Step::Feed(bytes.to_vec())],
        expected: Vec::new(),
        answers: Vec::new(),
    };
    transcript.run(cut)
}
