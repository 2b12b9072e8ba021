//! Links, addresses, routes and neighbours by rtnetlink, inside any namespace. The `ip` command is never run.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use futures_util::TryStreamExt;
use packet::MacAddr;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::{Handle, LinkBridge, LinkUnspec, LinkVeth, RouteMessageBuilder};
use tokio::task::JoinHandle;

use crate::netns::{Namespace, NetnsError};

/// Why a request about links failed.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No interface of this name in the namespace.
    #[error("there is no interface \"{0}\"")]
    Missing(String),
    /// The kernel refused.
    #[error("cannot {what}")]
    Kernel {
        /// What was asked for.
        what: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Not even a netlink socket could be had.
    #[error("cannot open a netlink socket")]
    Socket(#[source] io::Error),
    /// The namespace could not be entered.
    #[error(transparent)]
    Namespace(#[from] NetnsError),
}

impl LinkError {
    /// The kernel's error number, if it is one: `EEXIST`, `EPERM` and so on of `libc`.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Kernel { source, .. } | Self::Socket(source) => source.raw_os_error(),
            Self::Missing(_) | Self::Namespace(_) => None,
        }
    }
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address; zero if it has none of six octets.
    pub mac: MacAddr,
    /// Bytes of network-layer packet in a frame.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Up and with carrier.
    pub running: bool,
    /// Something is at the other end, whether up or not: for a tap, a process.
    pub carrier: bool,
    /// What made it: `veth`, `tun`, `bridge`; empty for hardware and loopback.
    pub kind: String,
    /// A note for people; empty for most.
    pub alias: String,
}

/// A route to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Prefix; zero length for the default route.
    pub to: (IpAddr, u8),
    /// Next hop; none when the destination is on the link.
    pub via: Option<IpAddr>,
    /// Outgoing interface; found by the kernel when there is a next hop.
    pub dev: Option<String>,
}

impl Route {
    /// The default route by a next hop.
    pub fn default_via(via: IpAddr) -> Self {
        let any = match via {
            IpAddr::V4(_) => IpAddr::from([0u8; 4]),
            IpAddr::V6(_) => IpAddr::from([0u8; 16]),
        };
        Self { to: (any, 0), via: Some(via), dev: None }
    }
}

/// A netlink connection into one namespace. Its calls may be awaited from any task of the runtime it was made in.
#[derive(Debug)]
pub struct Netlink {
    handle: Handle,
    connection: JoinHandle<()>,
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Netlink {
    /// Connects to the namespace of the calling thread. Within a tokio runtime.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn here() -> Result<Self, LinkError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(LinkError::Socket)?;
        Ok(Self { handle, connection: tokio::spawn(connection) })
    }

    /// Connects to `namespace`. Within a tokio runtime; blocks for the time a thread takes to start.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn open(namespace: &Namespace) -> Result<Self, LinkError> {
        let runtime = tokio::runtime::Handle::current();
        namespace.run(|| {
            let _guard = runtime.enter();
            Self::here()
        })?
    }

    /// All interfaces.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn links(&self) -> Result<Vec<Link>, LinkError> {
        let links = self.handle.link().get().execute();
        links.map_ok(|m| link_of(&m)).try_collect().await.map_err(|e| kernel("list interfaces", e))
    }

    /// One interface.
    ///
    /// # Errors
    /// [`LinkError::Missing`] when there is none of this name.
    pub async fn link(&self, name: &str) -> Result<Link, LinkError> {
        let mut links = self.handle.link().get().match_name(name).execute();
        match links.try_next().await {
            Ok(Some(message)) => Ok(link_of(&message)),
            Ok(None) => Err(LinkError::Missing(name.to_owned())),
            Err(e) => match kernel(&format!("look up {name}"), e) {
                e if e.errno() == Some(libc::ENODEV) => Err(LinkError::Missing(name.to_owned())),
                e => Err(e),
            },
        }
    }

    /// Makes a pair of veth interfaces, both in this namespace and down.
    ///
    /// # Errors
    /// When a name is taken, and without privilege.
    pub async fn add_veth(&self, name: &str, peer: &str) -> Result<(), LinkError> {
        let request = self.handle.link().add(LinkVeth::new(name, peer).build());
        request.execute().await.map_err(|e| kernel(&format!("make the veth pair {name}, {peer}"), e))
    }

    /// Makes a Linux bridge, down.
    ///
    /// # Errors
    /// When the name is taken, and without privilege.
    pub async fn add_bridge(&self, name: &str) -> Result<(), LinkError> {
        let request = self.handle.link().add(LinkBridge::new(name).build());
        request.execute().await.map_err(|e| kernel(&format!("make the bridge {name}"), e))
    }

    /// Makes `name` a port of the bridge `bridge`.
    ///
    /// # Errors
    /// When one of them does not exist, and without privilege.
    pub async fn set_bridge(&self, name: &str, bridge: &str) -> Result<(), LinkError> {
        let index = self.link(bridge).await?.index;
        self.set(name, &format!("add it to {bridge}"), |m| {
            m.attributes.push(LinkAttribute::Controller(index))
        })
        .await
    }

    /// Sets an interface up.
    ///
    /// # Errors
    /// When there is none, and without privilege.
    pub async fn set_up(&self, name: &str) -> Result<(), LinkError> {
        self.set(name, "set it up", |m| {
            m.header.flags |= LinkFlags::Up;
            m.header.change_mask |= LinkFlags::Up;
        })
        .await
    }

    /// Sets an interface down.
    ///
    /// # Errors
    /// When there is none, and without privilege.
    pub async fn set_down(&self, name: &str) -> Result<(), LinkError> {
        self.set(name, "set it down", |m| m.header.change_mask |= LinkFlags::Up).await
    }

    /// Sets the MTU.
    ///
    /// # Errors
    /// When the interface does not exist or cannot have it.
    pub async fn set_mtu(&self, name: &str, mtu: u32) -> Result<(), LinkError> {
        let what = format!("set its MTU to {mtu}");
        self.set(name, &what, |m| m.attributes.push(LinkAttribute::Mtu(mtu))).await
    }

    /// Sets the hardware address.
    ///
    /// # Errors
    /// When the interface does not exist or cannot have it.
    pub async fn set_mac(&self, name: &str, mac: MacAddr) -> Result<(), LinkError> {
        let what = format!("set its address to {mac}");
        self.set(name, &what, |m| m.attributes.push(LinkAttribute::Address(mac.0.to_vec()))).await
    }

    /// Sets the note for people.
    ///
    /// # Errors
    /// When the interface does not exist, and without privilege.
    pub async fn set_alias(&self, name: &str, alias: &str) -> Result<(), LinkError> {
        self.set(name, "set its alias", |m| m.attributes.push(LinkAttribute::IfAlias(alias.to_owned()))).await
    }

    /// Renames an interface that is down.
    ///
    /// # Errors
    /// When it does not exist, is up, or the name is taken.
    pub async fn rename(&self, name: &str, new: &str) -> Result<(), LinkError> {
        let what = format!("rename it to {new}");
        self.set(name, &what, |m| m.attributes.push(LinkAttribute::IfName(new.to_owned()))).await
    }

    /// Moves an interface into another namespace, under the name `new`. It arrives down and without addresses.
    ///
    /// # Errors
    /// When it does not exist or the name is taken there.
    pub async fn move_to(&self, name: &str, namespace: &Namespace, new: &str) -> Result<(), LinkError> {
        let what = format!("move it to namespace {} as {new}", namespace.label());
        let fd = namespace.as_fd().as_raw_fd();
        self.set(name, &what, |m| {
            m.attributes.push(LinkAttribute::NetNsFd(fd));
            m.attributes.push(LinkAttribute::IfName(new.to_owned()));
        })
        .await
    }

    /// Deletes an interface; of a veth pair both go.
    ///
    /// # Errors
    /// When there is none, and without privilege.
    pub async fn delete(&self, name: &str) -> Result<(), LinkError> {
        let index = self.link(name).await?.index;
        let request = self.handle.link().del(index);
        request.execute().await.map_err(|e| kernel(&format!("delete {name}"), e))
    }

    /// Adds an address, usable at once (no duplicate address detection).
    ///
    /// # Errors
    /// When the interface does not exist or has the address.
    pub async fn add_address(&self, name: &str, address: IpAddr, prefix_len: u8) -> Result<(), LinkError> {
        let index = self.link(name).await?.index;
        let mut request = self.handle.address().add(index, address, prefix_len);
        request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        request.execute().await.map_err(|e| kernel(&format!("add {address}/{prefix_len} to {name}"), e))
    }

    /// The addresses of an interface with their prefix lengths.
    ///
    /// # Errors
    /// When the interface does not exist.
    pub async fn addresses(&self, name: &str) -> Result<Vec<(IpAddr, u8)>, LinkError> {
        Ok(self.address_messages(name).await?.iter().filter_map(address_of).collect())
    }

    /// Removes an address, if the interface has it.
    ///
    /// # Errors
    /// When the interface does not exist, and without privilege.
    pub async fn remove_address(&self, name: &str, address: IpAddr, prefix_len: u8) -> Result<(), LinkError> {
        for message in self.address_messages(name).await? {
            if address_of(&message) == Some((address, prefix_len)) {
                let request = self.handle.address().del(message);
                let what = format!("remove {address}/{prefix_len} of {name}");
                request.execute().await.map_err(|e| kernel(&what, e))?;
            }
        }
        Ok(())
    }

    /// Removes all addresses of an interface.
    ///
    /// # Errors
    /// When the interface does not exist, and without privilege.
    pub async fn flush_addresses(&self, name: &str) -> Result<(), LinkError> {
        for message in self.address_messages(name).await? {
            let request = self.handle.address().del(message);
            request.execute().await.map_err(|e| kernel(&format!("remove an address of {name}"), e))?;
        }
        Ok(())
    }

    /// Adds a route, in place of one to the same prefix.
    ///
    /// # Errors
    /// When the next hop cannot be reached or the interface does not exist.
    pub async fn add_route(&self, route: &Route) -> Result<(), LinkError> {
        let what = format!("add the route to {}/{}", route.to.0, route.to.1);
        let invalid = |what: &str| LinkError::Kernel {
            what: what.to_owned(),
            source: io::Error::from_raw_os_error(libc::EINVAL),
        };
        let mut builder = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(route.to.0, route.to.1)
            .map_err(|_| invalid(&what))?;
        if let Some(via) = route.via {
            builder = builder.gateway(via).map_err(|_| invalid(&what))?;
        }
        if let Some(dev) = &route.dev {
            builder = builder.output_interface(self.link(dev).await?.index);
        }
        let request = self.handle.route().add(builder.build()).replace();
        request.execute().await.map_err(|e| kernel(&what, e))
    }

    /// Adds a permanent neighbour.
    ///
    /// # Errors
    /// When the interface does not exist.
    pub async fn add_neighbour(&self, name: &str, address: IpAddr, mac: MacAddr) -> Result<(), LinkError> {
        let index = self.link(name).await?.index;
        let request = self.handle.neighbours().add(index, address).link_layer_address(&mac.0).replace();
        request.execute().await.map_err(|e| kernel(&format!("add the neighbour {address} on {name}"), e))
    }

    async fn address_messages(&self, name: &str) -> Result<Vec<AddressMessage>, LinkError> {
        let index = self.link(name).await?.index;
        let messages = self.handle.address().get().set_link_index_filter(index).execute();
        messages.try_collect().await.map_err(|e| kernel(&format!("list the addresses of {name}"), e))
    }

    async fn set(
        &self,
        name: &str,
        what: &str,
        change: impl FnOnce(&mut LinkMessage),
    ) -> Result<(), LinkError> {
        let index = self.link(name).await?.index;
        let mut message = LinkUnspec::new_with_index(index).build();
        change(&mut message);
        let request = self.handle.link().set(message);
        request.execute().await.map_err(|e| kernel(&format!("change {name}: {what}"), e))
    }
}

/// Runs requests inside `namespace` (or that of the calling thread) to their end, from code that is not async. Not
/// from a task of a runtime.
///
/// # Errors
/// Those of `f`, and when the namespace cannot be entered.
pub fn blocking<T: Send>(
    namespace: Option<&Namespace>,
    f: impl AsyncFnOnce(Netlink) -> Result<T, LinkError> + Send,
) -> Result<T, LinkError> {
    let work = || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(LinkError::Socket)?;
        runtime.block_on(async { f(Netlink::here()?).await })
    };
    match namespace {
        Some(namespace) => namespace.run(work)?,
        None => work(),
    }
}

fn kernel(what: &str, error: rtnetlink::Error) -> LinkError {
    let source = match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    };
    LinkError::Kernel { what: what.to_owned(), source }
}

fn link_of(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mac: MacAddr::ZERO,
        mtu: 0,
        up: flags.contains(LinkFlags::Up),
        running: flags.contains(LinkFlags::Running),
        carrier: false,
        kind: String::new(),
        alias: String::new(),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Carrier(carrier) => link.carrier = *carrier != 0,
            LinkAttribute::IfAlias(alias) => link.alias.clone_from(alias),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(address) => {
                link.mac = address.as_slice().try_into().map_or(MacAddr::ZERO, MacAddr);
            }
            LinkAttribute::LinkInfo(infos) => {
                let kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind_name(kind)),
                    _ => None,
                });
                link.kind = kind.unwrap_or_default();
            }
            _ => {}
        }
    }
    link
}

fn kind_name(kind: &InfoKind) -> String {
    kind.to_string()
}

fn address_of(message: &AddressMessage) -> Option<(IpAddr, u8)> {
    let find = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(wanted);
    // IFA_LOCAL is the interface's own address on point-to-point links, where IFA_ADDRESS is the peer's.
    let local = find(|a| if let AddressAttribute::Local(ip) = a { Some(*ip) } else { None });
    let address = find(|a| if let AddressAttribute::Address(ip) = a { Some(*ip) } else { None });
    local.or(address).map(|ip| (ip, message.header.prefix_len))
}
