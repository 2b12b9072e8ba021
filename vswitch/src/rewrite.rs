//! What most programs do, in one step: some header fields set, a tag off, the TTL down, then one output.

use openflow::{Field, PortNo};
use packet::checksum::Delta;
use packet::{Frame, ethernet};

use crate::actions::{adjust_transport, be16};
use crate::extract::Places;
use crate::step::Step;

/// A bit for each change.
mod part {
    pub(super) const ETH_DST: u8 = 1;
    pub(super) const ETH_SRC: u8 = 2;
    pub(super) const VLAN_VID: u8 = 4;
    pub(super) const POP_VLAN: u8 = 8;
    pub(super) const TTL: u8 = 16;
    pub(super) const IPV4_SRC: u8 = 32;
    pub(super) const IPV4_DST: u8 = 64;
    /// Only frames that are IPv4 have them.
    pub(super) const IPV4: u8 = IPV4_SRC | IPV4_DST;
    /// Only frames that are tagged have them.
    pub(super) const TAG: u8 = VLAN_VID | POP_VLAN;
}

/// Changes that do not depend on each other's order, small enough to be kept beside the counters of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rewrite {
    parts: u8,
    vid: u16,
    eth_dst: [u8; 6],
    eth_src: [u8; 6],
    ipv4_src: u32,
    ipv4_dst: u32,
}

impl Rewrite {
    /// Steps that are nothing but such changes and then one output, with its port.
    pub(crate) fn of(steps: &[Step]) -> Option<(Self, PortNo)> {
        let (&Step::Output(port), changes) = steps.split_last()? else { return None };
        let mut this = Self::default();
        changes.iter().all(|step| this.add(step)).then_some((this, port))
    }

    /// Takes a step in, if it can be done in any order with the others.
    fn add(&mut self, step: &Step) -> bool {
        let part = match *step {
            Step::SetField(field, value) => {
                let value = value.get() as u64;
                let [_, _, mac @ ..] = value.to_be_bytes();
                match field {
                    Field::EthDst => (part::ETH_DST, self.eth_dst = mac),
                    Field::EthSrc => (part::ETH_SRC, self.eth_src = mac),
                    Field::VlanVid => (part::VLAN_VID, self.vid = value as u16 & 0x0fff),
                    Field::Ipv4Src => (part::IPV4_SRC, self.ipv4_src = value as u32),
                    Field::Ipv4Dst => (part::IPV4_DST, self.ipv4_dst = value as u32),
                    _ => return false,
                }
            }
            Step::PopVlan => (part::POP_VLAN, ()),
            Step::DecTtl(_) => (part::TTL, ()),
            _ => return false,
        }
        .0;
        // The tag whose id is set may be another one behind a pop.
        let is_new = self.parts & part == 0 && (part & part::TAG == 0 || self.parts & part::TAG == 0);
        self.parts |= part;
        is_new
    }

    /// Changes a frame that was received with these headers. False if it is of a kind that has not all of them, or must
    /// be dropped, or is not complete: it is unchanged then.
    #[inline(always)]
    pub(crate) fn apply(&self, frame: &mut Frame, places: &Places) -> bool {
        let has = |part: u8| self.parts & part != 0;
        let at = usize::from(places.network_at);
        if has(part::TAG) && places.n_tags == 0
            || has(part::IPV4 | part::TTL) && places.ethertype != 0x0800
            || frame.meta.csum.is_some()
            || frame.meta.gso.is_some()
        {
            return false;
        }
        if has(part::IPV4 | part::TTL) {
            let Some(header) = frame.head_mut().get_mut(at..).and_then(|b| b.first_chunk_mut::<20>()) else {
                return false;
            };
            if has(part::TTL) && header[8] <= 1 {
                return false;
            }
            let addresses = self.change_ipv4(header);
            if has(part::IPV4) {
                adjust_transport(frame, places, addresses, Delta::NONE);
            }
        }
        let before = frame.len();
        if has(part::POP_VLAN) {
            frame.pop_vlan();
        }
        let Some(ethernet) = frame.head_mut().first_chunk_mut::<16>() else { return true };
        if has(part::ETH_DST) {
            ethernet[..6].copy_from_slice(&self.eth_dst);
        }
        if has(part::ETH_SRC) {
            ethernet[6..12].copy_from_slice(&self.eth_src);
        }
        if has(part::VLAN_VID) {
            let tci = u16::from_be_bytes([ethernet[14], ethernet[15]]) & 0xf000 | self.vid;
            ethernet[14..].copy_from_slice(&tci.to_be_bytes());
        }
        // As every output does: see `Execution::pad`.
        if frame.len() < ethernet::MIN_LEN && before >= ethernet::MIN_LEN {
            frame.pad_to(ethernet::MIN_LEN);
        }
        true
    }

    /// Sets addresses and decrements the TTL, with one change of the checksum; what it was for the addresses. Nothing is
    /// read that was just written.
    #[inline(always)]
    fn change_ipv4(&self, header: &mut [u8; 20]) -> Delta {
        let mut addresses = Delta::NONE;
        for (part, at, new) in [(part::IPV4_SRC, 12, self.ipv4_src), (part::IPV4_DST, 16, self.ipv4_dst)] {
            if self.parts & part != 0
                && let Some(place) = header[at..].first_chunk_mut::<4>()
            {
                addresses = addresses.double(u32::from_be_bytes(*place), new);
                *place = new.to_be_bytes();
            }
        }
        let (mut all, sum) = (addresses, be16(header, 10));
        if self.parts & part::TTL != 0 {
            let old = be16(header, 8);
            let new = old - 0x100;
            all = all.word(old, new);
            header[8] = (new >> 8) as u8;
        }
        header[10..12].copy_from_slice(&all.apply(sum).to_be_bytes());
        addresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::{Punt, Value};

    fn set(field: Field, value: u128) -> Step {
        Step::SetField(field, Value::new(value))
    }

    #[test]
    fn takes_only_what_may_be_done_in_any_order() {
        let out = Step::Output(PortNo(3));
        let ttl = Step::DecTtl(Punt::miss(0, 0));
        let all = [Step::PopVlan, set(Field::EthDst, 1), set(Field::Ipv4Src, 2), ttl, out];
        assert_eq!(Rewrite::of(&all).map(|(_, port)| port), Some(PortNo(3)));
        for steps in [
            &[out, ttl][..],
            &[ttl, ttl, out],
            &[Step::PopVlan, Step::PopVlan, out],
            &[Step::PopVlan, set(Field::VlanVid, 0x1005), out],
            &[set(Field::EthDst, 1), set(Field::EthDst, 2), out],
            &[set(Field::TcpDst, 1), out],
            &[ttl],
            &[],
        ] {
            assert_eq!(Rewrite::of(steps), None, "{steps:?}");
        }
    }
}
