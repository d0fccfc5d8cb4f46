//! The ids of messages, over failing commits and restarts: of one id there is one message, and no id comes
//! twice. The spool alone, on the disks of a seeded world; whole servers are `simulation`'s.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;

use mailrail::message::{Durability, Envelope, Flags, Id, IdSource, META_LEN, Meta, Timestamp};
use mailrail::spool::entry::{Outcome, Settled};
use mailrail::spool::recover::{Fold, Place, Recovered};
use mailrail::spool::{Spool, highest_among, in_one_chunk, place_of};
use mailrail_runtime::log::Options;
use mailrail_runtime::sim::disk::{Call, Failing};
use mailrail_runtime::sim::{Host, World};
use mailrail_runtime::timer;

const SPOOL: &str = "/var/spool";
const NOW: Timestamp = Timestamp::from_unix_millis(1_795_508_041_000);

fn options(log: u16) -> Options {
    let mut options = Options::new(SPOOL, log);
    options.segment_len = 64 << 10;
    options.first_segment_len = 32 << 10;
    options.batch_len_max = 16 << 10;
    options.copy_max = 4 << 10;
    options.reserve_len = 8 << 10;
    options.min_free_space = 0;
    options
}

/// A message for one recipient, as the log keeps it.
fn payload() -> Vec<u8> {
    let mut envelope = Envelope::new();
    envelope.set_sender(b"a@client.example");
    assert!(envelope.add_recipient(b"b@sink.example"));
    let mut stored = Vec::new();
    envelope.encode(&mut stored);
    let content = b"Subject: one\r\n\r\nof a kind\r\n";
    let meta = Meta {
        accepted: NOW,
        durability: Durability::Fsync,
        flags: Flags::none(),
        envelope_len: stored.len() as u32,
        content_offset: (META_LEN + stored.len()) as u32,
        content_len: content.len() as u32,
        received_len: 0,
    };
    [&meta.encode()[..], &stored, content].concat()
}

/// One life of a process with the spool of these logs.
struct Life {
    spool: Spool,
    recovered: Recovered,
    ids: IdSource,
}

impl Life {
    async fn begin(logs: &[u16]) -> Self {
        Self::begin_with(logs, 0).await
    }

    /// Leaves so many bytes of the disk to others.
    async fn begin_with(logs: &[u16], min_free_space: u64) -> Self {
        let mut fold = Fold::new();
        let options = logs.iter().map(|log| Options {
            min_free_space,
            ..options(*log)
        });
        let options = options.collect();
        let opened = Spool::open(options, &mut fold).await;
        let (spool, reports) = opened.expect("the disk is well");
        let recovered = fold.finish();
        let logged = reports.iter().filter_map(|report| report.highest_id).max();
        let highest = recovered.highest.max(logged.map(Id::from_bits));
        Self {
            ids: IdSource::new(logs[0], highest),
            spool,
            recovered,
        }
    }

    /// Writes a message, and says where it is, and whether that was confirmed.
    async fn write(&self, id: Id) -> (Place, bool) {
        let payload = payload();
        let message = in_one_chunk([&payload[..]].into_iter());
        while self.spool.head().room(payload.len()).await.is_err() {
            timer::sleep(1_000_000).await;
        }
        let stored = self.spool.append_message(id, message, Durability::Fsync);
        let stored = stored.expect("room on the disk");
        let place = place_of(id, stored.position);
        let committed = self.spool.committed(id, stored.ticket).await.is_ok();
        if !committed {
            self.spool.release(id, place);
        }
        (place, committed)
    }
}

/// Runs a process on the machine to its end.
async fn live<F: Future<Output = ()> + 'static>(world: &World, host: &Host, life: F) {
    let process = host.spawn(life);
    while process.is_running() {
        world.pause(1000).await;
    }
}

/// A report to a sender is written again under its id when its commit has failed: whatever the crash leaves
/// of the tries, it is one message, and it lies where it was confirmed.
#[test]
fn a_message_written_again_after_a_failure_is_one_message() {
    for seed in 0..100 {
        let problem = World::run(seed, async move |world| {
            let host = world.host("10.0.0.1".parse().expect("an address"));
            let told = Rc::new(RefCell::new((None, String::new())));
            let (disk, confirmed) = (host.disk().clone(), Rc::clone(&told));
            live(&world, &host, async move {
                let mut life = Life::begin(&[0]).await;
                let id = life.ids.next(NOW);
                let call = [Call::Write, Call::Sync][seed as usize % 2];
                disk.with_faults(|faults| faults.failing.push(Failing::always(call)));
                let (_, is_durable) = life.write(id).await;
                assert!(!is_durable, "the disk has failed");
                disk.with_faults(|faults| faults.failing.clear());
                let (place, is_durable) = life.write(id).await;
                assert!(is_durable, "once, and no more");
                confirmed.borrow_mut().0 = Some((id, place));
            })
            .await;
            host.cut_power();
            let found = Rc::clone(&told);
            live(&world, &host, async move {
                let life = Life::begin(&[0]).await;
                let wanted = found.borrow().0.expect("the first life came to its end");
                let is = |live: &mailrail::spool::recover::Live| (live.id, live.place().1);
                let there: Vec<_> = life.recovered.messages.iter().map(is).collect();
                let problem = match life.spool.load(wanted.0, wanted.1).await {
                    _ if there != [wanted] => format!("{there:?} instead of {wanted:?}"),
                    Err(error) => error.to_string(),
                    Ok(_) => return,
                };
                found.borrow_mut().1 = problem;
            })
            .await;
            told.take().1
        });
        assert_eq!(problem, "", "seed {seed}");
    }
}

/// Ids of a clock that has gone back by years.
const PAST: Timestamp = Timestamp::from_unix_millis(1_710_000_000_000);

/// A life in which one message comes, and is done with.
async fn one_message(log: u16, given: Rc<Cell<Option<Id>>>) {
    let mut life = Life::begin(&[log]).await;
    let id = life.ids.next(NOW);
    let (place, is_durable) = life.write(id).await;
    assert!(is_durable, "the disk is well");
    life.spool.release(id, place);
    given.set(Some(id));
    life.spool.close().await;
}

/// The names in the spool's directory.
fn names(host: &Host) -> Vec<String> {
    let files = host.disk().files();
    let below = files
        .iter()
        .filter_map(|(path, _)| path.strip_prefix(SPOOL).ok()?.iter().next());
    below
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

/// The segment that held the highest id is freed, nothing comes after it, and the clock goes back.
#[test]
fn no_id_comes_again_when_its_segment_was_freed() {
    for seed in 0..20 {
        World::run(seed, async move |world| {
            let host = world.host("10.0.0.1".parse().expect("an address"));
            let given = Rc::new(Cell::new(None));
            live(&world, &host, one_message(0, Rc::clone(&given))).await;
            live(&world, &host, async {
                let life = Life::begin(&[0]).await;
                assert_eq!(life.spool.clean().await, None);
                let segments = life.spool.head().segments();
                assert_eq!(segments.oldest, segments.newest, "the old one is freed");
                life.spool.close().await;
            })
            .await;
            host.cut_power();
            let given = given.get().expect("one was given");
            live(&world, &host, async move {
                let mut life = Life::begin(&[0]).await;
                let next = life.ids.next(PAST);
                assert!(next > given, "seed {seed}: {next} after {given}");
            })
            .await;
        });
    }
}

/// As above, on a disk so full that not even the mark has room.
#[test]
fn no_id_comes_again_when_there_was_no_room_for_a_mark() {
    for seed in 0..20 {
        World::run(seed, async move |world| {
            let host = world.host("10.0.0.1".parse().expect("an address"));
            let given = Rc::new(Cell::new(None));
            live(&world, &host, one_message(0, Rc::clone(&given))).await;
            live(&world, &host, async {
                let life = Life::begin_with(&[0], u64::MAX).await;
                // Notes about a message of long ago take the rest of the last segment, block by block.
                let old = Id::from_bits(1);
                let note = Settled {
                    first: 0,
                    outcome: Outcome::Delivered,
                    bits: 1,
                    code: 250,
                };
                while life.spool.room(old, note.encode().len()).await.is_ok() {
                    let noted = life.spool.settled(old, &note, Durability::Fsync);
                    let noted = noted.expect("there is room").ticket;
                    life.spool
                        .committed(old, noted)
                        .await
                        .expect("a whole disk");
                }
                let before = life.spool.head().segments();
                assert_eq!(life.spool.clean().await, None);
                let after = life.spool.head().segments();
                assert_eq!((before.count, after.count), (2, 1), "the old one is freed");
            })
            .await;
            host.cut_power();
            let names = names(&host);
            let named = highest_among(names.iter().map(String::as_str));
            let given = given.get().expect("one was given");
            assert_eq!(named, Some(given), "seed {seed}: {names:?}");
        });
    }
}

/// There were more shards, the log of one was deleted, there are more again, and the clock goes back.
#[test]
fn no_id_of_a_deleted_log_comes_again() {
    for seed in 0..20 {
        World::run(seed, async move |world| {
            let host = world.host("10.0.0.1".parse().expect("an address"));
            for log in [2, 3] {
                let given = Rc::new(Cell::new(None));
                live(&world, &host, one_message(log, Rc::clone(&given))).await;
                live(&world, &host, async move {
                    let life = Life::begin(&[0, log]).await;
                    life.spool.retire().await;
                })
                .await;
                host.cut_power();
                let names = names(&host);
                assert!(!names.contains(&format!("log-{log}")), "{names:?}");
                let given = given.get().expect("one was given");
                let highest = highest_among(names.iter().map(String::as_str));
                let next = IdSource::new(log, highest).next(PAST);
                assert!(next > given, "seed {seed}: {next} after {given}");
                let marks = names.iter().filter(|name| name.starts_with("ids-"));
                assert_eq!(marks.count(), 1, "{names:?}");
            }
        });
    }
}
