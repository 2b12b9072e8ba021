//! The 12-byte virtio-net header in front of a frame, to and from frame metadata.
//!
//! Virtio 1.2 §5.1.6 `struct virtio_net_hdr`, little-endian; the kernel's tap and AF_PACKET use the same layout in the
//! byte order of the machine, and with 10 bytes where the buffer count at the end is missing.

use packet::offload::{self, OffloadError};
use packet::{CsumPartial, Frame, Gso, GsoKind, Meta};

/// Bytes of the header as we ask the kernel for it.
pub const HEADER_SIZE: usize = 12;

/// Bytes of the header without the buffer count, for kernels that know no other on AF_PACKET (before 6.4).
pub const SHORT_HEADER_SIZE: usize = 10;

const F_NEEDS_CSUM: u8 = 1;
const F_DATA_VALID: u8 = 2;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

const UDP_SIZE: usize = 8;

/// Why a header cannot be true of the frame it precedes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VnetError {
    /// Fewer bytes than a header.
    #[error("the virtio-net header is cut short")]
    Short,
    /// A segmentation type that was not offered, or none that exists.
    #[error("segmentation type {0} is not known")]
    GsoType(u8),
    /// Segments without a checksum to complete (Virtio 1.2 §5.1.6.2 requires it).
    #[error("a super-frame without a partial checksum")]
    NoCsum,
    /// The offsets or sizes contradict the frame.
    #[error(transparent)]
    Frame(#[from] OffloadError),
}

/// Sets the metadata that `header` claims for `frame`, which has been received already.
///
/// # Errors
/// [`VnetError`] when the header lies: nothing later needs to doubt the offsets again.
pub fn decode(header: &[u8], frame: &mut Frame) -> Result<(), VnetError> {
    let header: &[u8; SHORT_HEADER_SIZE] = header.first_chunk().ok_or(VnetError::Short)?;
    let [flags, gso_type, _, _, size0, size1, start0, start1, offset0, offset1] = *header;
    let mut meta = Meta { csum_valid: flags & F_DATA_VALID != 0, ..Meta::default() };
    if flags & F_NEEDS_CSUM != 0 {
        let start = u16::from_ne_bytes([start0, start1]);
        meta.csum = Some(CsumPartial { start, offset: u16::from_ne_bytes([offset0, offset1]) });
    }
    let kind = match gso_type & !GSO_ECN {
        GSO_NONE => None,
        GSO_TCPV4 => Some(GsoKind::Tcp4),
        GSO_TCPV6 => Some(GsoKind::Tcp6),
        GSO_UDP_L4 => Some(GsoKind::Udp),
        _ => return Err(VnetError::GsoType(gso_type)),
    };
    if kind.is_some() && meta.csum.is_none() {
        return Err(VnetError::NoCsum);
    }
    let size = u16::from_ne_bytes([size0, size1]);
    meta.gso = kind.map(|kind| Gso { kind, size, ecn: gso_type & GSO_ECN != 0 });
    frame.meta = meta;
    Ok(offload::check_meta(frame)?)
}

/// The header that says of `frame` what its metadata says.
pub fn encode(frame: &Frame) -> [u8; HEADER_SIZE] {
    let mut header = [0; HEADER_SIZE];
    let meta = &frame.meta;
    if let Some(csum) = meta.csum {
        header[0] = F_NEEDS_CSUM;
        header[6..8].copy_from_slice(&csum.start.to_ne_bytes());
        header[8..10].copy_from_slice(&csum.offset.to_ne_bytes());
    } else if meta.csum_valid {
        header[0] = F_DATA_VALID;
    }
    if let Some(gso) = meta.gso {
        let kind = match gso.kind {
            GsoKind::Tcp4 => GSO_TCPV4,
            GsoKind::Tcp6 => GSO_TCPV6,
            GsoKind::Udp => GSO_UDP_L4,
        };
        header[1] = if gso.ecn { kind | GSO_ECN } else { kind };
        let header_len = header_len(meta, frame.head()).unwrap_or(0) as u16;
        header[2..4].copy_from_slice(&header_len.to_ne_bytes());
        header[4..6].copy_from_slice(&gso.size.to_ne_bytes());
    }
    header
}

/// Where the payload of a super-frame begins: advice to the kernel on how much to keep contiguous.
fn header_len(meta: &Meta, head: &[u8]) -> Option<usize> {
    let start = usize::from(meta.csum?.start);
    let len = match meta.gso?.kind {
        GsoKind::Udp => UDP_SIZE,
        GsoKind::Tcp4 | GsoKind::Tcp6 => usize::from(*head.get(start + 12)? >> 4) * 4,
    };
    Some(start + len)
}

#[cfg(test)]
mod tests {
    use packet::{MacAddr, build, tcp};

    use super::*;

    fn tcp_frame(payload: usize) -> Frame {
        let link =
            build::ethernet(MacAddr::from_u64(0x02_00_00_00_00_01), MacAddr::from_u64(0x02_00_00_00_00_02));
        let tcp = tcp::Header::default();
        Frame::from_bytes(&link.ipv4([10, 0, 0, 1], [10, 0, 0, 2]).tcp(&tcp, &vec![7; payload]))
    }

    fn header(flags: u8, gso_type: u8, size: u16, start: u16, offset: u16) -> [u8; 12] {
        let mut header = [0; 12];
        (header[0], header[1]) = (flags, gso_type);
        header[4..6].copy_from_slice(&size.to_ne_bytes());
        header[6..8].copy_from_slice(&start.to_ne_bytes());
        header[8..10].copy_from_slice(&offset.to_ne_bytes());
        header
    }

    #[test]
    fn what_is_decoded_is_encoded_again() {
        let mut frame = tcp_frame(3000);
        for claim in [
            header(0, 0, 0, 0, 0),
            header(2, 0, 0, 0, 0),
            header(1, 0, 0, 34, 16),
            header(1, 1, 1448, 34, 16),
            header(1, 0x81, 100, 34, 16),
        ] {
            decode(&claim, &mut frame).expect("true");
            let mut again = encode(&frame);
            let header_len = u16::from_ne_bytes([again[2], again[3]]);
            assert_eq!(header_len, if claim[1] == 0 { 0 } else { 54 });
            again[2..4].fill(0);
            assert_eq!(again, claim);
        }
    }

    #[test]
    fn lying_headers_are_refused() {
        let refused = |claim: [u8; 12]| decode(&claim, &mut tcp_frame(100)).expect_err("a lie");
        assert_eq!(decode(&[0; 9], &mut tcp_frame(100)), Err(VnetError::Short));
        assert_eq!(refused(header(1, 0, 0, 13, 16)), OffloadError::ChecksumPlace.into());
        assert_eq!(refused(header(1, 0, 0, 153, 0)), OffloadError::ChecksumPlace.into());
        assert_eq!(refused(header(1, 0, 0, u16::MAX, u16::MAX)), OffloadError::ChecksumPlace.into());
        assert_eq!(
            refused(header(1, 3, 1, 34, 6)),
            VnetError::GsoType(3),
            "fragmentation offload is not offered"
        );
        assert_eq!(refused(header(1, 0x7f, 1, 34, 6)), VnetError::GsoType(0x7f));
        assert_eq!(refused(header(1, 1, 0, 34, 16)), OffloadError::SegmentSize.into(), "segments of nothing");
        assert_eq!(refused(header(1, 4, 1000, 34, 16)), OffloadError::Kind.into(), "IPv4 as IPv6");
        assert_eq!(refused(header(1, 5, 1000, 34, 6)), OffloadError::Kind.into(), "TCP as UDP");
        assert_eq!(refused(header(0, 1, 1000, 0, 0)), VnetError::NoCsum);
    }
}
