//! Senders that go on through crashes and write down what was acknowledged, and a sink with moods.
//!
//! A message's id tells its size and its recipients, so that what comes out at the other end can be
//! compared with what went in without keeping it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use mailrail::message::Id;
use mailrail_runtime::clock;

use crate::message::{self, Chance};
use crate::tally::{Promise, Tally};
use crate::wait::{Deadline, PATIENCE};
use crate::{Answer, Client, Received, Reply, Script, Sink};

/// The recipient that a moody sink defers until its gate is opened.
pub const STUCK: &str = "three@stuck.example";

/// What a sender has been told at the end of a transaction.
#[derive(Clone, Debug)]
enum Word {
    Taken(Promise),
    Refused(Reply),
}

/// Senders at work.
#[derive(Debug)]
pub struct Load {
    senders: Vec<JoinHandle<()>>,
    words: Receiver<Word>,
    stop: Arc<AtomicBool>,
    /// So many messages may be begun from now on.
    left: Arc<AtomicUsize>,
    refusals: Vec<Reply>,
}

impl Load {
    /// So many senders, each in a dialogue of its own, without pipelining: one waits for one message at a
    /// time. Where a connection ends they open the next.
    ///
    /// # Panics
    /// When there is no thread left.
    pub fn start(server: SocketAddr, sender_count: u64, seed: u64) -> Self {
        Self::start_with(server, sender_count, seed, usize::MAX)
    }

    /// As [`Self::start`], but no more than `limit` messages are begun before [`Self::lift_limit`] is called.
    ///
    /// # Panics
    /// When there is no thread left.
    pub fn start_with(server: SocketAddr, sender_count: u64, seed: u64, limit: usize) -> Self {
        let (tell, words) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let left = Arc::new(AtomicUsize::new(limit));
        let senders = (0..sender_count).map(|number| {
            let (tell, stop, left) = (tell.clone(), Arc::clone(&stop), Arc::clone(&left));
            // Ids of another load have other numbers.
            let (number, chance) = (seed * 1000 + number, Chance::new(seed + number + 1));
            std::thread::Builder::new()
                .name(format!("sender {number}"))
                .spawn(move || send_until(&stop, &left, number, chance, server, &tell))
                .expect("a thread")
        });
        Self {
            senders: senders.collect(),
            words,
            stop,
            left,
            refusals: Vec::new(),
        }
    }

    /// The senders go on without a limit.
    pub fn lift_limit(&self) {
        self.left.store(usize::MAX, Ordering::Relaxed);
    }

    /// Waits until `count` messages more are acknowledged, and counts meanwhile what has come to the sink.
    ///
    /// # Panics
    /// When nothing is, or something came changed.
    #[track_caller]
    pub fn acknowledge(&mut self, count: u64, tally: &mut Tally, sink: &Sink) {
        let mut left = count;
        while left > 0 {
            match self.next(Deadline::patient(), tally, sink) {
                Some(Word::Taken(_)) => left -= 1,
                Some(Word::Refused(_)) => {}
                None => panic!("no mail was accepted; refusals: {:?}", self.refusals.last()),
            }
        }
    }

    /// Waits until `count` messages more are refused, and counts meanwhile what has come to the sink. Gives
    /// what was acknowledged.
    ///
    /// # Panics
    /// When none is, or something came changed.
    #[track_caller]
    pub fn be_refused(&mut self, count: u64, tally: &mut Tally, sink: &Sink) -> Vec<Promise> {
        let mut left = count;
        let mut taken = Vec::new();
        let deadline = Deadline::patient();
        while left > 0 {
            match self.next(deadline, tally, sink) {
                Some(Word::Taken(promise)) => taken.push(promise),
                Some(Word::Refused(_)) => left -= 1,
                None => panic!("nothing was refused, {} were taken", taken.len()),
            }
        }
        taken
    }

    fn next(&mut self, deadline: Deadline, tally: &mut Tally, sink: &Sink) -> Option<Word> {
        let word = self.words.recv_timeout(deadline.left()).ok()?;
        match &word {
            Word::Taken(promise) => tally.promise(promise),
            Word::Refused(reply) => self.refusals.push(reply.clone()),
        }
        drain(tally, sink);
        Some(word)
    }

    /// Refusals that senders have read since the last call.
    pub fn refusals(&mut self, tally: &mut Tally) -> Vec<Reply> {
        for word in self.words.try_iter() {
            match word {
                Word::Taken(promise) => tally.promise(&promise),
                Word::Refused(reply) => self.refusals.push(reply),
            }
        }
        std::mem::take(&mut self.refusals)
    }

    /// Lets every sender end its message, and hands out the last words and all refusals.
    ///
    /// # Panics
    /// When a sender has.
    pub fn stop(mut self, tally: &mut Tally) -> Vec<Reply> {
        self.stop.store(true, Ordering::Relaxed);
        for sender in self.senders.drain(..) {
            sender.join().expect("a sender");
        }
        self.refusals(tally)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Counts what has come already.
///
/// # Panics
/// When something came changed.
pub fn drain(tally: &mut Tally, sink: &Sink) {
    while let Some(received) = sink.already() {
        check(&received);
        tally.arrive(&received);
    }
}

/// Counts what comes until all that was promised has come, and then until nothing comes any more; gives up
/// when nothing has come for [`PATIENCE`] although something is missing.
///
/// # Panics
/// When something came changed.
pub fn collect(tally: &mut Tally, sink: &Sink) {
    collect_for(PATIENCE, tally, sink);
}

/// As [`collect`], where something is expected to be missing, with as much patience for it.
///
/// # Panics
/// When something came changed.
pub fn collect_for(patience: Duration, tally: &mut Tally, sink: &Sink) {
    let patience = |tally: &Tally| {
        Deadline::after(match tally.missing() {
            0 => Duration::from_secs(1),
            _ => patience,
        })
    };
    while let Some(received) = sink.next_before(patience(tally)) {
        check(&received);
        tally.arrive(&received);
    }
}

/// Fails unless a message is what was sent to the last byte.
///
/// # Panics
/// If it is not.
fn check(received: &Received) {
    let id = received.id.as_deref().expect("an id");
    let sent = message::with_id(id, size(id));
    assert!(
        message::without_received(&received.content) == sent,
        "{id} has changed on its way"
    );
}

/// The size stands in the id, so that the content can be made again: `sender-number-size`.
fn size(id: &str) -> usize {
    id.rsplit('-')
        .next()
        .and_then(|size| size.parse().ok())
        .expect("a size in the id")
}

/// One message in three has two recipients of two domains: groups that end apart. One in fifty has
/// another that is deferred until the gate opens: its message outlives segments of the log, and is moved
/// from one to the next.
fn recipients(id: &str) -> &'static [&'static str] {
    const ALL: [&str; 3] = ["one@first.example", "two@second.example", STUCK];
    match size(id) {
        size if size % 50 == 1 => &ALL,
        size if size % 3 == 0 => &ALL[..2],
        _ => &ALL[..1],
    }
}

fn send_until(
    stop: &AtomicBool,
    left: &AtomicUsize,
    number: u64,
    mut chance: Chance,
    server: SocketAddr,
    tell: &Sender<Word>,
) {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let Some(mut client) = connect(server) else {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        };
        while !stop.load(Ordering::Relaxed) {
            let one_less = |left: usize| left.checked_sub(1);
            if left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
                .is_err()
            {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            count += 1;
            let limit = if chance.below(20) == 0 {
                200_000
            } else {
                10_000
            };
            let id = format!("{number}-{count}-{}", 100 + chance.below(limit));
            let content = message::with_id(&id, size(&id));
            let recipients = recipients(&id);
            let begun = clock::micros();
            let word = match client.submit("sender@client.example", recipients, &content) {
                Ok(reply) if reply.code == 250 => {
                    let line = reply.lines.last().expect("a line");
                    let number = line.rsplit(' ').next().and_then(|text| text.parse().ok());
                    Word::Taken(Promise {
                        id,
                        log: number.map(Id::log),
                        recipients: recipients.to_vec(),
                        begun,
                    })
                }
                Ok(reply) => Word::Refused(reply),
                Err(_) => break,
            };
            let is_over = matches!(&word, Word::Refused(reply) if reply.code == 421);
            let is_refused = matches!(&word, Word::Refused(_));
            if tell.send(word).is_err() {
                return;
            }
            if is_over {
                break;
            }
            if is_refused {
                // A polite peer does not ask again at once.
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

fn connect(server: SocketAddr) -> Option<Client> {
    let mut client = Client::open(server).ok()?;
    client.try_reply().ok().filter(|reply| reply.code == 220)?;
    client.send(b"EHLO client.example\r\n").ok()?;
    client.try_reply().ok().filter(|reply| reply.code == 250)?;
    Some(client)
}

/// Takes most mail, defers some, and hangs up at times, so that the server has outcomes of all kinds to
/// remember; [`STUCK`] is taken while `gate` is open.
pub fn moody(gate: Arc<AtomicBool>) -> Script {
    let count = AtomicUsize::new(0);
    Script::new(move |step| {
        let count = count.fetch_add(1, Ordering::Relaxed);
        let is_stuck = step.argument.contains(STUCK) && !gate.load(Ordering::Relaxed);
        match step.verb {
            "RCPT" if is_stuck => Answer::Say("450 4.2.1 not before the gate opens"),
            "RCPT" if count.is_multiple_of(23) => Answer::Say("450 4.2.1 later"),
            "END" if count.is_multiple_of(17) => Answer::Say("451 4.3.0 later"),
            "END" if count.is_multiple_of(59) => Answer::Drop,
            _ => Answer::Accept,
        }
    })
}
