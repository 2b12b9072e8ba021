//! Shadows of a router's interfaces: taps in a namespace where routing daemons run unchanged. What the router's workers do
//! with them is in `vrouter`; here they are made, and the kernel's routes there followed.

mod follow;
mod taps;

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::Context;
use controller_api as api;
use netio::netns::{Namespace, NetnsError};
use netio::{InterfaceName, PortKind, PortOptions, PortSpec};
use packet::{MacAddr, PortNo, nd};
use vrouter::RouterConfig;

use super::{FieldError, RouterHandle};
use crate::plane::PortRequest;
use follow::Follower;

/// An address with the length of its network.
type Address = (IpAddr, u8);

/// What the shadow of an interface is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Dress {
    name: String,
    mac: MacAddr,
    mtu: u32,
    /// Of the interface itself, its link-local one among them.
    addresses: Vec<Address>,
}

/// What a configuration wants.
#[derive(Debug)]
pub struct Wanted {
    reference: String,
    /// By the place of the interface.
    taps: BTreeMap<usize, Dress>,
    /// Of interfaces without a port.
    loopback: Vec<Address>,
}

/// The shadow of a router.
pub struct Shadow {
    reference: String,
    namespace: Namespace,
    /// The namespace goes with the shadow.
    is_ours: bool,
    taps: Vec<(Dress, PortNo)>,
    loopback: Vec<Address>,
    follower: Follower,
}

/// Taps that are there, before the router knows them.
struct Raised {
    namespace: Namespace,
    is_ours: bool,
    /// By the place of the interface.
    ports: BTreeMap<usize, PortNo>,
    /// Those that were not there before.
    new: Vec<PortNo>,
}

/// The shadow that a configuration asks for; none: it asks for none.
///
/// # Errors
/// A name that no interface of a kernel can have.
pub fn wanted(router: &api::Router, config: &RouterConfig) -> Result<Option<Wanted>, FieldError> {
    let Some(reference) = router.shadow.clone() else { return Ok(None) };
    let mut wanted = Wanted { reference, taps: BTreeMap::new(), loopback: Vec::new() };
    for (index, interface) in config.interfaces.iter().enumerate().filter(|(_, i)| i.vrf.is_none()) {
        if interface.port.is_none() {
            wanted.loopback.extend(&interface.addresses);
            continue;
        }
        let wrong = |why: String| {
            let place = format!("interfaces[{index}].name");
            let reason =
                format!("{why}; its shadow has the same name, so give it another and the old one as `port`");
            FieldError { place, reason }
        };
        InterfaceName::new(&interface.name).map_err(|error| wrong(error.to_string()))?;
        if interface.name == "lo" {
            return Err(wrong("\"lo\" is the loopback interface of every namespace".to_owned()));
        }
        let mut addresses = interface.addresses.clone();
        let is_local = |(address, _): &Address| matches!(address, IpAddr::V6(a) if a.is_unicast_link_local());
        if addresses.iter().any(|(address, _)| address.is_ipv6()) && !addresses.iter().any(is_local) {
            addresses.push((nd::link_local(interface.mac).into(), 64));
        }
        let (name, mac, mtu) = (interface.name.clone(), interface.mac, interface.mtu.into());
        wanted.taps.insert(index, Dress { name, mac, mtu, addresses });
    }
    Ok(Some(wanted))
}

impl RouterHandle {
    /// Gives the router a configuration, with the shadow that it asks for.
    pub(super) async fn adopt(&self, router: &api::Router, mut config: RouterConfig) -> anyhow::Result<()> {
        let wanted = wanted(router, &config)?;
        let mut shadow = self.0.shadow.lock().await;
        let raised = match &wanted {
            Some(wanted) => Some(self.raise(shadow.as_ref(), wanted).await?),
            None => None,
        };
        for (index, port) in raised.iter().flat_map(|raised| &raised.ports) {
            config.interfaces[*index].shadow = Some(*port);
        }
        let result = self.0.owner.ask(move |owner, now| owner.set_config(now, config)).await?;
        if let Err(error) = result {
            if let Some(raised) = &raised {
                self.lower(&raised.new).await;
                if shadow.is_none() {
                    remove(&raised.namespace, raised.is_ours);
                }
            }
            return Err(super::convert::place_nat(router, error.into()).into());
        }
        let old = shadow.take();
        if let (Some(wanted), Some(raised)) = (wanted, raised) {
            *shadow = Some(self.settle(old, wanted, raised).await?);
        } else if let Some(old) = old {
            self.end_shadow(old).await;
        }
        Ok(())
    }

    /// Makes the taps that are not there yet.
    async fn raise(&self, old: Option<&Shadow>, wanted: &Wanted) -> anyhow::Result<Raised> {
        let old = old.filter(|old| old.reference == wanted.reference);
        let (namespace, is_ours) = match old {
            Some(old) => (old.namespace.clone(), old.is_ours),
            None => self.enter(&wanted.reference).await?,
        };
        let mut raised = Raised { namespace, is_ours, ports: BTreeMap::new(), new: Vec::new() };
        for (index, dress) in &wanted.taps {
            let known = old.and_then(|old| old.taps.iter().find(|(known, _)| known.name == dress.name));
            let port = match known {
                Some((_, port)) => Ok(*port),
                None => self.make_tap(&wanted.reference, dress).await.inspect(|port| raised.new.push(*port)),
            };
            match port {
                Ok(port) => raised.ports.insert(*index, port),
                Err(error) => {
                    self.lower(&raised.new).await;
                    if old.is_none() {
                        remove(&raised.namespace, raised.is_ours);
                    }
                    let place = format!("interfaces[{index}].name");
                    let reason = format!("no shadow for interface \"{}\": {error:#}", dress.name);
                    return Err(FieldError { place, reason }.into());
                }
            };
        }
        Ok(raised)
    }

    /// The namespace, and whether it is this router's own.
    async fn enter(&self, reference: &str) -> anyhow::Result<(Namespace, bool)> {
        let (wanted, mark) = (reference.to_owned(), format!("weft shadow of {}", self.0.name));
        let entered = tokio::task::spawn_blocking(move || taps::enter(&wanted, &mark)).await;
        entered.context("a blocking call was cut short")?.map_err(|error| {
            let hint = match &error {
                taps::Error::Namespace(NetnsError::Missing(_)) => {
                    "; a name without \"/\" is made where there is none, a path or pid:N must be there"
                }
                _ => "",
            };
            let reason = format!("{:#}{hint}", anyhow::Error::from(error));
            FieldError { place: "shadow".to_owned(), reason }.into()
        })
    }

    async fn make_tap(&self, reference: &str, dress: &Dress) -> anyhow::Result<PortNo> {
        let number = self.next_port();
        let kind =
            PortKind::Netns { namespace: reference.to_owned(), interface: InterfaceName::new(&dress.name)? };
        let options = PortOptions {
            mac: Some(dress.mac),
            mtu: Some(dress.mtu),
            n_queues: Some(1),
            ..PortOptions::default()
        };
        let (label, spec) = (format!("shadow of {}", dress.name), PortSpec { kind, options });
        self.0.plane.prepare_port(self.0.id, PortRequest { number, label, spec, persistent: false }).await?;
        Ok(number)
    }

    async fn lower(&self, ports: &[PortNo]) {
        for port in ports {
            if let Err(error) = self.0.plane.remove_port(self.0.id, *port).await {
                tracing::warn!(router = self.0.name, %port, error = format!("{error:#}"), "a shadow stays");
            }
        }
    }

    /// Makes everything as it is wanted, now that the workers know the taps.
    async fn settle(&self, old: Option<Shadow>, wanted: Wanted, raised: Raised) -> anyhow::Result<Shadow> {
        let Raised { namespace, is_ours, mut ports, new } = raised;
        let taps: Vec<(Dress, PortNo)> =
            wanted.taps.into_iter().filter_map(|(i, dress)| Some((dress, ports.remove(&i)?))).collect();
        let (before, follower) = match old {
            Some(old) if old.reference == wanted.reference => {
                let is_gone = |(_, port): &&(Dress, PortNo)| taps.iter().all(|(_, kept)| kept != port);
                let gone: Vec<PortNo> = old.taps.iter().filter(is_gone).map(|(_, port)| *port).collect();
                self.lower(&gone).await;
                let dresses = old.taps.into_iter().map(|(dress, _)| dress).collect();
                ((dresses, old.loopback), old.follower)
            }
            other => {
                if let Some(old) = other {
                    self.end_shadow(old).await;
                }
                (
                    (Vec::new(), Vec::new()),
                    Follower::start(self.0.name.clone(), namespace.clone(), self.0.owner.clone()),
                )
            }
        };
        let (within, after) = (namespace.clone(), (dresses(&taps), wanted.loopback.clone()));
        let dressed = tokio::task::spawn_blocking(move || taps::dress(&within, &before, &after)).await;
        let loopback = wanted.loopback;
        let shadow = Shadow { reference: wanted.reference, namespace, is_ours, taps, loopback, follower };
        match dressed.context("a blocking call was cut short")? {
            Ok(links) => shadow.follower.set_links(links),
            Err(error) => {
                self.end_shadow(shadow).await;
                return Err(anyhow::Error::from(error).context("the shadow cannot be dressed"));
            }
        }
        for port in new {
            self.0.plane.start_port(self.0.id, port).await?;
        }
        Ok(shadow)
    }

    /// Takes a shadow away, and its routes out of the router.
    pub(super) async fn end_shadow(&self, shadow: Shadow) {
        shadow.follower.stop().await;
        let ports: Vec<PortNo> = shadow.taps.iter().map(|(_, port)| *port).collect();
        self.lower(&ports).await;
        remove(&shadow.namespace, shadow.is_ours);
    }
}

impl Shadow {
    /// What is left to do where nobody can wait any more.
    pub fn abandon(&self) {
        remove(&self.namespace, self.is_ours);
    }
}

fn dresses(taps: &[(Dress, PortNo)]) -> Vec<Dress> {
    taps.iter().map(|(dress, _)| dress.clone()).collect()
}

/// Removes the name of a namespace that is ours; processes in it keep it alive.
fn remove(namespace: &Namespace, is_ours: bool) {
    if is_ours && let Err(error) = Namespace::delete(namespace.label()) {
        tracing::warn!(error = format!("{:#}", anyhow::Error::from(error)), "a namespace stays");
    }
}
