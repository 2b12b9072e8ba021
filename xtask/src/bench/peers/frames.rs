//! Frames and addresses of the workloads, and the capture file that holds them.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

/// Bytes of an ordinary frame: the smallest there is, without its check sequence.
const SMALL: usize = 60;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Numbers that look random and are the same in every run of one seed (xorshift64*, Vigna 2016).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Any seed will do.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number of so many bits, at most 32.
    pub fn bits(&mut self, n: u32) -> u32 {
        if n == 0 { 0 } else { (self.next() >> (64 - n)) as u32 }
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() >> 32) as usize % n.max(1)
    }

    /// One of them.
    pub fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// True so often in a hundred times.
    pub fn percent(&mut self, n: usize) -> bool {
        self.below(100) < n
    }

    /// Puts them into another order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

/// What a frame says, from the outside in.
#[derive(Debug, Clone, Copy)]
pub struct FrameSpec {
    /// Number of the destination's MAC address.
    pub dst: u32,
    /// Number of the source's.
    pub src: u32,
    /// VLAN id of its tag, if it has one.
    pub vlan: Option<u16>,
    /// Source and destination.
    pub ip: Ip,
    /// TCP, or else UDP.
    pub tcp: bool,
    /// Source and destination port.
    pub ports: (u16, u16),
}

/// Addresses of either version.
#[derive(Debug, Clone, Copy)]
pub enum Ip {
    /// Source and destination.
    V4(u32, u32),
    /// Source and destination.
    V6(u128, u128),
}

/// The n-th MAC address.
pub fn mac(n: u32) -> [u8; 6] {
    let [a, b, c, d] = n.to_be_bytes();
    [2, 0, a, b, c, d]
}

/// The same as people write it.
pub fn mac_text(n: u32) -> String {
    mac(n).map(|byte| format!("{byte:02x}")).join(":")
}

/// The bytes of a frame, at least 60 of them.
pub fn frame(spec: &FrameSpec) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(80);
    bytes.extend(mac(spec.dst));
    bytes.extend(mac(spec.src));
    if let Some(vlan) = spec.vlan {
        bytes.extend([0x81, 0x00]);
        bytes.extend(vlan.to_be_bytes());
    }
    let ip_size = if matches!(spec.ip, Ip::V4(..)) { 20 } else { 40 };
    let l4_size = (SMALL.saturating_sub(bytes.len() + 2 + ip_size)).max(if spec.tcp { 20 } else { 8 });
    let protocol = if spec.tcp { TCP } else { UDP };
    match spec.ip {
        Ip::V4(src, dst) => {
            bytes.extend([0x08, 0x00]);
            bytes.extend(ipv4_header(src, dst, protocol, l4_size as u16));
        }
        Ip::V6(src, dst) => {
            bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            bytes.extend((l4_size as u16).to_be_bytes());
            bytes.extend([protocol, 64]);
            bytes.extend(src.to_be_bytes());
            bytes.extend(dst.to_be_bytes());
        }
    }
    let start = bytes.len();
    bytes.extend(spec.ports.0.to_be_bytes());
    bytes.extend(spec.ports.1.to_be_bytes());
    if spec.tcp {
        // Sequence and acknowledgement number, data offset, ACK, window.
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x10, 0x03, 0xe8]);
    } else {
        bytes.extend((l4_size as u16).to_be_bytes());
    }
    bytes.resize(start + l4_size, 0);
    bytes
}

fn ipv4_header(src: u32, dst: u32, protocol: u8, l4_size: u16) -> [u8; 20] {
    let mut header = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[2..4].copy_from_slice(&(20 + l4_size).to_be_bytes());
    header[12..16].copy_from_slice(&src.to_be_bytes());
    header[16..20].copy_from_slice(&dst.to_be_bytes());
    let sum: u32 = header.chunks_exact(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

/// Writes a classic capture file of Ethernet frames.
///
/// # Errors
/// When the file cannot be written.
pub fn write_capture(path: &Path, frames: &[Vec<u8>]) -> Result<()> {
    let file = std::fs::File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    let mut out = std::io::BufWriter::new(file);
    let mut write = |bytes: &[u8]| out.write_all(bytes).context("cannot write a capture");
    write(&0xa1b2_c3d4u32.to_le_bytes())?;
    write(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
    write(&65_535u32.to_le_bytes())?;
    write(&1u32.to_le_bytes())?;
    for frame in frames {
        let size = (frame.len() as u32).to_le_bytes();
        write(&[0; 8])?;
        write(&size)?;
        write(&size)?;
        write(frame)?;
    }
    out.flush().context("cannot write a capture")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_its_headers_where_they_belong() {
        let spec = FrameSpec {
            dst: 1,
            src: 2,
            vlan: Some(100),
            ip: Ip::V4(0x0a00_0001, 0x0a00_0002),
            tcp: true,
            ports: (1000, 80),
        };
        let bytes = frame(&spec);
        assert_eq!(bytes.len(), 60);
        assert_eq!(bytes[12..18], [0x81, 0, 0, 100, 8, 0]);
        let words = bytes[18..38].chunks_exact(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
        let sum: u32 = words.sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "RFC 1071: the sum over a good header");
        assert_eq!(bytes[38..42], [3, 0xe8, 0, 80]);
        let six = frame(&FrameSpec { vlan: None, ip: Ip::V6(1, 2), tcp: false, ..spec });
        assert_eq!((six.len(), &six[12..14]), (62, &[0x86, 0xdd][..]));
    }

    #[test]
    fn numbers_repeat_with_their_seed_alone() {
        let take = |seed| {
            let mut random = Random::new(seed);
            (0..8).map(|_| random.next()).collect::<Vec<_>>()
        };
        assert_eq!(take(7), take(7));
        assert_ne!(take(7), take(8));
        assert!((0..1000).all(|_| Random::new(3).below(10) < 10));
    }
}
