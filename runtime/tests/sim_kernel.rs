//! The connections of a seeded world against their twins, the kernel's: the same things are done to both,
//! one after the other, and both must answer alike.
#![cfg(feature = "sim")]

use futures_lite::future::block_on;
use mailrail_runtime::clock::NEVER;
use mailrail_runtime::net::listener::Listener;
use mailrail_runtime::net::stream::Stream;
use mailrail_runtime::shard::{self, Lane};
use mailrail_runtime::sim::{Chance, World};
use mailrail_runtime::timer;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::time::Duration;

/// What is done to one end of a connection, the connecting (0) or the accepting (1).
#[derive(Clone, Copy, Debug)]
enum Deed {
    Write(usize, usize),
    Read(usize, usize),
    ShutDown(usize),
    Close(usize),
}

/// What came of it: so many bytes, that there is nothing, an error, or that the end was closed before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Came {
    Bytes(usize),
    Nothing,
    Error(ErrorKind),
    Closed,
}

/// Fewer bytes in all than any window holds.
fn deeds(seed: u64) -> Vec<Deed> {
    let mut chance = Chance::new(seed);
    let count = 3 + chance.below(20);
    let mut deed = || {
        let side = chance.below(2) as usize;
        match chance.below(20) {
            0..8 => Deed::Write(side, 1 + chance.below(500) as usize),
            8..16 => Deed::Read(side, 1 + chance.below(800) as usize),
            16..18 => Deed::ShutDown(side),
            _ => Deed::Close(side),
        }
    };
    (0..count).map(|_| deed()).collect()
}

fn came(result: std::io::Result<usize>) -> Came {
    match result {
        Ok(count) => Came::Bytes(count),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Came::Nothing,
        Err(error) => Came::Error(error.kind()),
    }
}

/// One end, of either kind.
enum End {
    Ours(Stream),
    Kernels(TcpStream),
}

impl End {
    async fn write(&mut self, len: usize) -> Came {
        let bytes = vec![b'x'; len];
        came(match self {
            Self::Ours(stream) => {
                let slices = [&bytes[..len / 2], &bytes[len / 2..]];
                stream.write_slices(&slices, NEVER).await.map(|()| len)
            }
            Self::Kernels(stream) => stream.write(&bytes),
        })
    }

    fn read(&mut self, len: usize) -> Came {
        let mut into = vec![0; len];
        match self {
            Self::Ours(stream) => match stream.try_read(&mut into).transpose() {
                None => Came::Nothing,
                Some(result) => came(result),
            },
            Self::Kernels(stream) => came(stream.read(&mut into)),
        }
    }

    /// Whether the kernel minds that the connection is gone already is of no use to anybody.
    fn shut_down(&mut self) -> Came {
        match self {
            Self::Ours(stream) => drop(stream.shut_down()),
            Self::Kernels(stream) => drop(stream.shutdown(Shutdown::Write)),
        }
        Came::Nothing
    }
}

async fn answers(deeds: &[Deed], ends: [End; 2], settle: impl AsyncFn()) -> Vec<Came> {
    let mut ends = ends.map(Some);
    let mut answers = Vec::new();
    for deed in deeds {
        let (Deed::Write(side, _) | Deed::Read(side, _) | Deed::ShutDown(side) | Deed::Close(side)) =
            *deed;
        let Some(end) = &mut ends[side] else {
            answers.push(Came::Closed);
            continue;
        };
        answers.push(match *deed {
            Deed::Write(_, len) => end.write(len).await,
            Deed::Read(_, len) => end.read(len),
            Deed::ShutDown(_) => end.shut_down(),
            Deed::Close(_) => {
                ends[side] = None;
                Came::Nothing
            }
        });
        settle().await;
    }
    answers
}

/// In the world everything has arrived before the next deed.
fn ours(seed: u64) -> Vec<Came> {
    World::run(seed, move |_| async move {
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let connect = Stream::connect(listener.local(), None, NEVER);
        let source = shard::spawn(Lane::Accept, connect);
        let accepted = listener.accept().await.unwrap();
        let ends = [source.await.unwrap(), accepted].map(End::Ours);
        answers(&deeds(seed), ends, async || timer::sleep(5_000).await).await
    })
}

/// So it is on the kernel's loopback, too, unless the machine is busy; then it gets the time.
fn kernels(seed: u64, listener: &TcpListener, settle: Duration) -> Vec<Came> {
    let source = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let ends = [source, listener.accept().unwrap().0];
    ends.iter()
        .for_each(|end| end.set_nonblocking(true).unwrap());
    let settle = async || std::thread::sleep(settle);
    block_on(answers(&deeds(seed), ends.map(End::Kernels), settle))
}

#[test]
fn same_as_the_kernel() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for seed in 0..400 {
        let ours = ours(seed);
        let times = [0, 1, 10, 100, 1000].map(Duration::from_millis);
        let mut last = Vec::new();
        let is_same = times.into_iter().any(|time| {
            last = kernels(seed, &listener, time);
            last == ours
        });
        let both: Vec<_> = deeds(seed)
            .into_iter()
            .zip(last.into_iter().zip(ours))
            .collect();
        assert!(is_same, "seed {seed}: the kernel's and ours: {both:?}");
    }
}
