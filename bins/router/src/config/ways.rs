//! Where a destination leaves: to a connector or by the TUN. What has no way, or no source address on its way, is
//! refused here and not at the first packet. Called by `target`.

use std::net::IpAddr;

use ipnet::IpNet;
use router_core::packet::Version;
use router_core::selector::IpRange;
use sluice_runtime::host::config::peer::PeerSettings;

use super::range;
use super::target::{name_of, version_of};
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
    connectors: Vec<Connector<'a>>,
    overlay: &'a [IpAddr],
    egress: Option<&'a [IpAddr]>,
}

struct Connector<'a> {
    settings: &'a PeerSettings,
    allowed_ips: Vec<IpNet>,
}

impl<'a> Ways<'a> {
    /// `overlay` are our own addresses, sources towards connectors; `egress` those towards the TUN, `None` without one.
    pub(crate) fn new(
        connectors: &'a [PeerSettings],
        overlay: &'a [IpAddr],
        egress: Option<&'a [IpAddr]>,
    ) -> Self {
        let connectors =
            connectors.iter().map(|settings| Connector { settings, allowed_ips: settings.allowed_ips() });
        Self { connectors: connectors.collect(), overlay, egress }
    }

    /// The overlay address of the connector called `name`.
    ///
    /// # Errors
    /// [`TargetFault::UnknownConnector`] or [`TargetFault::ConnectorVersion`].
    pub(crate) fn connector_address(&self, name: &str, version: Version) -> Result<IpRange, TargetFault> {
        let connector = self.connectors.iter().find(|connector| connector.settings.name == name);
        let connector = connector.ok_or_else(|| TargetFault::UnknownConnector(name.to_owned()))?;
        let mut addresses = connector.settings.addresses.iter().copied().map(IpRange::single);
        addresses.find(|address| address.version() == version).ok_or_else(|| TargetFault::ConnectorVersion {
            connector: name.to_owned(),
            version: name_of(version),
        })
    }

    /// The way to what is `reached`, with `src_nat` as the target has it.
    ///
    /// # Errors
    /// [`TargetFault::NoWayOut`], [`TargetFault::SplitWay`] or [`TargetFault::NoSourceAddress`].
    pub(crate) fn to(&self, reached: IpRange, src_nat: bool) -> Result<Way, TargetFault> {
        let way = self.way(&reached)?;
        if src_nat && !self.has_source(way, reached.start()) {
            let field = if way == Way::Connector { "[node] addresses" } else { "[tun] egress_addresses" };
            return Err(TargetFault::NoSourceAddress { version: version_of(reached.start()), field });
        }
        Ok(way)
    }

    fn way(&self, reached: &IpRange) -> Result<Way, TargetFault> {
        for Connector { settings, allowed_ips } in &self.connectors {
            if allowed_ips.iter().any(|net| range::within(reached, net)) {
                return Ok(Way::Connector);
            }
            if allowed_ips.iter().any(|net| range::touches(reached, net)) {
                let connector = settings.name.clone();
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
