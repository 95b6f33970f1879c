//! The chain of the simulator under the rule of the policy: what a server would do, in a few lines.

#![allow(clippy::unwrap_used, reason = "the plant of tests fails by panicking")]

use std::net::IpAddr;
use std::time::Duration;

use router_core::access::{
    Client, ClientDevice, ClientOwner, CompileError, Conditions, ConnectorId, Destination, Destinations,
    DeviceId, EndReason, Facts, Grant, GrantSubject, Mapped, Name, Nat, NatAddr, Pool, Quotas, Reach,
    Refused, Request, RoleGrant, RoleId, Router, RouterId, RouterKind, Session, SessionLength, SessionState,
    Target, TargetId, Usage, User, UserId, Validity, Via, VirtualPort, compile, decide,
};
use router_core::flow::Caps;
use router_core::nat::Snat;
use router_core::packet::Protocol;
use router_core::rules::{self, EgressChoice, IngressMatch, Rule, RuleSnapshot, SessionId, Subject};
use router_core::selector::{IpRange, PortRange, Selector};
use router_core::sim::{Chain, Sim, names};
use wg_proto::{Instant, UnixTime};

const ROUTER: RouterId = RouterId(1);
const OPERATOR: RoleId = RoleId(1);
pub(crate) const CLIENTS: u8 = 2;
pub(crate) const CONNECTORS: u8 = 2;

/// Clients, connectors and devices, and nothing open between them unless policy says so.
pub(crate) struct Plant {
    pub(crate) chain: Chain,
    pub(crate) users: Vec<User>,
    pub(crate) targets: Vec<Target>,
    pub(crate) sessions: Vec<Session>,
    /// Sessions that the router has been told of, and not been told to forget.
    pub(crate) at_router: Vec<SessionId>,
    router: Router,
    snat: Snat,
}

impl Plant {
    /// Targets: for each connector the services of its device, its network, and SSH alone for one at a time.
    pub(crate) fn new(seed: u64) -> Plant {
        let mut chain = Sim::chain().seed(seed).clients(CLIENTS).connectors(CONNECTORS).start();
        let RuleSnapshot { pools, .. } = chain.router_rules(&Chain::shape());
        let snat = Snat::Pool(pools[0].id);
        let router = chain.router;
        chain.sim.apply(router, &RuleSnapshot { pools, rules: Vec::new() });
        let targets = (0..CONNECTORS).flat_map(targets_of).collect();
        Plant {
            users: (0..CLIENTS).map(user).collect(),
            targets,
            chain,
            sessions: Vec::new(),
            at_router: Vec::new(),
            router: self::router(),
            snat,
        }
    }

    pub(crate) fn unix(&self) -> UnixTime {
        self.chain.sim.station(self.chain.router).unix(self.chain.sim.now())
    }

    pub(crate) fn owner(&self, client: u8) -> ClientOwner {
        let device = self.chain.sim.node(self.chain.clients[usize::from(client)]).device();
        let public_key = device.public_key().expect("every station has a key");
        ClientOwner::Device(user_id(client), ClientDevice { id: DeviceId(client.into()), public_key })
    }

    /// The facts about a user at their own address.
    pub(crate) fn facts<'a>(
        &'a self,
        client: u8,
        target: Option<&'a Target>,
        quotas: &'a Quotas,
    ) -> Facts<'a> {
        Facts {
            user: &self.users[usize::from(client)],
            authenticated: true,
            client: self.owner(client),
            routers: std::slice::from_ref(&self.router),
            ready: &[ROUTER],
            target,
            ongoing: &self.sessions,
            approval: None,
            quotas,
            usage: Usage::default(),
        }
    }

    /// A user asks; nobody has told the router yet.
    pub(crate) fn open(
        &mut self,
        client: u8,
        is_v4: bool,
        target: &str,
        secs: Option<u32>,
    ) -> Result<SessionId, Refused> {
        let request = Request {
            client_ip: names::client(client, is_v4),
            target: Name::new(target).unwrap(),
            reason: None,
            duration: secs.map(|secs| SessionLength::from_secs(secs).unwrap()),
        };
        let named = self.targets.iter().find(|known| known.name == request.target);
        let quotas = Quotas::default();
        let granted = decide(&self.facts(client, named, &quotas), &request, self.unix())?;
        let id = SessionId(self.sessions.len() as u128 + 1);
        let (session, _) = Session::open(id, granted);
        self.sessions.push(session);
        Ok(id)
    }

    /// A user asks, and the router has it at once.
    pub(crate) fn open_now(&mut self, client: u8, is_v4: bool, target: &str) -> SessionId {
        let id = self.open(client, is_v4, target, None).unwrap();
        self.deliver(id);
        id
    }

    pub(crate) fn end(&mut self, id: SessionId) {
        let at = self.unix();
        let _ = self.session_mut(id).end(EndReason::UserClosed, at);
    }

    /// The router hears how a session is now, and says that it has done so.
    pub(crate) fn deliver(&mut self, id: SessionId) {
        let (at, router) = (self.unix(), self.chain.router);
        let is_there = self.at_router.contains(&id);
        let is_open = self.session(id).is_open();
        if is_open && !is_there {
            let grant = self.compile(self.session(id)).unwrap();
            let rule = self.rule(&grant);
            self.chain.sim.open_session(router, &rule);
            self.at_router.push(id);
        } else if !is_open && is_there {
            assert!(self.chain.sim.close_session(router, id));
            self.at_router.retain(|other| *other != id);
        }
        let session = self.session_mut(id);
        let _ = if is_open { session.acknowledged(ROUTER, at) } else { session.removed(ROUTER, at) };
    }

    /// Sessions past their end are ended, as a server would do.
    pub(crate) fn end_expired(&mut self) {
        let at = self.unix();
        for session in &mut self.sessions {
            if session.expires.is_some_and(|end| end.at <= at) {
                let _ = session.end(EndReason::Expired, at);
            }
        }
    }

    pub(crate) fn session(&self, id: SessionId) -> &Session {
        self.sessions.iter().find(|session| session.id == id).unwrap()
    }

    fn session_mut(&mut self, id: SessionId) -> &mut Session {
        self.sessions.iter_mut().find(|session| session.id == id).unwrap()
    }

    pub(crate) fn is_active(&self, id: SessionId) -> bool {
        matches!(self.session(id).state, SessionState::Active { .. })
    }

    fn compile(&self, session: &Session) -> Result<Grant, CompileError> {
        assert!(matches!(session.client, Client::Device(_)));
        compile(session, Caps::default(), reach)
    }

    /// What a node makes of a grant.
    fn rule(&self, grant: &Grant) -> Rule {
        let sim = &self.chain.sim;
        let GrantSubject::Device(key) = grant.subject else { panic!("{:?}", grant.subject) };
        let peer = sim.node(self.chain.router).device().peer_by_key(&key).unwrap();
        let destinations = grant.destinations.iter().map(|to| rules::Destination {
            selector: to.selector,
            dnat: to.dnat,
            egress: match to.via {
                Via::Route => EgressChoice::Route,
                Via::Connector(connector) => {
                    let station = self.chain.connectors[connector.0 as usize];
                    EgressChoice::Peer(sim.peer(self.chain.router, station))
                }
            },
        });
        Rule {
            id: grant.session,
            subject: Subject { ingress: IngressMatch::Peer(peer), source: grant.source.into() },
            destinations: destinations.collect(),
            snat: if grant.src_nat { self.snat } else { Snat::Off },
            deny: grant.deny.unwrap_or_default(),
            lease: grant.expires.map(|end| self.boot(end)),
            caps: grant.caps,
        }
    }

    /// A moment of wall-clock time as boot time; in whole seconds, as the clocks here never step.
    fn boot(&self, end: UnixTime) -> Instant {
        let now = self.unix();
        let wait = Duration::new(end.secs - now.secs, end.nanos).saturating_sub(Duration::new(0, now.nanos));
        self.chain.sim.now().saturating_add(wait)
    }
}

fn reach(asked: &Mapped) -> Option<Reach> {
    let is_v4 = asked.device.is_ipv4();
    let device = names::lan(if is_v4 { 10 } else { 0x10 }, is_v4);
    let virtual_port = match (asked.protocol, asked.port) {
        (Protocol::TCP, 22) => VirtualPort::FIRST,
        (Protocol::UDP, 53) => VirtualPort::FIRST.next()?,
        _ => return None,
    };
    let overlay = names::overlay(2 + asked.connector.0 as u8, is_v4);
    (asked.device == device).then_some(Reach { via: asked.connector, overlay, virtual_port })
}

fn user_id(client: u8) -> UserId {
    UserId(u128::from(client) + 1)
}

fn user(client: u8) -> User {
    User {
        id: user_id(client),
        tenant: None,
        name: Name::new(&format!("user {client}")).unwrap(),
        roles: vec![RoleGrant { role: OPERATOR, valid: Validity::ALWAYS }],
        disabled: false,
    }
}

fn router() -> Router {
    let pool = vec!["10.77.0.0/24".parse().unwrap(), "fd77::/64".parse().unwrap()];
    Router {
        id: ROUTER,
        name: Name::new("router").unwrap(),
        kind: RouterKind::Embedded,
        client_ip_pool: Pool::new(pool).unwrap(),
        external_clients: false,
    }
}

/// `services-J`, `network-J` and `ssh-J` of connector J; the last one is exclusive and overlaps the first.
fn targets_of(connector: u8) -> Vec<Target> {
    let both = |make: &dyn Fn(bool) -> Vec<Destination>| [true, false].into_iter().flat_map(make).collect();
    let services = both(&|is_v4| {
        vec![service(connector, is_v4, Protocol::TCP, 22), service(connector, is_v4, Protocol::UDP, 53)]
    });
    let network = both(&|is_v4| vec![network(connector, is_v4)]);
    let ssh = both(&|is_v4| vec![service(connector, is_v4, Protocol::TCP, 22)]);
    vec![
        target(connector, 0, "services", services, false),
        target(connector, 1, "network", network, false),
        target(connector, 2, "ssh", ssh, true),
    ]
}

fn target(connector: u8, number: u8, name: &str, destinations: Vec<Destination>, exclusive: bool) -> Target {
    Target {
        id: TargetId(u128::from(connector) * 10 + u128::from(number)),
        tenant: None,
        name: Name::new(&format!("{name}-{connector}")).unwrap(),
        roles: vec![OPERATOR],
        destinations: Destinations::new(destinations).unwrap(),
        src_nat: true,
        exclusive_access: exclusive,
        disabled: false,
        conditions: Conditions::default(),
        deny_signal: None,
        version: 1,
    }
}

fn service(connector: u8, is_v4: bool, protocol: Protocol, port: u16) -> Destination {
    let target = IpRange::single(names::target(connector, is_v4));
    let selector = Selector::new(target, Some(protocol), Some(PortRange::single(port))).unwrap();
    let device = names::lan(if is_v4 { 10 } else { 0x10 }, is_v4);
    let addr = NatAddr::Mapped { connector: ConnectorId(connector.into()), device };
    Destination::new(selector, Some(Nat { addr, ports: None })).unwrap()
}

/// The network as the client knows it becomes the network as router and connector know it, address by address.
fn network(connector: u8, is_v4: bool) -> Destination {
    let range = |address: &dyn Fn(u8) -> IpAddr| IpRange::new(address(0), address(255)).unwrap();
    let selected = range(&|last| names::network(connector, last, is_v4));
    let addr = NatAddr::Range(range(&|last| names::between(connector, last, is_v4)));
    Destination::new(Selector::new(selected, None, None).unwrap(), Some(Nat { addr, ports: None })).unwrap()
}
