//! What a desired state is made of. Public keys name peers, UUIDs name sessions and mappings; nothing is named by a number of a
//! process.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use router_core::access::{self, DeviceMapping};
use router_core::packet::Protocol;
use router_core::rules::SessionId;
use serde::{Deserialize, Serialize};
use wg_proto::{IpNet, PublicKey};

use crate::grant::Grant;
use crate::list;
use crate::text::Name;
use crate::written::as_text;

/// Addresses of one agent at most.
pub const ADDRESSES_MAX: usize = 64;
/// Prefixes of one peer at most.
pub const ALLOWED_IPS_MAX: usize = 64;

/// A device mapping's name everywhere. As JSON, a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MappingId(#[serde(with = "as_text")] pub u128);

/// One thing that an agent is to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// Itself.
    Identity(Identity),
    /// Somebody at the other end of a tunnel.
    Peer(Peer),
    /// Only routers: what a session may do.
    Grant(Grant),
    /// Only connectors: a device behind a virtual port.
    Mapping(Mapping),
}

/// What an item is called. In this order items depend on those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemKey {
    /// There is one.
    Identity,
    /// By its key.
    Peer(#[serde(with = "as_text")] PublicKey),
    /// By its session.
    Grant(#[serde(with = "as_text")] SessionId),
    /// By its number.
    Mapping(MappingId),
}

/// One step from a state to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The item comes, or takes the place of the one with its key.
    Put(std::sync::Arc<Item>),
    /// The item goes.
    Remove(ItemKey),
}

/// What an agent is taken for. One that is configured otherwise refuses the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Its addresses inside the tunnels.
    #[serde(deserialize_with = "list::at_most::<_, _, ADDRESSES_MAX>")]
    pub addresses: Vec<IpAddr>,
}

/// Somebody at the other end of a tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Its identity.
    #[serde(with = "as_text")]
    pub key: PublicKey,
    /// What it is.
    pub kind: PeerKind,
    /// What it is called in logs and status.
    pub name: Name,
    /// What it may send from. No two peers have the same prefix.
    #[serde(
        serialize_with = "list::write_texts",
        deserialize_with = "list::texts_at_most::<_, _, ALLOWED_IPS_MAX>"
    )]
    pub allowed_ips: Vec<IpNet>,
    /// Where it is dialled; without it, it dials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<SocketAddr>,
    /// Seconds between keepalives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_secs: Option<NonZeroU16>,
}

/// What is at the other end of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerKind {
    /// A user's machine.
    Client,
    /// A node in a tenant's network.
    Connector,
    /// A router.
    Router,
}

/// A virtual port of a connector, and the device behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// Which.
    pub id: MappingId,
    /// What it is called in logs and status.
    pub name: Name,
    /// What the device speaks.
    pub protocol: MappingProtocol,
    /// Where routers find it: a port of the connector's address of the device's IP version.
    pub virtual_port: NonZeroU16,
    /// The device.
    pub device: IpAddr,
    /// Its service's port.
    pub port: NonZeroU16,
}

/// What devices speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MappingProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Item {
    /// What it is called.
    pub fn key(&self) -> ItemKey {
        match self {
            Item::Identity(_) => ItemKey::Identity,
            Item::Peer(peer) => ItemKey::Peer(peer.key),
            Item::Grant(grant) => ItemKey::Grant(grant.session),
            Item::Mapping(mapping) => ItemKey::Mapping(mapping.id),
        }
    }
}

impl Change {
    /// Puts an item.
    pub fn put(item: Item) -> Change {
        Change::Put(std::sync::Arc::new(item))
    }

    /// Which item it is about.
    pub fn key(&self) -> ItemKey {
        match self {
            Change::Put(item) => item.key(),
            Change::Remove(key) => *key,
        }
    }
}

impl Mapping {
    /// What is allocated for a device; `None` for a service that no connector forwards: one without a port, or of another
    /// protocol than TCP and UDP.
    pub fn of(allocated: &DeviceMapping, name: Name) -> Option<Mapping> {
        Some(Mapping {
            id: allocated.id.into(),
            name,
            protocol: MappingProtocol::of(allocated.protocol)?,
            virtual_port: NonZeroU16::new(allocated.virtual_port.number())?,
            device: allocated.device,
            port: NonZeroU16::new(allocated.port)?,
        })
    }
}

impl MappingProtocol {
    fn of(protocol: Protocol) -> Option<MappingProtocol> {
        match protocol {
            Protocol::TCP => Some(MappingProtocol::Tcp),
            Protocol::UDP => Some(MappingProtocol::Udp),
            Protocol(_) => None,
        }
    }

    /// As packets have it.
    pub fn number(self) -> Protocol {
        match self {
            MappingProtocol::Tcp => Protocol::TCP,
            MappingProtocol::Udp => Protocol::UDP,
        }
    }
}

impl From<access::MappingId> for MappingId {
    fn from(id: access::MappingId) -> MappingId {
        MappingId(id.0)
    }
}
