//! Two namespaces without names, which end with the process however it ends.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd};

use anyhow::Context;
use netio::netns::Namespace;
use netio::{OpenOptions, Port, PortSpec, link};

/// A host with one interface, `eth0`, whose far end is a port of the switch.
pub struct Host {
    /// Where its processes run.
    pub namespace: Namespace,
    /// Its address.
    pub address: Ipv4Addr,
}

impl Host {
    /// Host 1 has 10.0.0.1, and so on.
    pub fn new(number: u8) -> anyhow::Result<Self> {
        let namespace = Namespace::anonymous(&format!("bench host {number}"))?;
        Ok(Self { namespace, address: Ipv4Addr::new(10, 0, 0, number) })
    }

    /// Makes its interface; the queues are the switch's end.
    pub fn attach(&self, options: &str, n_queues: u16) -> anyhow::Result<Vec<Box<dyn Port>>> {
        let path = format!("/proc/{}/fd/{}", std::process::id(), self.namespace.as_fd().as_raw_fd());
        let spec: PortSpec = format!("netns:{path}/eth0{options}").parse()?;
        let queues = netio::open(&spec, OpenOptions { n_queues, persistent: false })?;
        let address = IpAddr::V4(self.address);
        link::blocking(Some(&self.namespace), async |netlink| {
            netlink.add_address("eth0", address, 24).await
        })?;
        Ok(queues)
    }

    /// Runs `f` inside, on a thread of its own.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
        self.namespace.run(f).context("cannot enter the namespace of a bench host")?
    }
}
