//! How many instructions a command or an octet takes: the same number on a busy machine as on an
//! idle one, and so a check. Needs valgrind; without it, it says so and counts nothing.
//!
//! `cargo bench -p mailrail-benches --bench instructions`
//!
//! Each routine runs in a process of its own under callgrind, and then twice as often; the
//! difference is the routine's, whatever the start of a process costs.

use mailrail_benches::content;
use mailrail_protocol::body::{Dotted, Scan};
use mailrail_protocol::reply::Reply;
use mailrail_protocol::server::{Config, Event, Peer, Session};
use mailrail_protocol::time::Instant;
use std::hint::black_box;
use std::process::{Command, ExitCode};

const NOW: Instant = Instant::from_micros(0);
const ROUNDS: u64 = 100;

/// What is counted, what one of it is called, and how many instructions one may take: some tenth
/// above what was counted when the limit was written.
const COUNTS: [Count; 6] = [
    count("RCPT in a session", "command", 1320.0, |rounds| {
        session(&rcpt(), 102, rounds)
    }),
    count(
        "MAIL, RCPT, RSET in a session",
        "command",
        1280.0,
        |rounds| session(MAIL_RCPT_RSET, 3, rounds),
    ),
    count("text", "octet", 1.2, |rounds| body("text", rounds)),
    count("UTF-8", "octet", 4.2, |rounds| body("UTF-8", rounds)),
    count("short lines", "octet", 3.6, |rounds| {
        body("short lines", rounds)
    }),
    count("dots", "octet", 3.4, |rounds| body("dots", rounds)),
];

struct Count {
    name: &'static str,
    one: &'static str,
    max: f64,
    /// Runs so many rounds, and says how many commands or octets there were in each.
    run: fn(u64) -> u64,
}

const fn count(name: &'static str, one: &'static str, max: f64, run: fn(u64) -> u64) -> Count {
    Count {
        name,
        one,
        max,
        run,
    }
}

const MAIL_RCPT_RSET: &[u8] = b"MAIL FROM:<first.sender@client.example.com> SIZE=12345\r\n\
    RCPT TO:<user1@mx.example.net>\r\n\
    RSET\r\n";

fn rcpt() -> Vec<u8> {
    let mut input = b"MAIL FROM:<first.sender@client.example.com>\r\n".to_vec();
    for number in 0..100 {
        input.extend_from_slice(format!("RCPT TO:<user{number}@mx.example.net>\r\n").as_bytes());
    }
    input.extend_from_slice(b"RSET\r\n");
    input
}

fn session(input: &[u8], commands: u64, rounds: u64) -> u64 {
    let mut config = Config::new("mx.example");
    config.limits.command_count_max = u32::MAX;
    let mut session = Session::new(&config, Peer::PLAIN, NOW);
    let mut out = Vec::with_capacity(64 * 1024);
    hear(&mut session, b"EHLO client.example\r\n", &mut out);
    for _ in 0..rounds {
        out.clear();
        hear(&mut session, black_box(input), &mut out);
    }
    commands
}

fn hear(session: &mut Session<'_>, mut input: &[u8], out: &mut Vec<u8>) {
    loop {
        match session.receive(NOW, &mut input, out) {
            Event::Connected(turn) => session.reply(turn, &Reply::GREETING, out),
            Event::Hello(_, turn) => session.reply(turn, &Reply::HELLO, out),
            Event::Mail(_, turn) => session.reply(turn, &Reply::SENDER_OK, out),
            Event::Recipient(_, turn) => session.reply(turn, &Reply::RECIPIENT_OK, out),
            Event::Answered(..) | Event::Reset => {}
            Event::NeedInput => return,
            event => unreachable!("{event:?}"),
        }
    }
}

/// A body of 64 KiB behind DATA.
fn body(kind: &str, rounds: u64) -> u64 {
    let kind = content::KINDS.iter().find(|known| known.name == kind);
    let wire = [
        &kind.expect("a kind of content").lines(64 << 10)[..],
        b".\r\n",
    ]
    .concat();
    for _ in 0..rounds {
        let mut scan = Scan::new();
        let mut input = black_box(&wire[..]);
        while let Dotted::Slice(slice) = scan.dotted(&mut input) {
            black_box(slice);
        }
        black_box(scan.findings());
    }
    wire.len() as u64
}

/// Instructions of a process that runs so many rounds; `None` without valgrind.
fn instructions(count: usize, rounds: u64) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().ok()?)
        .args([CHILD, &count.to_string(), &rounds.to_string()])
        .output()
        .ok()?;
    let told = String::from_utf8(output.stderr).ok()?;
    let (_, number) = told.split_once("Collected : ")?;
    number.split_whitespace().next()?.parse().ok()
}

const CHILD: &str = "--rounds-of";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [CHILD, count, rounds] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        let number = |text: &str| text.parse().expect("a number");
        (COUNTS[number(count) as usize].run)(number(rounds));
        return ExitCode::SUCCESS;
    }
    let mut code = ExitCode::SUCCESS;
    for (number, count) in COUNTS.iter().enumerate() {
        let (Some(once), Some(twice)) = (
            instructions(number, ROUNDS),
            instructions(number, 2 * ROUNDS),
        ) else {
            eprintln!("instructions: no valgrind here, nothing counted");
            return ExitCode::SUCCESS;
        };
        let each = (twice - once) as f64 / (ROUNDS * (count.run)(1)) as f64;
        let verdict = if each > count.max {
            code = ExitCode::FAILURE;
            "TOO MANY"
        } else {
            "good"
        };
        eprintln!(
            "{:32} {each:8.2} instructions per {} (at most {}): {verdict}",
            count.name, count.one, count.max,
        );
    }
    code
}
