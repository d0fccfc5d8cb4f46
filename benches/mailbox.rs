//! What it costs to say something to another shard: when both are at work, when the other sleeps, and to and fro;
//! and the same from a plain thread. Nothing travels but 64 bytes.
//!
//! `cargo bench -p mailrail-benches --bench mailbox`; what each line means is in `README.md`.

use criterion::measurement::{Measurement, WallTime};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mailrail_benches::tell_conditions;
use mailrail_runtime::mailbox::{Mesh, Outside};
use mailrail_runtime::shard::{self, Options, Place, Running};
use mailrail_runtime::timer;
use std::hint::black_box;
use std::sync::mpsc;
use std::time::Duration;

/// When a letter was posted.
type Start = <WallTime as Measurement>::Intermediate;

/// As long as the letters of a server: a word, and what it is about.
#[derive(Debug)]
struct Letter {
    says: Says,
    #[expect(dead_code, reason = "it is carried, and nobody asks for it")]
    load: [u64; 5],
}

#[derive(Debug)]
enum Says {
    /// To the first shard: play so many rounds and tell how long they took.
    Play(Game, u64),
    /// One of many.
    Many,
    /// The last of many: answer.
    Last,
    /// Answer at once.
    Echo,
    /// How long has this been on its way?
    Stamped(Start),
    /// From a plain thread: tell it how long this has been on its way.
    Tell(Start),
    /// It has been so long.
    Took(Duration),
    /// The answer to `Last` and `Echo`.
    Here,
    /// Nothing more comes.
    End,
}

impl Says {
    const fn letter(self) -> Letter {
        Letter {
            says: self,
            load: [7; 5],
        }
    }
}

const _: () = assert!(size_of::<Letter>() == 64, "a cache line of letter");

#[derive(Clone, Copy, Debug)]
enum Game {
    /// Post as fast as the ring takes it.
    Loaded,
    /// Post one when the other shard has gone to sleep.
    Parked,
    /// Post one, wait for the answer.
    RoundTrip,
    /// Look for letters where there are none: into each shard's ring.
    Look,
}

/// Long enough that a shard without work has given its core away.
const PAUSE_MICROS: u64 = 500;

/// The shard that plays, as it is told from outside.
async fn player(mesh: Mesh<Letter>, told: mpsc::Sender<Duration>) {
    loop {
        match mesh.receive().await.says {
            Says::Play(game, rounds) => {
                let time = match game {
                    Game::Loaded => loaded(&mesh, rounds).await,
                    Game::Parked => parked(&mesh, rounds).await,
                    Game::RoundTrip => round_trip(&mesh, rounds).await,
                    Game::Look => look(&mesh, rounds),
                };
                if told.send(time).is_err() {
                    return;
                }
            }
            Says::End => {
                for to in 1..mesh.count() {
                    let full = mesh.post(to, Says::End.letter());
                    assert!(full.is_ok(), "nothing is under way");
                }
                return;
            }
            says => unreachable!("{says:?}"),
        }
    }
}

async fn post(mesh: &Mesh<Letter>, says: Says) {
    let mut letter = says.letter();
    while let Err(back) = mesh.post(1, letter) {
        letter = back;
        shard::yield_now().await;
    }
}

async fn loaded(mesh: &Mesh<Letter>, rounds: u64) -> Duration {
    let start = WallTime.start();
    for _ in 1..rounds {
        post(mesh, Says::Many).await;
    }
    post(mesh, Says::Last).await;
    mesh.receive().await;
    WallTime.end(start)
}

async fn parked(mesh: &Mesh<Letter>, rounds: u64) -> Duration {
    let mut time = Duration::ZERO;
    for _ in 0..rounds {
        timer::sleep(PAUSE_MICROS).await;
        post(mesh, Says::Stamped(WallTime.start())).await;
        match mesh.receive().await.says {
            Says::Took(took) => time += took,
            says => unreachable!("{says:?}"),
        }
    }
    time
}

async fn round_trip(mesh: &Mesh<Letter>, rounds: u64) -> Duration {
    let start = WallTime.start();
    for _ in 0..rounds {
        post(mesh, Says::Echo).await;
        mesh.receive().await;
    }
    WallTime.end(start)
}

fn look(mesh: &Mesh<Letter>, rounds: u64) -> Duration {
    let start = WallTime.start();
    for _ in 0..rounds {
        assert!(black_box(mesh).try_receive().is_none(), "nobody posts");
    }
    WallTime.end(start)
}

/// A shard that hears and answers.
async fn hearer(mesh: Mesh<Letter>, told: mpsc::Sender<Duration>) {
    loop {
        let answer = match mesh.receive().await.says {
            Says::Many => continue,
            Says::Last | Says::Echo => Says::Here,
            Says::Stamped(start) => Says::Took(WallTime.end(start)),
            Says::Tell(start) => {
                if told.send(WallTime.end(start)).is_err() {
                    return;
                }
                continue;
            }
            Says::End => return,
            says => unreachable!("{says:?}"),
        };
        let full = mesh.post(0, answer.letter());
        assert!(full.is_ok(), "an answer is waited for");
    }
}

/// Shards, two of which talk to each other, and what they tell the thread that measures.
struct Rig {
    running: Running<Letter>,
    told: mpsc::Receiver<Duration>,
}

impl Rig {
    fn start(count: usize) -> Self {
        let (tell, told) = mpsc::channel();
        let make = move |place: Place<Letter>| {
            let tell = tell.clone();
            async move {
                match place.index {
                    0 => player(place.mesh, tell).await,
                    _ => hearer(place.mesh, tell).await,
                }
            }
        };
        let options = Options {
            count,
            ..Options::default()
        };
        let running = shard::run(options, make).expect("the shards start");
        Self { running, told }
    }

    fn told(&self) -> Duration {
        self.told.recv().expect("the shards run")
    }

    fn play(&self, game: Game, rounds: u64) -> Duration {
        post_from_outside(&self.running.outside(0), Says::Play(game, rounds));
        self.told()
    }

    /// A plain thread posts as fast as the inbox takes it.
    fn loaded_from_outside(&self, rounds: u64) -> Duration {
        let outside = self.running.outside(1);
        let start = WallTime.start();
        for _ in 1..rounds {
            post_from_outside(&outside, Says::Many);
        }
        post_from_outside(&outside, Says::Tell(start));
        self.told()
    }

    /// A plain thread posts one when the shard has gone to sleep.
    fn parked_from_outside(&self, rounds: u64) -> Duration {
        let outside = self.running.outside(1);
        let one = |_| {
            std::thread::sleep(Duration::from_micros(PAUSE_MICROS));
            post_from_outside(&outside, Says::Tell(WallTime.start()));
            self.told()
        };
        (0..rounds).map(one).sum()
    }

    fn end(self) {
        post_from_outside(&self.running.outside(0), Says::End);
        self.running.join().expect("the shards end in order");
    }
}

fn post_from_outside(outside: &Outside<Letter>, says: Says) {
    let mut letter = says.letter();
    while let Err(back) = outside.post(letter) {
        letter = back;
        std::thread::yield_now();
    }
}

fn mailbox(criterion: &mut Criterion) {
    tell_conditions();
    let rig = Rig::start(2);
    let mut group = criterion.benchmark_group("mailbox");
    group.throughput(Throughput::Elements(1));
    let mut line = |name: &str, case: &str, time: &dyn Fn(u64) -> Duration| {
        group.bench_function(BenchmarkId::new(name, case), |bencher| {
            bencher.iter_custom(time);
        });
    };
    line("one hop", "loaded", &|rounds| {
        rig.play(Game::Loaded, rounds)
    });
    line("one hop", "to a parked shard", &|rounds| {
        rig.play(Game::Parked, rounds)
    });
    line("round trip", "of two shards", &|rounds| {
        rig.play(Game::RoundTrip, rounds)
    });
    line("from outside", "loaded", &|rounds| {
        rig.loaded_from_outside(rounds)
    });
    line("from outside", "to a parked shard", &|rounds| {
        rig.parked_from_outside(rounds)
    });
    rig.end();
    // What grows with the number of shards: before it sleeps, a shard looks into the rings of all.
    for count in [2, 16, 64] {
        let rig = Rig::start(count);
        group.bench_function(BenchmarkId::new("look in vain", count), |bencher| {
            bencher.iter_custom(|rounds| rig.play(Game::Look, rounds));
        });
        rig.end();
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = mailrail_benches::criterion();
    targets = mailbox
}
criterion_main!(benches);
