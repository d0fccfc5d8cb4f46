//! How fast a seeded world runs: steps of tasks, timers and connections in each millisecond of CPU time.
//!
//! `cargo run --release -p mailrail-runtime --features sim --example sim_speed`

#![expect(
    clippy::print_stdout,
    reason = "printing figures is what this program is for"
)]

use mailrail_runtime::clock::{self, NEVER};
use mailrail_runtime::net::listener::Listener;
use mailrail_runtime::net::stream::Stream;
use mailrail_runtime::shard::{self, Lane};
use mailrail_runtime::sim::{Weather, World};
use mailrail_runtime::timer;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};

/// Runs worlds of a kind one after the other, and says how many steps they took in all.
fn measure<F: Future<Output = u64> + 'static>(
    name: &str,
    seeds: u64,
    direct: impl Fn(World) -> F + Copy + 'static,
) {
    let begin = cpu_micros();
    let steps: u64 = (0..seeds).map(|seed| World::run(seed, direct)).sum();
    let micros = (cpu_micros() - begin).max(1);
    println!(
        "{name:<34} {seeds:>6} worlds  {:>9} worlds/s  {steps:>9} steps  {:>7} steps/ms",
        seeds * 1_000_000 / micros,
        steps * 1000 / micros,
    );
}

/// What this thread has used of its core.
fn cpu_micros() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

fn main() {
    measure("nothing", 20_000, |world| async move { world.step_count() });
    measure("100 tasks yield 1,000 times", 20, |world| async move {
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                shard::spawn(Lane::Accept, async {
                    for _ in 0..1000 {
                        shard::yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        world.step_count()
    });
    measure("100 tasks sleep 1,000 times", 20, |world| async move {
        let tasks: Vec<_> = (0..100)
            .map(|number| {
                shard::spawn(Lane::Accept, async move {
                    for round in 0..1000 {
                        timer::sleep(1000 + (number * 7919 + round * 104_729) % 1_000_000).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        world.step_count()
    });
    for (name, ragged) in [("echo", 0), ("echo in pieces", 1_000_000)] {
        let name = format!("20 peers, 50 times 4 KiB, {name}");
        measure(&name, 100, move |world| async move {
            world.network().set(Weather {
                ragged,
                ..Weather::fair()
            });
            let host = world.host(IpAddr::from([192, 0, 2, 1]));
            let address = SocketAddr::new(host.address(), 25);
            host.spawn(echo(address));
            world.pause(1).await;
            let tasks: Vec<_> = (0..20)
                .map(|_| shard::spawn(Lane::Accept, talk(address)))
                .collect();
            for task in tasks {
                task.await;
            }
            world.step_count()
        });
    }
}

async fn echo(address: SocketAddr) {
    let listener = Listener::bind(address).expect("nobody else listens");
    while let Ok(mut stream) = listener.accept().await {
        let echo = async move {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = stream.read(&mut buffer, NEVER).await {
                let _ = stream.write_all(&buffer[..count], NEVER).await;
            }
        };
        shard::spawn(Lane::Accept, echo).detach();
    }
}

async fn talk(address: SocketAddr) {
    let mut stream = Stream::connect(address, None, NEVER)
        .await
        .expect("somebody listens");
    let mut buffer = [0; 8192];
    for _ in 0..50 {
        stream
            .write_all(&buffer[..4096], NEVER)
            .await
            .expect("it is heard");
        let mut left = 4096;
        while left > 0 {
            let deadline = clock::after(60_000_000);
            left -= stream.read(&mut buffer, deadline).await.expect("an echo");
        }
    }
}
