//! The peers of a configuration, brought into a node: at start, and again at each reload, where what did not change
//! stays as it is, sessions and roamed endpoints included.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU16;

use super::config::peer::PeerSettings;
use ipnet::IpNet;
use router_core::Node;
use wg_proto::{AddPeerError, Device, Instant, NoSuchPeer, PeerConfig, PeerIndex, PresharedKey, PublicKey};

/// A peer as the configuration wants it.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerPlan {
    /// What it is called in logs and status.
    pub name: String,
    /// What it is.
    pub kind: PeerKind,
    /// Its identity.
    pub public_key: PublicKey,
    /// Mixed into the handshake.
    pub preshared_key: Option<PresharedKey>,
    /// Where we dial it; `None` if it dials us.
    pub endpoint: Option<SocketAddr>,
    /// Between keepalives.
    pub persistent_keepalive: Option<NonZeroU16>,
    /// What it may send from.
    pub allowed_ips: Vec<IpNet>,
}

/// What is at the other end of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerKind {
    /// A user's machine.
    Client,
    /// A node in a tenant's network.
    Connector,
    /// A router.
    Router,
}

impl PeerKind {
    /// As status spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Connector => "connector",
            Self::Router => "router",
        }
    }
}

impl PeerPlan {
    /// The plan of a peer node.
    pub fn of(settings: &PeerSettings, kind: PeerKind) -> Self {
        Self {
            name: settings.name.clone(),
            kind,
            public_key: settings.public_key,
            preshared_key: settings.preshared_key.clone(),
            endpoint: settings.endpoint,
            persistent_keepalive: settings.persistent_keepalive,
            allowed_ips: settings.allowed_ips(),
        }
    }
}

/// The node's numbers of peers, by key: rules name peers so.
#[derive(Clone, Debug, Default)]
pub struct PeerNumbers(HashMap<PublicKey, PeerIndex>);

impl PeerNumbers {
    /// Those of all peers of `device`.
    pub fn of(device: &Device) -> Self {
        let views = device.peers().filter_map(|index| device.peer(index));
        Self(views.map(|peer| (peer.public_key(), peer.index())).collect())
    }

    /// The number of the peer with this key.
    pub fn get(&self, key: &PublicKey) -> Option<PeerIndex> {
        self.0.get(key).copied()
    }
}

/// Adds the peers of `plans` that the device does not have yet, so far without prefixes, so that rules can name them
/// before anything is taken from others. Returns those added.
///
/// # Errors
/// If one cannot be added; then none is.
pub fn add_new(
    device: &mut Device,
    now: Instant,
    plans: &[PeerPlan],
) -> Result<Vec<PeerIndex>, AddPeerError> {
    let mut added = Vec::new();
    for plan in plans {
        match device.add_peer(now, PeerConfig::new(plan.public_key)) {
            Ok(index) => added.push(index),
            Err(AddPeerError::Exists) => {}
            Err(error @ (AddPeerError::OwnKey | AddPeerError::Full)) => {
                take_back(device, &added);
                return Err(error);
            }
        }
    }
    Ok(added)
}

/// Undoes [`add_new`].
pub fn take_back(device: &mut Device, added: &[PeerIndex]) {
    added.iter().for_each(|index| device.remove_peer(*index));
}

/// Makes the node's peers those of `new`. `old` is what they were made from before: only differences are set, so
/// that an endpoint learnt from the network stays unless the configuration names another one than before.
pub fn settle(node: &mut Node, now: Instant, old: &[PeerPlan], new: &[PeerPlan]) {
    let (before, wanted) = (by_key(old), by_key(new));
    for key in before.keys().filter(|key| !wanted.contains_key(*key)) {
        if let Some(index) = node.device().peer_by_key(key) {
            node.remove_peer(now, index);
        }
    }
    let device = node.device_mut();
    for plan in new {
        let before = before.get(&plan.public_key).copied();
        if before != Some(plan)
            && let Some(index) = device.peer_by_key(&plan.public_key)
        {
            // It was found under the same lock, so there is such a peer.
            let _ = set(device, now, index, before, plan);
        }
    }
}

fn by_key(plans: &[PeerPlan]) -> HashMap<PublicKey, &PeerPlan> {
    plans.iter().map(|plan| (plan.public_key, plan)).collect()
}

/// The keepalive comes last: it may start a handshake, which needs all the rest.
fn set(
    device: &mut Device,
    now: Instant,
    index: PeerIndex,
    before: Option<&PeerPlan>,
    plan: &PeerPlan,
) -> Result<(), NoSuchPeer> {
    device.set_preshared_key(now, index, plan.preshared_key.clone())?;
    if let Some(endpoint) =
        plan.endpoint.filter(|endpoint| before.and_then(|plan| plan.endpoint) != Some(*endpoint))
    {
        device.set_endpoint(now, index, endpoint.into())?;
    }
    device.replace_allowed_ips(index, plan.allowed_ips.iter().copied())?;
    device.set_persistent_keepalive(now, index, plan.persistent_keepalive)
}

#[cfg(test)]
mod tests {
    use super::*;
    use router_core::NodeConfig;
    use wg_proto::{Endpoint, PrivateKey};

    const NOW: Instant = Instant::from_nanos(0);

    #[test]
    fn peers_come_change_and_go_with_the_configuration() {
        let mut node = Node::new(NodeConfig::interface(), [1; 32]);
        let (old, new) = (
            vec![plan(1, "10.0.0.1/32"), plan(2, "10.0.0.2/32")],
            vec![plan(2, "10.0.0.1/32"), plan(3, "10.0.0.3/32")],
        );
        add_new(node.device_mut(), NOW, &old).unwrap();
        settle(&mut node, NOW, &[], &old);
        assert_eq!(add_new(node.device_mut(), NOW, &new).unwrap().len(), 1);
        settle(&mut node, NOW, &old, &new);
        let owner = |address: &str| {
            node.device().owner_of(address.parse().unwrap()).and_then(|index| node.device().peer(index))
        };
        assert_eq!(node.device().peers().count(), 2);
        assert!(owner("10.0.0.1").unwrap().public_key() == key(2));
        assert!(owner("10.0.0.2").is_none());
    }

    #[test]
    fn an_endpoint_learnt_stays_until_the_configuration_names_another() {
        let mut node = Node::new(NodeConfig::interface(), [1; 32]);
        let mut plans =
            vec![PeerPlan { endpoint: Some("192.0.2.1:1".parse().unwrap()), ..plan(1, "10.0.0.1/32") }];
        let index = add_new(node.device_mut(), NOW, &plans).unwrap()[0];
        settle(&mut node, NOW, &[], &plans);
        node.device_mut().set_endpoint(NOW, index, Endpoint::new("192.0.2.9:9".parse().unwrap())).unwrap();
        let old = plans.clone();
        plans[0].allowed_ips.push("10.0.0.7/32".parse().unwrap());
        settle(&mut node, NOW, &old, &plans);
        assert_eq!(
            node.device().peer(index).unwrap().endpoint().unwrap().remote,
            "192.0.2.9:9".parse().unwrap()
        );
        let old = plans.clone();
        plans[0].endpoint = Some("192.0.2.2:2".parse().unwrap());
        settle(&mut node, NOW, &old, &plans);
        assert_eq!(
            node.device().peer(index).unwrap().endpoint().unwrap().remote,
            "192.0.2.2:2".parse().unwrap()
        );
    }

    #[test]
    fn what_was_added_for_a_refused_configuration_is_taken_back() {
        let mut node = Node::new(NodeConfig::interface(), [1; 32]);
        let added = add_new(node.device_mut(), NOW, &[plan(1, "10.0.0.1/32")]).unwrap();
        take_back(node.device_mut(), &added);
        assert_eq!(node.device().peers().count(), 0);
    }

    fn plan(seed: u8, prefix: &str) -> PeerPlan {
        PeerPlan {
            name: format!("peer-{seed}"),
            kind: PeerKind::Client,
            public_key: key(seed),
            preshared_key: None,
            endpoint: None,
            persistent_keepalive: None,
            allowed_ips: vec![prefix.parse().unwrap()],
        }
    }

    fn key(seed: u8) -> PublicKey {
        PrivateKey::from_bytes([seed; 32]).public_key()
    }
}
