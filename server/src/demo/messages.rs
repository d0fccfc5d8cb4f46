//! Made-up messages of the form of RFC 5322 section 3.5: number and run give the same octets every
//! time, so that whoever receives one can tell whether it is whole. Pure.

use super::places::{self, HOME, Place};
use crate::message::Timestamp;
use memchr::memmem;
use std::io::Write;

/// The header field that tells which message this is.
const ID_FIELD: &[u8] = b"\r\nX-Mailrail-Demo: ";

/// Sizes of the content: so many of a hundred messages, from and up to so many bytes.
const SIZES: [(u64, u64, u64); 4] = [
    (70, 1024, 4 * 1024),
    (20, 4 * 1024, 16 * 1024),
    (8, 16 * 1024, 32 * 1024),
    (2, 32 * 1024, 100 * 1024),
];

/// Lines of content. Those from `PLAIN` on are for messages that say so.
const LINES: [&str; 12] = [
    "The quarterly figures are attached; please look at the second page first.\r\n",
    "Could we move the meeting to Thursday? The room is taken on Wednesday.\r\n",
    "> What was the number of the order again?\r\n",
    "\r\n",
    "The shipment left the harbour this morning and should arrive within nine days.\r\n",
    "UGxlYXNlIGRvIG5vdCBkZWNvZGUgdGhpcyBsaW5lLCB0aGVyZSBpcyBub3RoaW5nIGluIGl0IGF0IGFs\r\n",
    "Thanks for the photographs. The one with the lighthouse is on the wall now.\r\n",
    "-- \r\n",
    ".\r\n",
    ".. and a line that begins with dots must arrive with all of them.\r\n",
    "Gr\u{fc}\u{df}e aus K\u{f6}ln, et \u{e0} bient\u{f4}t: eight bits a character.\r\n",
    "\u{1f4ec} \u{2014} and some characters need four octets.\r\n",
];
/// How many of them are ASCII and begin without a dot.
const PLAIN: u64 = 8;
/// How many are ASCII.
const ASCII: u64 = 10;

/// One run of the demonstration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Part of all ids, so that what is left of an earlier run is not taken for this one's.
    pub(super) tag: u32,
    /// Written into the messages.
    pub(super) date: Timestamp,
}

/// A message, to be reused for the next.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) sender: String,
    pub(super) recipient: String,
    pub(super) content: Vec<u8>,
    /// Some octets are above 127.
    pub(super) is_eight_bit: bool,
}

/// Different numbers for neighbours: multiply and fold, twice.
fn scramble(number: u64) -> u64 {
    let mut number = number.wrapping_add(0x5851_f42d_4c95_7f2d);
    for factor in [0x9e6c_63d0_876a_68ef_u64, 0xd1b5_4a32_d192_ed03] {
        number = (number ^ number >> 32).wrapping_mul(factor);
    }
    number ^ number >> 29
}

/// Where a message goes.
pub(super) fn destination(number: u64) -> &'static Place {
    places::choose(scramble(number))
}

fn content_len(seed: u64) -> usize {
    let mut rest = seed % 100;
    for (share, least, most) in SIZES {
        match rest.checked_sub(share) {
            None => return (least + (seed >> 8) % (most - least)) as usize,
            Some(less) => rest = less,
        }
    }
    unreachable!("the shares are hundredths of the whole")
}

impl Run {
    /// Writes message `number` in place of what `message` held before.
    pub(super) fn compose(&self, number: u64, message: &mut Message) {
        let tag = self.tag;
        let seed = scramble(number ^ 1 << 63);
        // A quarter each: plain, with leading dots, with 8-bit text, plain again.
        let (line_count, is_eight_bit) = match seed >> 62 {
            0 => (ASCII, false),
            1 => (LINES.len() as u64, true),
            _ => (PLAIN, false),
        };
        message.is_eight_bit = is_eight_bit;
        message.sender.clear();
        message.recipient.clear();
        let out = &mut message.content;
        out.clear();
        let domain = destination(number).domain;
        message
            .sender
            .push_str(&format!("s{number}.{tag:08x}@{HOME}"));
        message
            .recipient
            .push_str(&format!("r{number}.{tag:08x}@{domain}"));
        out.extend_from_slice(b"Date: ");
        self.date.push_date(out);
        let written = write!(
            out,
            "\r\nFrom: Demonstration <{}>\r\nTo: <{}>\r\nSubject: Message {number}\r\n\
             Message-ID: <{number}.{tag:08x}@{HOME}>\r\n\
             X-Mailrail-Demo: {number}.{tag:08x}\r\n\
             MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: {}\r\n\r\n",
            message.sender,
            message.recipient,
            if is_eight_bit { "8bit" } else { "7bit" },
        );
        written.expect("memory takes every write");
        let len = content_len(scramble(seed));
        // What a message is said to hold, its last kind of line is sure to bring.
        out.extend_from_slice(LINES[line_count as usize - 1].as_bytes());
        let mut random = seed;
        while out.len() < len {
            // One step of a linear congruence a line; its high bits are the good ones.
            random = random
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7e_f767_814f);
            out.extend_from_slice(LINES[((random >> 40) % line_count) as usize].as_bytes());
        }
    }

    /// The number in the local part of a sender's or recipient's address, if it is of this run.
    pub(super) fn number_in(&self, local_part: &str) -> Option<u64> {
        let id = local_part.strip_prefix(['r', 's'])?;
        self.number(id)
    }

    /// The number of the message of this run that `content` is, or that a bounce gives back.
    pub(super) fn number_of(&self, content: &[u8]) -> Option<u64> {
        let at = memmem::find(content, ID_FIELD)? + ID_FIELD.len();
        let field = &content[at..];
        let end = memchr::memchr(b'\r', field)?;
        self.number(std::str::from_utf8(&field[..end]).ok()?)
    }

    fn number(&self, id: &str) -> Option<u64> {
        let (number, tag) = id.split_once('.')?;
        let is_ours = u32::from_str_radix(tag, 16) == Ok(self.tag);
        number.parse().ok().filter(|_| is_ours)
    }

    /// Whether `content` is message `number` with one trace field before it, and else unchanged.
    /// `scratch` is for composing it.
    pub(super) fn is_intact(&self, number: u64, content: &[u8], scratch: &mut Message) -> bool {
        self.compose(number, scratch);
        let Some(trace) = content.strip_suffix(scratch.content.as_slice()) else {
            return false;
        };
        //= RFC 5321 section 4.4: a relay puts its trace field in front, and changes nothing else
        trace.starts_with(b"Received: ")
            && trace.ends_with(b"\r\n")
            && memmem::find_iter(trace, "\r\n")
                .all(|at| matches!(trace.get(at + 2), None | Some(b' ' | b'\t')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Run = Run {
        tag: 0xbeef,
        date: Timestamp::from_unix_millis(1_795_508_041_000),
    };

    fn composed(number: u64) -> Message {
        let mut message = Message::default();
        RUN.compose(number, &mut message);
        message
    }

    #[test]
    fn messages_obey_the_format_they_are_made_in() {
        let mut kinds = [0; 3];
        let mut sizes = [usize::MAX, 0];
        for number in 0..500 {
            let message = composed(number);
            let content = &message.content;
            assert!(content.ends_with(b"\r\n"));
            for line in content.split_inclusive(|octet| *octet == b'\n') {
                //= RFC 5322 section 2.1.1: a line has at most 998 characters, and ends with CRLF
                assert!(line.len() <= 1000 && line.ends_with(b"\r\n"));
                assert!(!line[..line.len() - 2].contains(&b'\r'));
            }
            assert_eq!(content.is_ascii(), !message.is_eight_bit);
            let has_dots = memmem::find(content, b"\r\n.").is_some();
            kinds[0] += usize::from(message.is_eight_bit);
            kinds[1] += usize::from(has_dots);
            kinds[2] += usize::from(!has_dots);
            sizes = [sizes[0].min(content.len()), sizes[1].max(content.len())];
        }
        assert!(kinds.iter().all(|count| *count > 50), "{kinds:?}");
        assert!(sizes[0] >= 1024 && sizes[0] < 1500, "{sizes:?}");
        assert!(sizes[1] > 32 * 1024 && sizes[1] < 101 * 1024, "{sizes:?}");
    }

    #[test]
    fn a_message_is_known_by_its_header_and_its_addresses() {
        let message = composed(42);
        assert_eq!(RUN.number_of(&message.content), Some(42));
        for address in [&message.sender, &message.recipient] {
            let (local_part, _) = address.split_once('@').unwrap();
            assert_eq!(RUN.number_in(local_part), Some(42));
        }
        let other = Run { tag: 7, ..RUN };
        assert_eq!(other.number_of(&message.content), None);
        assert_eq!(RUN.number_in("postmaster"), None);
        assert_eq!(RUN.number_in("r.beef"), None);
    }

    #[test]
    fn a_message_is_intact_behind_exactly_one_trace_field() {
        let content = composed(7).content;
        let check = |trace: &str, content: &[u8], expected| {
            let received = [trace.as_bytes(), content].concat();
            let found = RUN.is_intact(7, &received, &mut Message::default());
            assert_eq!(found, expected, "{trace:?}");
        };
        check("Received: from a\r\n\tby b; date\r\n", &content, true);
        check("", &content, false);
        check("Received: from a\r\nX: y\r\n", &content, false);
        check("Received: from a\r\n", &content[1..], false);
        check("Received: from a\r\n", &composed(8).content, false);
        let mut altered = content.clone();
        altered[500] ^= 1;
        check("Received: from a\r\n", &altered, false);
    }
}
