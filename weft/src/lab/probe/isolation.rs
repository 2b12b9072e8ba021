//! No frame of one node reaches another, and no reply comes: broadcast, unicast to the other's very address, and ping.

use std::time::Duration;

use netio::{OpenOptions, PortKind, PortSpec};
use packet::{MacAddr, Pool, PoolConfig, build};
use topology::{Interface, Target};

use super::watch::Watch;
use super::{Found, Lab, marker, ping, text};
use crate::lab::clock::Deadline;

/// How long is watched after the last frame was sent. Frames that do pass need a few milliseconds.
const WINDOW: Duration = Duration::from_millis(400);
/// Frames of each kind: one alone might be lost for another reason.
const N_FRAMES: usize = 5;
/// An unassigned port: "discard" (RFC 863).
const PORT: u16 = 9;

/// Sends from `from`, watches at `to`.
pub fn run(lab: &Lab<'_>, from: &str, to: &Target) -> Found {
    let target = to.node.as_deref().unwrap_or(&to.label);
    let sender = lab.model.node(from).ok_or("no such node")?;
    let receiver = lab.model.node(target).ok_or("no such node")?;
    let watch = Watch::open(&lab.namespace(target)?)?;
    let marker = marker();
    let mut n_sent = 0;
    for interface in sender.interfaces() {
        let frames = frames(interface, receiver.interfaces(), to, &marker);
        n_sent += frames.len();
        lab.namespace(from)?.run(|| transmit(&interface.name, frames)).map_err(text)??;
    }
    if ping::answered_once(lab, from, to.address, WINDOW)? {
        return Err(format!("{to} answers a ping of {from}"));
    }
    let own: Vec<MacAddr> = sender.interfaces().iter().map(|interface| interface.mac).collect();
    let deadline = Deadline::after(WINDOW);
    loop {
        for seen in watch.drain()?.iter().filter(|seen| !seen.outgoing) {
            let from_sender = seen.source().is_some_and(|mac| own.contains(&MacAddr(mac)));
            if from_sender || seen.holds(&marker) {
                return Err(format!("a frame of {from} reached {target}"));
            }
        }
        if deadline.passed() {
            return Ok(format!("{n_sent} frames sent, none arrived, no reply"));
        }
        watch.wait(deadline.left())?;
    }
}

/// Broadcasts, and frames to the very addresses of the receiver.
fn frames(from: &Interface, receiver: &[Interface], to: &Target, marker: &[u8]) -> Vec<Vec<u8>> {
    let source =
        from.addresses.iter().map(|cidr| cidr.addr()).find(|ip| ip.is_ipv4() == to.address.is_ipv4());
    let source = source.unwrap_or(if to.address.is_ipv4() {
        [0, 0, 0, 0].into()
    } else {
        std::net::Ipv6Addr::UNSPECIFIED.into()
    });
    let targets = receiver.iter().map(|interface| interface.mac).chain([MacAddr::BROADCAST]);
    let frame = |mac| build::ethernet(from.mac, mac).ip(source, to.address).udp(PORT, PORT, marker);
    targets.flat_map(|mac| std::iter::repeat_with(move || frame(mac)).take(N_FRAMES)).collect()
}

/// Puts frames on an interface of the calling thread's namespace.
pub fn transmit(interface: &str, frames: Vec<Vec<u8>>) -> Result<(), String> {
    let name = netio::InterfaceName::new(interface).map_err(text)?;
    let spec = PortSpec::from(PortKind::AfPacket(name));
    let mut queues = netio::open(&spec, OpenOptions::default()).map_err(text)?;
    let port = queues.first_mut().ok_or("the interface has no queue")?;
    let mut pool = Pool::new(PoolConfig::default());
    let mut batch = Vec::new();
    for bytes in frames {
        batch.push(pool.frame_from(&bytes).ok_or("a frame is too long")?);
    }
    port.transmit(&mut pool, &mut batch).map_err(text)
}
