//! A session: one connection after the other until nothing is left to send, or too many of them in a row came
//! to nothing. It awaits; what is said on a connection is `dialogue`'s.

use super::dialogue::{Dialogue, End};
use super::message::Message;
use super::shard::World;
use mailrail_protocol::client::Recipient;
use mailrail_runtime::net::stream::Stream;
use mailrail_runtime::{clock, timer};

/// How long a connection may take.
const CONNECT_US_MAX: u64 = 30_000_000;
/// Connections in a row that came to nothing, before the session ends: some seven seconds, in which a server
/// may be started anew.
const FAILURE_COUNT_MAX: u32 = 10;
/// The same while nobody on this shard has ever been connected: then nobody is there.
const FAILURE_COUNT_MAX_FIRST: u32 = 3;
/// The first pause behind a connection that came to nothing; each further one is twice as long.
const PAUSE_US_MIN: u64 = 50_000;
const PAUSE_US_MAX: u64 = 1_000_000;

/// Memory that a session uses for every message again.
#[derive(Debug, Default)]
pub(super) struct Desk {
    pub(super) message: Message,
    /// Empty between messages.
    pub(super) recipients: Vec<Recipient<'static>>,
}

/// Sends until nothing is left. Sessions are numbered from 0 on each shard.
pub(super) async fn run(world: &World, number: u64) {
    let mut desk = Desk::default();
    let mut failure_count = 0;
    let mut has_arrived = false;
    let mut turn = Some(world.turn(number).await);
    while world.has_more() {
        let started = clock::micros();
        let end = match connect(world).await {
            Ok(stream) => {
                let mut dialogue = Dialogue::new(world, stream, started);
                let opened = dialogue.open().await;
                turn = None;
                if !std::mem::replace(&mut has_arrived, true) {
                    world.arrive();
                }
                let end = match opened {
                    Ok(()) => dialogue.run(&mut desk).await,
                    Err(end) => end,
                };
                if dialogue.answered_count() > 0 {
                    failure_count = 0;
                }
                end
            }
            Err(why) => End::Lost(why),
        };
        drop(turn.take());
        match end {
            End::Done => {}
            End::Useless(why) => world.give_up(&why),
            End::Lost(why) => {
                world.tally.borrow_mut().lost(&why);
                failure_count += 1;
                if failure_count >= failure_count_max(world) {
                    break;
                }
                timer::sleep(pause_us(failure_count)).await;
            }
        }
    }
    if !has_arrived {
        world.arrive();
    }
}

fn failure_count_max(world: &World) -> u32 {
    match world.tally.borrow().ready_count {
        0 => FAILURE_COUNT_MAX_FIRST,
        _ => FAILURE_COUNT_MAX,
    }
}

fn pause_us(failure_count: u32) -> u64 {
    let doubled = PAUSE_US_MIN << (failure_count - 1).min(16);
    doubled.min(PAUSE_US_MAX)
}

async fn connect(world: &World) -> Result<Stream, String> {
    let server = world.work.plan.server;
    let stream = Stream::connect(server, None, clock::after(CONNECT_US_MAX)).await;
    let stream = stream.map_err(|error| describe(&error));
    if stream.is_ok() {
        world.tally.borrow_mut().connections += 1;
    }
    stream
}

/// An error of a socket in a user's words.
pub(super) fn describe(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::TimedOut => "timed out".into(),
        ErrorKind::ConnectionRefused => "connection refused".into(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "connection reset".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second() {
        let pauses: Vec<u64> = (1..=7).map(|count| pause_us(count) / 1000).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!(pause_us(u32::MAX), PAUSE_US_MAX);
    }
}
