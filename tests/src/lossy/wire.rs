//! The kernel's FUSE protocol, as much of it as one file needs that is neither made nor removed.
//!
//! Requests come one by one from `/dev/fuse` and each is answered before the next is read, so the
//! moment of a cut lies between two of them. Layouts: `linux/fuse.h`, version 7.31.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

use super::cache::Cache;

const MAJOR: u32 = 7;
const MINOR: u32 = 31;
/// Bytes of one write at most.
const WRITE_LEN_MAX: usize = 1 << 20;
/// The kernel asks for room for a header beside the longest write.
const REQUEST_LEN_MAX: usize = WRITE_LEN_MAX + 4096;
const HEAD_LEN: usize = 40;
const REPLY_HEAD_LEN: usize = 16;
/// Before the data of a write.
const WRITE_HEAD_LEN: usize = 40;
/// How long the kernel may believe what it was told of the file: it does not change.
const VALID_SECONDS: u64 = 3600;

const GETATTR: u32 = 3;
const SETATTR: u32 = 4;
const FORGET: u32 = 2;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

/// One request of the kernel.
struct Request<'r> {
    opcode: u32,
    body: &'r [u8],
}

impl Request<'_> {
    fn u32(&self, at: usize) -> u32 {
        number(self.body, at, 4) as u32
    }

    fn u64(&self, at: usize) -> u64 {
        number(self.body, at, 8)
    }
}

fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    let mut number = [0; 8];
    number[..len].copy_from_slice(&bytes[at..at + len]);
    u64::from_le_bytes(number)
}

/// Serves the file until it is unmounted. Without power nothing is written and nothing flushed.
pub(super) fn serve(mut device: &File, mut cache: Cache, power: &AtomicBool) -> Cache {
    let mut input = vec![0; REQUEST_LEN_MAX];
    let mut reply = Vec::with_capacity(REQUEST_LEN_MAX);
    loop {
        let len = match device.read(&mut input) {
            Ok(len) => len,
            Err(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
                // The request was taken back before it was read.
                Some(Errno::NOENT | Errno::INTR | Errno::AGAIN) => continue,
                Some(Errno::NODEV) => return cache,
                _ => panic!("/dev/fuse: {error}"),
            },
        };
        let request = Request {
            opcode: number(&input, 4, 4) as u32,
            body: &input[HEAD_LEN..len],
        };
        if matches!(request.opcode, FORGET | BATCH_FORGET | INTERRUPT) {
            continue;
        }
        let unique = number(&input, 8, 8);
        reply.clear();
        reply.extend_from_slice(&[0; REPLY_HEAD_LEN]);
        let done = answer(&request, &mut cache, power, &mut reply);
        if done.is_err() {
            reply.truncate(REPLY_HEAD_LEN);
        }
        let error = done.map_or_else(|errno| -errno.raw_os_error(), |()| 0);
        let len = reply.len() as u32;
        reply[..4].copy_from_slice(&len.to_le_bytes());
        reply[4..8].copy_from_slice(&error.to_le_bytes());
        reply[8..16].copy_from_slice(&unique.to_le_bytes());
        match device.write(&reply) {
            Ok(_) => {}
            // Nobody waits for that answer any more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => panic!("/dev/fuse: {error}"),
        }
    }
}

/// Puts the body of the answer behind the reply's head.
fn answer(
    request: &Request<'_>,
    cache: &mut Cache,
    power: &AtomicBool,
    reply: &mut Vec<u8>,
) -> Result<(), Errno> {
    let failed = |_: io::Error| Errno::IO;
    let is_on = power.load(Ordering::SeqCst);
    match request.opcode {
        INIT => initiate(request, reply),
        GETATTR | SETATTR => {
            put(reply, VALID_SECONDS);
            put(reply, 0);
            attributes(cache.len().map_err(failed)?, reply);
        }
        OPEN => reply.extend_from_slice(&[0; 16]),
        RELEASE | FLUSH => {}
        STATFS => reply.extend_from_slice(&[0; 80]),
        READ => {
            let (offset, len) = (request.u64(8), request.u32(16) as usize);
            let start = reply.len();
            reply.resize(start + len, 0);
            let read = cache.read(&mut reply[start..], offset).map_err(failed)?;
            reply.truncate(start + read);
        }
        WRITE if is_on => {
            let (offset, len) = (request.u64(8), request.u32(16) as usize);
            let data = &request.body[WRITE_HEAD_LEN..WRITE_HEAD_LEN + len];
            cache.write(data, offset).map_err(failed)?;
            put(reply, len as u64);
        }
        FSYNC if is_on => cache.flush().map_err(failed)?,
        WRITE | FSYNC => return Err(Errno::IO),
        _ => return Err(Errno::NOSYS),
    }
    Ok(())
}

fn put(reply: &mut Vec<u8>, number: u64) {
    reply.extend_from_slice(&number.to_le_bytes());
}

fn put_u32(reply: &mut Vec<u8>, number: u32) {
    reply.extend_from_slice(&number.to_le_bytes());
}

fn initiate(request: &Request<'_>, reply: &mut Vec<u8>) {
    /// Reads beside each other, writes of more than a page, and of more than 32.
    const WANTED: u32 = 1 | 1 << 5 | 1 << 22;
    let (readahead, offered) = (request.u32(8), request.u32(12));
    put_u32(reply, MAJOR);
    put_u32(reply, MINOR);
    put_u32(reply, readahead);
    put_u32(reply, WANTED & offered);
    // Requests under way in the background, and when to call it much.
    reply.extend_from_slice(&64u16.to_le_bytes());
    reply.extend_from_slice(&48u16.to_le_bytes());
    put_u32(reply, WRITE_LEN_MAX as u32);
    // Times are told to the nanosecond.
    put_u32(reply, 1);
    reply.extend_from_slice(&((WRITE_LEN_MAX / 4096) as u16).to_le_bytes());
    reply.resize(REPLY_HEAD_LEN + 64, 0);
}

/// Of the one file: its length, and that it is a file of root's.
fn attributes(len: u64, reply: &mut Vec<u8>) {
    let start = reply.len();
    put(reply, 1);
    put(reply, len);
    put(reply, len / 512);
    // Its times, in seconds and then in nanoseconds.
    reply.resize(start + 60, 0);
    put_u32(reply, 0o100_600);
    put_u32(reply, 1);
    reply.resize(start + 80, 0);
    put_u32(reply, 4096);
    put_u32(reply, 0);
}
