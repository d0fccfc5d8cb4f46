//! The harness of the whole-server tests: a real server process, real sockets, a real disk.
//!
//! * `server`: starts, stops, kills and measures a `mailrail` process.
//! * `client`: a blocking SMTP client that may be as rude as a test needs.
//! * `sink`: a blocking SMTP server that records what it gets and answers as scripted.
//! * `load`: senders that go on through crashes, `tally`: what was promised and what came.
//! * `storm`: such a load, and a server that breaks down again and again.
//! * `cut`: a server whose power can be cut.
//! * `message`: messages with an id in them, and seeded chance.
//! * `names`: a DNS server for made-up domains.
//! * `peers`: other people's clients: swaks, curl, smtplib, smtp-source.
//! * `postfix`: a Postfix of the test's own, `smtp_sink`: its smtp-sink.
//! * `examples`: the engine's examples as programs.
//! * `loopback`: a file system in a file, to be filled, broken and cut off.
//! * `lossy`: a disk that forgets what was not flushed when its power goes.
//! * `sim`: whole servers in a seeded world, and the judgement of what they do there.
//! * `program`: other people's programs: starting them, a small disk, limits.
//!
//! Nothing here knows how the server works inside: it speaks SMTP, reads the log of events and
//! the exit code. Waiting is always for something to happen, under a generous deadline whose
//! only purpose is that a broken server fails the test instead of hanging it.

pub mod client;
pub mod cut;
pub mod examples;
pub mod load;
pub mod loopback;
pub mod lossy;
pub mod message;
pub mod names;
pub mod peers;
pub mod postfix;
pub mod program;
pub mod server;
pub mod sim;
pub mod sink;
pub mod smtp_sink;
pub mod storm;
pub mod tally;
pub mod wait;

pub use client::{Client, Reply};
pub use server::Server;
pub use sink::{Answer, Early, Received, Script, Sink, Step, Then};
