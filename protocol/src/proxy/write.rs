//! From a header to octets, for who stands in front. When to send one is not known here: before
//! anything else, and to a host that expects it.

use super::checksum::crc32c;
use super::{Fault, HEADER_LEN_MAX, Header, LINE_START, Origin, SIGNATURE, Transport, Version};
use alloc::vec::Vec;
use core::fmt::Write;
use core::net::{IpAddr, SocketAddr};

impl Header<'_> {
    /// Appends the header in its version.
    ///
    /// Version 1 has one line for addresses of TCP; of all else it says UNKNOWN, and TLVs it has none.
    /// In either, an IPv4 address beside one of IPv6 is written as IPv6 too. Where the TLVs have
    /// a checksum, it is made anew; behind an origin without an address TLVs are left out.
    ///
    /// ```
    /// use mailrail_protocol::proxy::{Header, Origin, Transport, Version};
    ///
    /// let origin = Origin::Client {
    ///     transport: Transport::Stream,
    ///     source: "192.0.2.7:56324".parse()?,
    ///     destination: "203.0.113.25:25".parse()?,
    /// };
    /// let header = Header { version: Version::One, ..Header::new(origin) };
    /// let mut out = Vec::new();
    /// header.write(&mut out).expect("it is short");
    /// assert_eq!(out, b"PROXY TCP4 192.0.2.7 203.0.113.25 56324 25\r\n");
    /// # Ok::<(), core::net::AddrParseError>(())
    /// ```
    ///
    /// # Errors
    /// [`Fault::Length`] where it would have more than [`HEADER_LEN_MAX`] octets; nothing is written
    /// then.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), Fault> {
        match self.version {
            Version::One => write_line(self.origin, out),
            Version::Two => return self.write_binary(out),
        }
        Ok(())
    }

    fn write_binary(&self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let start = out.len();
        out.extend_from_slice(SIGNATURE);
        //= haproxy's proxy-protocol.txt section 2.2: version 2, and LOCAL or PROXY
        out.push(match self.origin {
            Origin::Local => 0x20,
            _ => 0x21,
        });
        // The family and the length, which are known at the end.
        out.extend_from_slice(&[0; 3]);
        let block = out.len();
        let family = push_addresses(self.origin, out);
        let mut checksum = None;
        if family != 0 {
            checksum = self.tlvs.checksum_place().map(|place| out.len() + place);
            out.extend_from_slice(self.tlvs.raw());
        }
        let len = out.len() - block;
        if out.len() - start > HEADER_LEN_MAX {
            out.truncate(start);
            return Err(Fault::Length);
        }
        if let Some([slot, high, low]) = out.get_mut(block - 3..block) {
            *slot = family;
            [*high, *low] = (len as u16).to_be_bytes();
        }
        if let Some(place) = checksum {
            //= haproxy's proxy-protocol.txt section 2.2.3: the sum is made with zeros in its own place
            let header = out.get_mut(start..).unwrap_or_default();
            let place = place - start;
            let sum = crc32c(header, place..place + 4);
            if let Some(slot) = header.get_mut(place..place + 4) {
                slot.copy_from_slice(&sum.to_be_bytes());
            }
        }
        Ok(())
    }
}

fn write_line(origin: Origin<'_>, out: &mut Vec<u8>) {
    let mut line = Line(out);
    let line_start = core::str::from_utf8(LINE_START).unwrap_or_default();
    let written = match origin {
        Origin::Client {
            transport: Transport::Stream,
            source,
            destination,
        } => {
            let (source, destination) = of_one_family(source, destination);
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            write!(
                line,
                "{line_start}{family} {} {} {} {}\r\n",
                source.ip(),
                destination.ip(),
                source.port(),
                destination.port()
            )
        }
        _ => write!(line, "{line_start}UNKNOWN\r\n"),
    };
    // A list of octets takes all that it is given.
    debug_assert!(written.is_ok(), "a line was not written");
}

struct Line<'o>(&'o mut Vec<u8>);

impl Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Appends the addresses and returns the octet for their family and transport.
fn push_addresses(origin: Origin<'_>, out: &mut Vec<u8>) -> u8 {
    let transport = |transport| match transport {
        Transport::Stream => 1,
        Transport::Datagram => 2,
    };
    match origin {
        Origin::Local | Origin::Unknown => 0,
        Origin::Client {
            transport: kind,
            source,
            destination,
        } => {
            let (source, destination) = of_one_family(source, destination);
            push_address(source.ip(), out);
            push_address(destination.ip(), out);
            out.extend_from_slice(&source.port().to_be_bytes());
            out.extend_from_slice(&destination.port().to_be_bytes());
            let family = if source.is_ipv4() { 0x10 } else { 0x20 };
            family | transport(kind)
        }
        Origin::Unix {
            transport: kind,
            source,
            destination,
        } => {
            out.extend_from_slice(source);
            out.extend_from_slice(destination);
            0x30 | transport(kind)
        }
    }
}

fn push_address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
        IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
    }
}

/// Both as they are, or both of IPv6.
fn of_one_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let mapped = |socket: SocketAddr| match socket.ip() {
        IpAddr::V4(address) => SocketAddr::new(address.to_ipv6_mapped().into(), socket.port()),
        IpAddr::V6(_) => socket,
    };
    (mapped(source), mapped(destination))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::{Kind, LINE_LEN_MAX, Outcome, Tlv, Tlvs};
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Header<'_> {
        match Header::read(bytes) {
            Outcome::Header(header, used) if used == bytes.len() => header,
            outcome => panic!("{outcome:?}"),
        }
    }

    #[test]
    fn what_a_line_cannot_say_is_unknown() {
        for (transport, source, destination, expected) in [
            (
                Transport::Stream,
                "192.0.2.7:1",
                "[2001:db8::1]:25",
                "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 1 25\r\n",
            ),
            (
                Transport::Datagram,
                "192.0.2.7:1",
                "192.0.2.8:25",
                "PROXY UNKNOWN\r\n",
            ),
        ] {
            let origin = Origin::Client {
                transport,
                source: source.parse().unwrap(),
                destination: destination.parse().unwrap(),
            };
            let header = Header {
                version: Version::One,
                ..Header::new(origin)
            };
            let mut out = Vec::new();
            header.write(&mut out).unwrap();
            assert_eq!(out, expected.as_bytes());
        }
    }

    #[test]
    fn local_is_sixteen_octets() {
        let mut out = Vec::from(*b"x");
        Header::new(Origin::Local).write(&mut out).unwrap();
        assert_eq!(out, b"x\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    }

    #[test]
    fn the_checksum_is_made_anew() {
        let mut raw = Vec::new();
        for (kind, value) in [
            (Kind::AUTHORITY, &b"mx.example"[..]),
            (Kind::CRC32C, b"\xff\xff\xff\xff"),
        ] {
            assert!(Tlv { kind, value }.write(&mut raw));
        }
        let header = Header {
            tlvs: Tlvs::new(&raw).unwrap(),
            ..Header::new(Origin::Client {
                transport: Transport::Stream,
                source: "192.0.2.7:1".parse().unwrap(),
                destination: "192.0.2.8:25".parse().unwrap(),
            })
        };
        let mut out = Vec::new();
        header.write(&mut out).unwrap();
        assert_eq!(read(&out).tlvs.authority(), Some("mx.example"));
    }

    #[test]
    fn too_long_a_header_is_not_written() {
        let mut raw = Vec::new();
        let value = &[0; HEADER_LEN_MAX][..];
        let kind = Kind::NOOP;
        assert!(Tlv { kind, value }.write(&mut raw));
        let header = Header {
            tlvs: Tlvs::new(&raw).unwrap(),
            ..Header::new(Origin::Unix {
                transport: Transport::Stream,
                source: &[0; 108],
                destination: &[0; 108],
            })
        };
        let mut out = Vec::from(*b"x");
        assert_eq!(header.write(&mut out), Err(Fault::Length));
        assert_eq!(out, b"x");
    }

    proptest! {
        #[test]
        fn written_and_read_it_is_the_same(
            source in any::<(IpAddr, u16)>(),
            destination in any::<(IpAddr, u16)>(),
            kind in 0usize..6,
            second in any::<bool>(),
            values in proptest::collection::vec(
                (6u8..31, proptest::collection::vec(any::<u8>(), 0..40)),
                0..5,
            ),
        ) {
            let transport = if kind % 2 == 0 { Transport::Stream } else { Transport::Datagram };
            let (source, destination) = of_one_family(source.into(), destination.into());
            let (one, two) = ([b'a'; 108], [b'b'; 108]);
            let origin = match kind {
                0 | 1 => Origin::Client { transport, source, destination },
                2 | 3 => Origin::Unix { transport, source: &one, destination: &two },
                4 => Origin::Local,
                _ => Origin::Unknown,
            };
            let mut raw = Vec::new();
            for (kind, value) in &values {
                let tlv = Tlv { kind: Kind(*kind), value };
                prop_assert!(tlv.write(&mut raw));
            }
            let header = Header {
                version: if second { Version::Two } else { Version::One },
                origin,
                tlvs: Tlvs::new(&raw).unwrap(),
            };
            let mut out = Vec::new();
            header.write(&mut out).unwrap();
            let expected = match (second, kind) {
                (true, 0..4) => header,
                (true, _) => Header { tlvs: Tlvs::NONE, ..header },
                (false, 0) => Header { tlvs: Tlvs::NONE, ..header },
                (false, _) => Header { tlvs: Tlvs::NONE, origin: Origin::Unknown, ..header },
            };
            prop_assert_eq!(read(&out), expected);
            prop_assert!(second || out.len() <= LINE_LEN_MAX);
            let mut again = Vec::new();
            read(&out).write(&mut again).unwrap();
            prop_assert_eq!(out, again);
        }

        #[test]
        fn no_octets_break_it(
            start in 0usize..3,
            bytes in proptest::collection::vec(prop_oneof![0u8..36, any::<u8>()], 0..80),
        ) {
            let mut input = [&b""[..], b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"][start].to_vec();
            input.extend_from_slice(&bytes);
            if let Outcome::Header(header, used) = Header::read(&input) {
                prop_assert!(used <= input.len() && used <= HEADER_LEN_MAX);
                prop_assert!(header.tlvs.count() <= used);
            }
        }
    }
}
