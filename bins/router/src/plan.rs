//! From the configuration to what the node is made from, but for its rules. Pure. Called by `run` and `check`.

use sluice_runtime::host::background::StackPlan;
use sluice_runtime::host::peers::{PeerKind, PeerPlan};
use sluice_runtime::host::program::{NodePlan, TunPlan};

use crate::config::RouterConfig;

/// The configuration as the node takes it, but for its rules.
pub(crate) fn plan(config: &RouterConfig) -> NodePlan {
    let clients = config.clients.iter().map(|client| PeerPlan {
        name: client.name.clone(),
        kind: PeerKind::Client,
        public_key: client.public_key,
        preshared_key: client.preshared_key.clone(),
        endpoint: None,
        persistent_keepalive: None,
        allowed_ips: client.addresses.iter().map(|address| (*address).into()).collect(),
    });
    let connectors = config.connectors.iter().map(|connector| PeerPlan::of(connector, PeerKind::Connector));
    let tun = config.tun.as_ref().map(|tun| TunPlan {
        settings: tun.common.clone(),
        routes: tun.routes.clone(),
        clients: if tun.accept_clients { config.client_ip_pool.clone() } else { Vec::new() },
    });
    NodePlan {
        node: config.node.clone(),
        tun,
        stack: StackPlan::of(&config.node, config.sockets.as_ref()),
        sockets: config.sockets.clone(),
        peers: clients.chain(connectors).collect(),
        refusal: config.deny_signal,
    }
}
