//! Which kind of failure an answer tells of. Pure: code, status and text in, a category out.
//!
//! The status decides where it says something definite; many hosts send a vague one (5.7.1, 5.0.0) or none, and then
//! their words decide. The words are a list to be extended, the most telling first.

use crate::message::Answer;

/// The categories that operators know from other bulk senders.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Category {
    /// There is no such mailbox.
    BadMailbox,
    /// There is no such domain, or it takes no mail.
    BadDomain,
    /// The mailbox is closed.
    InactiveMailbox,
    /// The mailbox is full.
    QuotaIssues,
    /// It got too old.
    MessageExpired,
    /// It, or who sent it, is taken for spam.
    SpamRelated,
    /// A rule of theirs.
    PolicyRelated,
    /// It is taken for harmful.
    VirusRelated,
    /// The dialogue went wrong.
    ProtocolErrors,
    /// There is no way to them, or it runs in circles.
    RoutingErrors,
    /// Nobody answered.
    NoAnswerFromHost,
    /// The connection was refused or broke.
    BadConnection,
    /// What is in it cannot be taken: its size, its format.
    ContentRelated,
    /// They do not relay for us.
    RelayingIssues,
    /// None of these.
    Other,
}

impl Category {
    /// The name in the event log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadMailbox => "bad-mailbox",
            Self::BadDomain => "bad-domain",
            Self::InactiveMailbox => "inactive-mailbox",
            Self::QuotaIssues => "quota-issues",
            Self::MessageExpired => "message-expired",
            Self::SpamRelated => "spam-related",
            Self::PolicyRelated => "policy-related",
            Self::VirusRelated => "virus-related",
            Self::ProtocolErrors => "protocol-errors",
            Self::RoutingErrors => "routing-errors",
            Self::NoAnswerFromHost => "no-answer-from-host",
            Self::BadConnection => "bad-connection",
            Self::ContentRelated => "content-related",
            Self::RelayingIssues => "relaying-issues",
            Self::Other => "other",
        }
    }
}

/// Words in lower case; each has to stand at the beginning of a word. The first row that is found decides.
const WORDS: &[(Category, &[&str])] = &[
    (
        Category::VirusRelated,
        &["virus", "malware", "infected", "phish"],
    ),
    (
        Category::SpamRelated,
        &[
            "spam",
            "blacklist",
            "blocklist",
            "blocked",
            "block list",
            "listed",
            "dnsbl",
            "rbl",
            "reputation",
            "junk",
        ],
    ),
    (
        Category::QuotaIssues,
        &[
            "quota",
            "over quota",
            "mailbox full",
            "mailbox is full",
            "mailbox size",
            "storage",
        ],
    ),
    (
        Category::InactiveMailbox,
        &[
            "inactive",
            "disabled",
            "suspended",
            "deactivated",
            "closed account",
            "dormant",
        ],
    ),
    (Category::RelayingIssues, &["relay"]),
    (
        Category::BadMailbox,
        &[
            "no such user",
            "user unknown",
            "unknown user",
            "no such recipient",
            "unknown recipient",
            "no such mailbox",
            "no mailbox",
            "mailbox not found",
            "user not found",
            "invalid recipient",
            "recipient unknown",
            "invalid mailbox",
            "mailbox unavailable",
            "does not exist",
            "doesn't exist",
            "no such address",
            "address unknown",
            "recipient address rejected",
            "recipient not found",
            "not a valid mailbox",
        ],
    ),
    (
        Category::BadDomain,
        &[
            "domain not found",
            "no such domain",
            "host not found",
            "unknown host",
            "host unknown",
            "null mx",
            "nullmx",
            "domain does not accept",
        ],
    ),
    (
        Category::RoutingErrors,
        &[
            "too many hops",
            "hop count",
            "loop",
            "loops",
            "no route",
            "unreachable",
        ],
    ),
    (
        Category::NoAnswerFromHost,
        &["timed out", "timeout", "time out", "no answer"],
    ),
    (
        Category::BadConnection,
        &[
            "connection refused",
            "refused connection",
            "connection reset",
            "connection lost",
            "connection closed",
            "connection dropped",
        ],
    ),
    (
        Category::ContentRelated,
        &[
            "too large",
            "too big",
            "message size",
            "size limit",
            "attachment",
            "content",
            "header",
            "mime",
        ],
    ),
    (
        Category::PolicyRelated,
        &[
            "policy",
            "spf",
            "dkim",
            "dmarc",
            "rate limit",
            "too many",
            "throttled",
            "greylist",
            "graylist",
            "denied",
            "prohibited",
            "not allowed",
            "not permitted",
            "unauthenticated",
            "authentication",
            "reverse dns",
            "ptr",
        ],
    ),
    (
        Category::ProtocolErrors,
        &[
            "syntax",
            "bad sequence",
            "command",
            "protocol",
            "unrecognized",
            "not implemented",
        ],
    ),
];

/// The category of an answer.
pub fn classify(answer: &Answer<'_>) -> Category {
    definite(answer)
        .or_else(|| spoken(answer.text))
        .unwrap_or_else(|| vague(answer))
}

/// What the status says beyond doubt.
fn definite(answer: &Answer<'_>) -> Option<Category> {
    let status = answer.status?;
    //= RFC 3463 section 3.2: addresses · section 3.3: mailboxes · section 3.5: routing
    //= RFC 3463 section 3.6: protocol · section 3.7: content
    //= RFC 7505 section 4.1: 5.1.10 where the domain takes no mail
    Some(match (status.subject, status.detail) {
        (1, 1 | 3 | 6) => Category::BadMailbox,
        (1, 2 | 10) => Category::BadDomain,
        (2, 1) => Category::InactiveMailbox,
        (2, 2) => Category::QuotaIssues,
        (2, 3) | (3, 4) => Category::ContentRelated,
        (4, 1) => Category::NoAnswerFromHost,
        (4, 2) => Category::BadConnection,
        (4, 3 | 4 | 6) => Category::RoutingErrors,
        (4, 7) => Category::MessageExpired,
        (5, 1 | 2 | 4) => Category::ProtocolErrors,
        (6, 1..) => Category::ContentRelated,
        _ => return None,
    })
}

const WORD_COUNT: usize = {
    let (mut count, mut row) = (0, 0);
    while row < WORDS.len() {
        count += WORDS[row].1.len();
        row += 1;
    }
    count
};

/// All words with their rows, by first letter: at a word's start only a handful have to be compared (1 instead of
/// 4 µs for an answer of 250 bytes).
static BY_LETTER: [(u8, &[u8]); WORD_COUNT] = {
    let mut sorted: [(u8, &[u8]); WORD_COUNT] = [(0, &[]); WORD_COUNT];
    let (mut at, mut letter) = (0, b'a');
    while letter <= b'z' {
        let mut row = 0;
        while row < WORDS.len() {
            let mut word = 0;
            while word < WORDS[row].1.len() {
                if WORDS[row].1[word].as_bytes()[0] == letter {
                    sorted[at] = (row as u8, WORDS[row].1[word].as_bytes());
                    at += 1;
                }
                word += 1;
            }
            row += 1;
        }
        letter += 1;
    }
    assert!(
        at == WORD_COUNT,
        "each word begins with a lower-case letter"
    );
    sorted
};

/// Where the words of each letter begin in [`BY_LETTER`]; the last entry is the end.
static LETTER_STARTS: [usize; 27] = {
    let mut starts = [0; 27];
    let mut at = 0;
    while at < WORD_COUNT {
        let letter = (BY_LETTER[at].1[0] - b'a') as usize;
        let mut after = letter + 1;
        while after < starts.len() {
            starts[after] = at + 1;
            after += 1;
        }
        at += 1;
    }
    starts
};

/// What the words say.
fn spoken(text: &[u8]) -> Option<Category> {
    let mut found = WORDS.len();
    let mut in_word = false;
    for (at, byte) in text.iter().enumerate() {
        let starts = !in_word && byte.is_ascii_alphabetic();
        in_word = byte.is_ascii_alphanumeric();
        if !starts {
            continue;
        }
        let letter = usize::from(byte.to_ascii_lowercase() - b'a');
        for (row, word) in &BY_LETTER[LETTER_STARTS[letter]..LETTER_STARTS[letter + 1]] {
            let here = text
                .get(at..at + word.len())
                .is_some_and(|part| part.eq_ignore_ascii_case(word));
            if here {
                found = found.min(usize::from(*row));
            }
        }
    }
    WORDS.get(found).map(|(category, _)| *category)
}

/// What is left: the broad meaning of status and code.
fn vague(answer: &Answer<'_>) -> Category {
    match (answer.status.map(|status| status.subject), answer.code) {
        (Some(7), _) => Category::PolicyRelated,
        (Some(5), _) => Category::ProtocolErrors,
        //= RFC 5321 section 4.2.3: 551 and 553 are about the mailbox, 552 about its storage
        (_, 551 | 553) => Category::BadMailbox,
        (_, 552) => Category::QuotaIssues,
        (_, 500..=504 | 555) => Category::ProtocolErrors,
        _ => Category::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::answer::parse_status;
    use proptest::prelude::*;

    #[test]
    fn answers_and_their_categories() {
        for (code, status, text, category) in [
            (550, "5.1.1", "whatever spam", Category::BadMailbox),
            (550, "5.1.2", "", Category::BadDomain),
            (556, "5.1.10", "takes no mail", Category::BadDomain),
            (550, "5.2.1", "", Category::InactiveMailbox),
            (452, "4.2.2", "", Category::QuotaIssues),
            (552, "5.3.4", "", Category::ContentRelated),
            (451, "4.4.1", "", Category::NoAnswerFromHost),
            (451, "4.4.2", "", Category::BadConnection),
            (554, "5.4.6", "", Category::RoutingErrors),
            (451, "4.4.7", "", Category::MessageExpired),
            (501, "5.5.4", "", Category::ProtocolErrors),
            (550, "5.6.11", "", Category::ContentRelated),
            (550, "5.7.1", "Relaying denied", Category::RelayingIssues),
            (
                554,
                "5.7.1",
                "Message looks like SPAM, relaying denied",
                Category::SpamRelated,
            ),
            (
                554,
                "5.7.1",
                "Client host blocked using a DNSBL",
                Category::SpamRelated,
            ),
            (
                550,
                "5.7.26",
                "This mail is unauthenticated",
                Category::PolicyRelated,
            ),
            (550, "5.7.1", "no", Category::PolicyRelated),
            (
                550,
                "5.0.0",
                "Sorry, NO SUCH USER here",
                Category::BadMailbox,
            ),
            (
                550,
                "",
                "<x@y>: Recipient address rejected: User unknown in table",
                Category::BadMailbox,
            ),
            (552, "", "over quota", Category::QuotaIssues),
            (550, "", "account disabled", Category::InactiveMailbox),
            (554, "", "virus found", Category::VirusRelated),
            (
                451,
                "",
                "antivirus is a word of its own: no",
                Category::Other,
            ),
            (550, "", "respam is none either", Category::Other),
            (554, "", "too many hops", Category::RoutingErrors),
            (0, "", "connection timed out", Category::NoAnswerFromHost),
            (0, "", "connection refused", Category::BadConnection),
            (553, "", "", Category::BadMailbox),
            (552, "", "", Category::QuotaIssues),
            (502, "", "", Category::ProtocolErrors),
            (550, "5.5.0", "", Category::ProtocolErrors),
            (554, "", "no", Category::Other),
            (550, "", "\u{FFFD}é", Category::Other),
        ] {
            let answer = Answer::new(code, parse_status(status.as_bytes()), text.as_bytes());
            assert_eq!(classify(&answer), category, "{code} {status} {text}");
        }
    }

    /// Each word of each row at each place.
    fn naive(text: &str) -> Option<Category> {
        let text = text.to_ascii_lowercase();
        let stands = |word: &str| {
            text.match_indices(word)
                .any(|(at, _)| !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric()))
        };
        WORDS
            .iter()
            .find(|(_, words)| words.iter().any(|word| stands(word)))
            .map(|(category, _)| *category)
    }

    proptest! {
        #[test]
        fn same_as_naive(
            words in prop::collection::vec(prop_oneof![
                prop::sample::select(WORDS).prop_flat_map(|(_, words)| prop::sample::select(words)).prop_map(str::to_owned),
                "[A-Za-z0-9 ,é]{0,6}",
            ], 0..6),
            upper: bool,
        ) {
            let text = words.concat();
            let text = if upper { text.to_ascii_uppercase() } else { text };
            prop_assert_eq!(spoken(text.as_bytes()), naive(&text), "{}", text);
        }
    }
}
