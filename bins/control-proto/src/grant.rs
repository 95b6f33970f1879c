//! What a session means for a router. It stands on its own: no policy, no number of a process.

use std::net::IpAddr;

use router_core::Refusal;
pub use router_core::access::DESTINATIONS_MAX;
use router_core::access::{self, ConnectorId};
use router_core::flow::Caps;
use router_core::rules::{Dnat, SessionId};
use router_core::selector::{IpRange, PortRange, Selector};
use serde::{Deserialize, Serialize};
use wg_proto::PublicKey;

use crate::list;
use crate::text::Name;
use crate::written::{as_optional_text, as_text};

/// What a router enforces for one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Which session. As JSON, a UUID.
    #[serde(with = "as_text")]
    pub session: SessionId,
    /// Whose it is, for people who look at the router.
    pub user: Name,
    /// What for.
    pub target: Name,
    /// Who may send.
    pub source: IpAddr,
    /// Through which tunnel.
    pub subject: GrantSubject,
    /// Where to: of the source's IP version, at least one.
    #[serde(deserialize_with = "list::at_most::<_, _, DESTINATIONS_MAX>")]
    pub destinations: Vec<GrantDestination>,
    /// Whether devices see an address of the router's instead of the source.
    pub src_nat: bool,
    /// How what the source sends elsewhere is refused; without it, as the router is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny: Option<Deny>,
    /// From when on nothing passes, in seconds of Unix time by the server's clock; without it, as long as the router has a lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// What it may hold at once.
    #[serde(with = "CapsFields")]
    pub caps: Caps,
}

/// Through which tunnel a session's packets come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantSubject {
    /// The one of this key, and no other.
    Device(#[serde(with = "as_text")] PublicKey),
    /// None: from another VPN gateway.
    External,
}

/// One destination of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantDestination {
    /// What the client sends. As JSON, text as it prints: `10.20.0.5 tcp 22`.
    #[serde(with = "as_text")]
    pub selector: Selector,
    /// Where it goes instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dnat: Option<Translation>,
    /// Which way.
    pub via: Via,
}

/// A new destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Translation {
    /// Addresses: one takes all, as many as are selected take them one by one.
    #[serde(with = "as_text")]
    pub addr: IpRange,
    /// The same for ports; without it, they stay.
    #[serde(with = "as_optional_text", default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<PortRange>,
}

/// Which way a packet leaves a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// To whoever its destination belongs to.
    Route,
    /// Through the tunnel of the connector with this key.
    Connector(#[serde(with = "as_text")] PublicKey),
}

/// How traffic that no grant allows is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deny {
    /// Not at all.
    Silent,
    /// With an ICMP error.
    Prohibited,
    /// With a TCP reset.
    Reset,
}

/// A grant leads through a connector of which nobody knows the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no key of the connector {0}")]
pub struct NoConnectorKey(pub ConnectorId);

#[derive(Serialize, Deserialize)]
#[serde(remote = "Caps", deny_unknown_fields)]
struct CapsFields {
    flows_max: u32,
    half_open_max: u32,
    ports_max: u32,
    new_flows_per_sec: u32,
}

impl Grant {
    /// What policy has granted, with the names that people know it by. `key_of` says which key a connector has.
    ///
    /// # Errors
    /// If it knows none.
    pub fn of(
        granted: &access::Grant,
        user: Name,
        target: Name,
        key_of: impl Fn(ConnectorId) -> Option<PublicKey>,
    ) -> Result<Grant, NoConnectorKey> {
        let destination = |granted: &access::GrantDestination| {
            let via = match granted.via {
                access::Via::Route => Via::Route,
                access::Via::Connector(id) => Via::Connector(key_of(id).ok_or(NoConnectorKey(id))?),
            };
            let dnat = granted.dnat.map(Translation::from);
            Ok(GrantDestination { selector: granted.selector, dnat, via })
        };
        Ok(Grant {
            session: granted.session,
            user,
            target,
            source: granted.source,
            subject: match granted.subject {
                access::GrantSubject::Device(key) => GrantSubject::Device(key),
                access::GrantSubject::External => GrantSubject::External,
            },
            destinations: granted.destinations.iter().map(destination).collect::<Result<_, _>>()?,
            src_nat: granted.src_nat,
            deny: granted.deny.map(Deny::from),
            expires: granted.expires.map(|expires| expires.secs),
            caps: granted.caps,
        })
    }
}

impl From<Translation> for Dnat {
    fn from(Translation { addr, ports }: Translation) -> Dnat {
        Dnat { addr, ports }
    }
}

impl From<Dnat> for Translation {
    fn from(Dnat { addr, ports }: Dnat) -> Translation {
        Translation { addr, ports }
    }
}

impl From<Deny> for Refusal {
    fn from(deny: Deny) -> Refusal {
        match deny {
            Deny::Silent => Refusal::Silent,
            Deny::Prohibited => Refusal::Prohibited,
            Deny::Reset => Refusal::Reset,
        }
    }
}

impl From<Refusal> for Deny {
    fn from(refusal: Refusal) -> Deny {
        match refusal {
            Refusal::Silent => Deny::Silent,
            Refusal::Prohibited => Deny::Prohibited,
            Refusal::Reset => Deny::Reset,
        }
    }
}

#[cfg(test)]
mod tests {
    use wg_proto::UnixTime;

    use super::*;

    #[test]
    fn what_policy_grants_is_told_with_the_connectors_key_or_not_at_all() {
        let selector = Selector::new(IpRange::single([10, 20, 0, 5].into()), None, None).unwrap();
        let dnat = Dnat { addr: IpRange::single([10, 99, 0, 2].into()), ports: None };
        let via = access::Via::Connector(ConnectorId(7));
        let granted = access::Grant {
            session: SessionId(1),
            source: [10, 77, 0, 2].into(),
            subject: access::GrantSubject::External,
            destinations: vec![access::GrantDestination { selector, dnat: Some(dnat), via }],
            src_nat: true,
            deny: Some(Refusal::Reset),
            expires: Some(UnixTime::new(1_790_000_000, 5)),
            caps: Caps::default(),
        };
        let (name, key) = (|text: &str| Name::cut(text), PublicKey::from_bytes([9; 32]));
        let grant =
            Grant::of(&granted, name("alice"), name("db"), |id| (id == ConnectorId(7)).then_some(key));
        let grant = grant.unwrap();
        assert_eq!((grant.user.as_str(), grant.target.as_str()), ("alice", "db"));
        assert_eq!(
            (grant.subject, grant.deny, grant.expires),
            (GrantSubject::External, Some(Deny::Reset), Some(1_790_000_000))
        );
        let [to] = grant.destinations[..] else { panic!("{grant:?}") };
        assert_eq!(
            (to.selector, to.dnat.map(Dnat::from), to.via),
            (selector, Some(dnat), Via::Connector(key))
        );
        let unknown = Grant::of(&granted, name("alice"), name("db"), |_| None);
        assert_eq!(unknown, Err(NoConnectorKey(ConnectorId(7))));
    }
}
