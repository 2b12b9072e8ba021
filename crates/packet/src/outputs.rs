//! What an engine has decided to send.

use core::iter::Take;
use core::ops::RangeFull;
use std::vec::Drain;

use crate::{Batch, Frame, PortNo};

/// Frames an engine has decided to send, in order, each with the port of that engine it leaves by.
///
/// Most frames leave by the port of the one before: ports are kept by runs, so that a whole batch can be handed on without
/// looking at its frames one by one.
#[derive(Debug, Default)]
pub struct Outputs {
    frames: Vec<Frame>,
    /// Ports, each with the number of frames in a row that leave by it; never zero.
    runs: Vec<(PortNo, usize)>,
}

impl Outputs {
    /// Nothing to send.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing to send, with room for `n` frames.
    pub fn with_capacity(n: usize) -> Self {
        Self { frames: Vec::with_capacity(n), runs: Vec::with_capacity(n) }
    }

    /// How many frames.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// No frame.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Adds a frame.
    #[inline]
    pub fn push(&mut self, (port, frame): (PortNo, Frame)) {
        self.extend_runs(port, 1);
        self.frames.push(frame);
    }

    /// Adds all frames of a batch, which is empty then; `ports` has one for each.
    ///
    /// # Panics
    /// If it has not: a bug of the engine.
    #[inline]
    pub fn append(&mut self, ports: impl Iterator<Item = PortNo>, batch: &mut Batch) {
        let mut n = 0;
        for port in ports {
            self.extend_runs(port, 1);
            n += 1;
        }
        assert_eq!(n, batch.len(), "one port for each frame");
        self.frames.append(batch);
    }

    /// Adds all frames of a batch, which is empty then, by one port.
    #[inline]
    pub fn append_run(&mut self, port: PortNo, batch: &mut Batch) {
        if !batch.is_empty() {
            self.extend_runs(port, batch.len());
            self.frames.append(batch);
        }
    }

    #[inline(always)]
    fn extend_runs(&mut self, port: PortNo, n: usize) {
        match self.runs.last_mut() {
            Some((last, count)) if *last == port => *count += n,
            _ => self.runs.push((port, n)),
        }
    }

    /// The frames with their ports, in order.
    pub fn iter(&self) -> impl Iterator<Item = (PortNo, &Frame)> {
        ports(self.runs.iter().copied()).zip(&self.frames)
    }

    /// Takes the frames with their ports, in order.
    pub fn drain(&mut self, _all: RangeFull) -> impl Iterator<Item = (PortNo, Frame)> {
        ports(self.runs.drain(..)).zip(self.frames.drain(..))
    }

    /// Takes the frames run by run: each port with an iterator of the frames that leave by it in a row.
    pub fn drain_runs(&mut self, mut take: impl FnMut(PortNo, Take<&mut Drain<'_, Frame>>)) {
        let mut frames = self.frames.drain(..);
        for (port, n) in self.runs.drain(..) {
            take(port, frames.by_ref().take(n));
        }
    }

    /// All frames, if they leave by one port; they may be taken.
    pub fn all_by_one_port(&mut self) -> Option<(PortNo, TakeAll<'_>)> {
        match *self.runs {
            [(port, _)] => Some((port, TakeAll(self))),
            _ => None,
        }
    }
}

/// Frames that leave by one port, for the taking.
#[derive(Debug)]
pub struct TakeAll<'a>(&'a mut Outputs);

impl TakeAll<'_> {
    /// Moves them behind those of `to`.
    #[inline]
    pub fn append_to(self, to: &mut Vec<Frame>) {
        self.0.runs.clear();
        to.append(&mut self.0.frames);
    }
}

fn ports(runs: impl Iterator<Item = (PortNo, usize)>) -> impl Iterator<Item = PortNo> {
    runs.flat_map(|(port, n)| core::iter::repeat_n(port, n))
}

impl Extend<(PortNo, Frame)> for Outputs {
    fn extend<I: IntoIterator<Item = (PortNo, Frame)>>(&mut self, frames: I) {
        frames.into_iter().for_each(|frame| self.push(frame));
    }
}

impl IntoIterator for Outputs {
    type Item = (PortNo, Frame);
    type IntoIter = std::vec::IntoIter<(PortNo, Frame)>;

    fn into_iter(mut self) -> Self::IntoIter {
        self.drain(..).collect::<Vec<_>>().into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(n: u8) -> Frame {
        Frame::from_bytes(&[n])
    }

    #[test]
    fn frames_keep_order_and_ports_however_they_come_and_go() {
        let mut out = Outputs::with_capacity(4);
        let fill = |out: &mut Outputs| {
            out.push((PortNo(1), frame(0)));
            let mut batch = vec![frame(1), frame(2)];
            out.append([1, 2].map(PortNo).into_iter(), &mut batch);
            batch.push(frame(3));
            out.append_run(PortNo(2), &mut batch);
            out.append_run(PortNo(9), &mut batch);
            out.extend([(PortNo(1), frame(4))]);
            assert!(batch.is_empty());
        };
        let expected = [(1, 0), (1, 1), (2, 2), (2, 3), (1, 4)].map(|(port, n)| (PortNo(port), vec![n]));
        fill(&mut out);
        assert_eq!(out.iter().map(|(port, f)| (port, f.to_vec())).collect::<Vec<_>>(), expected);
        assert!(out.all_by_one_port().is_none());
        assert_eq!(out.drain(..).map(|(port, f)| (port, f.to_vec())).collect::<Vec<_>>(), expected);
        fill(&mut out);
        let mut runs = Vec::new();
        out.drain_runs(|port, frames| runs.extend(frames.map(|f| (port, f.to_vec()))));
        assert_eq!(runs, expected);
        assert_eq!((out.len(), out.is_empty()), (0, true));
        fill(&mut out);
        assert_eq!(out.into_iter().map(|(port, f)| (port, f.to_vec())).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_run_is_taken_whole() {
        let mut out = Outputs::new();
        assert!(out.all_by_one_port().is_none());
        out.extend([(PortNo(7), frame(1)), (PortNo(7), frame(2))]);
        let mut to = vec![frame(0)];
        let (port, frames) = out.all_by_one_port().expect("one port");
        frames.append_to(&mut to);
        assert_eq!((port, to.len(), out.len(), out.iter().count()), (PortNo(7), 3, 0, 0));
    }
}
