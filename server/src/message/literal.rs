//! IP addresses as text, pushed as bytes: bare for logs, in brackets for mail.

use super::decimal::push_u64;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Appends the address. An IPv4 address that came through an IPv6 socket is written as IPv4.
pub fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(address) => push_v4(out, address),
        IpAddr::V6(address) => push_v6(out, address),
    }
}

/// Appends the address literal: `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
pub fn push_literal(out: &mut Vec<u8>, address: IpAddr) {
    //= RFC 5321 section 4.1.3: brackets, and the tag IPv6 before an IPv6 address
    let address = address.to_canonical();
    out.extend_from_slice(if address.is_ipv6() { b"[IPv6:" } else { b"[" });
    push_address(out, address);
    out.push(b']');
}

fn push_v4(out: &mut Vec<u8>, address: Ipv4Addr) {
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        push_u64(out, u64::from(octet));
    }
}

fn push_v6(out: &mut Vec<u8>, address: Ipv6Addr) {
    let groups = address.segments();
    let (gap_start, gap_len) = longest_zeros(&groups);
    let mut index = 0;
    while index < 8 {
        if gap_len > 1 && index == gap_start {
            out.extend_from_slice(b"::");
            index += gap_len;
            continue;
        }
        if index > 0 && out.last() != Some(&b':') {
            out.push(b':');
        }
        push_hex(out, groups[index]);
        index += 1;
    }
}

/// The first of the longest runs of zero groups: where it starts and how long it is.
fn longest_zeros(groups: &[u16; 8]) -> (usize, usize) {
    let (mut best, mut start) = ((0, 0), 0);
    for (index, group) in groups.iter().enumerate() {
        if *group != 0 {
            start = index + 1;
        } else if index + 1 - start > best.1 {
            best = (start, index + 1 - start);
        }
    }
    best
}

fn push_hex(out: &mut Vec<u8>, group: u16) {
    let digit_count = (4 - group.leading_zeros() as usize / 4).max(1);
    for place in (0..digit_count).rev() {
        out.push(b"0123456789abcdef"[usize::from(group >> (4 * place) & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn literal(text: &str) -> String {
        let mut out = Vec::new();
        push_literal(&mut out, text.parse().expect("an address"));
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn literals() {
        for (address, expected) in [
            ("192.0.2.1", "[192.0.2.1]"),
            ("0.0.0.0", "[0.0.0.0]"),
            ("255.255.255.255", "[255.255.255.255]"),
            ("::ffff:192.0.2.1", "[192.0.2.1]"),
            ("::", "[IPv6:::]"),
            ("::1", "[IPv6:::1]"),
            ("2001:db8::", "[IPv6:2001:db8::]"),
            ("2001:db8:0:1:1:1:1:1", "[IPv6:2001:db8:0:1:1:1:1:1]"),
            ("2001:0:0:1:0:0:0:1", "[IPv6:2001:0:0:1::1]"),
            ("1:0:0:2:0:0:3:4", "[IPv6:1::2:0:0:3:4]"),
        ] {
            assert_eq!(literal(address), expected);
        }
    }

    proptest! {
        #[test]
        fn comes_back(groups in prop::array::uniform8(prop_oneof![Just(0u16), any::<u16>()])) {
            let address = IpAddr::from(groups);
            let mut out = Vec::new();
            push_address(&mut out, address);
            let text = String::from_utf8(out).expect("ASCII");
            prop_assert_eq!(text.parse::<IpAddr>().expect("an address"), address.to_canonical());
        }
    }
}
