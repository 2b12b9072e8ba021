//! Telling frames by a match outside the tables: for those who watch.

use lookup::Conds;
use openflow::Match;
use packet::{Frame, PortNo};

use crate::extract::extract;
use crate::key::{self, Depth, N_WORDS};

/// Picks frames that satisfy a match, as a flow with that match would.
#[derive(Clone, Debug)]
pub struct Filter {
    /// None: no frame satisfies it.
    conds: Option<Conds>,
}

impl Filter {
    /// Of a match.
    pub fn new(matches: &Match) -> Self {
        Self { conds: key::conds(matches) }
    }

    /// Whether a frame that came by `in_port` satisfies it. Frames that the switch cannot read satisfy nothing but an
    /// empty match.
    pub fn picks(&self, frame: &Frame, in_port: PortNo) -> bool {
        let Some(conds) = &self.conds else { return false };
        if conds.is_empty() {
            return true;
        }
        let mut key = [0; N_WORDS];
        extract(frame, in_port, Depth::All, &mut key).is_ok() && conds.match_key(&key)
    }
}

#[cfg(test)]
mod tests {
    use packet::Frame;

    use super::*;

    #[test]
    fn frames_are_picked_as_a_flow_would() {
        let mut bytes = vec![0; 60];
        bytes[12..15].copy_from_slice(&[8, 0, 0x45]);
        bytes[16..18].copy_from_slice(&46u16.to_be_bytes());
        (bytes[22], bytes[23], bytes[46]) = (64, 6, 0x50);
        bytes[36..38].copy_from_slice(&80u16.to_be_bytes());
        let frame = Frame::from_bytes(&bytes);
        let picks = |text: &str| {
            let matches = openflow::text::parse_match(text).expect("a match");
            Filter::new(&matches).picks(&frame, PortNo(3))
        };
        for yes in ["", "ip", "tcp,tp_dst=80", "in_port=3", "nw_src=0.0.0.0/8,ip"] {
            assert!(picks(yes), "{yes}");
        }
        for no in ["arp", "tcp,tp_dst=81", "in_port=4", "udp", "dl_vlan=5"] {
            assert!(!picks(no), "{no}");
        }
        let cut = Frame::from_bytes(&bytes[..13]);
        assert!(Filter::new(&Match::new()).picks(&cut, PortNo(1)));
        assert!(!Filter::new(&Match::new().in_port(PortNo(1))).picks(&cut, PortNo(1)));
    }
}
