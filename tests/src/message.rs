//! Messages with an id in them, and seeded chance. Pure.

/// The header that carries a message's id from the sender to the sink.
pub const ID_HEADER: &str = "X-Test-Id";

/// Seeded chance (splitmix64): the same seed, the same test.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// A row of numbers for this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next_u64() % limit
    }
}

/// A short message with an id, `size` bytes of text or a little more.
pub fn with_id(id: &str, size: usize) -> Vec<u8> {
    let mut content = format!(
        "From: Sender <sender@client.example>\r\nTo: <recipient@sink.example>\r\n\
         Subject: {id}\r\n{ID_HEADER}: {id}\r\nDate: Mon, 2 Jun 2025 10:00:00 +0000\r\n\
         Message-ID: <{id}@client.example>\r\n\r\n"
    )
    .into_bytes();
    let end = content.len() + size;
    while content.len() < end {
        content
            .extend_from_slice(b"The quick brown fox jumps over the lazy dog, and on it goes.\r\n");
    }
    content
}

/// The value of the id header, if there is one in the header of `content`.
pub fn id_of(content: &[u8]) -> Option<String> {
    let header = header_of(content);
    header.split(|&byte| byte == b'\n').find_map(|line| {
        let value = line
            .strip_prefix(ID_HEADER.as_bytes())?
            .strip_prefix(b":")?;
        Some(String::from_utf8_lossy(value).trim().to_owned())
    })
}

/// What stands before the first empty line.
pub fn header_of(content: &[u8]) -> &[u8] {
    let end = content.windows(4).position(|window| window == b"\r\n\r\n");
    &content[..end.map_or(content.len(), |end| end + 2)]
}

/// `content` without its first header field, which has to be a Received field.
///
/// # Panics
/// If it starts with anything else.
pub fn without_received(content: &[u8]) -> &[u8] {
    let start = String::from_utf8_lossy(&content[..content.len().min(60)]).into_owned();
    assert!(
        content.starts_with(b"Received: "),
        "no Received field comes first: {start}"
    );
    let mut at = 0;
    loop {
        let line_end = content[at..]
            .windows(2)
            .position(|window| window == b"\r\n");
        at += line_end.expect("a header field ends with CRLF") + 2;
        //= RFC 5322 section 2.2.3: a line that starts with a space or tab continues the field
        if !matches!(content.get(at), Some(b' ' | b'\t')) {
            return &content[at..];
        }
    }
}

/// `content` as a client sends it after DATA: dots doubled, the final dot added.
pub fn stuffed(content: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(content.len() + 16);
    for line in content.split_inclusive(|&byte| byte == b'\n') {
        //= RFC 5321 section 4.5.2: a line that starts with a dot gets another one
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
    }
    wire.extend_from_slice(if content.ends_with(b"\r\n") {
        b".\r\n"
    } else {
        b"\r\n.\r\n"
    });
    wire
}

/// Everything that makes a relay stumble: leading dots, 8-bit text, a long attachment.
pub fn awkward(id: &str) -> Vec<u8> {
    let mut content = format!(
        "From: =?utf-8?Q?J=C3=B6rg?= <joerg@client.example>\r\nTo: <recipient@sink.example>\r\n\
         Subject: leading dots, 8-bit text\r\n and a folded subject\r\n{ID_HEADER}: {id}\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=-cut\"\r\n\r\n\
         --=-cut\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\
         \r\n.\r\n..\r\n...and more\r\n.hidden\r\n\r\nGrüße aus Köln, Ελλάδα, 日本\r\n\
         trailing space \r\n\ttab first\r\n\r\n\
         --=-cut\r\nContent-Type: application/octet-stream; name=\"data.bin\"\r\n\
         Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment\r\n\r\n"
    )
    .into_bytes();
    content.extend_from_slice(&attachment(100 * 1024));
    content.extend_from_slice(b"\r\n--=-cut--\r\n");
    content
}

/// At least `size` bytes of base64 in lines of 76 letters.
pub fn attachment(size: usize) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut chance = Chance::new(7);
    let mut text = Vec::with_capacity(size + size / 38 + 78);
    while text.len() < size {
        for _ in 0..76 {
            text.push(LETTERS[usize::try_from(chance.below(64)).expect("below 64")]);
        }
        text.extend_from_slice(b"\r\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_found_in_the_header_only() {
        assert_eq!(id_of(&with_id("abc", 10)).as_deref(), Some("abc"));
        assert_eq!(id_of(b"A: b\r\n\r\nX-Test-Id: c\r\n"), None);
    }

    #[test]
    fn the_received_field_goes_with_its_folds() {
        assert_eq!(
            without_received(b"Received: a\r\n b\r\n\tc\r\nFrom: d\r\n"),
            b"From: d\r\n"
        );
    }

    #[test]
    fn dots_are_doubled_at_line_starts() {
        assert_eq!(stuffed(b"a.\r\n.b\r\n..\r\n"), b"a.\r\n..b\r\n...\r\n.\r\n");
        assert_eq!(stuffed(b"a"), b"a\r\n.\r\n");
    }
}
