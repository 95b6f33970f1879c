//! The interface to the host's network, set up for a router or connector: created, up, egress addresses routed to it
//! and answered for, forwarding switched on. Undone when dropped.

use std::io;

use ipnet::IpNet;

use super::config::tun::TunSettings;
use super::failure::{Exit, Failure};
use crate::net::{HostNetwork, LinkChange};
use crate::tun::{InterfaceName, Tun, TunConfig, TunError};
use crate::worker_count;

/// What we changed about the host's network. Dropping it undoes all of it.
#[must_use = "dropping it undoes the changes"]
pub struct Egress(#[expect(dead_code, reason = "held for its drop")] HostNetwork);

/// Creates the interface with a queue per worker and routes the egress addresses, and `routes`, into it.
///
/// # Errors
/// What the system denies, by name.
pub fn open(
    settings: &TunSettings,
    routes: &[IpNet],
    mtu_bytes: u16,
    workers: u16,
) -> Result<(Tun, Egress), Failure> {
    let name = interface(&settings.name)?;
    let config = TunConfig { name, queues: worker_count(workers), mtu_bytes: Some(mtu_bytes), offload: true };
    let tun = Tun::open(&config).map_err(|error| tun_failure(name, &error))?;
    let mut network =
        HostNetwork::open().map_err(|error| Failure::of_system("cannot reach the routing tables", &error))?;
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    denied(format!("cannot bring {name} up"), network.change_link(tun.index(), up))?;
    forward(&mut network, &name, settings)?;
    for route in egress_prefixes(settings).chain(routes.iter().copied()) {
        denied(format!("cannot route {route} to {name}"), network.add_route(tun.index(), route))?;
    }
    answer_for(&mut network, settings)?;
    Ok((tun, Egress(network)))
}

/// A name from a checked configuration, in the runtime's type.
fn interface(name: &str) -> Result<InterfaceName, Failure> {
    name.parse().map_err(|error| Failure::new(Exit::Configuration, "not an interface name").because(&error))
}

fn egress_prefixes(settings: &TunSettings) -> impl Iterator<Item = IpNet> {
    settings.egress_addresses.iter().map(|address| IpNet::from(*address))
}

/// What arrives on our interface is to go on; v6 only where there is any, as its switches reach further.
fn forward(network: &mut HostNetwork, name: &InterfaceName, settings: &TunSettings) -> Result<(), Failure> {
    denied(format!("cannot switch forwarding on for {name}"), network.forward_from(name, false))?;
    if settings.egress_addresses.iter().any(|address| address.is_ipv6()) {
        denied(format!("cannot switch forwarding on for {name} (IPv6)"), network.forward_from(name, true))?;
    }
    Ok(())
}

fn answer_for(network: &mut HostNetwork, settings: &TunSettings) -> Result<(), Failure> {
    let Some(neighbours_on) = &settings.proxy_neighbours_on else { return Ok(()) };
    let link = interface(neighbours_on)?;
    for address in &settings.egress_addresses {
        let what = format!("cannot answer for {address} on {link}");
        denied(what, network.add_proxy_neighbour(&link, *address))?;
    }
    Ok(())
}

fn denied<T>(what: String, result: io::Result<T>) -> Result<T, Failure> {
    result.map_err(|error| Failure::of_system(what, &error))
}

/// Why an interface could not be made, and what to do about it.
pub fn tun_failure(name: InterfaceName, error: &TunError) -> Failure {
    let what = format!("cannot make interface {name}");
    let (TunError::NoDevice(source) | TunError::Refused { source, .. } | TunError::Configure { source, .. }) =
        error;
    let missing = matches!(source.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound);
    if missing {
        return Failure::new(Exit::Missing, what)
            .because_text(error.to_string())
            .remedy("Run as root or grant CAP_NET_ADMIN, and see that /dev/net/tun is there: modprobe tun");
    }
    Failure::new(Exit::Failed, what).because_text(error.to_string())
}
