//! CRC-32C over a header, octet by octet: it is short, and read once a connection.

/// The polynomial of Castagnoli, its bits reversed.
//= RFC 4960 section B: the checksum is CRC32c, which reflects its bits
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// The checksum of these octets, those in `zeroed` counted as zeros.
pub(super) fn crc32c(octets: &[u8], zeroed: core::ops::Range<usize>) -> u32 {
    let mut crc = u32::MAX;
    for (place, &octet) in octets.iter().enumerate() {
        let octet = if zeroed.contains(&place) { 0 } else { octet };
        crc ^= u32::from(octet);
        for _ in 0..8 {
            let carry = crc & 1;
            crc = (crc >> 1) ^ (POLYNOMIAL * carry);
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        //= RFC 3720 section B.4: 32 octets of zeros, of ones, and counted up
        assert_eq!(crc32c(&[0; 32], 0..0), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32], 0..0), 0x62a8_ab43);
        let counted: [u8; 32] = core::array::from_fn(|n| n as u8);
        assert_eq!(crc32c(&counted, 0..0), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789", 0..0), 0xe306_9283);
        assert_eq!(crc32c(&[0xff; 32], 0..32), 0x8a91_36aa);
    }
}
