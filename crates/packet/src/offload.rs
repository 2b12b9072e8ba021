//! What a port does for a device that cannot: completing checksums and cutting super-frames into segments.
//!
//! A super-frame is one frame with [`Meta::gso`](crate::Meta::gso): headers once, then more payload than fits a packet.
//! On the wire it is several frames; [`wire_size`] says how many and how long without cutting.

use crate::checksum::{self, Sum};
use crate::layout::{Layout, Transport};
use crate::{
    EtherType, Frame, Gso, GsoKind, HEAD_SIZE, HEADROOM, IpProtocol, Layer, ParseError, Pool, ipv4, ipv6,
    tcp, udp,
};

/// Most segments of one super-frame: 64 KiB in segments of 64 bytes. Less would be an attack on whoever cuts it.
pub const MAX_SEGMENTS: usize = 1024;

/// Why a frame could not be finished; it is to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OffloadError {
    /// The checksum field or where summing starts is not within the head.
    #[error("the place of the partial checksum is outside the frame")]
    ChecksumPlace,
    /// A super-frame's headers cannot be read.
    #[error("the headers of the super-frame cannot be read: {0}")]
    Headers(ParseError),
    /// The headers are not those the metadata names, or those of a fragment.
    #[error("the super-frame is not of the kind its metadata says")]
    Kind,
    /// Segments of no bytes, or more than [`MAX_SEGMENTS`] of them, or longer than a packet may be.
    #[error("the segment size is impossible")]
    SegmentSize,
    /// A super-frame must be cut, its checksum cannot be completed whole.
    #[error("the frame must be segmented first")]
    NotSegmented,
}

/// Completes a partial checksum. A frame without one is left as it is.
///
/// # Errors
/// [`OffloadError::ChecksumPlace`], [`OffloadError::NotSegmented`]; the frame is unchanged.
#[inline]
pub fn complete_checksum(frame: &mut Frame) -> Result<(), OffloadError> {
    let Some(csum) = frame.meta.csum else { return Ok(()) };
    if frame.meta.gso.is_some() {
        return Err(OffloadError::NotSegmented);
    }
    let start = usize::from(csum.start);
    let field = start + usize::from(csum.offset);
    let Some(covered) = frame.head().get(start..).filter(|_| field + 2 <= frame.head().len()) else {
        return Err(OffloadError::ChecksumPlace);
    };
    // The field takes part in the sum: it holds the pseudo header's.
    let sum = match Sum::new().bytes(covered).bytes(frame.tail()).finish() {
        // RFC 768: zero would mean "none". To TCP it is a sum as any other.
        0 if usize::from(csum.offset) == udp::CHECKSUM_AT => 0xffff,
        sum => sum,
    };
    frame.head_mut()[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    frame.meta.csum = None;
    Ok(())
}

/// Whether metadata that came from outside (a guest, a device) fits the bytes of its frame. A port asks this once, so
/// that nobody behind it meets a checksum place outside the head or a super-frame that is none.
///
/// # Errors
/// Why not.
pub fn check_meta(frame: &Frame) -> Result<(), OffloadError> {
    if let Some(csum) = frame.meta.csum {
        let field = usize::from(csum.start) + usize::from(csum.offset);
        if usize::from(csum.start) < crate::ethernet::HEADER_LEN || field + 2 > frame.head().len() {
            return Err(OffloadError::ChecksumPlace);
        }
    }
    match frame.meta.gso {
        Some(gso) => Plan::of(frame, gso).map(|_| ()),
        None => Ok(()),
    }
}

/// What a frame is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireSize {
    /// Frames.
    pub n_frames: u32,
    /// Bytes of all of them, headers each time.
    pub bytes: u64,
    /// Bytes of the longest, its Ethernet header and tags included.
    pub longest: u32,
}

/// What `frame` will be on the wire: itself, or the segments of a super-frame. Counters and MTU tests use this.
#[inline(always)]
pub fn wire_size(frame: &Frame) -> WireSize {
    match frame.meta.gso {
        None => single(frame),
        Some(gso) => Plan::of(frame, gso).map_or_else(|_| single(frame), |plan| plan.wire_size()),
    }
}

#[inline(always)]
fn single(frame: &Frame) -> WireSize {
    WireSize { n_frames: 1, bytes: frame.len() as u64, longest: frame.len() as u32 }
}

/// How a super-frame will be cut.
struct Plan {
    ethertype: EtherType,
    network_at: usize,
    transport: Transport,
    /// Bytes of all headers.
    header_len: usize,
    /// Payload bytes of the whole.
    payload_len: usize,
    /// Payload bytes of each segment but the last.
    size: usize,
}

impl Plan {
    fn of(frame: &Frame, gso: Gso) -> Result<Self, OffloadError> {
        let layout = Layout::of(frame).map_err(OffloadError::Headers)?;
        let transport = layout.transport.filter(|t| !t.is_fragment).ok_or(OffloadError::Kind)?;
        let fits = match gso.kind {
            GsoKind::Tcp4 => transport.protocol == IpProtocol::TCP && layout.ethertype == EtherType::IPV4,
            GsoKind::Tcp6 => transport.protocol == IpProtocol::TCP && layout.ethertype == EtherType::IPV6,
            GsoKind::Udp => transport.protocol == IpProtocol::UDP,
        };
        if !fits {
            return Err(OffloadError::Kind);
        }
        let head = frame.head().get(transport.at..).unwrap_or(&[]);
        let transport_header = match gso.kind {
            GsoKind::Udp => udp::View::parse_ports(head).map(|_| udp::HEADER_LEN),
            _ => tcp::View::parse(head).map(|tcp| tcp.header_len()),
        };
        let transport_header = transport_header.map_err(OffloadError::Headers)?;
        let payload_len = transport.len.checked_sub(transport_header).ok_or(OffloadError::Kind)?;
        let (size, header_len) = (usize::from(gso.size), transport.at + transport_header);
        if header_len > HEAD_SIZE - HEADROOM {
            // Segments start with a fresh headroom; their headers must be contiguous behind it.
            return Err(OffloadError::Headers(ParseError::HeaderLength(Layer::Ipv6Extension)));
        }
        let longest = header_len - layout.network_at + size;
        if size == 0 || payload_len.div_ceil(size) > MAX_SEGMENTS || longest > usize::from(u16::MAX) {
            return Err(OffloadError::SegmentSize);
        }
        let (ethertype, network_at) = (layout.ethertype, layout.network_at);
        Ok(Self { ethertype, network_at, transport, header_len, payload_len, size })
    }

    fn n_segments(&self) -> usize {
        self.payload_len.div_ceil(self.size).max(1)
    }

    fn wire_size(&self) -> WireSize {
        let n = self.n_segments();
        WireSize {
            n_frames: n as u32,
            bytes: (n * self.header_len + self.payload_len) as u64,
            longest: (self.header_len + self.size.min(self.payload_len)) as u32,
        }
    }

    /// Segment `i` of `n` with headers as they are in the super-frame.
    fn cut(&self, frame: &Frame, i: usize, pool: &mut Pool) -> Option<Frame> {
        let from = self.header_len + i * self.size;
        let to = (from + self.size).min(self.header_len + self.payload_len);
        let (head, tail) = (frame.head(), frame.tail());
        let in_head = &head[from.min(head.len())..to.min(head.len())];
        let in_tail = &tail[from.saturating_sub(head.len())..to.saturating_sub(head.len())];
        let mut segment = pool.frame_from_parts(&[&head[..self.header_len], in_head, in_tail])?;
        (segment.queue, segment.meta) = (frame.queue, frame.meta);
        (segment.meta.csum, segment.meta.gso) = (None, None);
        Some(segment)
    }

    /// Makes the headers of segment `i` true.
    fn patch(&self, segment: &mut Frame, i: usize) -> Result<(), ParseError> {
        let n = segment.len() - self.transport.at;
        let rest = segment.len() - self.network_at;
        let packet = &mut segment.head_mut()[self.network_at..];
        let pseudo = if self.ethertype == EtherType::IPV4 {
            // The lengths are those of the whole, hence the lax parse.
            let mut ip = ipv4::ViewMut::parse_quoted(packet)?;
            ip.set_total_len(rest as u16);
            let id = ip.view().identification();
            ip.set_identification(id.wrapping_add(i as u16));
            // A sender that leaves checksums to us may have left this one too.
            ip.fill_checksum();
            checksum::pseudo_v4(ip.view().src(), ip.view().dst(), self.transport.protocol, n as u16)
        } else {
            let mut ip = ipv6::ViewMut::parse_quoted(packet)?;
            ip.set_payload_len((rest - ipv6::HEADER_LEN) as u16);
            checksum::pseudo_v6(ip.view().src(), ip.view().dst(), self.transport.protocol, n as u32)
        };
        if self.transport.protocol == IpProtocol::TCP {
            self.patch_tcp(segment, i, pseudo)
        } else {
            self.patch_udp(segment, pseudo)
        }
    }

    fn patch_tcp(&self, segment: &mut Frame, i: usize, pseudo: Sum) -> Result<(), ParseError> {
        let mut tcp = tcp::ViewMut::parse(&mut segment.head_mut()[self.transport.at..])?;
        let mut flags = tcp.view().flags();
        if i + 1 != self.n_segments() {
            flags = flags.without(tcp::Flags::FIN.with(tcp::Flags::PSH));
        }
        if i != 0 {
            // RFC 3168 §6.1.2: once per reduction, so on the first segment only.
            flags = flags.without(tcp::Flags::CWR);
        }
        let seq = tcp.view().seq();
        tcp.set_seq(seq.wrapping_add((i * self.size) as u32));
        tcp.set_flags(flags);
        tcp.set_checksum(0);
        let sum = self.sum(segment, pseudo);
        tcp::ViewMut::parse(&mut segment.head_mut()[self.transport.at..])?.set_checksum(sum);
        Ok(())
    }

    fn patch_udp(&self, segment: &mut Frame, pseudo: Sum) -> Result<(), ParseError> {
        let len = (segment.len() - self.transport.at) as u16;
        let mut udp = udp::ViewMut::parse(&mut segment.head_mut()[self.transport.at..])?;
        udp.set_len(len);
        udp.set_checksum(0);
        let sum = match self.sum(segment, pseudo) {
            0 => 0xffff,
            sum => sum,
        };
        udp::ViewMut::parse(&mut segment.head_mut()[self.transport.at..])?.set_checksum(sum);
        Ok(())
    }

    fn sum(&self, segment: &Frame, pseudo: Sum) -> u16 {
        pseudo.bytes(&segment.head()[self.transport.at..]).bytes(segment.tail()).finish()
    }
}

/// Makes of `frame` what goes on the wire: appends its segments to `out`, checksums complete, metadata clear of
/// offloads; a frame that is none is completed and passed on. Returns the number appended.
///
/// The segments follow RFC 9293 and the kernel's practice: sequence numbers advance by the payload, FIN and PSH stay
/// on the last, CWR on the first, IPv4 identifications count up, Ethernet padding goes away.
///
/// # Errors
/// Nothing is appended and the buffers are back in the pool.
pub fn segment(mut frame: Frame, pool: &mut Pool, out: &mut Vec<Frame>) -> Result<usize, OffloadError> {
    let Some(gso) = frame.meta.gso else {
        return match complete_checksum(&mut frame) {
            Ok(()) => {
                out.push(frame);
                Ok(1)
            }
            Err(error) => {
                pool.free(frame);
                Err(error)
            }
        };
    };
    let before = out.len();
    let result = Plan::of(&frame, gso).and_then(|plan| cut_all(&plan, &frame, pool, out));
    pool.free(frame);
    if result.is_err() {
        for segment in out.drain(before..) {
            pool.free(segment);
        }
    }
    result
}

fn cut_all(plan: &Plan, frame: &Frame, pool: &mut Pool, out: &mut Vec<Frame>) -> Result<usize, OffloadError> {
    let n = plan.n_segments();
    for i in 0..n {
        let mut segment = plan.cut(frame, i, pool).ok_or(OffloadError::SegmentSize)?;
        let patched = plan.patch(&mut segment, i);
        out.push(segment);
        patched.map_err(OffloadError::Headers)?;
    }
    Ok(n)
}
