//! From the first octets of a connection to a header. It reads what is there and remembers nothing:
//! a header is short, and comes in one piece.

use super::checksum::crc32c;
use super::{
    FIXED_LEN, Fault, HEADER_LEN_MAX, Header, LINE_LEN_MAX, LINE_START, Origin, Outcome, SIGNATURE,
    Tlvs, Transport, UNIX_PATH_LEN, Version,
};
use crate::ascii;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

impl<'i> Header<'i> {
    /// Looks for a header at the front of what a connection has sent so far.
    ///
    /// Nothing is taken: where a header is found, the caller takes as many octets off as are told.
    #[must_use]
    pub fn read(input: &'i [u8]) -> Outcome<'i> {
        if begins(input, SIGNATURE) {
            return binary(input);
        }
        if begins(input, LINE_START) {
            return line(input);
        }
        Outcome::NotProxy
    }
}

/// Is this the beginning, or may it become it?
fn begins(input: &[u8], start: &[u8]) -> bool {
    input.iter().zip(start).all(|(one, two)| one == two)
}

fn line(input: &[u8]) -> Outcome<'_> {
    let malformed = Outcome::Malformed(Fault::Line);
    //= haproxy's proxy-protocol.txt section 2.1: the line ends with CRLF, and a CR or LF alone ends nothing
    let end = input
        .iter()
        .take(LINE_LEN_MAX)
        .position(|&octet| octet == b'\n');
    let Some(end) = end else {
        return match input.len() {
            LINE_LEN_MAX.. => malformed,
            _ => Outcome::NeedInput,
        };
    };
    let line = input.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let Some(origin) = line.and_then(line_origin) else {
        return malformed;
    };
    let header = Header {
        version: Version::One,
        origin,
        tlvs: Tlvs::NONE,
    };
    Outcome::Header(header, end + 1)
}

fn line_origin(line: &[u8]) -> Option<Origin<'_>> {
    let text = line.strip_prefix(LINE_START)?;
    //= haproxy's proxy-protocol.txt section 2.1: what stands behind UNKNOWN is ignored up to the CRLF
    if let Some(rest) = text.strip_prefix(b"UNKNOWN") {
        let ends = matches!(rest, [] | [b' ', ..]) && !rest.contains(&b'\r');
        return ends.then_some(Origin::Unknown);
    }
    let text = core::str::from_utf8(text).ok()?;
    //= haproxy's proxy-protocol.txt section 2.1: exactly one space parts the fields
    let mut fields = text.split(' ');
    let (family, source, destination) = (fields.next()?, fields.next()?, fields.next()?);
    let (source, destination): (IpAddr, IpAddr) = match family {
        "TCP4" => (
            source.parse::<Ipv4Addr>().ok()?.into(),
            destination.parse::<Ipv4Addr>().ok()?.into(),
        ),
        "TCP6" => (
            source.parse::<Ipv6Addr>().ok()?.into(),
            destination.parse::<Ipv6Addr>().ok()?.into(),
        ),
        _ => return None,
    };
    let (source_port, destination_port) = (port(fields.next()?)?, port(fields.next()?)?);
    fields.next().is_none().then_some(Origin::Client {
        transport: Transport::Stream,
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    })
}

//= haproxy's proxy-protocol.txt section 2.1: a port is decimal, 0 to 65535, without leading zeros
fn port(text: &str) -> Option<u16> {
    if text.len() > 1 && text.starts_with('0') {
        return None;
    }
    u16::try_from(ascii::parse_decimal(text.as_bytes())?).ok()
}

fn binary(input: &[u8]) -> Outcome<'_> {
    let Some((&[.., command, family, high, low], rest)) = input.split_first_chunk::<FIXED_LEN>()
    else {
        return Outcome::NeedInput;
    };
    //= haproxy's proxy-protocol.txt section 2.2: the highest four bits are the version, which is 2
    if command >> 4 != 2 {
        return Outcome::Malformed(Fault::Version);
    }
    //= haproxy's proxy-protocol.txt section 2.2: the length tells what follows, known or not
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len > HEADER_LEN_MAX - FIXED_LEN {
        return Outcome::Malformed(Fault::Length);
    }
    let Some(block) = rest.get(..len) else {
        return Outcome::NeedInput;
    };
    let read = match command & 15 {
        //= haproxy's proxy-protocol.txt section 2.2: the block behind LOCAL is skipped, its family ignored
        0 => Ok((Origin::Local, &[][..])),
        1 => origin(family, block),
        //= haproxy's proxy-protocol.txt section 2.2: other commands are not accepted
        _ => Err(Fault::Command),
    };
    let used = FIXED_LEN + len;
    let header = read.and_then(|(origin, tlvs)| {
        let tlvs = Tlvs::new(tlvs).ok_or(Fault::Tlv)?;
        verify(input.get(..used).unwrap_or(input), tlvs)?;
        Ok(Header {
            version: Version::Two,
            origin,
            tlvs,
        })
    });
    match header {
        Ok(header) => Outcome::Header(header, used),
        Err(fault) => Outcome::Malformed(fault),
    }
}

/// The addresses, and what stands behind them.
fn origin(family: u8, block: &[u8]) -> Result<(Origin<'_>, &[u8]), Fault> {
    let transport = match family & 15 {
        0 => None,
        1 => Some(Transport::Stream),
        2 => Some(Transport::Datagram),
        _ => return Err(Fault::Family),
    };
    match (family >> 4, transport) {
        //= haproxy's proxy-protocol.txt section 2.2: where nothing is specified, addresses are ignored
        (0, _) | (1..=3, None) => Ok((Origin::Unknown, &[])),
        (1, Some(transport)) => pair::<4>(transport, block),
        (2, Some(transport)) => pair::<16>(transport, block),
        (3, Some(transport)) => unix(transport, block).ok_or(Fault::Length),
        _ => Err(Fault::Family),
    }
}

//= haproxy's proxy-protocol.txt section 2.2: source and destination, then their ports, all in network order
fn pair<const LEN: usize>(transport: Transport, block: &[u8]) -> Result<(Origin<'_>, &[u8]), Fault>
where
    IpAddr: From<[u8; LEN]>,
{
    let (source, rest) = block.split_first_chunk::<LEN>().ok_or(Fault::Length)?;
    let (destination, rest) = rest.split_first_chunk::<LEN>().ok_or(Fault::Length)?;
    let (&[a, b, c, d], rest) = rest.split_first_chunk::<4>().ok_or(Fault::Length)?;
    let client = Origin::Client {
        transport,
        source: SocketAddr::new((*source).into(), u16::from_be_bytes([a, b])),
        destination: SocketAddr::new((*destination).into(), u16::from_be_bytes([c, d])),
    };
    Ok((client, rest))
}

fn unix(transport: Transport, block: &[u8]) -> Option<(Origin<'_>, &[u8])> {
    let (source, rest) = block.split_first_chunk::<UNIX_PATH_LEN>()?;
    let (destination, rest) = rest.split_first_chunk::<UNIX_PATH_LEN>()?;
    let client = Origin::Unix {
        transport,
        source,
        destination,
    };
    Some((client, rest))
}

//= haproxy's proxy-protocol.txt section 2.2.3: a checksum that is there must be that of the whole header
fn verify(header: &[u8], tlvs: Tlvs<'_>) -> Result<(), Fault> {
    let Some(place) = tlvs.checksum_place() else {
        return Ok(());
    };
    let start = header.len() - tlvs.raw().len() + place;
    let given = header
        .get(start..)
        .and_then(<[u8]>::first_chunk)
        .ok_or(Fault::Tlv)?;
    if crc32c(header, start..start + 4) == u32::from_be_bytes(*given) {
        Ok(())
    } else {
        Err(Fault::Checksum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec::Vec;

    fn client(source: &str, destination: &str) -> Origin<'static> {
        Origin::Client {
            transport: Transport::Stream,
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        }
    }

    /// The header itself whole, each beginning of it too short, and octets behind it left alone.
    #[track_caller]
    fn check(bytes: &[u8], version: Version, origin: Origin<'_>) {
        for end in 0..bytes.len() {
            assert_eq!(Header::read(&bytes[..end]), Outcome::NeedInput, "{end}");
        }
        let mut behind = bytes.to_vec();
        behind.extend_from_slice(b"EHLO a\r\n");
        for input in [bytes, &behind] {
            let Outcome::Header(header, used) = Header::read(input) else {
                panic!("{:?}", Header::read(input));
            };
            assert_eq!(used, bytes.len());
            assert_eq!(header.version, version);
            assert_eq!(header.origin, origin);
        }
    }

    #[test]
    fn lines() {
        for (line, origin) in [
            (
                "TCP4 192.0.2.7 203.0.113.25 56324 25",
                client("192.0.2.7:56324", "203.0.113.25:25"),
            ),
            (
                "TCP4 255.255.255.255 255.255.255.255 65535 0",
                client("255.255.255.255:65535", "255.255.255.255:0"),
            ),
            (
                "TCP6 2001:db8::1 ::1 1 25",
                client("[2001:db8::1]:1", "[::1]:25"),
            ),
            ("UNKNOWN", Origin::Unknown),
            ("UNKNOWN \0 anything", Origin::Unknown),
            (
                "UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535",
                Origin::Unknown,
            ),
        ] {
            check(format!("PROXY {line}\r\n").as_bytes(), Version::One, origin);
        }
    }

    #[test]
    fn lines_that_are_wrong() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
        assert_eq!(long.len(), 108);
        for line in [
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.8 1 25\n",
            "PROXY TCP4 192.0.2.7 192.0.2.8 1 25\r\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.8 1 25 \r\n",
            "PROXY TCP4  192.0.2.7 192.0.2.8 1 25\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.8 1 25 1\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.8 1\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.8 01 25\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.8 65536 25\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.8 +1 25\r\n",
            "PROXY TCP4 192.0.2.07 192.0.2.8 1 25\r\n",
            "PROXY TCP4 ::1 ::1 1 25\r\n",
            "PROXY TCP6 192.0.2.7 192.0.2.8 1 25\r\n",
            "PROXY tcp4 192.0.2.7 192.0.2.8 1 25\r\n",
            "PROXY UDP4 192.0.2.7 192.0.2.8 1 25\r\n",
            "PROXY UNKNOWNX\r\n",
            "PROXY UNKNOWN a\rb\r\n",
            &long,
        ] {
            let outcome = Header::read(line.as_bytes());
            assert_eq!(outcome, Outcome::Malformed(Fault::Line), "{line:?}");
        }
        let endless = format!("PROXY UNKNOWN {}", "x".repeat(200));
        assert_eq!(Header::read(&endless.as_bytes()[..106]), Outcome::NeedInput);
        let outcome = Header::read(&endless.as_bytes()[..107]);
        assert_eq!(outcome, Outcome::Malformed(Fault::Line));
    }

    #[test]
    fn the_longest_line_is_read() {
        let address = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let line = format!("PROXY TCP6 {address} {address} 65535 65535\r\n");
        assert_eq!(line.len(), 104);
        let socket = format!("[{address}]:65535");
        check(line.as_bytes(), Version::One, client(&socket, &socket));
    }

    #[test]
    fn other_protocols() {
        for bytes in [
            "EHLO a\r\n",
            "PROXX",
            "proxy ",
            "PROXYTCP4",
            "\r\n\r\nx",
            "\r\r",
            "\x16\x03\x01",
        ] {
            assert_eq!(
                Header::read(bytes.as_bytes()),
                Outcome::NotProxy,
                "{bytes:?}"
            );
        }
    }

    fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend_from_slice(&[command, family]);
        bytes.extend_from_slice(&(block.len() as u16).to_be_bytes());
        bytes.extend_from_slice(block);
        bytes
    }

    #[test]
    fn binary_headers() {
        let four = b"\xc0\0\x02\x07\xcb\0\x71\x19\xdc\x04\0\x19";
        let origin = client("192.0.2.7:56324", "203.0.113.25:25");
        check(&binary(0x21, 0x11, four), Version::Two, origin);
        let mut six = [0; 36];
        (six[15], six[31], six[33], six[35]) = (1, 2, 3, 25);
        let origin = client("[::1]:3", "[::2]:25");
        check(&binary(0x21, 0x21, &six), Version::Two, origin);
        let mut unix = [0; 216];
        (unix[0], unix[108]) = (b'a', b'b');
        let (source, destination) = (
            unix.first_chunk().unwrap(),
            unix[108..].first_chunk().unwrap(),
        );
        let origin = Origin::Unix {
            transport: Transport::Datagram,
            source,
            destination,
        };
        check(&binary(0x21, 0x32, &unix), Version::Two, origin);
        check(&binary(0x20, 0x00, b""), Version::Two, Origin::Local);
        check(&binary(0x20, 0xff, b"any"), Version::Two, Origin::Local);
        check(&binary(0x21, 0x00, b"any"), Version::Two, Origin::Unknown);
        check(&binary(0x21, 0x10, b"any"), Version::Two, Origin::Unknown);
    }

    #[test]
    fn binary_headers_that_are_wrong() {
        let four = [0; 12];
        for (command, family, block, fault) in [
            (0x11, 0x11, &four[..], Fault::Version),
            (0x31, 0x11, &four, Fault::Version),
            (0x22, 0x11, &four, Fault::Command),
            (0x21, 0x41, &four, Fault::Family),
            (0x21, 0x13, &four, Fault::Family),
            (0x21, 0x03, &four, Fault::Family),
            (0x21, 0x11, &four[..11], Fault::Length),
            (0x21, 0x21, &four, Fault::Length),
            (0x21, 0x31, &four, Fault::Length),
            (0x21, 0x11, &[0; 13], Fault::Tlv),
            (0x20, 0x00, &[0; HEADER_LEN_MAX - 15], Fault::Length),
        ] {
            let bytes = binary(command, family, block);
            assert_eq!(Header::read(&bytes), Outcome::Malformed(fault), "{bytes:?}");
        }
        let longest = binary(0x20, 0x00, &[0; HEADER_LEN_MAX - 16]);
        assert!(matches!(
            Header::read(&longest),
            Outcome::Header(_, HEADER_LEN_MAX)
        ));
    }

    #[test]
    fn a_checksum_is_checked() {
        let mut block = Vec::from([0; 12]);
        block.extend_from_slice(b"\x04\0\0\x03\0\x04\0\0\0\0\x04\0\x01x");
        let mut bytes = binary(0x21, 0x11, &block);
        assert_eq!(Header::read(&bytes), Outcome::Malformed(Fault::Checksum));
        let place = bytes.len() - 8;
        let sum = crc32c(&bytes, 0..0);
        bytes[place..place + 4].copy_from_slice(&sum.to_be_bytes());
        assert!(matches!(Header::read(&bytes), Outcome::Header(..)));
        for place in 16..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[place] ^= 1;
            let found = Header::read(&bytes);
            assert!(
                matches!(found, Outcome::Malformed(_)) || place >= 28,
                "{place}"
            );
        }
    }

    #[test]
    fn faults_say_what_they_are() {
        assert!(format!("{}", Fault::Checksum).contains("checksum"));
    }
}
