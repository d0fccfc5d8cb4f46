//! The header of the PROXY protocol: it takes no more than it says, does not change its mind when more
//! arrives, and what is written of it is read as the same.

use mailrail_protocol::proxy::{HEADER_LEN_MAX, Header, Outcome};

/// The first octets of a connection.
pub(crate) fn run(bytes: &[u8]) {
    let whole = Header::read(bytes);
    let mut decided = false;
    for end in 0..bytes.len().min(HEADER_LEN_MAX + 1) {
        let outcome = Header::read(&bytes[..end]);
        if outcome != Outcome::NeedInput {
            assert_eq!(outcome, whole, "what was decided stays");
            decided = true;
        }
        assert!(!decided || outcome != Outcome::NeedInput);
    }
    match whole {
        Outcome::NeedInput => assert!(bytes.len() < HEADER_LEN_MAX),
        Outcome::Header(header, used) => {
            assert!(used <= bytes.len() && used <= HEADER_LEN_MAX);
            assert_eq!(Header::read(&bytes[..used]), whole);
            write_and_read(&header, used);
        }
        Outcome::NotProxy | Outcome::Malformed(_) => {}
    }
}

fn write_and_read(header: &Header<'_>, used: usize) {
    let mut raw = Vec::new();
    for tlv in header.tlvs {
        assert!(tlv.write(&mut raw));
    }
    assert_eq!(raw, header.tlvs.raw());
    let _ = header.tlvs.authority();
    if let Some(tls) = header.tlvs.tls() {
        assert!(!tls.is_verified() || tls.has_certificate_in_session());
        assert!(tls.tlvs().count() <= used);
    }
    let mut out = Vec::new();
    header
        .write(&mut out)
        .expect("what was read is not too long");
    assert_eq!(Header::read(&out), Outcome::Header(*header, out.len()));
}
