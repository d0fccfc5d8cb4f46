//! The texts of a message: its addresses and its header fields, written into buffers that are used again.
//! Pure. The rest of its content is `content`'s.

use super::plan::Plan;
use crate::identity::Name;
use mailrail::message::decimal;

/// One message as it is sent: made by `compose`, over and over in the same memory.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) sender: Vec<u8>,
    recipients: Vec<u8>,
    /// Where each recipient's address ends.
    ends: Vec<usize>,
    /// Header fields and the empty line behind them.
    pub(super) header: Vec<u8>,
    /// Bytes of content, the header included.
    pub(super) size: usize,
}

/// What the header of no message is longer than; the smallest content has room for it.
pub(super) const HEADER_LEN_MAX: usize = 220;

impl Message {
    /// Makes this one the message of that number. `date` is the value of its field.
    pub(super) fn compose(&mut self, plan: &Plan, date: &[u8], number: u64) {
        self.size = plan.size(number);
        self.sender.clear();
        self.sender.extend_from_slice(b"source");
        push_domain(
            &mut self.sender,
            plan.sender_domain(number),
            b".sender.example",
        );
        self.recipients.clear();
        self.ends.clear();
        let count = u64::from(plan.recipient_count);
        for copy in number * count..(number + 1) * count {
            let name = Name {
                run: plan.run,
                copy,
            };
            name.write(&mut self.recipients);
            let domain = plan.recipient_domain(copy);
            push_domain(&mut self.recipients, domain, b".rcpt.example");
            self.ends.push(self.recipients.len());
        }
        self.write_header(plan.run, date, number);
    }

    fn write_header(&mut self, run: u32, date: &[u8], number: u64) {
        let header = &mut self.header;
        header.clear();
        header.extend_from_slice(b"Message-ID: <");
        Name { run, copy: number }.write(header);
        header.extend_from_slice(b"@source.example>\r\nDate: ");
        header.extend_from_slice(date);
        header.extend_from_slice(b"\r\nFrom: <");
        header.extend_from_slice(&self.sender);
        header
            .extend_from_slice(b">\r\nTo: undisclosed-recipients:;\r\nSubject: mailbench\r\n\r\n");
        debug_assert!(
            header.len() <= HEADER_LEN_MAX,
            "a content has room for its header"
        );
    }

    /// The recipients' addresses.
    pub(super) fn recipients(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| &self.recipients[start..*end])
    }
}

fn push_domain(out: &mut Vec<u8>, number: u32, rest: &[u8]) {
    out.extend_from_slice(b"@d");
    // `decimal` writes zero with one digit at least.
    decimal::push_u64(out, number.into());
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::planned;
    use super::*;
    use crate::identity::COPY_MAX;

    const DATE: &[u8] = b"Tue, 24 Nov 2026 08:14:01 +0000";

    #[test]
    fn the_copies_of_a_message_follow_from_its_number() {
        let plan = planned("--recipients 3 --run 255 --size 1k").expect("a plan");
        let mut message = Message::default();
        message.compose(&plan, DATE, 9);
        message.compose(&plan, DATE, 2);
        assert_eq!(message.sender, b"source@d0.sender.example");
        let recipients: Vec<_> = message.recipients().collect();
        assert_eq!(
            recipients,
            [
                &b"000000ff.6@d0.rcpt.example"[..],
                b"000000ff.7@d0.rcpt.example",
                b"000000ff.8@d0.rcpt.example",
            ]
        );
        assert_eq!(message.size, 1024);
        let header = String::from_utf8(message.header).expect("text");
        assert_eq!(
            header,
            "Message-ID: <000000ff.2@source.example>\r\nDate: Tue, 24 Nov 2026 08:14:01 +0000\r\n\
             From: <source@d0.sender.example>\r\nTo: undisclosed-recipients:;\r\nSubject: mailbench\r\n\r\n"
        );
    }

    #[test]
    fn the_longest_header_has_room() {
        let mut message = Message {
            sender: b"source@d4294967295.sender.example".to_vec(),
            ..Message::default()
        };
        message.write_header(u32::MAX, DATE, COPY_MAX);
        assert!(message.header.len() <= HEADER_LEN_MAX);
    }
}
