//! A bump in the wire: what comes in by one port goes out by the other. Stands for a chain function.

use packet::{Batch, Instant, Outputs, PortNo};

/// Where frames in the direction of the chain come in.
pub const IN: PortNo = PortNo(1);
/// Where they go out.
pub const OUT: PortNo = PortNo(2);

/// What passed, in order.
#[derive(Debug, Default)]
pub struct Wire {
    seen: Vec<(Instant, PortNo, Vec<u8>)>,
}

impl Wire {
    /// When, by which port, which bytes.
    pub fn seen(&self) -> &[(Instant, PortNo, Vec<u8>)] {
        &self.seen
    }

    /// Number of frames that came in by `port` and contain `needle`.
    pub fn n_with(&self, port: PortNo, needle: &[u8]) -> usize {
        let has = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        self.seen.iter().filter(|(_, at, bytes)| *at == port && has(bytes)).count()
    }

    /// When the first frame came in by `port` that contains `needle`.
    pub fn first_with(&self, port: PortNo, needle: &[u8]) -> Option<Instant> {
        let has = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        self.seen.iter().find(|(_, at, bytes)| *at == port && has(bytes)).map(|(at, ..)| *at)
    }

    pub(crate) fn process(&mut self, now: Instant, batch: &mut Batch, out: &mut Outputs) {
        for frame in batch.drain(..) {
            let port = frame.meta.in_port;
            self.seen.push((now, port, frame.to_vec()));
            out.push((if port == IN { OUT } else { IN }, frame));
        }
    }
}
