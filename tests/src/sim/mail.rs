//! The messages of a run, byte for byte: the same number gives the same message. Pure.

use mailrail_runtime::sim::Chance;

/// The header field that says which message it is.
const NUMBER_FIELD: &str = "X-Number: ";

/// What is odd about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nothing.
    Plain,
    /// Lines begin with dots.
    Dots,
    /// Bytes above 127.
    EightBit,
    /// A line ends with a bare LF: to be refused.
    BareLf,
    /// More Received fields than any road has stations: to be refused.
    Loop,
    /// Longer than the server takes: to be refused.
    TooLong,
}

impl Shape {
    /// Whether no server may take it.
    pub fn is_refused(self) -> bool {
        matches!(self, Self::BareLf | Self::Loop | Self::TooLong)
    }
}

/// A message and its envelope.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Its number, its place in the plan.
    pub number: usize,
    /// Its sender; empty is the null sender.
    pub sender: String,
    /// Its recipients.
    pub recipients: Vec<String>,
    /// What is odd about it.
    pub shape: Shape,
    /// About how many bytes it has.
    pub len: usize,
    /// Gives its bytes.
    pub seed: u64,
}

impl Mail {
    /// Its content, with all line ends, not stuffed.
    pub fn content(&self) -> Vec<u8> {
        let mut chance = Chance::new(self.seed);
        let mut content = Vec::with_capacity(self.len + 256);
        if self.shape == Shape::Loop {
            for station in 0..60 {
                content.extend_from_slice(
                    format!("Received: from a.example by b{station}.example; Mon, 1 Jun 2026 00:00:00 +0000\r\n").as_bytes(),
                );
            }
        }
        let front = format!(
            "From: <{}>\r\n{NUMBER_FIELD}{}\r\nSubject: number {}\r\n\r\n",
            self.sender, self.number, self.number
        );
        content.extend_from_slice(front.as_bytes());
        while content.len() < self.len {
            if self.shape == Shape::Dots {
                let count = chance.below(4) as usize;
                content.extend_from_slice(&b"..."[..count]);
            }
            let len = match chance.below(20) {
                0 => 0,
                1 => chance.below(990),
                _ => chance.below(76),
            } as usize;
            let start = content.len();
            content.resize(start + len, 0);
            chance.fill(&mut content[start..]);
            for byte in &mut content[start..] {
                *byte = match (self.shape, *byte) {
                    (Shape::EightBit, byte @ 0xa0..) => byte,
                    (_, byte) => b'a' + byte % 26,
                };
            }
            content.extend_from_slice(b"\r\n");
        }
        match self.shape {
            Shape::BareLf => content.extend_from_slice(b"bare\nline\r\n"),
            Shape::EightBit => content.extend_from_slice(b"\xc3\xa4\r\n"),
            _ => {}
        }
        content
    }
}

/// The number of a message in an address of ours: of `n12@home.example`, and of `n12-3@a.example`.
pub fn number_in(address: &str) -> Option<usize> {
    let local = address.strip_prefix('n')?.split('@').next()?;
    local.split('-').next()?.parse().ok()
}

/// The number of the message in which this content is, or is sent back.
pub fn number_of(content: &[u8]) -> Option<usize> {
    let at = content
        .windows(NUMBER_FIELD.len())
        .position(|window| window == NUMBER_FIELD.as_bytes())?;
    let rest = &content[at + NUMBER_FIELD.len()..];
    let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&rest[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_in_addresses_and_contents() {
        assert_eq!(number_in("n12@home.example"), Some(12));
        assert_eq!(number_in("n7-3@a.example"), Some(7));
        assert_eq!(number_in("postmaster@a.example"), None);
        let mail = Mail {
            number: 42,
            sender: "n42@home.example".into(),
            recipients: Vec::new(),
            shape: Shape::Plain,
            len: 900,
            seed: 7,
        };
        assert_eq!(number_of(&mail.content()), Some(42));
        assert_eq!(mail.content(), mail.content());
        assert_eq!(number_of(b"From: a@b\r\n\r\n"), None);
    }
}
