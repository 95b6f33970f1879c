//! From grants to rules, and from mappings. Pure. Called by led; calls ways and mappings, which the programs that read files call
//! as well.

use control_proto::{Grant, GrantSubject, Mapping, Peer, PeerKind, Via};
use router_core::Refusal;
use router_core::rules::{IngressMatch, Rule, SessionId, Subject};
use wg_proto::{PeerIndex, PublicKey};

use crate::host::admin::collect::RuleText;
use crate::host::config::value;
use crate::host::mappings::{self, Forwarding, Outlet};
use crate::host::moment::Moment;
use crate::host::peers::{self, PeerPlan};
use crate::host::program::NodePlan;
use crate::host::rule_id;
use crate::host::ways::{self, Exit, Permission, Way};

/// What a router does with what no peer is named for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Defaults {
    way: Way,
    deny: Refusal,
}

impl Defaults {
    /// By the TUN if there is one, else by sockets; without either, to whichever peer owns the address.
    pub(super) fn of(plan: &NodePlan) -> Defaults {
        let way = match (&plan.tun, &plan.sockets) {
            (Some(_), _) => Way::Tun,
            (None, Some(_)) => Way::Sockets,
            (None, None) => Way::Connector,
        };
        Defaults { way, deny: plan.refusal }
    }
}

/// The rules of a grant: none if it is past its end, or if its client's peer is not there.
pub(super) fn rules(
    grant: &Grant,
    defaults: Defaults,
    moment: Moment,
    peer: impl Fn(&PublicKey) -> Option<PeerIndex>,
) -> Vec<Rule> {
    let permission = permission(grant, defaults, moment, peer);
    permission.map_or(Vec::new(), |permission| ways::rules(&permission, |way| rule_id(grant.session, way)))
}

fn permission(
    grant: &Grant,
    defaults: Defaults,
    moment: Moment,
    peer: impl Fn(&PublicKey) -> Option<PeerIndex>,
) -> Option<Permission> {
    let ingress = match grant.subject {
        GrantSubject::Device(key) => IngressMatch::Peer(peer(&key)?),
        GrantSubject::External => IngressMatch::Tun,
    };
    let lease = match grant.expires {
        None => None,
        Some(expires) => Some(moment.deadline(i64::try_from(expires).ok()?)?),
    };
    let exits = grant.destinations.iter().filter_map(|to| {
        let (way, through) = match to.via {
            Via::Route => (defaults.way, None),
            Via::Connector(key) => (Way::Connector, Some(peer(&key)?)),
        };
        Some(Exit { selector: to.selector, dnat: to.dnat.map(Into::into), way, through })
    });
    Some(Permission {
        subject: Subject { ingress, source: value::host_prefix(grant.source) },
        exits: exits.collect(),
        src_nat: grant.src_nat,
        deny: grant.deny.map_or(defaults.deny, Refusal::from),
        lease,
        caps: grant.caps,
    })
}

/// The same session has the same rules, whenever it is told.
fn rule_id(session: SessionId, way: Way) -> SessionId {
    rule_id::of(&[&session.to_string(), way.name()])
}

/// The peers that a grant names.
pub(super) fn keys(grant: &Grant) -> impl Iterator<Item = PublicKey> + '_ {
    let subject = match grant.subject {
        GrantSubject::Device(key) => Some(key),
        GrantSubject::External => None,
    };
    let connectors = grant.destinations.iter().filter_map(|to| match to.via {
        Via::Connector(key) => Some(key),
        Via::Route => None,
    });
    subject.into_iter().chain(connectors)
}

/// What a grant's rule is called, for status.
pub(super) fn text(grant: &Grant, rule: &Rule) -> RuleText {
    let in_words = |to: &router_core::rules::Destination| match to.dnat {
        None => to.selector.to_string(),
        Some(dnat) => match dnat.ports {
            None => format!("{} -> {}", to.selector, dnat.addr),
            Some(ports) => format!("{} -> {} {ports}", to.selector, dnat.addr),
        },
    };
    RuleText {
        target: grant.target.to_string(),
        source: format!("{} ({})", grant.source, grant.user),
        destinations: rule.destinations.iter().map(in_words).collect(),
        src_nat: rule.snat != router_core::nat::Snat::Off,
    }
}

/// The rule by which a router reaches what is behind a mapping, and what it is called; `None` if the router is not there.
pub(super) fn mapping_rule(
    mapping: &Mapping,
    router: &Peer,
    peer: Option<PeerIndex>,
    plan: &NodePlan,
    outlet: Outlet,
) -> Option<(Rule, RuleText)> {
    let forwarding = Forwarding {
        protocol: mapping.protocol.number(),
        virtual_port: mapping.virtual_port.get(),
        device: mapping.device,
        port: mapping.port.get(),
    };
    let id = rule_id::of(&[&router.key.to_string(), &format!("{:032x}", mapping.id.0)]);
    let rule = mappings::rule(id, peer?, &forwarding, &plan.node.addresses, outlet);
    let device = std::net::SocketAddr::new(mapping.device, mapping.port.get());
    let text = RuleText {
        target: mapping.name.to_string(),
        source: router.name.to_string(),
        destinations: vec![format!(
            "{} port {} -> {device}",
            mapping.protocol.number(),
            mapping.virtual_port
        )],
        src_nat: outlet != (Outlet::Tun { snat: false }),
    };
    Some((rule, text))
}

/// A peer as a program takes it.
pub(super) fn plan_of(peer: &Peer) -> PeerPlan {
    PeerPlan {
        name: peer.name.to_string(),
        kind: match peer.kind {
            PeerKind::Client => peers::PeerKind::Client,
            PeerKind::Connector => peers::PeerKind::Connector,
            PeerKind::Router => peers::PeerKind::Router,
        },
        public_key: peer.key,
        preshared_key: None,
        endpoint: peer.endpoint,
        persistent_keepalive: peer.keepalive_secs,
        allowed_ips: peer.allowed_ips.clone(),
    }
}
