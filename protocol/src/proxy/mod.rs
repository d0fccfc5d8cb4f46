//! The header of the PROXY protocol, versions 1 and 2: what a load balancer says of the client
//! before the client's own first octet. Whom to believe is the caller's business, and so is the
//! socket. The source is haproxy's `doc/proxy-protocol.txt`, whose sections the comments name.
//!
//! Expect a header only from hosts that are known to send one, and expect it from them always: whoever
//! may choose can call himself anybody (section 5 there). Read it before the session's first
//! `receive`, and take what it used off the input:
//!
//! ```
//! use mailrail_protocol::proxy::{Header, Origin, Outcome};
//!
//! let received = b"PROXY TCP4 192.0.2.7 203.0.113.25 56324 25\r\nEHLO a.example\r\n";
//! let mut input = &received[..];
//! match Header::read(input) {
//!     Outcome::Header(header, used) => {
//!         input = &input[used..];
//!         if let Origin::Client { source, .. } = header.origin {
//!             assert_eq!(source, "192.0.2.7:56324".parse().unwrap());
//!         }
//!     }
//!     Outcome::NeedInput => { /* read more, HEADER_LEN_MAX octets at most */ }
//!     Outcome::NotProxy | Outcome::Malformed(_) => { /* hang up without a word */ }
//! }
//! assert_eq!(input, b"EHLO a.example\r\n");
//! ```

mod checksum;
mod read;
mod tlv;
mod write;

pub use tlv::{Kind, Tls, Tlv, Tlvs};

use crate::limits::COMMAND_LINE_LEN_MAX;
use core::fmt;
use core::net::SocketAddr;

/// Octets in a whole header that is still read; with the TLVs in use it has a few hundred.
pub const HEADER_LEN_MAX: usize = 2048;

/// Octets in a header of version 1, its CRLF included.
//= haproxy's proxy-protocol.txt section 2.1: 107 octets are always enough for the line
pub const LINE_LEN_MAX: usize = 107;

const _: () = assert!(
    HEADER_LEN_MAX <= COMMAND_LINE_LEN_MAX,
    "a buffer that is large enough for the session is large enough for the header"
);

/// Octets of a path in a header: zeros behind its end.
//= haproxy's proxy-protocol.txt section 2.2: the addresses of AF_UNIX are exactly 108 octets each
pub const UNIX_PATH_LEN: usize = 108;

/// Opens a header of version 1.
const LINE_START: &[u8] = b"PROXY ";

/// Opens a header of version 2.
//= haproxy's proxy-protocol.txt section 2.2: twelve octets that are a command of no protocol
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Octets in front of the addresses in version 2.
const FIXED_LEN: usize = SIGNATURE.len() + 4;

/// How a header is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Version {
    /// One line of text.
    One,
    /// Binary, with TLVs.
    Two,
}

/// What kind of socket the client speaks to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Transport {
    /// TCP, or a stream of the UNIX domain.
    Stream,
    /// UDP, or datagrams of the UNIX domain: nothing that SMTP runs over.
    Datagram,
}

/// Who speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Origin<'i> {
    /// The proxy itself, to see whether we are well: the connection's own addresses hold.
    //= haproxy's proxy-protocol.txt section 2.2: LOCAL is accepted, with the real endpoints
    Local,
    /// A client of which no address is told: the connection's own addresses hold.
    //= haproxy's proxy-protocol.txt section 2.1: UNKNOWN is as if no header had been there
    Unknown,
    /// A client with an address.
    Client {
        /// What it speaks over.
        transport: Transport,
        /// Where it is.
        source: SocketAddr,
        /// What it has connected to; of the same family in what is read.
        destination: SocketAddr,
    },
    /// A client on the proxy's own host.
    Unix {
        /// What it speaks over.
        transport: Transport,
        /// Its path, zeros behind it; all zeros where it has none.
        source: &'i [u8; UNIX_PATH_LEN],
        /// The path that it has connected to.
        destination: &'i [u8; UNIX_PATH_LEN],
    },
}

/// A header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header<'i> {
    /// How it is written.
    pub version: Version,
    /// Who speaks.
    pub origin: Origin<'i>,
    /// What else is told of a client; none in version 1.
    pub tlvs: Tlvs<'i>,
}

impl Header<'_> {
    /// A header of the latest version without TLVs.
    #[must_use]
    pub const fn new(origin: Origin<'_>) -> Header<'_> {
        Header {
            version: Version::Two,
            origin,
            tlvs: Tlvs::NONE,
        }
    }

    /// The client's address; `None` where the connection's own holds.
    #[must_use]
    pub const fn source(&self) -> Option<SocketAddr> {
        match self.origin {
            Origin::Client { source, .. } => Some(source),
            _ => None,
        }
    }

    /// What the client has connected to; `None` where the connection's own address holds.
    #[must_use]
    pub const fn destination(&self) -> Option<SocketAddr> {
        match self.origin {
            Origin::Client { destination, .. } => Some(destination),
            _ => None,
        }
    }
}

/// What the first octets of a connection are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome<'i> {
    /// The beginning of a header, or nothing yet: the same octets and more are needed, at most
    /// [`HEADER_LEN_MAX`] of them.
    NeedInput,
    /// A header, and how many octets of the input it takes.
    Header(Header<'i>, usize),
    /// Something else: a peer that sends no header.
    NotProxy,
    /// A header that nobody should have sent.
    Malformed(Fault),
}

/// What is wrong with a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Fault {
    /// The line of version 1 breaks the grammar.
    Line,
    /// A version that is not known here.
    Version,
    /// Neither LOCAL nor PROXY.
    Command,
    /// A family of addresses or a transport that is not known here.
    Family,
    /// Fewer octets than the addresses have, or more in all than [`HEADER_LEN_MAX`].
    Length,
    /// TLVs that do not end where they should.
    Tlv,
    /// The checksum is not that of these octets.
    Checksum,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Line => "malformed PROXY line",
            Self::Version => "unknown version of the PROXY protocol",
            Self::Command => "unknown command in the PROXY header",
            Self::Family => "unknown address family in the PROXY header",
            Self::Length => "the PROXY header is too short or too long",
            Self::Tlv => "malformed TLV in the PROXY header",
            Self::Checksum => "wrong checksum in the PROXY header",
        })
    }
}

impl core::error::Error for Fault {}
