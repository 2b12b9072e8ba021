//! The segment size that TCP connections offer each other, cut to what the way can carry.

use packet::checksum::{Delta, Field, adjust};
use packet::{Frame, IpProtocol, tcp};

use crate::flow::Ip;

/// Cuts the MSS option of a SYN to `mtu` without its headers (RFC 9293 §3.7.1). The frame begins with the IP header.
pub(crate) fn clamp(frame: &mut Frame, ip: &Ip, mtu: u16) {
    if ip.protocol != IpProtocol::TCP || ip.is_later_fragment() {
        return;
    }
    let headers = if ip.src.is_ipv4() { 40 } else { 60 };
    let limit = mtu.saturating_sub(headers);
    let partial = frame.meta.csum.is_some_and(|c| usize::from(c.start) == ip.header_len);
    let Some(bytes) = frame.head_mut().get_mut(ip.header_len..) else { return };
    let Ok(mut segment) = tcp::ViewMut::parse(bytes) else { return };
    if !segment.view().flags().contains(tcp::Flags::SYN) {
        return;
    }
    let Some((at, old)) = find(segment.option_bytes_mut()).filter(|(_, mss)| *mss > limit) else { return };
    if let Some(field) = segment.option_bytes_mut().get_mut(at..at + 2) {
        field.copy_from_slice(&limit.to_be_bytes());
    }
    // Options begin at an even place of the segment; a field at an odd one is summed with its bytes swapped (RFC 1071
    // §2 (B)).
    let (old, new) = if at % 2 == 0 { (old, limit) } else { (old.swap_bytes(), limit.swap_bytes()) };
    let kind = if partial { Field::Partial } else { Field::Complete };
    let sum = adjust(segment.view().checksum(), kind, Delta::NONE, Delta::NONE.word(old, new));
    segment.set_checksum(sum);
}

/// Where the value of the MSS option is, and what it is.
fn find(options: &[u8]) -> Option<(usize, u16)> {
    let mut at = 0;
    loop {
        match (*options.get(at)?, options.get(at + 1)) {
            (0, _) => return None,
            (1, _) => at += 1,
            (2, Some(4)) => {
                let value = options.get(at + 2..)?.first_chunk::<2>()?;
                return Some((at + 2, u16::from_be_bytes(*value)));
            }
            (_, Some(len)) => at += usize::from(*len).max(2),
            (_, None) => return None,
        }
    }
}
