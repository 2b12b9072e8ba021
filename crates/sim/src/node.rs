//! What sits at the ends of links.

use packet::{Batch, Instant, Outputs, Pool, PortNo};

use crate::host::Host;

/// Which node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) usize);

/// A node of any kind.
#[derive(Debug)]
pub(crate) enum Node {
    Host(Box<Host>),
}

impl Node {
    /// Takes frames in, `meta.in_port` set, and leaves the batch empty.
    pub fn process(&mut self, now: Instant, batch: &mut Batch, pool: &mut Pool, out: &mut Outputs) {
        match self {
            Self::Host(host) => {
                for mut frame in batch.drain(..) {
                    host.handle_frame(now, &mut frame);
                    pool.free(frame);
                }
                host.flush(pool, out);
            }
        }
    }

    /// Does what is due, and hands out what it has to say.
    pub fn handle_timeout(&mut self, now: Instant, pool: &mut Pool, out: &mut Outputs) {
        match self {
            Self::Host(host) => {
                host.handle_timeout(now);
                host.flush(pool, out);
            }
        }
    }

    /// When something is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Host(host) => host.poll_timeout(),
        }
    }

    /// A port's link came up or went down.
    pub fn set_port_link(&mut self, _now: Instant, _port: PortNo, _up: bool) {
        match self {
            Self::Host(_) => {}
        }
    }
}
