//! DHCP and DNS, and what they and the firewall show.

use std::time::Duration;

use controller_api as api;
use packet::MacAddr;
use vrouter::{DhcpHost, DhcpPool, DhcpRelay, DnsConfig, FirewallAction, LeaseState, RouterConfig};

use super::prefix;

/// Puts the services of `router` into `config`.
pub(super) fn fill(config: &mut RouterConfig, router: &api::Router) {
    config.dhcp = router.dhcp.iter().map(pool).collect();
    let relay = |from: &api::DhcpRelay| DhcpRelay {
        interface: from.interface.clone(),
        servers: from.servers.clone(),
    };
    config.dhcp_relays = router.dhcp_relays.iter().map(relay).collect();
    if let Some(dns) = &router.dns {
        let zone =
            |zone: &api::DnsZone| (zone.domain.trim_matches('.').to_ascii_lowercase(), zone.servers.clone());
        config.dns = DnsConfig {
            interfaces: dns.interfaces.clone(),
            servers: dns.servers.clone(),
            zones: dns.zones.iter().map(zone).collect(),
            cache_size: dns.cache_size.map_or(DnsConfig::default().cache_size, |n| n as usize),
        };
    }
}

fn pool(from: &api::DhcpPool) -> DhcpPool {
    let host = |from: &api::DhcpHost| DhcpHost {
        mac: MacAddr(from.mac.0),
        address: from.address,
        name: from.name.clone(),
    };
    let usual = DhcpPool::new(from.interface.clone(), (from.first, from.last));
    DhcpPool {
        network: from.network.map(|net| prefix(net.0)),
        lease_time: from.lease_time.map_or(usual.lease_time, |secs| Duration::from_secs(secs.into())),
        gateway: from.gateway,
        dns: from.dns.clone(),
        ntp: from.ntp.clone(),
        domain: from.domain.clone(),
        mtu: from.mtu,
        routes: from.routes.iter().map(|route| (prefix(route.to.0), route.via)).collect(),
        tftp_server: from.tftp_server.clone(),
        boot_file: from.boot_file.clone(),
        hosts: from.hosts.iter().map(host).collect(),
        ..usual
    }
}

/// A lease as it is shown.
pub fn shown_lease(lease: &vrouter::LeaseInfo) -> api::Lease {
    let state = match lease.state {
        LeaseState::Offered => "offered",
        LeaseState::Bound => "bound",
        LeaseState::Declined => "declined",
    };
    api::Lease {
        address: lease.address,
        mac: api::Mac(lease.mac.0),
        name: lease.name.clone(),
        state: state.to_owned(),
        expires: lease.expires_in.as_secs(),
    }
}

/// What a firewall rule has counted, as it is shown.
pub fn shown_count(rule: &vrouter::RuleInfo) -> api::RuleCount {
    let action = match rule.action {
        FirewallAction::Allow => "allow",
        FirewallAction::Drop => "drop",
        FirewallAction::Reject => "reject",
    };
    api::RuleCount {
        rule: rule.rule,
        action: action.to_owned(),
        packets: rule.n_packets,
        bytes: rule.n_bytes,
        limited: rule.n_limited,
    }
}
