//! From the configuration to what the node is made from, but for its rules. Pure. Called by `run` and `check`.

use ipnet::IpNet;
use router_core::Refusal as Deny;
use sluice_runtime::host::background::StackPlan;
use sluice_runtime::host::config::peer::PeerSettings;
use sluice_runtime::host::peers::{PeerKind, PeerPlan};
use sluice_runtime::host::program::{NodePlan, TunPlan};

use crate::config::ConnectorConfig;

/// The configuration as the node takes it, but for its rules.
pub(crate) fn plan(config: &ConnectorConfig) -> NodePlan {
    let tun = config.tun().map(|tun| TunPlan {
        settings: tun.common.clone(),
        routes: if tun.snat { Vec::new() } else { senders(config) },
        clients: Vec::new(),
    });
    let routers = config.routers.iter().map(|router| PeerPlan::of(router, PeerKind::Router));
    NodePlan {
        node: config.node.clone(),
        tun,
        stack: StackPlan::of(&config.node, config.sockets()),
        sockets: config.sockets().cloned(),
        peers: routers.collect(),
        refusal: Deny::Prohibited,
    }
}

/// Without SNAT the devices answer the senders themselves, so the host has to route those back to us.
fn senders(config: &ConnectorConfig) -> Vec<IpNet> {
    config.routers.iter().flat_map(PeerSettings::allowed_ips).collect()
}
