//! The ways out of a router, and what a session becomes on each: a rule of its own, as each way has its own source addresses.
//! Pure. Called by the router for what its file says and by control for what a server says; read first: `router_core::rules`.

use std::net::IpAddr;

use router_core::Refusal;
use router_core::flow::Caps;
use router_core::nat::{Mapping, PoolId, Snat};
use router_core::rules::{Destination, Dnat, EgressChoice, Rule, SessionId, SnatPool, Subject};
use router_core::selector::Selector;
use wg_proto::{Instant, PeerIndex};

/// Our own addresses: sources towards connectors, and towards our own stack.
pub const OVERLAY_POOL: PoolId = PoolId(0);
/// Egress addresses: sources towards the TUN.
pub const EGRESS_POOL: PoolId = PoolId(1);

/// Where a destination leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To a connector, through its tunnel.
    Connector,
    /// Into the host's network, as packets.
    Tun,
    /// Into the host's network, by connections of this process.
    Sockets,
}

/// What a session lets pass, whoever says so.
#[derive(Clone, Debug)]
pub struct Permission {
    /// Who may send.
    pub subject: Subject,
    /// Where to. Those of another IP version than the subject's are left out.
    pub exits: Vec<Exit>,
    /// Whether devices see an address of ours.
    pub src_nat: bool,
    /// How what the subject sends elsewhere is refused.
    pub deny: Refusal,
    /// When it ends by itself.
    pub lease: Option<Instant>,
    /// What it may hold at once.
    pub caps: Caps,
}

/// A destination and its way.
#[derive(Clone, Copy, Debug)]
pub struct Exit {
    /// What the client sends.
    pub selector: Selector,
    /// Where it goes instead.
    pub dnat: Option<Dnat>,
    /// Where it leaves.
    pub way: Way,
    /// Through whose tunnel it leaves; `None`: through that of whoever owns where it goes.
    pub through: Option<PeerIndex>,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Connector, Self::Tun, Self::Sockets];

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connector => "connector",
            Self::Tun => "tun",
            Self::Sockets => "sockets",
        }
    }

    /// Our own stack tells conversations apart by a source of ours, whatever the target says; devices see this host.
    fn snat(self, is_wanted: bool) -> Snat {
        match (is_wanted, self) {
            (_, Self::Sockets) | (true, Self::Connector) => Snat::Pool(OVERLAY_POOL),
            (false, Self::Connector | Self::Tun) => Snat::Off,
            (true, Self::Tun) => Snat::Pool(EGRESS_POOL),
        }
    }
}

impl Exit {
    fn destination(&self) -> Destination {
        let egress = match (self.way, self.through) {
            (Way::Sockets, _) => EgressChoice::Sockets,
            (Way::Connector | Way::Tun, Some(peer)) => EgressChoice::Peer(peer),
            (Way::Connector | Way::Tun, None) => EgressChoice::Route,
        };
        Destination { selector: self.selector, dnat: self.dnat, egress }
    }
}

/// A rule for each way that the session takes. `id_of` says what they are called.
pub fn rules(permission: &Permission, id_of: impl Fn(Way) -> SessionId) -> Vec<Rule> {
    let is_v4 = permission.subject.source.addr().is_ipv4();
    let rule = |way| {
        let exits = permission
            .exits
            .iter()
            .filter(|exit| exit.way == way && exit.selector.ip().start().is_ipv4() == is_v4);
        let destinations: Vec<_> = exits.map(Exit::destination).collect();
        (!destinations.is_empty()).then(|| Rule {
            id: id_of(way),
            subject: permission.subject,
            destinations,
            snat: way.snat(permission.src_nat),
            deny: permission.deny,
            lease: permission.lease,
            caps: permission.caps,
        })
    };
    Way::ALL.into_iter().filter_map(rule).collect()
}

/// The source addresses of all ways: our own, and those towards the TUN if there is one.
pub fn pools(overlay: &[IpAddr], egress: Option<&[IpAddr]>) -> Vec<SnatPool> {
    let pool = |id, addresses: &[IpAddr]| SnatPool {
        id,
        addresses: addresses.to_vec(),
        mapping: Mapping::PerDestination,
    };
    let egress = egress.map(|egress| pool(EGRESS_POOL, egress));
    std::iter::once(pool(OVERLAY_POOL, overlay)).chain(egress).collect()
}

#[cfg(test)]
mod tests {
    use router_core::rules::IngressMatch;
    use router_core::selector::IpRange;

    use super::*;

    #[test]
    fn each_way_has_its_own_rule_with_its_own_sources() {
        let exit = |address: &str, way, through| {
            let ip = IpRange::single(address.parse().unwrap());
            Exit { selector: Selector::new(ip, None, None).unwrap(), dnat: None, way, through }
        };
        let peer = PeerIndex::new(7);
        let exits = vec![
            exit("10.0.0.1", Way::Connector, Some(peer)),
            exit("10.0.0.2", Way::Connector, None),
            exit("10.0.0.3", Way::Tun, None),
            exit("10.0.0.4", Way::Sockets, None),
            exit("fd00::5", Way::Tun, None),
        ];
        let source = "10.77.0.2/32".parse().unwrap();
        let subject = Subject { ingress: IngressMatch::Tun, source };
        let told = |src_nat| {
            let permission = Permission {
                subject,
                exits: exits.clone(),
                src_nat,
                deny: Refusal::Silent,
                lease: None,
                caps: Caps::default(),
            };
            let rules = rules(&permission, |way| SessionId(way as u128));
            let told =
                |rule: Rule| (rule.snat, rule.destinations.iter().map(|to| to.egress).collect::<Vec<_>>());
            rules.into_iter().map(told).collect::<Vec<_>>()
        };
        let (overlay, egress) = (Snat::Pool(OVERLAY_POOL), Snat::Pool(EGRESS_POOL));
        let ways = |connector, tun| {
            vec![
                (connector, vec![EgressChoice::Peer(peer), EgressChoice::Route]),
                (tun, vec![EgressChoice::Route]),
                (overlay, vec![EgressChoice::Sockets]),
            ]
        };
        assert_eq!(told(true), ways(overlay, egress));
        assert_eq!(told(false), ways(Snat::Off, Snat::Off));
    }
}
