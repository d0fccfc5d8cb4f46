//! The engine's client and the engine's server talk to each other, in memory: what they say, what
//! is answered, and how it is cut on the way, is read off a tape of octets. Whatever it is, both
//! must believe the same of every message in the end.

mod compare;
mod giver;
mod letter;
mod login;
mod pipe;
mod taker;
mod tape;

use giver::{Ending, Giver};
use letter::Letter;
use mailrail_protocol::client::{self, Violation};
use mailrail_protocol::command::{AttributeSet, Strictness};
use mailrail_protocol::extension::{Extension, Extensions, FutureRelease, Limits};
use mailrail_protocol::sasl::Mechanisms;
use mailrail_protocol::server::{self, Peer, Tls, Verdict};
use mailrail_protocol::time::Instant;
use pipe::Pipe;
use taker::Taker;
use tape::{Cuts, Tape};

/// More rounds than any dialogue needs: one that is not over by then goes on for ever.
const ROUND_COUNT_MAX: usize = 500_000;

/// What comes between the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trouble {
    None,
    /// The line is cut in this round.
    Cut(usize),
    /// The client falls silent in this round.
    GiverSleeps(usize),
    /// The server does.
    TakerSleeps(usize),
}

/// One dialogue, from the greeting to the end.
pub(crate) fn run(octets: &[u8]) {
    let tape = &mut Tape(octets);
    let lmtp = tape.choice(4) == 3;
    let (here, there) = (client_config(tape, lmtp), server_config(tape, lmtp));
    let mut tls = Tls::PLAIN;
    tls.client_certificate = tape.choice(2) == 1;
    let peer = [Peer::PLAIN, Peer::PLAIN, Peer::behind(tls)][tape.choice(3)];
    let refuses = tape.choice(2) == 1;
    let letters: Vec<_> = (0..1 + tape.choice(5))
        .map(|number| Letter::new(number, tape))
        .collect();
    let now = Instant::from_micros(0);
    let session = match peer.tls {
        Some(_) => client::Session::over_tls,
        None => client::Session::new,
    };
    let mut pair = Pair {
        giver: Giver::new(session(&here, now), &letters),
        taker: Taker::new(server::Session::new(&there, peer, now), lmtp, refuses),
        tls,
        now,
        // Not so much that a peer's time is up over it.
        step_us: [0, 1, 20][tape.choice(3)],
        giver_out: Pipe::default(),
        taker_out: Pipe::default(),
        there: Cuts::new(tape),
        back: Cuts::new(tape),
        trouble: trouble(tape),
    };
    pair.talk(tape);
    compare::compare(&pair.giver, &pair.taker, &letters, &here);
    if pair.trouble == Trouble::None && !pair.taker.has_refused {
        everything_arrives(&pair, &letters, &there);
    }
}

fn client_config(tape: &mut Tape<'_>, lmtp: bool) -> client::Config {
    let mut config = client::Config::new("a.example");
    let choice = tape.choice(16);
    config.lmtp = lmtp;
    config.pipelining = choice & 1 == 0;
    config.chunking = choice & 2 == 0;
    if choice & 4 != 0 {
        config.at_once_max = [0, 10, 100][tape.choice(3)];
    }
    if choice & 8 != 0 {
        config.at_once_proven_max = config.at_once_max;
        config.own_chunks = true;
    }
    config
}

fn server_config(tape: &mut Tape<'_>, lmtp: bool) -> server::Config {
    let mut config = server::Config::new("mx.example");
    config.lmtp = lmtp;
    let missing = tape.bits();
    let is_missing = |extension: &Extension| missing >> *extension as u8 & 1 == 1;
    let offered = Extension::ALL.into_iter().filter(|one| !is_missing(one));
    config.extensions = offered.fold(Extensions::NONE, Extensions::with);
    if config.extensions.has(Extension::Size) {
        let size_max = [0, 50_000, 100, 10][tape.choice(4)];
        config.extensions = config.extensions.with_size_max(size_max);
    }
    details(&mut config, tape);
    let choice = tape.choice(64);
    if choice & 1 != 0 {
        config.strictness = Strictness::USUAL;
        (config.strictness.bare_line_ends, config.strictness.nul) =
            (Verdict::Accept, Verdict::Accept);
    }
    if choice & 32 != 0 {
        config.tls_required = tape.choice(2) == 1;
        config.auth_required = tape.choice(2) == 1;
        config.private_commands = tape.choice(2) == 1;
    }
    if choice & 2 != 0 {
        config.limits.recipient_count_max = 1 + tape.choice(4) as u32;
    }
    if choice & 4 != 0 {
        config.limits.mail_count_max = 1 + tape.choice(3) as u32;
    }
    if choice & 8 != 0 {
        config.limits.error_count_max = 1 + tape.choice(3) as u32;
        config.limits.refusal_count_max = 1 + tape.choice(9) as u32;
        config.limits.command_count_max = 3 + tape.choice(20) as u32;
    }
    if choice & 16 != 0 {
        config.limits.swallow_max = 50;
    }
    config
}

/// What the lines behind EHLO say of each extension.
fn details(config: &mut server::Config, tape: &mut Tape<'_>) {
    let missing = config.extensions;
    let has = |extension| missing.has(extension);
    let offered = &mut config.extensions;
    let mechanisms = login::MECHANISMS.into_iter().zip(0..);
    let chosen = tape.choice(64);
    let mechanisms = mechanisms.filter(|(_, bit)| chosen >> bit & 1 == 0);
    let mechanisms = mechanisms.fold(Mechanisms::NONE, |all, (one, _)| all.with(one));
    if has(Extension::Auth) {
        *offered = offered.with_mechanisms(mechanisms);
    }
    if chosen & 32 == 0 {
        config.mechanisms_in_clear = mechanisms;
    }
    if has(Extension::Limits) {
        *offered = offered.with_limits(Limits {
            recipient_domain_count_max: tape.choice(4) as u32,
            ..Limits::default()
        });
    }
    if has(Extension::DeliverBy) {
        *offered = offered.with_deliver_by_min([0, 120, 1000][tape.choice(3)]);
    }
    if has(Extension::FutureRelease) {
        *offered = offered.with_future_release(FutureRelease {
            interval_max_s: [6000, 600, 1][tape.choice(3)],
            until_max: [1000, 999][tape.choice(2)],
        });
    }
    if has(Extension::XClient) {
        *offered = offered.with_x_client(AttributeSet::X_CLIENT);
    }
    if has(Extension::XForward) {
        *offered = offered.with_x_forward(AttributeSet::X_FORWARD);
    }
}

fn trouble(tape: &mut Tape<'_>) -> Trouble {
    let round = tape.choice(255);
    match tape.choice(8) {
        5 => Trouble::Cut(round),
        6 => Trouble::GiverSleeps(round),
        7 => Trouble::TakerSleeps(round),
        _ => Trouble::None,
    }
}

struct Pair<'c> {
    giver: Giver<'c>,
    taker: Taker<'c>,
    /// What a handshake brings.
    tls: Tls,
    now: Instant,
    step_us: u64,
    /// On their way.
    giver_out: Pipe,
    taker_out: Pipe,
    there: Cuts,
    back: Cuts,
    trouble: Trouble,
}

impl Pair<'_> {
    fn talk(&mut self, tape: &mut Tape<'_>) {
        for round in 0..ROUND_COUNT_MAX {
            if self.trouble == Trouble::Cut(round) {
                break;
            }
            let moved = self.round(round, tape);
            if self.giver.ended {
                break;
            }
            if !moved && !self.pass(round) {
                break;
            }
            assert!(round < ROUND_COUNT_MAX - 1, "it goes on for ever");
        }
        // What is on its way arrives, unless the line was cut; nobody waits for answers any more.
        if !matches!(self.trouble, Trouble::Cut(_)) {
            self.taker.take(self.giver_out.rest());
            self.taker.take(&self.giver.out);
            while self.taker.step(self.now, tape) {}
        }
        self.giver.settle();
        self.taker.settle();
        let silent = matches!(self.giver.violation, Some(Violation::Silent(_)));
        assert!(
            self.giver.violation.is_none() || (silent && self.trouble != Trouble::None),
            "our own server breaks no rule: {:?}",
            self.giver.violation
        );
    }

    /// False if nothing happened.
    fn round(&mut self, round: usize, tape: &mut Tape<'_>) -> bool {
        self.now = Instant::from_micros(self.now.as_micros() + self.step_us);
        let mut moved = false;
        if !matches!(self.trouble, Trouble::GiverSleeps(from) if from <= round) {
            moved |= self.giver.step(self.now, tape);
        }
        moved |= travel(
            &mut self.giver.out,
            &mut self.giver_out,
            &mut self.there,
            |octets| self.taker.take(octets),
        );
        if !matches!(self.trouble, Trouble::TakerSleeps(from) if from <= round) {
            moved |= self.taker.step(self.now, tape);
        }
        moved |= travel(
            &mut self.taker.out,
            &mut self.taker_out,
            &mut self.back,
            |octets| self.giver.take(octets),
        );
        moved
    }

    /// Both wait. True if the dialogue goes on.
    fn pass(&mut self, round: usize) -> bool {
        if self.giver.shakes_hands && self.taker.shakes_hands && !self.taker.closed {
            self.giver.tls_established();
            self.taker.tls_established(self.tls);
            return true;
        }
        match self.trouble {
            Trouble::GiverSleeps(from) if from <= round && !self.taker.closed => {
                self.now = self.taker.session.deadline().expect("a wait has an end");
                self.taker
                    .session
                    .handle_timeout(self.now, &mut self.taker.out);
                // It wakes up and reads what it was told.
                self.trouble = Trouble::GiverSleeps(usize::MAX);
                true
            }
            // How long a handshake may take is not the client's session to say.
            Trouble::TakerSleeps(from) if from <= round && self.giver.shakes_hands => false,
            Trouble::TakerSleeps(from) if from <= round => {
                self.now = self.giver.session.deadline().expect("a wait has an end");
                self.giver.session.handle_timeout(self.now);
                assert!(self.giver.step(self.now, &mut Tape(&[])) && self.giver.ended);
                true
            }
            // The server has hung up: it would not read on behind a refusal.
            _ if self.taker.closed => false,
            Trouble::None => panic!("both wait for each other"),
            _ => false,
        }
    }
}

/// What was written joins what is on its way, and some of it arrives. False if nothing did.
fn travel(out: &mut Vec<u8>, pipe: &mut Pipe, cuts: &mut Cuts, arrive: impl FnOnce(&[u8])) -> bool {
    pipe.put(out);
    out.clear();
    let len = cuts.next(pipe.rest().len());
    arrive(&pipe.rest()[..len]);
    pipe.take(len);
    len > 0
}

/// Where nothing went wrong, nothing is missing.
fn everything_arrives(pair: &Pair<'_>, letters: &[Letter], there: &server::Config) {
    let usual = server::Config::new("mx.example");
    let size_max = there.extensions.size_max().unwrap_or(u64::MAX);
    let open = !there.tls_required && !there.auth_required;
    if there.limits != usual.limits || !open || pair.giver.session.is_used_up() {
        return;
    }
    assert_eq!(pair.giver.accounts.len(), letters.len());
    let (here, there_is) = (&pair.giver.session, &pair.taker.session);
    assert_eq!(here.is_authenticated(), there_is.is_authenticated());
    assert_eq!(pair.giver.answered, pair.giver.questions.len());
    for (letter, account) in letters.iter().zip(&pair.giver.accounts) {
        let clean = there.strictness.bare_line_ends.accepts() || letter.is_clean();
        if account.given_up || !clean || letter.content.len() as u64 + 2 > size_max {
            continue;
        }
        match account.ending {
            Some(Ending::Sent(true) | Ending::Unsendable(_)) => {}
            Some(Ending::Over) if account.delivered.contains(&true) => {
                assert!(!account.delivered.contains(&false));
            }
            _ => panic!("it should have arrived: {letter:?} {account:?}"),
        }
    }
}
