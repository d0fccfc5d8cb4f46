//! What was given against what was taken: the same messages, each once, octet by octet. Nothing is
//! sent here.

use super::giver::{Account, Ending, Giver};
use super::letter::Letter;
use super::taker::{Entry, Taker};
use mailrail_protocol::client::{Config, Fate};

/// What the sender believes of a message and one of its recipients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Belief {
    Taken,
    NotTaken,
    Unknown,
}

impl Account {
    fn belief(&self, recipient: usize) -> Belief {
        if self.left_over.is_some_and(|from| recipient >= from) {
            return Belief::NotTaken;
        }
        let answer = self.answers.get(recipient).copied();
        if answer == Some(false) || self.sender == Some(false) {
            return Belief::NotTaken;
        }
        let place = self.answers.iter().take(recipient).filter(|taken| **taken);
        let delivered = self.delivered.get(place.count()).copied();
        let of = |taken| {
            if taken {
                Belief::Taken
            } else {
                Belief::NotTaken
            }
        };
        match self.ending.expect("each has an end") {
            Ending::Sent(taken) => {
                assert!(answer.is_some(), "a recipient without an answer");
                of(taken)
            }
            Ending::Fate(Fate::InDoubt) if answer.is_none() => Belief::Unknown,
            Ending::Fate(Fate::InDoubt) => delivered.map_or(Belief::Unknown, of),
            Ending::Over | Ending::Fate(_) => delivered.map_or(Belief::NotTaken, of),
            Ending::Unsendable(_) => Belief::NotTaken,
        }
    }
}

/// Everything that the two sides must agree on. True if they took and gave all.
pub(crate) fn compare(giver: &Giver<'_>, taker: &Taker<'_>, letters: &[Letter], config: &Config) {
    let mut taken: Vec<Vec<bool>> = letters
        .iter()
        .map(|letter| vec![false; letter.to.len()])
        .collect();
    // The session answers some by itself.
    let mut questions = giver.questions.iter();
    for heard in &taker.questions {
        assert!(
            questions.any(|asked| asked == heard),
            "a question that nobody asked"
        );
    }
    let mut before = 0;
    for entry in &taker.entries {
        let Some(number) = number(entry) else {
            continue;
        };
        assert!(number >= before, "in their order");
        before = number;
        check(entry, &letters[number], &giver.accounts[number]);
        let recipients = entry.recipients.iter().filter(|(_, taken)| *taken);
        for ((line, _), yes) in recipients.zip(&entry.taken) {
            let place = &mut taken[number][place(line)];
            assert!(!*place, "a message was taken twice");
            *place = *yes;
        }
    }
    for (number, account) in giver.accounts.iter().enumerate() {
        let letter = &letters[number];
        let reasons = letter.unsendable(&account.peer, config);
        match account.ending {
            Some(Ending::Unsendable(reason)) => assert!(reasons.contains(&reason)),
            Some(Ending::Fate(Fate::Unsent)) => {}
            _ if account.given_up => {}
            _ => assert!(
                reasons.is_empty(),
                "it was sent and could not be: {reasons:?}"
            ),
        }
        for (recipient, taken) in taken[number].iter().enumerate() {
            match account.belief(recipient) {
                Belief::Taken => assert!(taken, "{recipient}.{number} was lost"),
                Belief::NotTaken => assert!(!taken, "{recipient}.{number} was taken for refused"),
                Belief::Unknown => {}
            }
        }
    }
}

/// One transaction as the two sides saw it.
fn check(entry: &Entry, letter: &Letter, account: &Account) {
    let text = String::from_utf8_lossy;
    assert_eq!(text(&entry.mail), text(&letter.mail_line(&account.peer)));
    assert_ne!(account.sender, Some(false), "the sender was taken");
    for (line, yes) in &entry.recipients {
        let place = place(line);
        let expected = letter.recipient_line(place, &account.peer);
        assert_eq!(text(line), text(&expected));
        assert!(account.left_over.is_none_or(|from| place < from));
        if let Some(answer) = account.answers.get(place) {
            assert_eq!(answer, yes, "the two sides believe different answers");
        }
    }
    if entry.taken.contains(&true) {
        let arrives = letter.arrives(entry.by_data);
        assert_eq!(text(&entry.content), text(&arrives));
        assert_eq!(entry.content, arrives);
    }
}

/// The numbers in front of the at sign: of the recipient, if it is one, and of the letter.
fn numbers(line: &[u8]) -> Option<(&str, usize)> {
    let line = str::from_utf8(line).ok()?;
    let (_, path) = line.split_once('<')?;
    let (local_part, _) = path.split_once('@')?;
    let (first, number) = local_part.split_once('.')?;
    Some((first, number.parse().ok()?))
}

fn number(entry: &Entry) -> Option<usize> {
    let lines = entry.recipients.iter().map(|(line, _)| line);
    let number = lines.chain([&entry.mail]).find_map(|line| numbers(line));
    number.map(|(_, number)| number)
}

fn place(line: &[u8]) -> usize {
    let (first, _) = numbers(line).expect("a recipient has two numbers");
    first.parse().expect("a number")
}
