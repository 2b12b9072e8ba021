//! Bundles: messages that take effect together (1.4 §6.9, §7.3.9).
//!
//! Every bundle is both atomic and ordered, whatever its flags ask for: its messages are done in their order, and what
//! they change is published in one snapshot, so that a frame meets all of it or nothing. Packet-outs are done last,
//! by the tables as the bundle leaves them.

use core::time::Duration;
use std::collections::BTreeMap;

use openflow::error::{BadRequest, BundleFailed};
use openflow::{
    Action, BundleAdd, BundleControl, BundleControlKind, BundleFlags, Error, ErrorKind, FlowMod, Instruction,
    Message, Xid,
};
use packet::Instant;

use super::packed::{Packed, Waiting};
use super::{Deferred, Switch};
use crate::ConnId;

/// Bundles that one connection may have at a time.
const MAX_BUNDLES: usize = 32;
/// Bytes that a message in a bundle counts for beside its own.
const MESSAGE_SIZE: usize = 256;
/// How long a bundle waits for its next message.
const PATIENCE: Duration = Duration::from_secs(10);

/// Every bundle, by connection and by the number the controller gave it.
#[derive(Debug, Default)]
pub(super) struct Bundles {
    all: BTreeMap<(ConnId, u32), Bundle>,
    /// Bytes of messages in them, about.
    size: usize,
}

#[derive(Debug)]
struct Bundle {
    flags: BundleFlags,
    is_closed: bool,
    /// Of the message that made it.
    xid: Xid,
    /// When the last message for it came.
    touched: Instant,
    messages: Packed,
    size: usize,
}

impl Bundles {
    fn remove(&mut self, key: (ConnId, u32)) -> Option<Bundle> {
        let bundle = self.all.remove(&key)?;
        self.size -= bundle.size;
        Some(bundle)
    }

    /// §6.9.1: the bundles of a connection go with it.
    pub(super) fn forget(&mut self, conn: ConnId) {
        let gone: Vec<_> = self.all.range((conn, 0)..=(conn, u32::MAX)).map(|(&key, _)| key).collect();
        gone.into_iter().for_each(|key| drop(self.remove(key)));
    }

    /// When a bundle's time is over.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.all.values().map(|bundle| bundle.touched + PATIENCE).min()
    }

    /// The bundle, if it is as its user thinks. §7.3.9: one that is not is discarded.
    fn expect(&mut self, key: (ConnId, u32), flags: BundleFlags) -> Result<&mut Bundle, BundleFailed> {
        let known = self.all.get(&key).ok_or(BundleFailed::BadId)?.flags;
        if known != flags {
            self.remove(key);
        }
        self.all.get_mut(&key).ok_or(BundleFailed::BadFlags)
    }

    /// As [`expect`](Self::expect), and not closed yet.
    fn expect_open(&mut self, key: (ConnId, u32), flags: BundleFlags) -> Result<&mut Bundle, BundleFailed> {
        if self.all.get(&key).is_some_and(|bundle| bundle.is_closed) {
            self.remove(key);
            return Err(BundleFailed::BundleClosed);
        }
        self.expect(key, flags)
    }

    fn open(
        &mut self,
        now: Instant,
        key: (ConnId, u32),
        flags: BundleFlags,
        xid: Xid,
    ) -> Result<(), BundleFailed> {
        // §7.3.9.4: the one that has the number is discarded.
        if self.remove(key).is_some() {
            return Err(BundleFailed::BadId);
        }
        if self.all.range((key.0, 0)..=(key.0, u32::MAX)).count() >= MAX_BUNDLES {
            return Err(BundleFailed::OutOfBundles);
        }
        let (messages, is_closed, size) = (Packed::default(), false, 0);
        self.all.insert(key, Bundle { flags, is_closed, xid, touched: now, messages, size });
        Ok(())
    }
}

impl Switch {
    pub(super) fn bundle_control(
        &mut self,
        now: Instant,
        (conn, xid): (ConnId, Xid),
        control: BundleControl,
    ) -> Result<(), ErrorKind> {
        use BundleControlKind as Kind;
        let key = (conn, control.bundle);
        let reply = |kind| BundleControl { kind, ..control };
        let reply = match control.kind {
            Kind::OpenRequest => {
                self.bundles.open(now, key, control.flags, xid)?;
                reply(Kind::OpenReply)
            }
            Kind::CloseRequest => {
                let bundle = self.bundles.expect_open(key, control.flags)?;
                (bundle.is_closed, bundle.touched) = (true, now);
                reply(Kind::CloseReply)
            }
            Kind::DiscardRequest => {
                self.bundles.expect(key, control.flags)?;
                self.bundles.remove(key);
                reply(Kind::DiscardReply)
            }
            Kind::CommitRequest => {
                self.bundles.expect(key, control.flags)?;
                self.commit(now, key)?;
                self.wait(now, Deferred::Commit { conn, xid, reply: reply(Kind::CommitReply) });
                return Ok(());
            }
            _ => return Err(BundleFailed::BadType.into()),
        };
        self.send(conn, xid, Message::BundleControl(reply));
        Ok(())
    }

    /// §7.3.9.5: a message for a bundle that does not exist makes it.
    pub(super) fn bundle_add(
        &mut self,
        now: Instant,
        (conn, xid): (ConnId, Xid),
        add: BundleAdd,
        quote: &[u8],
    ) -> Result<(), ErrorKind> {
        let key = (conn, add.bundle);
        if self.is_slave(conn) {
            return Err(BadRequest::IsSlave.into());
        }
        if !self.bundles.all.contains_key(&key) {
            self.bundles.open(now, key, add.flags, xid)?;
        }
        let (size, limit) = (self.bundles.size, self.config.max_bundle_bytes);
        let bundle = self.bundles.expect_open(key, add.flags)?;
        bundle.touched = now;
        if add.xid != xid {
            return Err(BundleFailed::MsgBadXid.into());
        }
        if !is_supported(&add.message) {
            return Err(BundleFailed::MsgUnsup.into());
        }
        let more = MESSAGE_SIZE + quote.len() + size_of_parts(&add.message);
        if size + more > limit {
            return Err(BundleFailed::MsgTooMany.into());
        }
        bundle.messages.push(xid, add.message, quote);
        bundle.size += more;
        self.bundles.size += more;
        Ok(())
    }

    /// Does all of a bundle or nothing. The bundle is gone either way.
    fn commit(&mut self, now: Instant, key: (ConnId, u32)) -> Result<(), ErrorKind> {
        let Some(mut bundle) = self.bundles.remove(key) else { return Err(BundleFailed::BadId.into()) };
        let (mut injections, mut forwarded) = (Vec::new(), Vec::new());
        self.keep_journal();
        while let Some(Waiting { xid, message, quote }) = bundle.messages.pop() {
            if let Some(reason) = self.is_forwarded(key.0, &message) {
                forwarded.push((xid, message.clone(), reason));
            }
            let done = match message {
                Message::FlowMod(flow_mod) => self.flow_mod(now, flow_mod),
                Message::GroupMod(group_mod) => self.group_mod(now, group_mod),
                Message::MeterMod(meter_mod) => self.meter_mod(now, meter_mod),
                Message::PortMod(port_mod) => self.port_mod(&port_mod),
                Message::PacketOut(packet_out) => self.injection(packet_out).map(|i| injections.push(i)),
                _ => Err(BundleFailed::MsgUnsup.into()),
            };
            if let Err(kind) = done {
                self.take_back();
                // §7.3.9.7: first the error of the message, under its transaction, then that of the bundle.
                self.send(key.0, xid, Message::Error(Error { kind, data: quote.into() }));
                return Err(BundleFailed::MsgFailed.into());
            }
        }
        self.keep();
        for (xid, message, reason) in forwarded {
            self.forward(key.0, (xid, message), reason);
        }
        injections.into_iter().for_each(|injection| self.inject(injection));
        // Packets that flow mods took out of their buffers.
        if !self.publisher.is_dirty() {
            self.inject_all();
        }
        Ok(())
    }

    /// Forgets the bundles that nothing came for in time.
    pub(super) fn expire_bundles(&mut self, now: Instant) {
        let is_over = |bundle: &Bundle| bundle.touched + PATIENCE <= now;
        let over = self.bundles.all.iter().filter(|(_, bundle)| is_over(bundle));
        let over: Vec<_> = over.map(|(&key, _)| key).collect();
        for key in over {
            let Some(bundle) = self.bundles.remove(key) else { continue };
            self.send(key.0, bundle.xid, Message::Error(Error::new(BundleFailed::Timeout)));
        }
    }
}

/// What a bundle may hold.
fn is_supported(message: &Message) -> bool {
    matches!(
        message,
        Message::FlowMod(_)
            | Message::GroupMod(_)
            | Message::MeterMod(_)
            | Message::PortMod(_)
            | Message::PacketOut(_)
    )
}

/// Bytes a message has outside itself, about.
fn size_of_parts(message: &Message) -> usize {
    let of = |actions: &[Action]| size_of_val(actions);
    match message {
        Message::FlowMod(FlowMod { matches, instructions, .. }) => {
            let actions = |instruction: &Instruction| match instruction {
                Instruction::ApplyActions(actions) | Instruction::WriteActions(actions) => of(actions),
                _ => 0,
            };
            matches.len() * size_of::<openflow::Oxm>()
                + size_of_val(&**instructions)
                + instructions.iter().map(actions).sum::<usize>()
        }
        Message::GroupMod(m) => {
            size_of_val(&*m.buckets) + m.buckets.iter().map(|b| of(&b.actions)).sum::<usize>()
        }
        Message::MeterMod(m) => size_of_val(&*m.bands),
        Message::PacketOut(m) => m.data.len() + of(&m.actions),
        _ => 0,
    }
}
