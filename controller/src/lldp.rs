//! Discovery frames: LLDP (IEEE 802.1AB-2016) with the sender's dpid and port, and a keyed tag that says it was us.

use openflow::Dpid;
use packet::{EtherType, MacAddr, PortNo, build, ethernet};

use crate::siphash::{Key, siphash};
use crate::view::At;

/// Nearest bridge (IEEE 802.1AB §7.1): no bridge forwards it.
pub const DESTINATION: MacAddr = MacAddr([0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e]);

/// Seconds the information holds, as written in the frame.
const TTL: u16 = 120;
const END: u8 = 0;
const CHASSIS_ID: u8 = 1;
const PORT_ID: u8 = 2;
const TIME_TO_LIVE: u8 = 3;
const ORGANISATION: u8 = 127;
/// Subtype "locally assigned" of chassis and port ids (§8.5.2.2, §8.5.3.2).
const LOCAL: u8 = 7;
/// A locally administered organisation identifier and the subtype of the tag below it.
const OUI: [u8; 3] = [0x76, 0x65, 0x66];
const TAG: u8 = 1;

/// Why a discovery frame is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LldpError {
    /// Not LLDP at all, or cut short.
    #[error("not a well-formed LLDP frame")]
    Malformed,
    /// LLDP of somebody else.
    #[error("LLDP of another system")]
    Foreign,
    /// Ours by its form, but not signed with the key.
    #[error("the tag of a discovery frame is wrong")]
    Forged,
}

/// The frame that says it was sent by `from`.
pub fn probe(from: At, source: MacAddr, key: Key) -> Vec<u8> {
    let (dpid, port) = from;
    let mut payload = Vec::with_capacity(64);
    tlv(&mut payload, CHASSIS_ID, &[&[LOCAL], dpid.to_string().as_bytes()]);
    tlv(&mut payload, PORT_ID, &[&[LOCAL], port.to_string().as_bytes()]);
    tlv(&mut payload, TIME_TO_LIVE, &[&TTL.to_be_bytes()]);
    tlv(&mut payload, ORGANISATION, &[&OUI, &[TAG], &tag(from, key)]);
    tlv(&mut payload, END, &[]);
    build::ethernet(source, DESTINATION).payload(EtherType::LLDP, &payload)
}

/// Who sent a discovery frame.
pub fn parse(frame: &[u8], key: Key) -> Result<At, LldpError> {
    let view = ethernet::View::parse(frame).map_err(|_| LldpError::Malformed)?;
    if view.ethertype() != EtherType::LLDP {
        return Err(LldpError::Malformed);
    }
    let (mut dpid, mut port, mut signature) = (None, None, None);
    let mut rest = view.payload();
    loop {
        let (kind, value, after) = next(rest).ok_or(LldpError::Malformed)?;
        rest = after;
        match (kind, value) {
            (END, _) => break,
            (CHASSIS_ID, [LOCAL, id @ ..]) => dpid = number(id, 16),
            (PORT_ID, [LOCAL, id @ ..]) => port = number(id, 10).and_then(|n| u32::try_from(n).ok()),
            (ORGANISATION, [a, b, c, TAG, tag @ ..]) if [*a, *b, *c] == OUI => signature = Some(tag),
            _ => {}
        }
    }
    let (Some(dpid), Some(port), Some(signature)) = (dpid, port, signature) else {
        return Err(LldpError::Foreign);
    };
    let from = (Dpid(dpid), PortNo(port));
    if signature == tag(from, key) { Ok(from) } else { Err(LldpError::Forged) }
}

fn tag((dpid, port): At, key: Key) -> [u8; 8] {
    let mut what = [0; 12];
    what[..8].copy_from_slice(&dpid.0.to_be_bytes());
    what[8..].copy_from_slice(&port.0.to_be_bytes());
    siphash(key, &what).to_be_bytes()
}

/// §8.4: seven bits of type, nine of length, the value.
fn tlv(out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let head = u16::from(kind) << 9 | (len as u16 & 0x1ff);
    out.extend(head.to_be_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

fn next(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk()?;
    let head = u16::from_be_bytes(*head);
    let (value, rest) = rest.split_at_checked(usize::from(head & 0x1ff))?;
    Some(((head >> 9) as u8, value, rest))
}

fn number(text: &[u8], radix: u32) -> Option<u64> {
    std::str::from_utf8(text).ok().and_then(|text| u64::from_str_radix(text, radix).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key(1, 2);
    const FROM: At = (Dpid(0xabc), PortNo(7));

    fn frame() -> Vec<u8> {
        probe(FROM, MacAddr([2, 0, 0, 0, 0, 1]), KEY)
    }

    #[test]
    fn a_probe_names_its_sender() {
        assert_eq!(parse(&frame(), KEY), Ok(FROM));
    }

    #[test]
    fn only_the_key_makes_a_probe() {
        assert_eq!(parse(&frame(), Key(1, 3)), Err(LldpError::Forged));
        let mut other = frame();
        let port = other.windows(2).position(|w| w == [LOCAL, b'7']).unwrap();
        other[port + 1] = b'8';
        assert_eq!(parse(&other, KEY), Err(LldpError::Forged));
    }

    #[test]
    fn a_probe_cut_anywhere_is_refused() {
        let frame = frame();
        for len in 0..frame.len() {
            assert!(parse(&frame[..len], KEY).is_err(), "{len}");
        }
        let plain = build::ethernet(MacAddr([2; 6]), DESTINATION).payload(EtherType::LLDP, &[0, 0]);
        assert_eq!(parse(&plain, KEY), Err(LldpError::Foreign));
    }
}
