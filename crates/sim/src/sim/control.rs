//! Control channels and the controller within the loop.

use core::time::Duration;

use controller::{Config, Controller, Effect, Intent, Key};
use openflow::session::SendError;
use openflow::{Event as SessionEvent, Message, Xid};
use packet::Instant;
use vswitch::ConnId;

use super::{Event, Sim, Timer};
use crate::channel::{CHANNEL_DELAY, Channel, ChannelId, PEER, Peer, SWITCH};
use crate::controller::ControllerNode;
use crate::node::{Node, NodeId};

/// A switch that lost its controller tries again after this time.
const BACK_OFF: Duration = Duration::from_secs(1);

impl Sim {
    /// Gives a switch a control channel; it connects at once.
    pub fn add_channel(&mut self, switch: NodeId, peer: Peer) -> ChannelId {
        let channel = self.channels.len();
        self.channels.push(Channel::new(switch, peer, CHANNEL_DELAY));
        self.queue.schedule(self.now, Event::Connect { channel });
        ChannelId(channel)
    }

    /// Cuts a control channel or mends it. Both ends notice a cut at once; the switch tries again once a second.
    pub fn set_channel(&mut self, id: ChannelId, up: bool) {
        self.channels[id.0].up = up;
        if !up {
            self.disconnect(id.0);
            self.settle();
        }
    }

    /// Makes a control channel slow, or fast again: what is sent from now on takes this long.
    pub fn set_channel_delay(&mut self, id: ChannelId, delay: Duration) {
        self.channels[id.0].delay = delay;
    }

    /// Whether a control channel is whole.
    pub fn channel_is_up(&self, id: ChannelId) -> bool {
        self.channels[id.0].up
    }

    /// Sends a message from the test's end of a channel.
    ///
    /// # Panics
    /// If the channel is not established, or not the test's: a mistake of the test.
    pub fn tell(&mut self, id: ChannelId, message: &Message) -> Xid {
        let channel = &mut self.channels[id.0];
        assert_eq!(channel.peer, Peer::Test, "the channel is the controller's");
        let connection = channel.connection.as_mut().expect("the channel is connected");
        let xid = connection.sessions[PEER].request(message).expect("the channel is established");
        self.dirty.insert(Timer::Channel(id.0));
        self.settle();
        xid
    }

    /// What has come to the test's end of a channel so far.
    pub fn told(&self, id: ChannelId) -> &[(Xid, Message)] {
        &self.channels[id.0].inbox
    }

    /// Messages that one end or the other could not understand.
    pub fn n_refused(&self) -> u64 {
        self.channels.iter().map(|channel| channel.n_refused).sum()
    }

    /// Connections made so far on a channel.
    pub fn n_connections(&self, id: ChannelId) -> u64 {
        self.channels[id.0].n_connections
    }

    /// The control channels of a switch.
    pub fn channels_of(&self, switch: NodeId) -> Vec<ChannelId> {
        let of = |&i: &usize| self.channels[i].switch == switch;
        (0..self.channels.len()).filter(of).map(ChannelId).collect()
    }

    pub(super) fn connect(&mut self, channel: usize) {
        if self.channels[channel].connection.is_some() {
            return;
        }
        if !self.channels[channel].up {
            self.queue.schedule(self.now + BACK_OFF, Event::Connect { channel });
            return;
        }
        self.n_connections += 1;
        let number = self.n_connections;
        self.channels[channel].connect(self.now, number);
        self.dirty.insert(Timer::Channel(channel));
    }

    /// Ends the connection of a channel and tells both ends.
    pub(super) fn disconnect(&mut self, channel: usize) {
        let Some(connection) = self.channels[channel].connection.take() else { return };
        if connection.established[SWITCH] {
            self.with_switch(channel, |switch, now| {
                switch.handle_disconnected(now, ConnId(connection.number))
            });
        }
        if connection.established[PEER] && self.channels[channel].peer == Peer::Controller {
            self.controller_disconnected(connection.number);
        }
        self.queue.schedule(self.now + BACK_OFF, Event::Connect { channel });
    }

    pub(super) fn handle_bytes(&mut self, channel: usize, number: u64, end: usize, bytes: &[u8]) {
        let Some(connection) = &mut self.channels[channel].connection else { return };
        // What was under way on an older connection is gone with it.
        if connection.number == number {
            connection.sessions[end].handle_bytes(self.now, bytes);
            self.dirty.insert(Timer::Channel(channel));
        }
    }

    pub(super) fn handle_channel_timeout(&mut self, channel: usize) {
        let Some(connection) = &mut self.channels[channel].connection else { return };
        for session in &mut connection.sessions {
            session.handle_timeout(self.now);
        }
    }

    pub(super) fn settle_channel(&mut self, channel: usize) -> Option<Instant> {
        loop {
            let Some(connection) = &mut self.channels[channel].connection else { return None };
            let events = connection.events();
            if events.is_empty() {
                break;
            }
            for (end, event) in events {
                self.handle_session_event(channel, end, event);
            }
        }
        let Channel { delay, connection, .. } = &mut self.channels[channel];
        let connection = connection.as_mut()?;
        let number = connection.number;
        for (end, at, bytes) in connection.transmit(self.now, *delay, &mut self.rng) {
            self.queue.schedule(at, Event::Bytes { channel, number, end, bytes });
        }
        connection.poll_timeout()
    }

    fn handle_session_event(&mut self, channel: usize, end: usize, event: SessionEvent) {
        let Some(connection) = &mut self.channels[channel].connection else { return };
        let number = connection.number;
        match event {
            SessionEvent::Established(_) => connection.established[end] = true,
            SessionEvent::Refused { .. } => self.channels[channel].n_refused += 1,
            SessionEvent::Closed(_) => return self.disconnect(channel),
            SessionEvent::Message { .. } => {}
        }
        match (end, event) {
            (SWITCH, SessionEvent::Established(_)) => {
                self.with_switch(channel, |switch, now| switch.handle_connected(now, ConnId(number)));
            }
            (SWITCH, SessionEvent::Message { xid, message }) => {
                self.with_switch(channel, |switch, now| {
                    switch.handle_message(now, ConnId(number), xid, message)
                });
            }
            (_, SessionEvent::Established(_)) if self.channels[channel].peer == Peer::Controller => {
                self.controller_connected(number);
            }
            (_, SessionEvent::Message { xid, message }) => match self.channels[channel].peer {
                Peer::Controller => self.controller_message(number, xid, message),
                Peer::Test => self.channels[channel].inbox.push((xid, message)),
            },
            _ => {}
        }
    }

    fn with_switch(&mut self, channel: usize, act: impl FnOnce(&mut vswitch::Switch, Instant)) {
        let id = self.channels[channel].switch;
        if let Node::Switch(node) = &mut self.nodes[id.0] {
            act(node.switch_mut(), self.now);
        }
        self.dirty.insert(Timer::Node(id));
    }

    /// Hands what a switch has to say to its channels.
    pub(super) fn send_messages(&mut self, id: NodeId) {
        loop {
            let Node::Switch(node) = &mut self.nodes[id.0] else { return };
            let Some((conn, xid, message)) = node.poll_message() else { return };
            let of = |channel: &Channel| channel.switch == id && channel.number() == Some(conn.0);
            let Some(channel) = self.channels.iter().position(of) else { continue };
            self.send_message(channel, SWITCH, xid, &message);
        }
    }

    pub(super) fn send_message(&mut self, channel: usize, end: usize, xid: Xid, message: &Message) {
        let Some(connection) = &mut self.channels[channel].connection else { return };
        let session = &mut connection.sessions[end];
        let sent =
            if xid == Xid(0) { session.request(message).map(drop) } else { session.send(xid, message) };
        if let Err(error @ SendError::Encode(_)) = sent {
            panic!("a core made a message that cannot be written: {error}: {message:?}");
        }
        self.dirty.insert(Timer::Channel(channel));
    }

    /// Gives the network a controller. Its key follows from the seed of the run.
    ///
    /// # Panics
    /// If there is one: a mistake of the test.
    pub fn set_controller(&mut self) {
        assert!(self.controller.is_none(), "there is one controller");
        let key = Key(self.rng.next_u64(), self.rng.next_u64());
        self.controller = Some(Box::new(ControllerNode::new(Controller::new(Config::new(key)))));
        self.dirty.insert(Timer::Controller);
        self.settle();
    }

    /// The controller.
    ///
    /// # Panics
    /// If there is none: a mistake of the test.
    pub fn controller(&self) -> &ControllerNode {
        self.controller.as_deref().expect("the network has a controller")
    }

    /// Lets the test speak to the controller, and sends what it then has to say.
    ///
    /// # Panics
    /// If there is none: a mistake of the test.
    pub fn with_controller<T>(&mut self, act: impl FnOnce(&mut Controller, Instant) -> T) -> T {
        let now = self.now;
        let node = self.controller.as_mut().expect("the network has a controller");
        let result = act(&mut node.controller, now);
        self.dirty.insert(Timer::Controller);
        self.settle();
        result
    }

    /// Takes the controller away and puts one in its place that knows nothing but the same intent.
    ///
    /// # Panics
    /// If there is none: a mistake of the test.
    pub fn restart_controller(&mut self) {
        let intent = self.controller().core().intent().clone();
        self.replace_controller(intent);
    }

    /// Takes the controller away and puts one in its place that knows nothing but this intent, which its store held.
    ///
    /// # Panics
    /// If there is none, or the intent contradicts itself: a mistake of the test.
    pub fn replace_controller(&mut self, intent: Intent) {
        self.controller = None;
        for channel in 0..self.channels.len() {
            if self.channels[channel].peer == Peer::Controller {
                self.disconnect(channel);
            }
        }
        self.set_controller();
        let result = self.with_controller(|controller, now| controller.set_intent(now, intent));
        assert_eq!(result, Ok(()), "the intent was good before");
    }

    /// Runs until every switch that has a channel to the controller is connected and holds what it is to hold, `time`
    /// at most; whether it came to that.
    pub fn run_until_quiet(&mut self, time: Duration) -> bool {
        self.run_while_waiting(time, |sim| {
            let connected =
                |channel: &Channel| channel.connection.as_ref().is_some_and(|c| c.established[PEER]);
            let n = sim.channels.iter().filter(|channel| channel.peer == Peer::Controller).count();
            let core = sim.controller().core();
            sim.channels.iter().all(|channel| !channel.up || connected(channel))
                && core.view().switches().len() >= n
                && core.is_quiet()
        })
    }

    pub(super) fn handle_controller_timeout(&mut self) {
        if let Some(node) = &mut self.controller {
            node.controller.handle_timeout(self.now);
        }
    }

    pub(super) fn settle_controller(&mut self) -> Option<Instant> {
        loop {
            let node = self.controller.as_mut()?;
            let Some(effect) = node.controller.poll_effect() else { return node.controller.poll_timeout() };
            match effect {
                Effect::Event(event) => node.events.push((self.now, event)),
                Effect::Send { conn, xid, message } => {
                    if let Some(channel) = self.controller_channel(conn.0) {
                        self.send_message(channel, PEER, xid, &message.into_message(xid));
                    }
                }
                Effect::Close { conn, .. } => {
                    if let Some(channel) = self.controller_channel(conn.0) {
                        self.disconnect(channel);
                    }
                }
            }
        }
    }

    fn controller_channel(&self, number: u64) -> Option<usize> {
        self.channels.iter().position(|channel| channel.number() == Some(number))
    }

    fn controller_connected(&mut self, number: u64) {
        self.tell_controller(|controller, now| controller.handle_connected(now, controller::ConnId(number)));
    }

    fn controller_disconnected(&mut self, number: u64) {
        self.tell_controller(|controller, now| {
            controller.handle_disconnected(now, controller::ConnId(number))
        });
    }

    fn controller_message(&mut self, number: u64, xid: Xid, message: Message) {
        let conn = controller::ConnId(number);
        self.tell_controller(|controller, now| controller.handle_message(now, conn, xid, message));
    }

    fn tell_controller(&mut self, act: impl FnOnce(&mut Controller, Instant)) {
        if let Some(node) = &mut self.controller {
            act(&mut node.controller, self.now);
            self.dirty.insert(Timer::Controller);
        }
    }
}
