//! Where each destination of a target leaves: to a connector or by the TUN. What has no way, or no source address
//! on its way, is refused here and not at the first packet.

use std::net::IpAddr;

use ipnet::IpNet;
use router_core::selector::IpRange;
use sluice_runtime::host::config::peer::PeerSettings;

use super::range;
use super::target::{Destination, Target, version_of};
use super::target_fault::TargetFault;

/// Where a destination leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To a connector, through its tunnel.
    Connector,
    /// Into the host's network.
    Tun,
}

/// The ways there are.
pub(crate) struct Ways<'a> {
    /// Who owns which addresses.
    pub(crate) connectors: &'a [PeerSettings],
    /// Our own addresses; sources towards connectors.
    pub(crate) overlay: &'a [IpAddr],
    /// Sources towards the TUN; `None` without one.
    pub(crate) egress: Option<&'a [IpAddr]>,
}

impl Ways<'_> {
    /// The way of one destination of `target`.
    ///
    /// # Errors
    /// [`TargetFault::NoWayOut`], [`TargetFault::SplitWay`] or [`TargetFault::NoSourceAddress`].
    pub(crate) fn of(&self, target: &Target, destination: &Destination) -> Result<Way, TargetFault> {
        let reached = destination.reached();
        let way = self.way(reached)?;
        if target.src_nat && !self.has_source(way, reached.start()) {
            let field = if way == Way::Connector { "[node] addresses" } else { "[tun] egress_addresses" };
            return Err(TargetFault::NoSourceAddress { version: version_of(reached.start()), field });
        }
        Ok(way)
    }

    fn way(&self, reached: IpRange) -> Result<Way, TargetFault> {
        for connector in self.connectors {
            let nets = connector.allowed_ips();
            if nets.iter().any(|net| range::within(&reached, net)) {
                return Ok(Way::Connector);
            }
            if nets.iter().any(|net: &IpNet| range::touches(&reached, net)) {
                let connector = connector.name.clone();
                return Err(TargetFault::SplitWay { range: reached.to_string(), connector });
            }
        }
        let tun = self.egress.map(|_| Way::Tun);
        tun.ok_or_else(|| TargetFault::NoWayOut { range: reached.to_string() })
    }

    fn has_source(&self, way: Way, towards: IpAddr) -> bool {
        let sources = match way {
            Way::Connector => self.overlay,
            Way::Tun => self.egress.unwrap_or_default(),
        };
        sources.iter().any(|source| source.is_ipv4() == towards.is_ipv4())
    }
}
