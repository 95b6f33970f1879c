//! Items by number, small enough that they meet.

use std::net::IpAddr;

use control_proto::{
    Change, Deny, Grant, GrantDestination, GrantSubject, Identity, Item, ItemKey, Name, Peer, PeerKind, Via,
};
use router_core::flow::Caps;
use router_core::rules::SessionId;
use router_core::selector::{IpRange, Selector};
use wg_proto::{IpNet, PublicKey};

pub(crate) fn key(number: u8) -> PublicKey {
    PublicKey::from_bytes([number; 32])
}

pub(crate) fn identity() -> Item {
    Item::Identity(Identity { addresses: vec![IpAddr::from([10, 99, 0, 1])] })
}

/// A peer with one address.
pub(crate) fn peer(number: u8, last: u8) -> Item {
    Item::Peer(Peer {
        key: key(number),
        kind: PeerKind::Client,
        name: Name::cut(format_args!("peer-{number}")),
        allowed_ips: vec![IpNet::from(IpAddr::from([10, 77, 0, last]))],
        endpoint: None,
        keepalive_secs: None,
    })
}

pub(crate) fn session(number: u32) -> SessionId {
    SessionId(u128::from(number) + 1)
}

/// A grant of so many destinations.
pub(crate) fn grant(number: u32, destinations: u8) -> Item {
    let to = |last| {
        let selector = Selector::new(IpRange::single(IpAddr::from([10, 20, 0, last])), None, None).unwrap();
        GrantDestination { selector, dnat: None, via: Via::Route }
    };
    Item::Grant(Grant {
        session: session(number),
        user: Name::cut("alice"),
        target: Name::cut("db"),
        source: IpAddr::from([10, 77, 0, 1]),
        subject: GrantSubject::Device(key(1)),
        destinations: (0..destinations.max(1)).map(to).collect(),
        src_nat: true,
        deny: Some(Deny::Prohibited),
        expires: None,
        caps: Caps::default(),
    })
}

pub(crate) fn open(number: u32) -> Change {
    Change::put(grant(number, 1))
}

pub(crate) fn close(number: u32) -> Change {
    Change::Remove(ItemKey::Grant(session(number)))
}
