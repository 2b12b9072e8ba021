//! What the oracle says of every frame, and whether the switch agrees.

use std::collections::BTreeMap;

use anyhow::{bail, ensure};
use openflow::{FlowMod, FlowStats, Match, PortDesc, PortNo, Priority, TableId};
use packet::{HEAD_SIZE, HEADROOM, MacAddr, TAIL_SIZE};
use vswitch::DropReason;
use vswitch::oracle::{Oracle, Outcome};

use super::replay::Frames;
use super::rig::{IN, Rig};

/// The longest frame of a pool.
const MAX_FRAME: usize = HEAD_SIZE - HEADROOM + TAIL_SIZE;

/// One pass over all frames, as the standard wants it.
pub struct Judge {
    frames: Frames,
    /// What leaves each port, in order.
    sent: BTreeMap<PortNo, Vec<Vec<u8>>>,
    /// Frames and bytes of each flow, by its table, priority and match.
    flows: BTreeMap<String, (u64, u64)>,
    drops: BTreeMap<DropReason, u64>,
}

/// What tells flows apart (§5.2).
fn name(table: TableId, priority: Priority, matches: &Match) -> String {
    format!("{table} {} {matches:?}", priority.0)
}

impl Judge {
    /// Interprets every frame, on all processors.
    ///
    /// # Errors
    /// A frame that no port carries, and one that would go to a controller, which a bench has not.
    pub fn new(flows: &[FlowMod], ports: &[PortNo], frames: &Frames) -> anyhow::Result<Self> {
        if let Some((n, frame)) = (1..).zip(frames.iter()).find(|(_, frame)| frame.len() > MAX_FRAME) {
            bail!(
                "frame {n} of the capture has {} bytes, more than the {MAX_FRAME} that a port carries",
                frame.len()
            );
        }
        let port = |&n: &PortNo| {
            PortDesc::new(n, MacAddr::from_u64(0x0200_0000_0000 | u64::from(n.0)), format!("p{n}"))
        };
        let mut oracle = Oracle::new(ports.iter().map(port).collect());
        for flow in flows {
            oracle.flow_mod(flow);
        }
        let n_threads = std::thread::available_parallelism().map_or(1, |n| n.get());
        let share = frames.len().div_ceil(n_threads);
        let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
            let part = |begin: usize| {
                let oracle = &oracle;
                scope.spawn(move || {
                    let end = frames.len().min(begin + share);
                    (begin..end).map(|n| oracle.process(IN, frames.get(n))).collect::<Vec<_>>()
                })
            };
            let parts: Vec<_> = (0..frames.len()).step_by(share).map(part).collect();
            parts.into_iter().flat_map(|part| part.join().expect("the oracle does not panic")).collect()
        });
        if let Some(n) = outcomes.iter().position(|outcome| !outcome.punts.is_empty()) {
            bail!(
                "frame {} of the capture goes to the controller, and a bench has none: take it or its flow out",
                n + 1
            );
        }
        Ok(Self::of(&oracle, frames, outcomes))
    }

    /// What the outcomes, one a frame, add up to.
    fn of(oracle: &Oracle, frames: &Frames, outcomes: Vec<Outcome>) -> Self {
        let mut this = Self {
            frames: frames.clone(),
            sent: BTreeMap::new(),
            flows: BTreeMap::new(),
            drops: BTreeMap::new(),
        };
        let mut by_id: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for (bytes, outcome) in frames.iter().zip(outcomes) {
            for (port, bytes) in outcome.outputs {
                this.sent.entry(port).or_default().push(bytes);
            }
            for id in outcome.hits {
                let (packets, octets) = by_id.entry(id).or_default();
                *packets += 1;
                *octets += bytes.len() as u64;
            }
            if let Some(reason) = outcome.drop {
                *this.drops.entry(reason).or_default() += 1;
            }
        }
        let named = oracle.flows.iter().map(|flow| {
            let name = name(flow.table, flow.priority, &flow.matches);
            (name, by_id.get(&flow.id).copied().unwrap_or_default())
        });
        this.flows = named.collect();
        this
    }

    /// Sends every frame through the switch once; how many were compared.
    ///
    /// # Errors
    /// The first difference, in bytes or in a counter.
    pub fn compare(&self, rig: &mut Rig) -> anyhow::Result<usize> {
        let flows_before = counts(&rig.flow_stats()?);
        let (drops_before, ports_before) = (rig.drops(), rig.port_counts());
        let sent = rig.pass()?;
        self.compare_frames(sent)?;
        let flows = counts(&rig.flow_stats()?);
        ensure!(flows.len() == self.flows.len(), "{} flows instead of {}", flows.len(), self.flows.len());
        for (name, &(packets, bytes)) in &self.flows {
            let &(before, before_bytes) = flows_before.get(name).unwrap_or(&(0, 0));
            let Some(&(after, after_bytes)) = flows.get(name) else { bail!("flow {name} is gone") };
            let counted = (after - before, after_bytes - before_bytes);
            ensure!(
                counted == (packets, bytes),
                "flow {name} counted {counted:?} instead of {:?}",
                (packets, bytes)
            );
        }
        let drops = rig.drops();
        for &reason in DropReason::ALL {
            let (counted, wanted) =
                (drops[reason] - drops_before[reason], self.drops.get(&reason).copied().unwrap_or(0));
            ensure!(counted == wanted, "{counted} frames dropped for {reason} instead of {wanted}");
        }
        self.compare_ports(&ports_before, &rig.port_counts())?;
        Ok(self.frames.len())
    }

    fn compare_frames(&self, sent: Vec<(PortNo, Vec<u8>)>) -> anyhow::Result<()> {
        let mut by_port: BTreeMap<PortNo, Vec<Vec<u8>>> = BTreeMap::new();
        for (port, bytes) in sent {
            by_port.entry(port).or_default().push(bytes);
        }
        for (port, expected) in &self.sent {
            let sent = by_port.remove(port).unwrap_or_default();
            ensure!(
                sent.len() == expected.len(),
                "port {port} sent {} frames instead of {}",
                sent.len(),
                expected.len()
            );
            if let Some(n) = (0..sent.len()).find(|&n| sent[n] != expected[n]) {
                bail!("frame {n} of port {port} is {:02x?} instead of {:02x?}", sent[n], expected[n]);
            }
        }
        if let Some((port, sent)) = by_port.first_key_value() {
            bail!("port {port} sent {} frames instead of none", sent.len());
        }
        Ok(())
    }

    fn compare_ports(
        &self,
        before: &[(PortNo, [u64; 4])],
        after: &[(PortNo, [u64; 4])],
    ) -> anyhow::Result<()> {
        let bytes = |frames: &mut dyn Iterator<Item = usize>| frames.map(|len| len as u64).sum::<u64>();
        for ((port, before), (_, after)) in before.iter().zip(after) {
            let sent = self.sent.get(port).map_or(&[][..], Vec::as_slice);
            let received = if *port == IN { self.frames.len() as u64 } else { 0 };
            let received_bytes =
                if *port == IN { bytes(&mut self.frames.iter().map(<[u8]>::len)) } else { 0 };
            let expected =
                [received, received_bytes, sent.len() as u64, bytes(&mut sent.iter().map(Vec::len))];
            let counted: [u64; 4] = core::array::from_fn(|n| after[n] - before[n]);
            ensure!(counted == expected, "port {port} counted {counted:?} instead of {expected:?}");
        }
        Ok(())
    }
}

fn counts(flows: &[FlowStats]) -> BTreeMap<String, (u64, u64)> {
    flows
        .iter()
        .map(|flow| (name(flow.table, flow.priority, &flow.matches), (flow.packets, flow.bytes)))
        .collect()
}
