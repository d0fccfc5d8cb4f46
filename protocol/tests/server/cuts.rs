//! Random dialogues: however the bytes are cut, the session sees the same and says the same; and no
//! bytes at all make it panic.

use super::runner::{Cut, run_bytes};
use mailrail_protocol::command::AttributeSet;
use mailrail_protocol::extension::Extension;
use mailrail_protocol::limits::AUTH_LINE_LEN_MAX;
use mailrail_protocol::sasl::{Mechanism, Mechanisms};
use mailrail_protocol::server::{Config, Peer, Tls, Verdict};
use proptest::prelude::*;

/// Whole lines, halves of lines, bodies and their ends, in any order.
const SNIPPETS: &[&str] = &[
    "EHLO a.example\r\n",
    "HELO a.example\r\n",
    "LHLO a.example\r\n",
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
    "AUTH PLAIN\r\nAAAA\r\n",
    "AUTH PLAIN AAAA\r\n",
    "AUTH PLAIN AAA\r\n",
    "AUTH LOGIN\r\n\r\n*\r\n",
    "AUTH SCRAM-SHA-256 =\r\n",
    "AUTH EXTERNAL\r\n",
    "AUTH NONE\r\n",
    "*\r\n",
    "AAAA\r\n",
    "AAA\r\n",
    "MAIL FROM:<x@a.example> BODY=BINARYMIME\r\n",
    "MAIL FROM:<x@a.example> REQUIRETLS AUTH=<>\r\n",
    "ETRN a.example\r\n",
    "XCLIENT NAME=a ADDR=192.0.2.1\r\n",
    "XFORWARD NAME=a\r\n",
    "NOOP\n",
    "BDAT 4 LAST\r\n\0\n\rx",
    "QUIT\r\n",
    "FROB\r\n",
    "\r\n",
    "\r",
    "\n",
    ".",
    "x",
];

fn peer() -> impl Strategy<Value = Peer> {
    any::<[bool; 3]>().prop_map(|[tls, binding, certificate]| {
        let mut known = Tls::PLAIN;
        known.channel_binding = binding;
        known.client_certificate = certificate;
        if tls {
            Peer::behind(known)
        } else {
            Peer::PLAIN
        }
    })
}

fn config() -> impl Strategy<Value = Config> {
    (any::<u32>(), 1u32..20, 0u64..200, 10u64..200).prop_map(
        |(switches, errors, swallow_max, size_max)| {
            let is_on = |switch: u8| switches >> switch & 1 == 1;
            let verdict = |switch| match is_on(switch) {
                true => Verdict::Accept,
                false => Verdict::Reject,
            };
            let mut config = Config::new("mx.example");
            let mut extensions = config.extensions.with_size_max(size_max);
            for (switch, extension) in [
                (0, Extension::Chunking),
                (1, Extension::EnhancedStatusCodes),
            ] {
                if is_on(switch) {
                    extensions = extensions.without(extension);
                }
            }
            for (switch, extension) in [
                (2, Extension::BinaryMime),
                (3, Extension::RequireTls),
                (4, Extension::Limits),
                (5, Extension::Help),
                (6, Extension::Etrn),
            ] {
                if is_on(switch) {
                    extensions = extensions.with(extension);
                }
            }
            if is_on(7) {
                extensions = extensions
                    .with_x_client(AttributeSet::X_CLIENT)
                    .with_x_forward(AttributeSet::X_FORWARD);
            }
            let mechanisms = Mechanisms::NONE
                .with(Mechanism::Plain)
                .with(Mechanism::Login)
                .with(Mechanism::External)
                .with(Mechanism::ScramSha256);
            if is_on(8) {
                extensions = extensions.with_mechanisms(mechanisms);
            }
            config.extensions = extensions;
            if is_on(9) {
                config.mechanisms_in_clear = mechanisms;
            }
            config.auth_required = is_on(10) && is_on(11);
            config.tls_required = is_on(12) && is_on(13);
            config.lmtp = is_on(14);
            config.private_commands = is_on(15);
            config.strictness.bare_line_ends = verdict(16);
            config.strictness.nul = verdict(16);
            config.strictness.bare_lf_in_commands = verdict(17);
            config.strictness.text_line_len_max = is_on(18).then_some(20);
            config.limits.recipient_count_max = if is_on(19) { 100 } else { 2 };
            config.limits.mail_count_max = if is_on(20) { 2 } else { u32::MAX };
            config.limits.error_count_max = errors;
            config.limits.swallow_max = swallow_max;
            config
        },
    )
}

fn dialogue() -> impl Strategy<Value = (&'static str, Vec<Vec<u8>>)> {
    let snippet = prop_oneof![
        60 => (0..SNIPPETS.len()).prop_map(|at| SNIPPETS[at].as_bytes().to_vec()),
        1 => (1usize..5000).prop_map(|len| vec![b'l'; len]),
        1 => (1usize..AUTH_LINE_LEN_MAX + 9).prop_map(|len| {
            [&b"AUTH PLAIN "[..], &vec![b'A'; len], b"\r\n"].concat()
        }),
        3 => proptest::collection::vec(any::<u8>(), 0..9),
    ];
    // Most begin well: a dialogue that never gets past EHLO shows little.
    let beginning = prop_oneof![
        1 => Just(""),
        2 => Just("EHLO a.example\r\n"),
        4 => Just("EHLO a.example\r\nMAIL FROM:<x@a.example>\r\nRCPT TO:<y@mx.example>\r\n"),
        4 => Just("EHLO a.example\r\nMAIL FROM:<x@a.example>\r\nRCPT TO:<y@mx.example>\r\nDATA\r\n"),
        2 => Just("EHLO a.example\r\nAUTH LOGIN\r\n"),
        2 => Just("EHLO a.example\r\nMAIL FROM:<x@a.example> BODY=BINARYMIME\r\nRCPT TO:<y@mx.example>\r\n"),
    ];
    (beginning, proptest::collection::vec(snippet, 0..30))
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
    fn cuts_change_nothing(
        config in config(),
        peer in peer(),
        (beginning, rest) in dialogue(),
        seed: u64,
    ) {
        let beginning = match config.lmtp {
            true => beginning.replace("EHLO", "LHLO"),
            false => beginning.into(),
        };
        let bytes = [beginning.as_bytes(), &rest.concat()].concat();
        let run = |cut| kept(run_bytes(&config, peer, &bytes, cut));
        let whole = run(Cut::Whole);
        prop_assert_eq!(&run(Cut::Bytes), &whole);
        prop_assert_eq!(&run(Cut::Seeded(seed)), &whole);
    }

    #[test]
    fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..300), seed: u64) {
        run_bytes(&Config::new("mx.example"), Peer::PLAIN, &bytes, Cut::Seeded(seed));
    }
}
