//! A client's transaction whose recipients are named one after the other, each when the one before is
//! answered for: what a proxy needs. Transcripts have their recipients at once, so this has a caller of its own.

use mailrail_protocol::address::{Charset, ForwardPath, Mailbox, ReversePath};
use mailrail_protocol::client::{Config, Envelope, Event, Next, Recipient, Session};
use mailrail_protocol::time::Instant;

const NOW: Instant = Instant::from_micros(0);

fn to(mailbox: &'static str) -> Recipient<'static> {
    let mailbox = Mailbox::parse(mailbox.as_bytes(), Charset::Utf8).expect("a mailbox");
    Recipient::new(ForwardPath::Mailbox(mailbox))
}

fn envelope<'e>(recipients: &'e [Recipient<'e>], complete: bool) -> Envelope<'e> {
    let mut envelope = Envelope::new(ReversePath::Null, recipients);
    envelope.complete = complete;
    envelope
}

struct Dialogue<'c> {
    session: Session<'c>,
    sent: Vec<u8>,
}

impl<'c> Dialogue<'c> {
    /// Behind EHLO, a transaction begun.
    fn begin(config: &'c Config, extensions: &str) -> Self {
        let mut session = Session::new(config, NOW);
        let mut sent = Vec::new();
        let _ = session.receive(NOW, &mut &b"220 mx\r\n"[..], &mut sent);
        let answer = format!("250-mx\r\n{extensions}250 HELP\r\n");
        let mut input = answer.as_bytes();
        while !matches!(session.receive(NOW, &mut input, &mut sent), Event::Ready(_)) {}
        session.begin();
        sent.clear();
        Self { session, sent }
    }

    /// What is sent for this envelope, and what is next; twice, since the second time changes nothing.
    #[track_caller]
    fn writes(&mut self, envelope: &Envelope<'_>, expected: &str) -> Next {
        let next = self.session.write(envelope, &mut self.sent);
        assert_eq!(self.session.write(envelope, &mut self.sent), next);
        assert_eq!(String::from_utf8_lossy(&self.sent), expected);
        self.sent.clear();
        next
    }

    /// What an answer leads to, and that nothing is sent by it.
    #[track_caller]
    fn told(&mut self, answer: &str) -> String {
        let mut input = answer.as_bytes();
        let event = self.session.receive(NOW, &mut input, &mut self.sent);
        let told = match event {
            Event::Mail(answer) => format!("Mail {}", answer.code),
            Event::Recipient(n, answer) => format!("Recipient {n} {}", answer.code),
            Event::Sent(answer) => format!("Sent {}", answer.code),
            event => format!("{event:?}"),
        };
        assert_eq!((input, &*self.sent), (&b""[..], &b""[..]), "{told}");
        told
    }
}

#[test]
fn each_is_answered_before_the_next_is_known() {
    for extensions in [
        "",
        "250-PIPELINING\r\n250-CHUNKING\r\n",
        "250-LIMITS RCPTMAX=1\r\n",
    ] {
        let config = Config::new("a.example");
        let mut dialogue = Dialogue::begin(&config, extensions);
        let recipients = ["no@b.example", "x@b.example", "y@b.example"].map(to);
        assert_eq!(
            dialogue.writes(&envelope(&[], false), "MAIL FROM:<>\r\n"),
            Next::Wait
        );
        assert_eq!(dialogue.told("250 ok\r\n"), "Mail 250");
        let mut written = |count: usize, expected: &str| {
            let next = dialogue.writes(&envelope(&recipients[..count], false), expected);
            assert_eq!(next, Next::Wait);
        };
        written(0, "");
        written(1, "RCPT TO:<no@b.example>\r\n");
        // Nobody is left, but somebody may yet come.
        assert_eq!(dialogue.told("550 no\r\n"), "Recipient 0 550");
        assert_eq!(dialogue.told(""), "NeedInput");
        for (n, mailbox) in [(1, "x"), (2, "y")] {
            let line = format!("RCPT TO:<{mailbox}@b.example>\r\n");
            let all = envelope(&recipients[..=n], false);
            assert_eq!(dialogue.writes(&all, &line), Next::Wait);
            assert_eq!(dialogue.told("250 ok\r\n"), format!("Recipient {n} 250"));
        }
        assert_eq!(
            dialogue.writes(&envelope(&recipients, true), "DATA\r\n"),
            Next::Wait
        );
        assert_eq!(dialogue.told("354 go\r\n"), "SendBody");
        assert_eq!(
            dialogue.writes(&envelope(&recipients, true), ""),
            Next::Body
        );
        dialogue.session.end_body(&mut dialogue.sent);
        dialogue.sent.clear();
        assert_eq!(dialogue.told("250 ok\r\n"), "Sent 250");
        assert!(dialogue.session.can_begin());
    }
}

#[test]
fn the_last_may_come_with_the_end() {
    let config = Config::new("a.example");
    let mut dialogue = Dialogue::begin(&config, "250-PIPELINING\r\n");
    let recipients = ["x@b.example", "y@b.example"].map(to);
    let first = envelope(&recipients[..1], false);
    let _ = dialogue.writes(&first, "MAIL FROM:<>\r\nRCPT TO:<x@b.example>\r\n");
    let _ = dialogue.writes(
        &envelope(&recipients, true),
        "RCPT TO:<y@b.example>\r\nDATA\r\n",
    );
}

#[test]
fn complete_without_anybody_is_over() {
    let config = Config::new("a.example");
    for refused in [false, true] {
        let mut dialogue = Dialogue::begin(&config, "");
        let recipients = [to("no@b.example")];
        let _ = dialogue.writes(&envelope(&[], false), "MAIL FROM:<>\r\n");
        assert_eq!(dialogue.told("250 ok\r\n"), "Mail 250");
        let known = &recipients[..usize::from(refused)];
        if refused {
            let _ = dialogue.writes(&envelope(known, false), "RCPT TO:<no@b.example>\r\n");
            assert_eq!(dialogue.told("550 no\r\n"), "Recipient 0 550");
        }
        let _ = dialogue.writes(&envelope(known, true), "");
        assert_eq!(dialogue.told(""), "Over");
        // The peer has a sender without recipients: RSET clears it away.
        dialogue.session.begin();
        let _ = dialogue.writes(&envelope(&recipients, true), "RSET\r\n");
    }
}

#[test]
fn a_refused_sender_ends_it_at_once() {
    let config = Config::new("a.example");
    let mut dialogue = Dialogue::begin(&config, "");
    let _ = dialogue.writes(&envelope(&[], false), "MAIL FROM:<>\r\n");
    assert_eq!(dialogue.told("550 no\r\n"), "Mail 550");
    assert_eq!(dialogue.told(""), "Over");
}

#[test]
#[should_panic(expected = "none may leave")]
fn nobody_leaves() {
    let config = Config::new("a.example");
    let mut dialogue = Dialogue::begin(&config, "250-PIPELINING\r\n");
    let recipients = [to("x@b.example")];
    let first = envelope(&recipients, false);
    let _ = dialogue.writes(&first, "MAIL FROM:<>\r\nRCPT TO:<x@b.example>\r\n");
    let _ = dialogue.writes(&envelope(&[], false), "");
}

#[test]
#[should_panic(expected = "an envelope was changed")]
fn nobody_joins_what_is_complete() {
    let config = Config::new("a.example");
    let mut dialogue = Dialogue::begin(&config, "");
    let recipients = ["x@b.example", "y@b.example"].map(to);
    let _ = dialogue.writes(&envelope(&recipients[..1], true), "MAIL FROM:<>\r\n");
    let _ = dialogue.writes(&envelope(&recipients, true), "");
}

#[test]
#[should_panic(expected = "without SMTPUTF8")]
fn utf8_does_not_join_unannounced() {
    let config = Config::new("a.example");
    let mut dialogue = Dialogue::begin(&config, "250-SMTPUTF8\r\n");
    let _ = dialogue.writes(&envelope(&[], false), "MAIL FROM:<>\r\n");
    let _ = dialogue.session.write(
        &envelope(&[to("jörg@b.example")], false),
        &mut dialogue.sent,
    );
}
