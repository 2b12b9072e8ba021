//! What sits at the ends of links.

use packet::{Batch, Instant, Outputs, Pool, PortNo};

use crate::host::Host;
use crate::router::RouterNode;
use crate::switch::SwitchNode;
use crate::wire::Wire;

/// Which node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) usize);

/// A node of any kind.
#[derive(Debug)]
pub(crate) enum Node {
    Host(Box<Host>),
    Switch(Box<SwitchNode>),
    Router(Box<RouterNode>),
    Wire(Wire),
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
            }
            Self::Switch(node) => node.process(now, batch, pool, out),
            Self::Router(node) => node.process(now, batch, pool, out),
            Self::Wire(wire) => wire.process(now, batch, out),
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, pool: &mut Pool, out: &mut Outputs) {
        match self {
            Self::Host(host) => host.handle_timeout(now),
            Self::Switch(node) => node.handle_timeout(now),
            Self::Router(node) => node.handle_timeout(now, pool, out),
            Self::Wire(_) => {}
        }
    }

    /// Lets the halves of the node talk to each other and hands out what it has to say.
    pub fn pump(&mut self, now: Instant, pool: &mut Pool, out: &mut Outputs) {
        match self {
            Self::Host(host) => host.flush(pool, out),
            Self::Switch(node) => node.pump(now, pool, out),
            Self::Router(node) => node.pump(now, pool, out),
            Self::Wire(_) => {}
        }
    }

    /// When something is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Host(host) => host.poll_timeout(),
            Self::Switch(node) => node.switch().poll_timeout(),
            Self::Router(node) => node.poll_timeout(),
            Self::Wire(_) => None,
        }
    }

    /// A port's link came up or went down.
    pub fn set_port_link(&mut self, now: Instant, port: PortNo, up: bool) {
        match self {
            Self::Host(_) | Self::Router(_) | Self::Wire(_) => {}
            Self::Switch(node) => node.set_port_link(now, port, up),
        }
    }
}
