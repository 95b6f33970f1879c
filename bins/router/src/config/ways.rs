//! Where a destination leaves: to a connector, by the TUN or by sockets. What has no way, or no source address on its way, is
//! refused here and not at the first packet. Called by `target`.

use std::net::IpAddr;

use ipnet::IpNet;
use router_core::packet::Version;
use router_core::selector::IpRange;
use sluice_runtime::host::config::peer::PeerSettings;
use sluice_runtime::host::config::value::ValueFault;
pub(crate) use sluice_runtime::host::ways::Way;

use super::range;
use super::target::{name_of, version_of};
use super::target_fault::TargetFault;

/// A way that a target may ask for, by its word.
///
/// # Errors
/// [`TargetFault::Value`].
pub(crate) fn wished(word: &str) -> Result<Way, TargetFault> {
    match word {
        "tun" => Ok(Way::Tun),
        "sockets" => Ok(Way::Sockets),
        _ => {
            let given = word.to_owned();
            Err(TargetFault::Value(ValueFault::NotAWord { given, known: "tun, sockets" }))
        }
    }
}

/// The ways there are.
pub(crate) struct Ways<'a> {
    connectors: Vec<Connector<'a>>,
    overlay: &'a [IpAddr],
    egress: Option<&'a [IpAddr]>,
    has_sockets: bool,
}

struct Connector<'a> {
    settings: &'a PeerSettings,
    allowed_ips: Vec<IpNet>,
}

impl<'a> Ways<'a> {
    /// `overlay` are our own addresses, sources towards connectors and sockets; `egress` those towards the TUN, `None`
    /// without one.
    pub(crate) fn new(
        connectors: &'a [PeerSettings],
        overlay: &'a [IpAddr],
        egress: Option<&'a [IpAddr]>,
        has_sockets: bool,
    ) -> Self {
        let connectors =
            connectors.iter().map(|settings| Connector { settings, allowed_ips: settings.allowed_ips() });
        Self { connectors: connectors.collect(), overlay, egress, has_sockets }
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

    /// The way to what is `reached`, with `src_nat` and the `wished` way out of this host as the target has them.
    ///
    /// # Errors
    /// [`TargetFault::NoWayOut`], [`TargetFault::NoSuchEgress`], [`TargetFault::SplitWay`] or that there is no source
    /// address.
    pub(crate) fn to(
        &self,
        reached: IpRange,
        src_nat: bool,
        wished: Option<Way>,
    ) -> Result<Way, TargetFault> {
        let (way, version) = (self.way(&reached, wished)?, version_of(reached.start()));
        if self.has_source(way, reached.start()) {
            return Ok(way);
        }
        match (way, src_nat) {
            (Way::Sockets, _) => Err(TargetFault::NoStackAddress { version }),
            (Way::Connector, true) => {
                Err(TargetFault::NoSourceAddress { version, field: "[node] addresses" })
            }
            (Way::Tun, true) => {
                Err(TargetFault::NoSourceAddress { version, field: "[tun] egress_addresses" })
            }
            (Way::Connector | Way::Tun, false) => Ok(way),
        }
    }

    fn way(&self, reached: &IpRange, wished: Option<Way>) -> Result<Way, TargetFault> {
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
        let sockets = self.has_sockets.then_some(Way::Sockets);
        match wished {
            Some(Way::Tun) => tun.ok_or(TargetFault::NoSuchEgress { egress: "tun" }),
            Some(Way::Sockets) => sockets.ok_or(TargetFault::NoSuchEgress { egress: "sockets" }),
            Some(Way::Connector) | None => {
                tun.or(sockets).ok_or_else(|| TargetFault::NoWayOut { range: reached.to_string() })
            }
        }
    }

    fn has_source(&self, way: Way, towards: IpAddr) -> bool {
        let sources = match way {
            Way::Connector | Way::Sockets => self.overlay,
            Way::Tun => self.egress.unwrap_or_default(),
        };
        sources.iter().any(|source| source.is_ipv4() == towards.is_ipv4())
    }
}
