//! What a test puts into the network, and how it looks at it.

use core::net::IpAddr;
use core::time::Duration;

use packet::{Instant, PortNo};
use vrouter::{ConfigError, Options, RouterConfig};
use vswitch::SwitchConfig;

use super::{Sim, Timer};
use crate::host::{HOST_PORT, Host, HostConfig};
use crate::link::{End, Link, LinkConfig, LinkCounters, LinkId};
use crate::node::{Node, NodeId};
use crate::router::RouterNode;
use crate::switch::SwitchNode;
use crate::wire::Wire;

impl Sim {
    fn add(&mut self, name: &str, node: Node) -> NodeId {
        let id = NodeId(self.nodes.len());
        self.nodes.push(node);
        let before = self.names.insert(name.to_owned(), id);
        assert!(before.is_none(), "two nodes are named {name}");
        self.dirty.insert(Timer::Node(id));
        self.settle();
        id
    }

    /// Adds a host.
    pub fn add_host(&mut self, name: &str, config: HostConfig) -> NodeId {
        self.add(name, Node::Host(Box::new(Host::new(config))))
    }

    /// Adds a switch without ports and without a control channel. Its secrets follow from the seed of the run.
    pub fn add_switch(&mut self, config: SwitchConfig) -> NodeId {
        let seed = Some(config.seed.unwrap_or_else(|| self.rng.next_u64()));
        let name = config.desc.datapath.to_string();
        self.add(&name, Node::Switch(Box::new(SwitchNode::new(SwitchConfig { seed, ..config }))))
    }

    /// Adds a router with `n_workers` workers and no configuration.
    pub fn add_router(&mut self, name: &str, n_workers: usize) -> NodeId {
        let seed = [self.rng.next_u64(), self.rng.next_u64()];
        let options = Options { n_connections: 4096, ..Options::new(n_workers, seed) };
        self.add(name, Node::Router(Box::new(RouterNode::new(options))))
    }

    /// Adds a bump in the wire.
    pub fn add_wire(&mut self, name: &str) -> NodeId {
        self.add(name, Node::Wire(Wire::default()))
    }

    /// Configures a router; join its ports before, for it announces itself.
    ///
    /// # Errors
    /// As the router says.
    pub fn configure_router(&mut self, id: NodeId, config: RouterConfig) -> Result<(), ConfigError> {
        let now = self.now;
        let Node::Router(node) = &mut self.nodes[id.0] else { panic!("{id:?} is no router") };
        let result = node.router_mut().set_config(now, config);
        self.dirty.insert(Timer::Node(id));
        self.settle();
        result
    }

    /// Makes a switch lose everything but its ports, as a restart of its process does.
    ///
    /// # Panics
    /// If it is no switch: a mistake of the test.
    pub fn reboot_switch(&mut self, id: NodeId) {
        for channel in 0..self.channels.len() {
            if self.channels[channel].switch == id {
                self.disconnect(channel);
            }
        }
        let now = self.now;
        let Node::Switch(node) = &mut self.nodes[id.0] else { panic!("{id:?} is no switch") };
        node.reboot(now);
        self.dirty.insert(Timer::Node(id));
        self.settle();
    }

    /// The node of this name.
    ///
    /// # Panics
    /// If there is none: a mistake of the test.
    pub fn node(&self, name: &str) -> NodeId {
        *self.names.get(name).unwrap_or_else(|| panic!("no node is named {name}"))
    }

    /// The host `id`.
    ///
    /// # Panics
    /// If it is no host: a mistake of the test.
    pub fn host(&self, id: NodeId) -> &Host {
        let Node::Host(host) = &self.nodes[id.0] else { panic!("{id:?} is no host") };
        host
    }

    /// The switch `id`.
    ///
    /// # Panics
    /// If it is no switch: a mistake of the test.
    pub fn switch(&self, id: NodeId) -> &SwitchNode {
        let Node::Switch(node) = &self.nodes[id.0] else { panic!("{id:?} is no switch") };
        node
    }

    /// The router `id`.
    ///
    /// # Panics
    /// If it is no router: a mistake of the test.
    pub fn router(&self, id: NodeId) -> &RouterNode {
        let Node::Router(node) = &self.nodes[id.0] else { panic!("{id:?} is no router") };
        node
    }

    /// The bump in the wire `id`.
    ///
    /// # Panics
    /// If it is none: a mistake of the test.
    pub fn wire(&self, id: NodeId) -> &Wire {
        let Node::Wire(wire) = &self.nodes[id.0] else { panic!("{id:?} is no wire") };
        wire
    }

    /// Lets the test speak for host `id`, and sends what it then has to say.
    ///
    /// # Panics
    /// If it is no host: a mistake of the test.
    pub fn with_host<T>(&mut self, id: NodeId, act: impl FnOnce(&mut Host, Instant) -> T) -> T {
        let now = self.now;
        let Node::Host(host) = &mut self.nodes[id.0] else { panic!("{id:?} is no host") };
        let result = act(host, now);
        self.dirty.insert(Timer::Node(id));
        self.settle();
        result
    }

    /// Joins two ports; on a switch the port is added.
    ///
    /// # Panics
    /// If one of them has a link: a mistake of the test.
    pub fn link(&mut self, a: End, b: End, config: LinkConfig) -> LinkId {
        let id = self.links.len();
        self.links.push(Link::new([a, b], config));
        for (i, end) in [a, b].into_iter().enumerate() {
            let before = self.wires.insert(end, (id, i));
            assert!(before.is_none(), "{end:?} has a link already");
            self.nodes[end.0.0].set_port_link(self.now, end.1, true);
            self.dirty.insert(Timer::Node(end.0));
        }
        self.settle();
        LinkId(id)
    }

    /// Joins a host to a port.
    pub fn attach(&mut self, host: NodeId, to: End) -> LinkId {
        self.link((host, HOST_PORT), to, LinkConfig::default())
    }

    /// Takes a link down or up. Frames under way on a link that goes down are lost.
    pub fn set_link(&mut self, id: LinkId, up: bool) {
        let link = &mut self.links[id.0];
        if link.up == up {
            return;
        }
        link.up = up;
        link.generation += 1;
        for end in link.ends {
            self.nodes[end.0.0].set_port_link(self.now, end.1, up);
            self.dirty.insert(Timer::Node(end.0));
        }
        self.settle();
    }

    /// Takes a port off a switch, and its link away.
    pub fn remove_port(&mut self, switch: NodeId, port: PortNo) {
        if let Some((link, _)) = self.wires.remove(&(switch, port)) {
            let [a, b] = self.links[link].ends;
            let other = if a == (switch, port) { b } else { a };
            self.set_link(LinkId(link), false);
            self.wires.remove(&other);
        }
        let now = self.now;
        if let Node::Switch(node) = &mut self.nodes[switch.0] {
            node.remove_port(now, port);
        }
        self.dirty.insert(Timer::Node(switch));
        self.settle();
    }

    /// Changes how a link treats frames from now on.
    pub fn set_link_config(&mut self, id: LinkId, config: LinkConfig) {
        self.links[id.0].config = config;
    }

    /// The link of a port.
    pub fn link_of(&self, end: End) -> Option<LinkId> {
        self.wires.get(&end).map(|(id, _)| LinkId(*id))
    }

    /// Whether a link is up.
    pub fn link_is_up(&self, id: LinkId) -> bool {
        self.links[id.0].up
    }

    /// What a link has done.
    pub fn link_counters(&self, id: LinkId) -> LinkCounters {
        self.links[id.0].counters
    }

    /// Pings `to` from host `from` once a second, `n` times at most; the time of the first answer.
    pub fn ping(&mut self, from: NodeId, to: IpAddr, n: u16) -> Option<Duration> {
        let id = self.rng.next_u64() as u16;
        for seq in 0..n {
            let sent = self.now;
            self.with_host(from, |host, now| host.send_echo(now, to, id, seq));
            let answered = |sim: &Self| (0..=seq).any(|seq| sim.host(from).echo_answered(id, seq).is_some());
            if self.run_while_waiting(Duration::from_secs(1), answered) {
                return Some(self.now.saturating_since(sent));
            }
        }
        None
    }
}
