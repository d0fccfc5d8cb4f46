//! Random dialogues: however the bytes are cut, the session sees the same and says the same; and no
//! bytes at all make it panic.

use super::runner::{Cut, run_bytes};
use mailrail_protocol::extension::Extension;
use mailrail_protocol::server::{Config, Peer, Verdict};
use proptest::prelude::*;

/// Whole lines, halves of lines, bodies and their ends, in any order.
const SNIPPETS: &[&str] = &[
    "EHLO a.example\r\n",
    "HELO a.example\r\n",
    "MAIL FROM:<x@a.example>\r\n",
    "MAIL FROM:<x@a.example> SIZE=20 BODY=8BITMIME\r\n",
    "MAIL FROM:<ü@a.example> SMTPUTF8\r\n",
    "MAIL FROM:<> SIZE=99999\r\n",
    "RCPT TO:<y@mx.example>\r\n",
    "RCPT TO:<y@mx.example>\r\n",
    "RCPT TO:<@r:y@[192.0.2.1]>\r\n",
    "RCPT TO:<bad>\r\n",
    "DATA\r\n",
    "DATA\r\n",
    ".\r\n",
    ".\r\n",
    "..\r\n",
    "text\r\n",
    "bare\nlf\r\n",
    "bare\rcr\r\n",
    "nul\0\r\n",
    "BDAT 0\r\n",
    "BDAT 0 LAST\r\n",
    "BDAT 6 LAST\r\nabcd\r\n",
    "BDAT 3\r\n.\r\n",
    "BDAT 30\r\n",
    "BDAT 99999 LAST\r\n",
    "BDAT x\r\n",
    "RSET\r\n",
    "NOOP\r\n",
    "HELP\r\n",
    "VRFY x\r\n",
    "EXPN x\r\n",
    "STARTTLS\r\n",
    "AUTH PLAIN\r\n",
    "QUIT\r\n",
    "FROB\r\n",
    "\r\n",
    "\r",
    "\n",
    ".",
    "x",
];

fn config() -> impl Strategy<Value = Config> {
    (any::<[bool; 4]>(), 1u32..20, 0u64..200, 10u64..200).prop_map(
        |([accept, chunking, status, many], errors, swallow_max, size_max)| {
            let mut config = Config::new("mx.example");
            config.extensions = config.extensions.with_size_max(size_max);
            if accept {
                config.strictness.bare_line_ends = Verdict::Accept;
                config.strictness.nul = Verdict::Accept;
            }
            if !chunking {
                config.extensions = config.extensions.without(Extension::Chunking);
            }
            if !status {
                let without = config.extensions.without(Extension::EnhancedStatusCodes);
                config.extensions = without;
            }
            config.limits.error_count_max = errors;
            config.limits.swallow_max = swallow_max;
            config.limits.recipient_count_max = if many { 100 } else { 2 };
            config
        },
    )
}

fn dialogue() -> impl Strategy<Value = Vec<u8>> {
    let snippet = prop_oneof![
        60 => (0..SNIPPETS.len()).prop_map(|at| SNIPPETS[at].as_bytes().to_vec()),
        1 => (1usize..5000).prop_map(|len| vec![b'l'; len]),
        3 => proptest::collection::vec(any::<u8>(), 0..9),
    ];
    // Most begin well: a dialogue that never gets past EHLO shows little.
    let beginning = prop_oneof![
        1 => Just(""),
        2 => Just("EHLO a.example\r\n"),
        4 => Just("EHLO a.example\r\nMAIL FROM:<x@a.example>\r\nRCPT TO:<y@mx.example>\r\n"),
        4 => Just("EHLO a.example\r\nMAIL FROM:<x@a.example>\r\nRCPT TO:<y@mx.example>\r\nDATA\r\n"),
    ];
    (beginning, proptest::collection::vec(snippet, 0..30)).prop_map(|(beginning, rest)| {
        let mut bytes = beginning.as_bytes().to_vec();
        bytes.extend(rest.concat());
        bytes
    })
}

/// How much of a body is handed out before it turns out to be refused depends on the cuts; all of it
/// is thrown away.
fn kept(log: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for entry in log {
        if entry == "? Reset" && kept.last().is_some_and(|last| last.starts_with("? Body")) {
            kept.pop();
        }
        kept.push(entry);
    }
    kept
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn cuts_change_nothing(config in config(), bytes in dialogue(), seed: u64) {
        let run = |cut| kept(run_bytes(&config, Peer::PLAIN, &bytes, cut));
        let whole = run(Cut::Whole);
        prop_assert_eq!(&run(Cut::Bytes), &whole);
        prop_assert_eq!(&run(Cut::Seeded(seed)), &whole);
    }

    #[test]
    fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..300), seed: u64) {
        run_bytes(&Config::new("mx.example"), Peer::PLAIN, &bytes, Cut::Seeded(seed));
    }
}
