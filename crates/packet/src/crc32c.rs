//! CRC32c, the checksum of SCTP (RFC 9260 §6.8, appendix A): whole, and adjusted for a change.
//!
//! The field on the wire holds it least significant byte first.

/// Reflected polynomial 0x1edc6f41.
const POLYNOMIAL: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut crc = n as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
};

#[inline]
fn step(crc: u32, byte: u8) -> u32 {
    crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)]
}

/// The CRC of `bytes`.
pub fn of(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| step(crc, byte))
}

/// The CRC after a change: `change` is old xor new of the bytes changed, `n_after` counts the bytes behind them. The
/// CRC is linear, so neither the other bytes nor a right CRC beforehand are needed: a wrong one stays wrong.
pub fn adjust(crc: u32, change: &[u8], n_after: usize) -> u32 {
    let changed = change.iter().fold(0, |crc, &byte| step(crc, byte));
    crc ^ (0..n_after).fold(changed, |crc, _| step(crc, 0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_check_value_is_right() {
        assert_eq!(of(b"123456789"), 0xe306_9283);
        // RFC 3720 §B.4.
        assert_eq!(of(&[0; 32]), 0x8a91_36aa);
        assert_eq!(of(&[0xff; 32]), 0x62a8_ab43);
    }

    proptest! {
        #[test]
        fn adjusting_equals_computing_again(
            bytes in proptest::collection::vec(any::<u8>(), 2..200), at in any::<prop::sample::Index>(), new in any::<u16>(),
        ) {
            let at = at.index(bytes.len() - 1);
            let mut changed = bytes.clone();
            changed[at..at + 2].copy_from_slice(&new.to_be_bytes());
            let change = [bytes[at] ^ changed[at], bytes[at + 1] ^ changed[at + 1]];
            prop_assert_eq!(adjust(of(&bytes), &change, bytes.len() - at - 2), of(&changed));
        }
    }
}
