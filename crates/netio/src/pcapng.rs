//! Writing captures as pcapng (`draft-ietf-opsawg-pcapng`): several interfaces, directions, comments.
//!
//! Blocks are appended to a vector; where they go is the caller's matter. Little-endian, times in nanoseconds.

/// Link type of Ethernet.
const ETHERNET: u16 = 1;
/// Ends a list of options.
const END_OF_OPTIONS: u16 = 0;
const COMMENT: u16 = 1;

/// Which way a packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Received by the interface.
    In,
    /// Sent by the interface.
    Out,
}

/// A packet to be written.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Place of its interface among those written before, from 0.
    pub interface: u32,
    /// Nanoseconds since 1970.
    pub nanos: u64,
    /// Bytes it had; more than `bytes` when it was cut.
    pub original_len: u32,
    /// What was captured.
    pub bytes: &'a [u8],
    /// Which way it went.
    pub direction: Direction,
    /// A note for people.
    pub comment: Option<&'a str>,
}

/// Appends the Section Header Block, which comes first.
pub fn section(out: &mut Vec<u8>, application: &str) {
    block(out, 0x0a0d_0d0a, |out| {
        out.extend(0x1a2b_3c4d_u32.to_le_bytes());
        out.extend(1u16.to_le_bytes());
        out.extend(0u16.to_le_bytes());
        // The length of the section is not known.
        out.extend(u64::MAX.to_le_bytes());
        option(out, 4, application.as_bytes());
        option(out, END_OF_OPTIONS, &[]);
    });
}

/// Appends an Interface Description Block; packets name interfaces by their order.
pub fn interface(out: &mut Vec<u8>, name: &str, description: &str, snaplen: u32) {
    block(out, 1, |out| {
        out.extend(ETHERNET.to_le_bytes());
        out.extend(0u16.to_le_bytes());
        out.extend(snaplen.to_le_bytes());
        option(out, 2, name.as_bytes());
        option(out, 3, description.as_bytes());
        // Times are in units of 10^-9 s.
        option(out, 9, &[9]);
        option(out, END_OF_OPTIONS, &[]);
    });
}

/// Appends an Enhanced Packet Block.
pub fn packet(out: &mut Vec<u8>, packet: &Packet<'_>) {
    block(out, 6, |out| {
        out.extend(packet.interface.to_le_bytes());
        time(out, packet.nanos);
        out.extend((packet.bytes.len() as u32).to_le_bytes());
        out.extend(packet.original_len.to_le_bytes());
        out.extend_from_slice(packet.bytes);
        pad(out, packet.bytes.len());
        if let Some(comment) = packet.comment {
            option(out, COMMENT, comment.as_bytes());
        }
        let direction: u32 = match packet.direction {
            Direction::In => 1,
            Direction::Out => 2,
        };
        option(out, 2, &direction.to_le_bytes());
        option(out, END_OF_OPTIONS, &[]);
    });
}

/// Appends an Interface Statistics Block: packets that the capture lost so far.
pub fn statistics(out: &mut Vec<u8>, interface: u32, nanos: u64, lost: u64) {
    block(out, STATISTICS, |out| {
        out.extend(interface.to_le_bytes());
        time(out, nanos);
        option(out, LOST, &lost.to_le_bytes());
        option(out, END_OF_OPTIONS, &[]);
    });
}

const STATISTICS: u32 = 5;
const LOST: u16 = 5;
const PACKET: u32 = 6;

/// What a reader of our own captures wants to know while they pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets so far.
    pub n_packets: u64,
    /// Packets lost so far, as the last statistics say.
    pub lost: u64,
}

/// Counts the packets of a capture that comes in pieces.
#[derive(Debug, Default)]
pub struct Counter {
    /// What does not make a block yet.
    rest: Vec<u8>,
    tally: Tally,
}

impl Counter {
    /// The next piece came; returns how many of all bytes so far still belong to a block that is not complete.
    pub fn feed(&mut self, piece: &[u8]) -> usize {
        self.rest.extend_from_slice(piece);
        let mut at = 0;
        while let Some(block) = self.rest.get(at..).and_then(whole_block) {
            match u32_at(block, 0) {
                PACKET => self.tally.n_packets += 1,
                // The only option of ours, behind the interface and the time.
                STATISTICS if block.len() >= 32 => {
                    let number = block[24..32].try_into().expect("eight bytes");
                    self.tally.lost = u64::from_le_bytes(number);
                }
                _ => {}
            }
            at += block.len();
        }
        self.rest.drain(..at);
        self.rest.len()
    }

    /// What has passed so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }
}

/// The block at the beginning of `bytes`, if all of it is there.
fn whole_block(bytes: &[u8]) -> Option<&[u8]> {
    let len = (bytes.len() >= 12).then(|| u32_at(bytes, 4) as usize)?;
    bytes.get(..len.max(12))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    let len = (out.len() - start + 4) as u32;
    out.extend(len.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&len.to_le_bytes());
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
    out.extend(code.to_le_bytes());
    out.extend(len.to_le_bytes());
    out.extend_from_slice(&value[..len.into()]);
    pad(out, len.into());
}

/// Fills up to 32 bits.
fn pad(out: &mut Vec<u8>, len: usize) {
    out.extend(std::iter::repeat_n(0, len.wrapping_neg() % 4));
}

fn time(out: &mut Vec<u8>, nanos: u64) {
    out.extend(((nanos >> 32) as u32).to_le_bytes());
    out.extend((nanos as u32).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture() -> Vec<u8> {
        let mut out = Vec::new();
        section(&mut out, "weft");
        interface(&mut out, "eth0", "netns:h1/eth0", 96);
        for n in 0..3u8 {
            let comment = (n == 1).then_some("a super-frame");
            let bytes = vec![n; 60 + usize::from(n)];
            let original_len = bytes.len() as u32;
            let direction = if n == 2 { Direction::Out } else { Direction::In };
            packet(
                &mut out,
                &Packet {
                    interface: 0,
                    nanos: 1 << 40 | u64::from(n),
                    original_len,
                    bytes: &bytes,
                    direction,
                    comment,
                },
            );
        }
        statistics(&mut out, 0, 1 << 40, 77);
        out
    }

    #[test]
    fn blocks_are_aligned_and_have_their_length_at_both_ends() {
        let (out, mut at, mut kinds) = (capture(), 0, Vec::new());
        while at < out.len() {
            let len = u32_at(&out, at + 4) as usize;
            assert_eq!((len % 4, u32_at(&out, at + len - 4) as usize), (0, len));
            kinds.push(u32_at(&out, at));
            at += len;
        }
        assert_eq!(kinds, [0x0a0d_0d0a, 1, 6, 6, 6, 5]);
    }

    #[test]
    fn packets_are_counted_in_pieces_of_any_size() {
        let out = capture();
        for size in [1, 3, 64, out.len()] {
            let mut counter = Counter::default();
            let left = out.chunks(size).map(|piece| counter.feed(piece)).last();
            assert_eq!((counter.tally(), left), (Tally { n_packets: 3, lost: 77 }, Some(0)));
        }
        let mut counter = Counter::default();
        assert!(counter.feed(&out[..out.len() - 1]) > 0, "the last block is cut");
    }
}
