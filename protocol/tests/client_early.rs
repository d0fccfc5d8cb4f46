//! A peer that answers once too often, all in one stretch, so that the answer is there before its question: a
//! caller that writes whatever it may, as soon as it may, must not take it for a success.

use mailrail_protocol::address::{Charset, ForwardPath, Mailbox, ReversePath};
use mailrail_protocol::client::{
    Config, Envelope, Event, Fate, Next, Recipient, Session, Violation,
};
use mailrail_protocol::time::Instant;

const NOW: Instant = Instant::from_micros(0);
const CONTENT: &[u8] = b"Subject: x\r\n\r\n";

/// Sends two messages to a peer that says this, a stretch each time that it is waited for. What ended the
/// transactions, what ended the connection, and the fates.
fn talk(
    extensions: &str,
    stretches: &[&str],
) -> (Vec<String>, Option<Violation>, [Option<Fate>; 2]) {
    let config = Config::new("a.example");
    let mailbox = Mailbox::parse(b"y@b.example", Charset::Ascii).expect("a mailbox");
    let recipients = [Recipient::new(ForwardPath::Mailbox(mailbox))];
    let mut envelope = Envelope::new(ReversePath::Null, &recipients);
    envelope.mail.size = Some(CONTENT.len() as u64);
    let hello = format!("250-mx\r\n{extensions}250 HELP\r\n");
    let mut stretches = ["220 mx\r\n", &hello]
        .into_iter()
        .chain(stretches.iter().copied());
    let (mut session, mut out, mut unread) = (Session::new(&config, NOW), Vec::new(), &b""[..]);
    let (mut ends, mut begun) = (Vec::new(), 0);
    loop {
        if begun < 2 && begun == ends.len() && session.can_begin() {
            session.begin();
            begun += 1;
        }
        if session.write(&envelope, &mut out) == Next::Body {
            session.segments(CONTENT).for_each(drop);
            session.end_body(&mut out);
        }
        match session.receive(NOW, &mut unread, &mut out) {
            Event::NeedInput => match stretches.next() {
                Some(stretch) => unread = stretch.as_bytes(),
                None => return (ends, None, session.fates()),
            },
            Event::Sent(answer) => ends.push(format!("Sent {}", answer.code)),
            Event::Refused(answer) => ends.push(format!("Refused {}", answer.code)),
            Event::Broken(violation, _) => return (ends, Some(violation), session.fates()),
            Event::Closed => return (ends, None, session.fates()),
            _ => {}
        }
    }
}

#[test]
fn a_success_behind_354() {
    let (ends, violation, fates) = talk(
        "250-PIPELINING\r\n",
        &["250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n"],
    );
    assert_eq!((ends.len(), violation), (0, Some(Violation::Unasked)));
    // The session was told that the content is sent.
    assert_eq!(fates, [Some(Fate::InDoubt), None]);
}

#[test]
fn a_refusal_behind_354() {
    let (ends, violation, fates) = talk(
        "250-PIPELINING\r\n",
        &["250 ok\r\n250 ok\r\n354 go\r\n554 no\r\n"],
    );
    assert_eq!((ends, violation), (vec!["Refused 554".to_owned()], None));
    assert_eq!(fates, [None, None]);
}

/// The one too many must not shift the answers to the next message, whose BDAT is refused.
#[test]
fn two_answers_to_one_content() {
    let (ends, violation, _) = talk(
        "250-PIPELINING\r\n250-CHUNKING\r\n",
        &[
            "250 ok\r\n250 ok\r\n250 taken\r\n250 taken\r\n",
            "250 ok\r\n250 ok\r\n452 no\r\n",
        ],
    );
    assert_eq!(ends, ["Sent 250"]);
    assert_eq!(violation, Some(Violation::Unasked));
}

#[test]
fn each_in_its_time() {
    let (ends, violation, _) = talk(
        "250-PIPELINING\r\n250-CHUNKING\r\n",
        &[
            "250 ok\r\n250 ok\r\n250 taken\r\n",
            "250 ok\r\n250 ok\r\n452 no\r\n",
        ],
    );
    assert_eq!(ends, ["Sent 250", "Sent 452"]);
    assert_eq!(violation, None);
}
