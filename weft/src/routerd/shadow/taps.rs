//! The namespace of a shadow, and what its interfaces are given. Everything here blocks.

use std::collections::BTreeMap;
use std::io;

use netio::link::{self, LinkError, Netlink};
use netio::netns::{Namespace, NetnsError};
use netio::set_sysctl;

use super::{Address, Dress};

/// Why there is no shadow.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Namespace(#[from] NetnsError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("cannot set {key} to {value}")]
    Setting {
        key: String,
        value: &'static str,
        #[source]
        source: io::Error,
    },
}

/// Of the interfaces of the namespace, and of what else there is in the future. The kernel there forwards nothing, as the
/// router does, and takes packets by whichever interface they come.
const OF_OURS: [(&str, &str); 8] = [
    ("net/ipv4/ip_forward", "0"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv6/conf/all/forwarding", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/autoconf", "0"),
    // None of its own making: the router's are given to it.
    ("net/ipv6/conf/default/addr_gen_mode", "1"),
];

/// Of each shadow. The router asks whether its addresses are somebody else's, and hears routers itself.
const OF_EACH: [(&str, &str, &str); 6] = [
    ("ipv4", "forwarding", "0"),
    ("ipv4", "rp_filter", "0"),
    ("ipv6", "forwarding", "0"),
    ("ipv6", "accept_ra", "0"),
    ("ipv6", "accept_dad", "0"),
    ("ipv6", "addr_gen_mode", "1"),
];

/// Opens a namespace; one that is missed by its name is made. Whether it is ours, by the mark that it was made with.
pub fn enter(reference: &str, mark: &str) -> Result<(Namespace, bool), Error> {
    let is_name = !reference.contains('/') && !reference.starts_with("pid:");
    let missing = match Namespace::open(reference) {
        Ok(namespace) => {
            let lo = link::blocking(Some(&namespace), async |netlink| netlink.link("lo").await)?;
            let is_ours = is_name && lo.alias == mark;
            return Ok((namespace, is_ours));
        }
        Err(missing @ NetnsError::Missing(_)) if is_name => missing,
        Err(error) => return Err(error.into()),
    };
    tracing::debug!(%missing, "it is made");
    let namespace = Namespace::create(reference)?;
    let made = prepare(&namespace, mark);
    if made.is_err() {
        // The error that is returned matters more than one from here.
        let _ = Namespace::delete(reference);
    }
    made.map(|()| (namespace, true))
}

fn prepare(namespace: &Namespace, mark: &str) -> Result<(), Error> {
    for (key, value) in OF_OURS {
        set(namespace, key, value)?;
    }
    Ok(link::blocking(Some(namespace), async |netlink| netlink.set_alias("lo", mark).await)?)
}

/// Writes a setting that a kernel without IPv6 may not have, and that may be as it should where it cannot be written.
fn set(namespace: &Namespace, key: &str, value: &'static str) -> Result<(), Error> {
    match set_sysctl(Some(namespace), key, value) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            let is_so = namespace.run(|| std::fs::read_to_string(format!("/proc/sys/{key}")))?;
            match is_so.is_ok_and(|now| now.trim() == value) {
                true => Ok(()),
                false => Err(Error::Setting { key: key.to_owned(), value, source }),
            }
        }
        _ => Ok(()),
    }
}

/// Gives interfaces and the loopback what they are to have, takes from them what they have had from us. Returns the
/// interfaces by the kernel's number.
pub fn dress(
    namespace: &Namespace,
    before: &(Vec<Dress>, Vec<Address>),
    after: &(Vec<Dress>, Vec<Address>),
) -> Result<BTreeMap<u32, String>, Error> {
    for dress in &after.0 {
        let speaks_v6 = dress.addresses.iter().any(|(address, _)| address.is_ipv6());
        for (family, key, value) in OF_EACH {
            set(namespace, &format!("net/{family}/conf/{}/{key}", dress.name), value)?;
        }
        let disabled = if speaks_v6 { "0" } else { "1" };
        set(namespace, &format!("net/ipv6/conf/{}/disable_ipv6", dress.name), disabled)?;
    }
    let links = link::blocking(Some(namespace), async |netlink| {
        for dress in &after.0 {
            let known = before.0.iter().find(|known| known.name == dress.name);
            if known.is_some_and(|known| known.mac != dress.mac) {
                netlink.set_mac(&dress.name, dress.mac).await?;
            }
            if known.is_some_and(|known| known.mtu != dress.mtu) {
                netlink.set_mtu(&dress.name, dress.mtu).await?;
            }
            let had = known.map_or(&[][..], |known| &known.addresses);
            readdress(&netlink, &dress.name, had, &dress.addresses).await?;
        }
        readdress(&netlink, "lo", &before.1, &after.1).await?;
        netlink.links().await
    })?;
    let is_shadow = |name: &str| after.0.iter().any(|dress| dress.name == name);
    Ok(links.into_iter().filter(|link| is_shadow(&link.name)).map(|link| (link.index, link.name)).collect())
}

/// Addresses that daemons have given an interface are left alone.
async fn readdress(
    netlink: &Netlink,
    name: &str,
    before: &[Address],
    after: &[Address],
) -> Result<(), LinkError> {
    for (address, len) in before.iter().filter(|had| !after.contains(had)) {
        netlink.remove_address(name, *address, *len).await?;
    }
    let has = netlink.addresses(name).await?;
    for (address, len) in after.iter().filter(|wanted| !has.contains(wanted)) {
        netlink.add_address(name, *address, *len).await?;
    }
    Ok(())
}
