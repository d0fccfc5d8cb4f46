//! The values behind the addresses of a header of version 2: what the proxy knows of the client's
//! TLS, and more. What to do with them is the caller's choice.

use alloc::vec::Vec;

/// What a value is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Kind(pub u8);

//= haproxy's proxy-protocol.txt section 2.2: the types that are registered
impl Kind {
    /// The protocol that was agreed on within TLS.
    pub const ALPN: Self = Self(0x01);
    /// The name that the client asked for.
    pub const AUTHORITY: Self = Self(0x02);
    /// A checksum of the whole header.
    pub const CRC32C: Self = Self(0x03);
    /// Padding.
    pub const NOOP: Self = Self(0x04);
    /// The proxy's own name for the connection.
    pub const UNIQUE_ID: Self = Self(0x05);
    /// The client's TLS, with values of its own.
    pub const TLS: Self = Self(0x20);
    /// Within [`Kind::TLS`]: the version.
    pub const TLS_VERSION: Self = Self(0x21);
    /// Within [`Kind::TLS`]: the common name in the client's certificate.
    pub const TLS_COMMON_NAME: Self = Self(0x22);
    /// Within [`Kind::TLS`]: the cipher.
    pub const TLS_CIPHER: Self = Self(0x23);
    /// Within [`Kind::TLS`]: what the proxy's certificate is signed with.
    pub const TLS_SIGNATURE_ALGORITHM: Self = Self(0x24);
    /// Within [`Kind::TLS`]: what the key of the proxy's certificate is made with.
    pub const TLS_KEY_ALGORITHM: Self = Self(0x25);
    /// The name space of the network.
    pub const NETWORK_NAMESPACE: Self = Self(0x30);
}

/// Octets in front of a value.
const HEAD_LEN: usize = 3;

/// Octets in front of the values within [`Kind::TLS`].
const TLS_HEAD_LEN: usize = 5;

/// One value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tlv<'i> {
    /// What it is about.
    pub kind: Kind,
    /// The value itself.
    pub value: &'i [u8],
}

impl Tlv<'_> {
    /// Appends the value as a header holds it.
    ///
    /// ```
    /// use mailrail_protocol::proxy::{Kind, Tlv, Tlvs};
    ///
    /// let mut raw = Vec::new();
    /// assert!(Tlv { kind: Kind::AUTHORITY, value: b"mx.example" }.write(&mut raw));
    /// let tlvs = Tlvs::new(&raw).expect("what was written is read");
    /// assert_eq!(tlvs.authority(), Some("mx.example"));
    /// ```
    ///
    /// `false`, and nothing is written, where it has more than 65,535 octets.
    #[must_use]
    pub fn write(&self, out: &mut Vec<u8>) -> bool {
        let Ok(len) = u16::try_from(self.value.len()) else {
            return false;
        };
        out.push(self.kind.0);
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(self.value);
        true
    }
}

/// The values of a header, in their order: known to be whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tlvs<'i> {
    raw: &'i [u8],
}

impl<'i> Tlvs<'i> {
    /// None at all.
    pub const NONE: Self = Self { raw: &[] };

    /// Values as [`Tlv::write`] wrote them, one behind the other; `None` where one is cut off, or a
    /// value of [`Kind::TLS`] or [`Kind::CRC32C`] does not have its form.
    #[must_use]
    pub fn new(raw: &'i [u8]) -> Option<Self> {
        let mut rest = raw;
        while !rest.is_empty() {
            let (tlv, behind) = take(rest)?;
            match tlv.kind {
                Kind::TLS => {
                    let mut within = tlv.value.get(TLS_HEAD_LEN..)?;
                    while !within.is_empty() {
                        (_, within) = take(within)?;
                    }
                }
                //= haproxy's proxy-protocol.txt section 2.2.3: the checksum is a number of 32 bits
                Kind::CRC32C if tlv.value.len() != 4 => return None,
                _ => {}
            }
            rest = behind;
        }
        Some(Self { raw })
    }

    /// The octets.
    #[must_use]
    pub const fn raw(&self) -> &'i [u8] {
        self.raw
    }

    /// The first value of this kind.
    #[must_use]
    pub fn find(mut self, kind: Kind) -> Option<&'i [u8]> {
        self.find_map(|tlv| (tlv.kind == kind).then_some(tlv.value))
    }

    fn text(self, kind: Kind) -> Option<&'i str> {
        core::str::from_utf8(self.find(kind)?).ok()
    }

    /// The name that the client asked for in TLS.
    //= haproxy's proxy-protocol.txt section 2.2.2: the host name as the client gave it, in UTF-8
    #[must_use]
    pub fn authority(self) -> Option<&'i str> {
        self.text(Kind::AUTHORITY)
    }

    /// The protocol that was agreed on within TLS.
    //= haproxy's proxy-protocol.txt section 2.2.1: octets, as ALPN has them
    #[must_use]
    pub fn alpn(self) -> Option<&'i [u8]> {
        self.find(Kind::ALPN)
    }

    /// The proxy's own name for the connection.
    //= haproxy's proxy-protocol.txt section 2.2.5: up to 128 octets of any kind
    #[must_use]
    pub fn unique_id(self) -> Option<&'i [u8]> {
        self.find(Kind::UNIQUE_ID)
    }

    /// What the proxy says of the client's TLS.
    #[must_use]
    pub fn tls(self) -> Option<Tls<'i>> {
        let (&[client, verify @ ..], raw) =
            self.find(Kind::TLS)?.split_first_chunk::<TLS_HEAD_LEN>()?;
        Some(Tls {
            client,
            verify: u32::from_be_bytes(verify),
            tlvs: Tlvs { raw },
        })
    }

    /// Where in `raw` the checksum is.
    pub(super) fn checksum_place(self) -> Option<usize> {
        let mut rest = self;
        while let Some(tlv) = rest.next() {
            if tlv.kind == Kind::CRC32C {
                return Some(self.raw.len() - rest.raw.len() - tlv.value.len());
            }
        }
        None
    }
}

impl<'i> Iterator for Tlvs<'i> {
    type Item = Tlv<'i>;

    fn next(&mut self) -> Option<Tlv<'i>> {
        let (tlv, rest) = take(self.raw)?;
        self.raw = rest;
        Some(tlv)
    }
}

//= haproxy's proxy-protocol.txt section 2.2: a type, a length of two octets, and the value
fn take(raw: &[u8]) -> Option<(Tlv<'_>, &[u8])> {
    let (&[kind, high, low], rest) = raw.split_first_chunk::<HEAD_LEN>()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
    let kind = Kind(kind);
    Some((Tlv { kind, value }, rest))
}

/// What a proxy says of the client's TLS, which it has ended itself.
//= haproxy's proxy-protocol.txt section 2.2.6: flags, the outcome of the verification, and values
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tls<'i> {
    client: u8,
    verify: u32,
    tlvs: Tlvs<'i>,
}

impl<'i> Tls<'i> {
    /// The client speaks TLS.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.client & 1 != 0
    }

    /// The client showed a certificate on this connection.
    #[must_use]
    pub const fn has_certificate(&self) -> bool {
        self.client & 2 != 0
    }

    /// The client showed a certificate on this connection or an earlier one of the same TLS session.
    #[must_use]
    pub const fn has_certificate_in_session(&self) -> bool {
        self.client & 6 != 0
    }

    /// The client showed a certificate, and the proxy found it good.
    #[must_use]
    pub const fn is_verified(&self) -> bool {
        self.verify == 0 && self.has_certificate_in_session()
    }

    /// The version, such as `TLSv1.3`.
    #[must_use]
    pub fn version(&self) -> Option<&'i str> {
        self.tlvs.text(Kind::TLS_VERSION)
    }

    /// The common name in the client's certificate.
    #[must_use]
    pub fn common_name(&self) -> Option<&'i str> {
        self.tlvs.text(Kind::TLS_COMMON_NAME)
    }

    /// The cipher, such as `TLS_AES_128_GCM_SHA256`.
    #[must_use]
    pub fn cipher(&self) -> Option<&'i str> {
        self.tlvs.text(Kind::TLS_CIPHER)
    }

    /// The values, these and others.
    #[must_use]
    pub const fn tlvs(&self) -> Tlvs<'i> {
        self.tlvs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(tlvs: &[(Kind, &[u8])]) -> Vec<u8> {
        let mut raw = Vec::new();
        for &(kind, value) in tlvs {
            assert!(Tlv { kind, value }.write(&mut raw));
        }
        raw
    }

    #[test]
    fn what_a_proxy_knows() {
        let within = written(&[
            (Kind::TLS_VERSION, b"TLSv1.3"),
            (Kind::TLS_COMMON_NAME, b"client.example"),
            (Kind::TLS_CIPHER, b"TLS_AES_128_GCM_SHA256"),
        ]);
        let mut tls = Vec::from([7, 0, 0, 0, 0]);
        tls.extend_from_slice(&within);
        let raw = written(&[
            (Kind::NOOP, b""),
            (Kind::AUTHORITY, b"mx.example"),
            (Kind::ALPN, b"smtp"),
            (Kind::UNIQUE_ID, b"\x01\x02"),
            (Kind::TLS, &tls),
            (Kind(0xe0), b"ours"),
        ]);
        let tlvs = Tlvs::new(&raw).unwrap();
        assert_eq!(tlvs.count(), 6);
        assert_eq!(tlvs.authority(), Some("mx.example"));
        assert_eq!(tlvs.alpn(), Some(&b"smtp"[..]));
        assert_eq!(tlvs.unique_id(), Some(&b"\x01\x02"[..]));
        assert_eq!(tlvs.find(Kind(0xe0)), Some(&b"ours"[..]));
        let tls = tlvs.tls().unwrap();
        assert!(tls.is_encrypted() && tls.has_certificate() && tls.is_verified());
        assert_eq!(tls.version(), Some("TLSv1.3"));
        assert_eq!(tls.common_name(), Some("client.example"));
        assert_eq!(tls.cipher(), Some("TLS_AES_128_GCM_SHA256"));
        assert_eq!(tls.tlvs().raw(), within);
    }

    #[test]
    fn a_certificate_is_verified_only_if_there_is_one() {
        for (flags, verify, expected) in [
            (1, 0, false),
            (3, 0, true),
            (5, 0, true),
            (3, 1, false),
            (0, 0, false),
        ] {
            let raw = written(&[(Kind::TLS, &[flags, 0, 0, 0, verify])]);
            let tls = Tlvs::new(&raw).unwrap().tls().unwrap();
            assert_eq!(tls.is_verified(), expected, "{flags} {verify}");
        }
    }

    #[test]
    fn what_is_cut_off() {
        for raw in [
            &b"\x01"[..],
            b"\x01\x00",
            b"\x01\x00\x01",
            b"\x01\x00\x00\x02",
            b"\x20\x00\x04\x01\x00\x00\x00",
            b"\x20\x00\x06\x01\x00\x00\x00\x00\x21",
            b"\x03\x00\x03\x00\x00\x00",
        ] {
            assert_eq!(Tlvs::new(raw), None, "{raw:?}");
        }
        assert_eq!(Tlvs::new(b""), Some(Tlvs::NONE));
        let long = [0; 65_536];
        let mut out = Vec::new();
        let tlv = Tlv {
            kind: Kind::NOOP,
            value: &long,
        };
        assert!(!tlv.write(&mut out) && out.is_empty());
    }
}
