//! Where the headers of a frame are, and its checksums. Naive: each question walks the frame from its beginning.

/// The internet checksum (RFC 1071) over all `parts`, each of which but the last has an even length.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The CRC32c of RFC 9260, appendix A.
pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !crc
}

/// Two bytes at `at`.
pub fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Where the headers of a frame are.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// The Ethertype behind all tags.
    pub type_at: usize,
    /// The transport header, of a packet that is no later fragment.
    pub transport: Option<Transport>,
}

/// A transport header.
#[derive(Clone, Copy, Debug)]
pub struct Transport {
    /// IP protocol.
    pub protocol: u8,
    /// Where it begins.
    pub at: usize,
    /// Where the IP packet ends.
    pub end: usize,
    /// The packet is a fragment, the first.
    pub is_fragment: bool,
}

/// Finds the headers of a frame of this test, whose lengths are right.
pub fn places(bytes: &[u8]) -> Places {
    let mut type_at = 12;
    while matches!(be16(bytes, type_at), 0x8100 | 0x88a8) {
        type_at += 4;
    }
    let ethertype = be16(bytes, type_at);
    let at = type_at + 2;
    let transport = match ethertype {
        0x0800 => transport_of_ipv4(bytes, at),
        0x86dd => transport_of_ipv6(bytes, at),
        _ => None,
    };
    Places { type_at, transport }
}

fn transport_of_ipv4(bytes: &[u8], at: usize) -> Option<Transport> {
    if bytes.len() < at + 20 || bytes[at] >> 4 != 4 {
        return None;
    }
    let (header_len, fragment) = (usize::from(bytes[at] & 15) * 4, be16(bytes, at + 6));
    let end = at + usize::from(be16(bytes, at + 2));
    let first = fragment & 0x1fff == 0;
    let is_fragment = fragment & 0x3fff != 0;
    first.then(|| Transport { protocol: bytes[at + 9], at: at + header_len, end, is_fragment })
}

fn transport_of_ipv6(bytes: &[u8], at: usize) -> Option<Transport> {
    let end = at + 40 + usize::from(be16(bytes, at + 4));
    let (mut protocol, mut place, mut is_fragment) = (bytes[at + 6], at + 40, false);
    while matches!(protocol, 0 | 44 | 60) {
        if protocol == 44 {
            is_fragment = true;
            if be16(bytes, place + 2) & 0xfff8 != 0 {
                return None;
            }
        }
        let len = if protocol == 44 { 8 } else { 8 + 8 * usize::from(bytes[place + 1]) };
        protocol = bytes[place];
        place += len;
    }
    Some(Transport { protocol, at: place, end, is_fragment })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_standards() {
        // The example of RFC 1071 §3, and the check value of CRC-32/ISCSI.
        assert_eq!(checksum(&[&[0x00, 0x01, 0xf2, 0x03], &[0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
