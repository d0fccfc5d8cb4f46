//! The engine's client against the engine's server, in memory, both directions cut as the dice
//! fall: what the server's caller is handed must be what the client's caller sent, octet by octet.

mod client_caller;
mod client_dice;

use client_caller::{Caller, Taken};
use client_dice::random;
use mailrail_protocol::client;
use mailrail_protocol::extension::{Extension, Extensions};
use mailrail_protocol::reply::Reply;
use mailrail_protocol::server::{Config, Event, Peer, Session};
use mailrail_protocol::time::Instant;
use proptest::prelude::*;

/// More steps than any dialogue needs: one that is not over by then hangs.
const PATIENT: usize = 200_000;

/// A caller of `server::Session` that answers as the dice say.
struct Host<'c> {
    session: Session<'c>,
    dice: u64,
    /// One in so many answers is a refusal.
    refusals: u64,
    unread: Vec<u8>,
    out: Vec<u8>,
    closed: bool,
    open: Taken,
    taken: Vec<Taken>,
}

impl Host<'_> {
    fn verdict(&mut self, yes: Reply<'static>) -> Reply<'static> {
        let no = [
            Reply::NO_SUCH_USER,
            Reply::LOCAL_ERROR,
            Reply::RELAY_DENIED,
            Reply::SHUTTING_DOWN,
        ];
        if !random(&mut self.dice).is_multiple_of(self.refusals) {
            return yes;
        }
        // The last of them hangs up: not too often.
        let last = if random(&mut self.dice).is_multiple_of(10) {
            4
        } else {
            3
        };
        no[random(&mut self.dice) as usize % last]
    }

    fn receive(&mut self, bytes: impl IntoIterator<Item = u8>) {
        self.unread.extend(bytes);
        let now = Instant::from_micros(0);
        while !self.closed {
            let unread = std::mem::take(&mut self.unread);
            let mut input = unread.as_slice();
            let event = self.session.receive(now, &mut input, &mut self.out);
            let mut more = true;
            match event {
                Event::NeedInput => more = false,
                Event::Connected(turn) => self.session.reply(turn, &Reply::GREETING, &mut self.out),
                Event::Hello(_, turn) => self.session.reply(turn, &Reply::HELLO, &mut self.out),
                Event::Mail(mail, turn) => {
                    self.open = (mail.from.as_str().into(), Vec::new(), Vec::new());
                    let reply = self.verdict(Reply::SENDER_OK);
                    self.session.reply(turn, &reply, &mut self.out);
                }
                Event::Recipient(recipient, turn) => {
                    let reply = self.verdict(Reply::RECIPIENT_OK);
                    if reply.is_positive() {
                        self.open.1.push(recipient.to.as_str().into());
                    }
                    self.session.reply(turn, &reply, &mut self.out);
                }
                Event::Data(turn) => {
                    let reply = self.verdict(Reply::START_DATA);
                    self.session.reply(turn, &reply, &mut self.out);
                }
                Event::Body(bytes) => self.open.2.extend_from_slice(bytes),
                Event::EndOfData(turn) => {
                    let reply = self.verdict(Reply::QUEUED);
                    if reply.is_positive() {
                        self.taken.push(std::mem::take(&mut self.open));
                    }
                    self.session.reply(turn, &reply, &mut self.out);
                }
                Event::Answered(..) | Event::Reset => {}
                Event::Close => self.closed = true,
                other => panic!("this client does nothing of the kind: {other:?}"),
            }
            self.unread = input.to_vec();
            if !more {
                return;
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Setting {
    seed: u64,
    refusals: u64,
    extensions: Extensions,
    at_once_max: u64,
    patience: usize,
}

fn dialogue(setting: Setting) {
    let mut dice = setting.seed;
    let mut config = client::Config::new("a.example");
    config.at_once_max = setting.at_once_max;
    let mut caller = Caller::new(&config, 8, setting.seed);
    let mut config = Config::new("mx.example");
    config.extensions = setting.extensions;
    let mut host = Host {
        session: Session::new(&config, Peer::PLAIN, Instant::from_micros(0)),
        dice: setting.seed ^ 0x5555,
        refusals: setting.refusals,
        unread: Vec::new(),
        out: Vec::new(),
        closed: false,
        open: Taken::default(),
        taken: Vec::new(),
    };
    let longest = [3, 60, 50_000][random(&mut dice) as usize % 3];
    for _ in 0..setting.patience {
        let count = (1 + random(&mut dice) as usize % longest).min(caller.out.len());
        host.receive(caller.out.drain(..count));
        let count = (1 + random(&mut dice) as usize % longest).min(host.out.len());
        caller.receive(host.out.drain(..count));
        if caller.ended {
            break;
        }
    }
    host.receive(std::mem::take(&mut caller.out));
    caller.compare(&host.taken);
    assert!(
        setting.patience < PATIENT || caller.ended,
        "the dialogue hangs"
    );
    if setting.patience == PATIENT && setting.refusals == u64::MAX {
        let (sure, all) = caller.settled();
        assert_eq!(sure, all, "nothing is left in doubt");
        if setting.extensions.has(Extension::EightBitMime) {
            assert_eq!(host.taken.len(), all, "everything arrives");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn what_is_sent_arrives(
        seed: u64,
        refusals in prop_oneof![Just(u64::MAX), 2u64..9],
        missing in proptest::sample::subsequence(Extension::ALL.to_vec(), 0..=3),
        at_once_max in prop_oneof![Just(0u64), 0u64..60, Just(100_000)],
        patience in prop_oneof![0usize..300, Just(PATIENT)],
    ) {
        let offered = Config::new("mx.example").extensions;
        let extensions = missing.into_iter().fold(offered, Extensions::without);
        dialogue(Setting { seed, refusals, extensions, at_once_max, patience });
    }
}
