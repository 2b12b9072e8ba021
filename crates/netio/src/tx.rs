//! What every port does with a frame before its device gets it.

use packet::{Frame, Pool, offload};

use crate::counters::{PortCounters, PortDrop};
use crate::port::Offload;

const ETHERNET_SIZE: usize = 14;

/// Turns frames into what a device with certain offloads takes: segments and completes checksums where it must.
#[derive(Debug)]
pub struct Finisher {
    offload: Offload,
    finished: Vec<Frame>,
}

impl Finisher {
    pub fn new(offload: Offload) -> Self {
        Self { offload, finished: Vec::new() }
    }

    /// Makes `frames` ready to be sent, in order; what cannot be is counted and freed.
    pub fn finish(&mut self, pool: &mut Pool, frames: &mut Vec<Frame>, counters: &mut PortCounters) {
        if frames.iter().all(|f| f.len() >= ETHERNET_SIZE && self.takes(f)) {
            return;
        }
        for frame in frames.drain(..) {
            if frame.len() < ETHERNET_SIZE {
                counters.drop_n(PortDrop::TxTooShort, 1);
                pool.free(frame);
            } else if self.takes(&frame) {
                self.finished.push(frame);
            } else {
                self.finish_one(pool, frame, counters);
            }
        }
        std::mem::swap(frames, &mut self.finished);
    }

    fn takes(&self, frame: &Frame) -> bool {
        use packet::GsoKind::{Tcp4, Tcp6, Udp};
        let gso = match frame.meta.gso.map(|g| g.kind) {
            None => true,
            Some(Tcp4 | Tcp6) => self.offload.tso,
            Some(Udp) => self.offload.uso,
        };
        gso && (frame.meta.csum.is_none() || self.offload.csum)
    }

    fn finish_one(&mut self, pool: &mut Pool, frame: Frame, counters: &mut PortCounters) {
        if offload::segment(frame, pool, &mut self.finished).is_err() {
            counters.drop_n(PortDrop::TxNotSegmentable, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use packet::{CsumPartial, Gso, GsoKind, MacAddr, build, tcp};

    use super::*;

    #[test]
    fn only_what_the_device_cannot_take_is_finished() {
        let link =
            build::ethernet(MacAddr::from_u64(0x02_00_00_00_00_01), MacAddr::from_u64(0x02_00_00_00_00_02));
        let bytes = link.ipv4([10, 0, 0, 1], [10, 0, 0, 2]).tcp(&tcp::Header::default(), &[7; 3000]);
        let mut super_frame = Frame::from_bytes(&bytes);
        super_frame.meta.csum = Some(CsumPartial { start: 34, offset: 16 });
        super_frame.meta.gso = Some(Gso { kind: GsoKind::Tcp4, size: 1400, ecn: false });
        let mut lying = Frame::from_bytes(&[0; 60]);
        lying.meta = super_frame.meta;
        let frames = || [super_frame.to_vec(), vec![0; 13]].map(|b| Frame::from_bytes(&b));
        let (mut pool, mut counters) = (Pool::default(), PortCounters::default());

        let mut batch: Vec<Frame> = frames().into();
        batch[0].meta = super_frame.meta;
        Finisher::new(Offload::ALL).finish(&mut pool, &mut batch, &mut counters);
        assert_eq!(batch.iter().map(Frame::len).collect::<Vec<_>>(), [3054]);
        assert_eq!(counters[PortDrop::TxTooShort], 1);

        batch.push(lying);
        Finisher::new(Offload::NONE).finish(&mut pool, &mut batch, &mut counters);
        assert_eq!(batch.iter().map(Frame::len).collect::<Vec<_>>(), [1454, 1454, 254]);
        assert!(batch.iter().all(|f| f.meta.gso.is_none() && f.meta.csum.is_none()));
        assert_eq!(counters[PortDrop::TxNotSegmentable], 1);
    }
}
