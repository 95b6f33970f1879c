//! What agents are to have, in the words of the control protocol.

use std::net::IpAddr;
use std::num::NonZeroU16;

use control_proto::{Grant, Identity, Item, Mapping, MappingId, MappingProtocol, Name, Peer, PeerKind};
use ipnet::IpNet;
use router_core::access::ConnectorId;
use router_core::packet::Protocol;
use wg_proto::PublicKey;

use crate::engine::{Desired, DesiredPeer, NamedGrant};
use crate::store::objects::Kind;

/// Keeps a way open through translators and firewalls on it. Paper section 6.5 leaves the number to whoever needs it; this
/// is what everybody uses.
const KEEPALIVE_SECS: NonZeroU16 = NonZeroU16::new(25).expect("it is not zero");

/// All items of an agent.
pub(super) fn items(desired: &Desired) -> Vec<Item> {
    let mut items = vec![Item::Identity(Identity { addresses: desired.addresses.clone() })];
    items.extend(desired.peers.iter().map(|peer| Item::Peer(self::peer(peer))));
    items.extend(
        desired.grants.iter().filter_map(|grant| self::grant(grant, &desired.peers)).map(Item::Grant),
    );
    items.extend(desired.mappings.iter().filter_map(|mapping| {
        Some(Item::Mapping(Mapping {
            id: MappingId(mapping.id.as_u128()),
            name: Name::cut(&mapping.name),
            protocol: match mapping.protocol {
                Protocol::UDP => MappingProtocol::Udp,
                Protocol(_) => MappingProtocol::Tcp,
            },
            virtual_port: NonZeroU16::new(mapping.virtual_port.number())?,
            device: mapping.device.ip(),
            port: NonZeroU16::new(mapping.device.port())?,
        }))
    }));
    items
}

/// A session's grant; `None` if it leads through a connector of which nobody knows the key.
pub(super) fn grant(named: &NamedGrant, peers: &[DesiredPeer]) -> Option<Grant> {
    let key_of = |connector: ConnectorId| -> Option<PublicKey> {
        peers.iter().find(|peer| peer.id.as_u128() == connector.0).map(|peer| peer.key)
    };
    Grant::of(&named.grant, Name::cut(&named.user), Name::cut(&named.target), key_of).ok()
}

pub(super) fn peer(peer: &DesiredPeer) -> Peer {
    Peer {
        key: peer.key,
        kind: match peer.kind {
            Kind::Router => PeerKind::Router,
            Kind::Connector => PeerKind::Connector,
            Kind::Device | Kind::Tenant | Kind::Role | Kind::User | Kind::Target | Kind::Mapping => {
                PeerKind::Client
            }
        },
        name: Name::cut(&peer.name),
        allowed_ips: peer.addresses.iter().copied().map(host_prefix).collect(),
        endpoint: peer.endpoint,
        keepalive_secs: peer.endpoint.map(|_| KEEPALIVE_SECS),
    }
}

fn host_prefix(address: IpAddr) -> IpNet {
    IpNet::from(address)
}
