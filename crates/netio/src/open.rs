//! From a specification to the queues of a port.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use packet::MacAddr;

use crate::afpacket::{PacketPort, PacketSocket};
use crate::link::{self, LinkError};
use crate::mem;
use crate::netns::{Namespace, NetnsError};
use crate::pcap::PcapPort;
use crate::port::{LinkProbe, Offload, Port, PortInfo};
use crate::spec::{PortKind, PortSpec};
use crate::sys;
use crate::tap::{self, Ownership, TapConfig, TapError, TapPort};

/// Why a port could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The namespace cannot be had.
    #[error(transparent)]
    Namespace(#[from] NetnsError),
    /// The interface cannot be set up.
    #[error("{port}: cannot set up the interface")]
    Link {
        /// The port's specification.
        port: String,
        /// What went wrong.
        #[source]
        source: LinkError,
    },
    /// There is no such interface.
    #[error("{port}: there is no interface \"{interface}\"")]
    Missing {
        /// The port's specification.
        port: String,
        /// What was looked for.
        interface: String,
    },
    /// Another process or another device has the name.
    #[error("{port}: an interface \"{interface}\" exists and is {what}")]
    InUse {
        /// The port's specification.
        port: String,
        /// Its name.
        interface: String,
        /// What stands in the way.
        what: &'static str,
    },
    /// Not allowed.
    #[error("{port}: not permitted to {what}: {needs} is needed")]
    Privilege {
        /// The port's specification.
        port: String,
        /// What was tried.
        what: &'static str,
        /// What would permit it.
        needs: &'static str,
    },
    /// `link:` ports are made by the dataplane, and an option may not fit a kind.
    #[error("{port}: {why}")]
    Unsupported {
        /// The port's specification.
        port: String,
        /// Why not.
        why: &'static str,
    },
    /// Anything else.
    #[error("{port}: cannot {what}")]
    Io {
        /// The port's specification.
        port: String,
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

/// How ports are opened, beyond what their specification says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// Queues of a tap whose specification names no number; one a worker is right.
    pub n_queues: u16,
    /// Taps that are made survive a crash of the process and are attached again by name. A clean close removes them
    /// either way.
    pub persistent: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { n_queues: 1, persistent: false }
    }
}

/// Opens a port: one element for each of its queues. Interfaces that are not in a named namespace are looked for in
/// that of the calling thread. Blocks, so async code calls it on a blocking thread; not from a task of a runtime.
///
/// # Errors
/// With the port, what was tried and what would help. What had been made by then is gone again.
pub fn open(spec: &PortSpec, options: OpenOptions) -> Result<Vec<Box<dyn Port>>, OpenError> {
    let opener = Opener { spec, options };
    match &spec.kind {
        PortKind::Netns { namespace, interface } => opener.in_namespace(namespace, interface.as_str()),
        PortKind::HostTap(name) => match opener.tap(name.as_str()) {
            Err(Failure::Tap(error)) => Err(opener.tap_error(name.as_str(), error)),
            Err(Failure::Open(error)) => Err(error),
            Ok(queues) => Ok(queues),
        },
        PortKind::Tap(name) => opener.monitor_tap(name.as_str()),
        PortKind::AfPacket(name) => opener.packet(name.as_str(), Device::Given, None),
        PortKind::Mem(name) => opener.mem(name),
        PortKind::Pcap(path) => {
            let port = PcapPort::open(path, spec.options.out.as_deref())
                .map_err(|e| opener.io("use the capture file")(io::Error::other(e)))?;
            Ok(vec![Box::new(port)])
        }
        PortKind::Link { .. } => Err(opener.unsupported("a link joins two engines of one process")),
    }
}

struct Opener<'a> {
    spec: &'a PortSpec,
    options: OpenOptions,
}

/// Whose the device under an AF_PACKET port is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Device {
    /// Somebody else's.
    Given,
    /// Made for the port, to go with it.
    Ours,
}

enum Failure {
    /// Taps: the caller may know another way.
    Tap(TapError),
    Open(OpenError),
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

type Queues = Vec<Box<dyn Port>>;

impl Opener<'_> {
    fn in_namespace(&self, namespace: &str, name: &str) -> Result<Queues, OpenError> {
        let namespace = Namespace::open(namespace)?;
        match namespace.run(|| self.tap(name))? {
            Err(Failure::Tap(TapError::Device(_))) => self.veth_into(&namespace, name),
            Err(Failure::Tap(error)) => Err(self.tap_error(name, error)),
            Err(Failure::Open(error)) => Err(error),
            Ok(queues) => Ok(queues),
        }
    }

    /// A tap of ours in the namespace of the calling thread.
    fn tap(&self, name: &str) -> Result<Queues, Failure> {
        let opened =
            tap::open_queues(name, self.tap_config(self.options.persistent)).map_err(Failure::Tap)?;
        let ownership = if self.claim(name, opened.created)? {
            Some(Ownership::of(&opened.queues[0]).map_err(self.io("keep hold of the tap"))?)
        } else {
            None
        };
        let control = sys::control_socket().map_err(self.io("open a socket"))?;
        self.dress(&control, name)?;
        let probe = LinkProbe::interface(name).map_err(self.io("watch the interface"))?;
        let device_mac = sys::interface_mac(&control, name).map_err(self.io("read its address"))?;
        // The device's own address is the container's; ours differs as that of a bridge's tap does.
        let mac = MacAddr([
            0xfe,
            device_mac.0[1],
            device_mac.0[2],
            device_mac.0[3],
            device_mac.0[4],
            device_mac.0[5],
        ]);
        let mtu = sys::interface_mtu(&control, name).map_err(self.io("read its MTU"))?;
        let info = self.info(name, mac, mtu, self.offload(opened.offload), None);
        let port = |queue| {
            Box::new(TapPort::new(queue, info.clone(), probe.clone(), ownership.clone())) as Box<dyn Port>
        };
        Ok(opened.queues.into_iter().map(port).collect())
    }

    /// Whether a tap of the calling thread's namespace is ours: just made, or left by a process of ours that crashed.
    fn claim(&self, name: &str, created: bool) -> Result<bool, OpenError> {
        // The alias tells; a monitor's tap is another kind of port than one whose descriptor is ours.
        let mark = format!("weft {}", self.spec.kind.keyword());
        let claimed = link::blocking(None, async |netlink| {
            if created {
                netlink.set_alias(name, &mark).await?;
            }
            Ok(created || netlink.link(name).await?.alias == mark)
        });
        claimed.map_err(|source| OpenError::Link { port: self.spec.to_string(), source })
    }

    fn tap_config(&self, persistent: bool) -> TapConfig {
        let options = &self.spec.options;
        TapConfig {
            n_queues: options.n_queues.unwrap_or(self.options.n_queues).max(1),
            persistent,
            offload: !options.offload_off,
            owner: options.owner,
        }
    }

    fn offload(&self, device: Offload) -> Offload {
        if self.spec.options.offload_off { Offload::NONE } else { device }
    }

    fn info(&self, name: &str, mac: MacAddr, mtu: u32, offload: Offload, note: Option<String>) -> PortInfo {
        PortInfo { name: name.to_owned(), spec: self.spec.to_string(), mac, mtu, offload, note }
    }

    /// Gives a device what the specification says, and sets it up.
    fn dress(&self, control: &OwnedFd, name: &str) -> Result<(), OpenError> {
        if let Some(mac) = self.spec.options.mac {
            sys::set_mac(control, name, mac).map_err(self.io("set its address"))?;
        }
        if let Some(mtu) = self.spec.options.mtu {
            sys::set_mtu(control, name, mtu).map_err(self.io("set its MTU"))?;
        }
        sys::set_up(control, name).map_err(self.io("set it up"))
    }

    /// Where taps cannot be had: a veth pair, one end in the namespace, the other where nobody looks.
    fn veth_into(&self, namespace: &Namespace, name: &str) -> Result<Queues, OpenError> {
        let link_error = |source| OpenError::Link { port: self.spec.to_string(), source };
        let ends = switch_ends()?;
        let peer = format!("w{:x}-{}", namespace.inode() & 0xff_ffff, name);
        let peer = &peer[..peer.len().min(15)];
        let made = link::blocking(Some(namespace), async |netlink| {
            netlink.add_veth(name, peer).await?;
            let moved = netlink.move_to(peer, &ends, peer).await;
            if moved.is_err() {
                netlink.delete(name).await?;
            }
            moved
        });
        match made {
            Err(LinkError::Kernel { source, .. }) if source.raw_os_error() == Some(libc::EEXIST) => {
                return Err(self.in_use(name, "not ours"));
            }
            made => made.map_err(link_error)?,
        }
        namespace.run(|| {
            let control = sys::control_socket().map_err(self.io("open a socket"))?;
            self.dress(&control, name)
        })??;
        let note = "veth pair, because /dev/net/tun cannot be opened".to_owned();
        ends.run(|| self.packet(peer, Device::Ours, Some(note)))?
    }

    /// A tap whose descriptor a VM monitor will own: made persistent if it is not there.
    fn monitor_tap(&self, name: &str) -> Result<Queues, OpenError> {
        let control = sys::control_socket().map_err(self.io("open a socket"))?;
        let created = sys::interface_index(&control, name).is_err();
        if created {
            let mut config = self.tap_config(true);
            config.n_queues = self.spec.options.n_queues.unwrap_or(1);
            // The descriptors close here: the device stays, without a carrier until a monitor attaches.
            tap::open_queues(name, config).map_err(|e| self.tap_error(name, e))?;
        }
        let device = if self.claim(name, created)? { Device::Ours } else { Device::Given };
        let made = self.monitor_side(&control, name, device);
        if made.is_err() && device == Device::Ours {
            // The error that is returned matters more than one from here.
            let _ = LinkProbe::interface(name).and_then(|probe| probe.delete_device());
        }
        made
    }

    fn monitor_side(&self, control: &OwnedFd, name: &str, device: Device) -> Result<Queues, OpenError> {
        let link_error = |source| OpenError::Link { port: self.spec.to_string(), source };
        crate::quieten(name).map_err(self.io("switch off the host's own traffic on it"))?;
        link::blocking(None, async |netlink| netlink.flush_addresses(name).await).map_err(link_error)?;
        self.dress(control, name)?;
        self.packet(name, device, None)
    }

    /// An interface of the calling thread's namespace by AF_PACKET.
    fn packet(&self, name: &str, device: Device, note: Option<String>) -> Result<Queues, OpenError> {
        let control = sys::control_socket().map_err(self.io("open a socket"))?;
        let Ok(index) = sys::interface_index(&control, name) else {
            return Err(OpenError::Missing { port: self.spec.to_string(), interface: name.to_owned() });
        };
        let bare = link::blocking(None, async |netlink| netlink.addresses(name).await)
            .is_ok_and(|addresses| addresses.iter().all(|(ip, _)| is_link_local(ip)));
        if bare {
            // An interface without addresses of its own is a mere port: the host shall not answer on it.
            crate::quieten(name).map_err(self.io("switch off the host's own traffic on it"))?;
        }
        if device == Device::Ours || self.spec.options.mtu.is_some() || self.spec.options.mac.is_some() {
            self.dress(&control, name)?;
        }
        let socket = PacketSocket::open(index).map_err(self.io("open a packet socket"))?;
        let probe = LinkProbe::interface(name).map_err(self.io("watch the interface"))?;
        let mac = sys::interface_mac(&control, name).map_err(self.io("read its address"))?;
        let mtu = sys::interface_mtu(&control, name).map_err(self.io("read its MTU"))?;
        let info = self.info(name, mac, mtu, self.offload(Offload::ALL), note);
        Ok(vec![Box::new(PacketPort::new(socket, info, probe, device == Device::Ours))])
    }

    fn mem(&self, name: &str) -> Result<Queues, OpenError> {
        let port =
            if name.is_empty() { mem::sink("mem") } else { mem::named(name, self.offload(Offload::ALL)) };
        Ok(vec![Box::new(port.map_err(self.io("make an event"))?)])
    }

    /// Turns the kernel's answer into the error for people.
    fn io(&self, what: &'static str) -> impl Fn(io::Error) -> OpenError + '_ {
        move |source| match source.kind() {
            io::ErrorKind::PermissionDenied => OpenError::Privilege {
                port: self.spec.to_string(),
                what,
                needs: "CAP_NET_ADMIN and CAP_NET_RAW in the namespace (be root, or enter a user namespace)",
            },
            _ => OpenError::Io { port: self.spec.to_string(), what, source },
        }
    }

    fn tap_error(&self, name: &str, error: TapError) -> OpenError {
        match error {
            TapError::NotATap => self.in_use(name, "not a tap"),
            TapError::Busy => self.in_use(name, "used by another process"),
            TapError::WrongNamespace => self.unsupported("the tap was made in another namespace"),
            // What `tap` makes of a refusal, to tell it from one of the request that follows.
            TapError::Device(source) if source.raw_os_error() == Some(libc::ENXIO) => {
                self.io("open /dev/net/tun")(io::ErrorKind::PermissionDenied.into())
            }
            TapError::Device(source) => self.io("open /dev/net/tun")(source),
            TapError::Io(what, source) => self.io(what)(source),
        }
    }

    fn in_use(&self, name: &str, what: &'static str) -> OpenError {
        OpenError::InUse { port: self.spec.to_string(), interface: name.to_owned(), what }
    }

    fn unsupported(&self, why: &'static str) -> OpenError {
        OpenError::Unsupported { port: self.spec.to_string(), why }
    }
}

/// A namespace without a name for the switch ends of veth pairs: out of sight of the host, and gone with the process
/// however it ends. That of the calling thread where none can be made.
fn switch_ends() -> Result<Namespace, NetnsError> {
    static ENDS: OnceLock<Namespace> = OnceLock::new();
    if let Some(ends) = ENDS.get() {
        return Ok(ends.clone());
    }
    match Namespace::anonymous("of switch ends") {
        Ok(ends) => Ok(ENDS.get_or_init(|| ends).clone()),
        Err(NetnsError::Privilege { .. }) => Namespace::current(),
        Err(error) => Err(error),
    }
}

fn is_link_local(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}
