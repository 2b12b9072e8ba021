//! What a function does with a frame: sans-IO, one call a batch.

use packet::{Batch, Frame, Instant, Outputs, Pool, PortNo};

use super::flows::{Direction, FlowKey, FlowTable};
use super::rules::{Action, Rule};

/// Port number of interface `in`.
pub const PORT_IN: PortNo = PortNo(1);
/// Port number of interface `out`.
pub const PORT_OUT: PortNo = PortNo(2);

/// What a function decides by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Everything passes.
    Forward,
    /// Everything passes unless its headers lie.
    Inspect,
    /// The first rule that matches decides, else `default`. ARP and ND always pass.
    Firewall {
        /// In order.
        rules: Vec<Rule>,
        /// When no rule matches.
        default: Action,
    },
}

/// Why a function dropped a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drop {
    /// A rule said so: its index.
    Rule(usize),
    /// No rule matched and the default is to deny.
    Default,
    /// Its headers are malformed.
    Malformed,
}

/// Counters of a function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames passed from `in` to `out`.
    pub n_inbound: u64,
    /// Frames passed from `out` to `in`.
    pub n_outbound: u64,
    /// Frames each rule decided, in the order of the rules.
    pub by_rule: Vec<u64>,
    /// Dropped by the default.
    pub n_denied_by_default: u64,
    /// Dropped for malformed headers.
    pub n_malformed: u64,
}

/// A chain function between two ports.
#[derive(Debug)]
pub struct Function {
    policy: Policy,
    /// What was seen, dropped frames included.
    pub flows: FlowTable,
    /// What was done.
    pub counters: Counters,
}

impl Function {
    /// A function that has seen nothing.
    pub fn new(policy: Policy) -> Self {
        let n_rules = match &policy {
            Policy::Firewall { rules, .. } => rules.len(),
            Policy::Forward | Policy::Inspect => 0,
        };
        let counters = Counters { by_rule: vec![0; n_rules], ..Counters::default() };
        Self { policy, flows: FlowTable::default(), counters }
    }

    /// The rules, for reports.
    pub fn rules(&self) -> &[Rule] {
        match &self.policy {
            Policy::Firewall { rules, .. } => rules,
            Policy::Forward | Policy::Inspect => &[],
        }
    }

    /// Decides on each frame of `batch` and leaves it empty: a frame that came in by one port leaves by the other.
    pub fn process(&mut self, now: Instant, batch: &mut Batch, pool: &mut Pool, out: &mut Outputs) {
        for frame in batch.drain(..) {
            let (direction, to) = if frame.meta.in_port == PORT_IN {
                (Direction::Inbound, PORT_OUT)
            } else {
                (Direction::Outbound, PORT_IN)
            };
            match self.admit(now, direction, &frame) {
                Ok(()) => {
                    match direction {
                        Direction::Inbound => self.counters.n_inbound += 1,
                        Direction::Outbound => self.counters.n_outbound += 1,
                    }
                    out.push((to, frame));
                }
                Err(_) => pool.free(frame),
            }
        }
    }

    fn admit(&mut self, now: Instant, direction: Direction, frame: &Frame) -> Result<(), Drop> {
        let key = match FlowKey::of(frame) {
            Ok(key) => key,
            // A plain wire does not look inside.
            Err(_) if self.policy == Policy::Forward => return Ok(()),
            Err(_) => {
                self.counters.n_malformed += 1;
                return Err(Drop::Malformed);
            }
        };
        self.flows.count(now, direction, key, frame.len());
        let Policy::Firewall { rules, default } = &self.policy else { return Ok(()) };
        let decided = rules.iter().enumerate().find(|(_, rule)| rule.matches(direction, &key));
        let (action, drop) = match decided {
            Some((idx, rule)) => {
                self.counters.by_rule[idx] += 1;
                (rule.action, Drop::Rule(idx))
            }
            None if key.is_address_resolution(frame) => return Ok(()),
            None => (*default, Drop::Default),
        };
        match action {
            Action::Allow => Ok(()),
            Action::Deny => {
                self.counters.n_denied_by_default += u64::from(drop == Drop::Default);
                Err(drop)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use packet::{MacAddr, PoolConfig, build, tcp};

    use super::*;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
    const IP_A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const IP_B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    fn tcp_bytes(dst_port: u16) -> Vec<u8> {
        let header = tcp::Header { src_port: 40_000, dst_port, ..tcp::Header::default() };
        build::ethernet(A, B).ipv4(IP_A, IP_B).tcp(&header, b"hello")
    }

    fn frame(bytes: &[u8], in_port: PortNo) -> Frame {
        let mut frame = Frame::from_bytes(bytes);
        frame.meta.in_port = in_port;
        frame
    }

    fn tcp_frame(dst_port: u16) -> Frame {
        frame(&tcp_bytes(dst_port), PORT_IN)
    }

    fn run(function: &mut Function, frame: Frame) -> Outputs {
        let (mut pool, mut out) = (Pool::new(PoolConfig::default()), Outputs::new());
        function.process(Instant::from_secs(1), &mut vec![frame], &mut pool, &mut out);
        out
    }

    #[test]
    fn a_firewall_drops_by_the_first_rule_that_matches() {
        let rules = ["allow tcp dst-port 22", "deny tcp"].map(|r| r.parse().expect("valid")).to_vec();
        let mut function = Function::new(Policy::Firewall { rules, default: Action::Allow });
        assert_eq!(run(&mut function, tcp_frame(22)).len(), 1);
        assert_eq!(run(&mut function, tcp_frame(23)).len(), 0);
        assert_eq!(function.counters.by_rule, [1, 1]);
        assert_eq!(function.counters.n_inbound, 1);
        assert_eq!(function.flows.in_order().len(), 2, "a dropped flow has been seen too");
    }

    #[test]
    fn a_firewall_that_denies_by_default_lets_arp_pass() {
        let mut function = Function::new(Policy::Firewall { rules: Vec::new(), default: Action::Deny });
        let out = run(&mut function, frame(&build::arp_request(A, IP_A, IP_B), PORT_OUT));
        assert_eq!(out.iter().next().map(|(port, _)| port), Some(PORT_IN));
        assert_eq!(run(&mut function, tcp_frame(80)).len(), 0);
        assert_eq!(function.counters.n_denied_by_default, 1);
    }

    #[test]
    fn malformed_headers_pass_a_wire_and_no_inspector() {
        let lying = {
            let mut bytes = tcp_bytes(80);
            bytes[16] = 0xff; // IPv4 total length
            bytes
        };
        assert_eq!(run(&mut Function::new(Policy::Forward), Frame::from_bytes(&lying)).len(), 1);
        let mut inspector = Function::new(Policy::Inspect);
        assert_eq!(run(&mut inspector, Frame::from_bytes(&lying)).len(), 0);
        assert_eq!(inspector.counters.n_malformed, 1);
    }
}
