//! What the tests of several files need: short spellings, and a small world in which a request is granted.

use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use wg_proto::{IpNet, PublicKey, UnixTime};

use super::*;
use crate::packet::Protocol;
use crate::rules::SessionId;
use crate::selector::{IpRange, PortRange, Selector};

/// A moment in seconds after the world begins: Monday 2026-11-30, 00:00 UTC.
pub(super) fn at(secs: u64) -> UnixTime {
    UnixTime::new(1_795_996_800 + secs, 0)
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// One address, or two with a `-` between.
pub(super) fn ips(text: &str) -> IpRange {
    match text.split_once('-') {
        Some((start, end)) => IpRange::new(ip(start), ip(end)).unwrap(),
        None => IpRange::single(ip(text)),
    }
}

pub(super) fn select(addresses: &str, proto: Option<Protocol>, ports: Option<(u16, u16)>) -> Selector {
    let ports = ports.map(|(start, end)| PortRange::new(start, end).unwrap());
    Selector::new(ips(addresses), proto, ports).unwrap()
}

/// A TCP port, not translated.
pub(super) fn plain(addresses: &str, port: u16) -> Destination {
    Destination::new(select(addresses, Some(Protocol::TCP), Some((port, port))), None).unwrap()
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn length(secs: u32) -> SessionLength {
    SessionLength::from_secs(secs).unwrap()
}

pub(super) fn pool(prefixes: &[&str]) -> Pool {
    Pool::new(prefixes.iter().map(|text| text.parse::<IpNet>().unwrap()).collect()).unwrap()
}

pub(super) const ALICE: UserId = UserId(1);
pub(super) const BOB: UserId = UserId(2);
pub(super) const OPERATOR: RoleId = RoleId(1);
pub(super) const FIRST: RouterId = RouterId(1);
pub(super) const SECOND: RouterId = RouterId(2);

/// Facts that own what they are about. As it is made, Alice's request is granted.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) user: User,
    pub(super) authenticated: bool,
    pub(super) client: ClientOwner,
    pub(super) routers: Vec<Router>,
    pub(super) ready: Vec<RouterId>,
    pub(super) target: Target,
    pub(super) has_target: bool,
    pub(super) ongoing: Vec<Session>,
    pub(super) approval: Option<Approval>,
    pub(super) quotas: Quotas,
    pub(super) usage: Usage,
    pub(super) request: Request,
}

impl World {
    pub(super) fn new() -> World {
        World {
            user: user(ALICE, "alice"),
            authenticated: true,
            client: ClientOwner::Device(ALICE, device(1)),
            routers: vec![router(FIRST), router(SECOND)],
            ready: vec![FIRST, SECOND],
            target: target(1, "db", vec![plain("10.20.0.5", 22), plain("fd20::5", 22)]),
            has_target: true,
            ongoing: Vec::new(),
            approval: None,
            quotas: Quotas::default(),
            usage: Usage::default(),
            request: Request { client_ip: ip("10.77.0.2"), target: name("db"), reason: None, duration: None },
        }
    }

    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            user: &self.user,
            authenticated: self.authenticated,
            client: self.client,
            routers: &self.routers,
            ready: &self.ready,
            target: self.has_target.then_some(&self.target),
            ongoing: &self.ongoing,
            approval: self.approval.as_ref(),
            quotas: &self.quotas,
            usage: self.usage,
        }
    }

    pub(super) fn decide(&self, moment: UnixTime) -> Result<Granted, Refused> {
        let decision = decide(&self.facts(), &self.request, moment);
        let failures = failures(&self.facts(), &self.request, moment);
        assert_eq!(decision.as_ref().err(), failures.first(), "the first of all that fail refuses");
        decision
    }

    /// The session that is opened at the beginning.
    pub(super) fn session(&self, id: u128) -> Session {
        Session::open(SessionId(id), self.decide(at(0)).unwrap()).0
    }

    /// The same, from another address of Alice's.
    pub(super) fn session_from(&self, id: u128, client_ip: &str) -> Session {
        let mut world = self.clone();
        world.request.client_ip = ip(client_ip);
        world.session(id)
    }

    /// Another user's session for this world's target, from their own address.
    pub(super) fn session_of_bob(&self, id: u128) -> Session {
        let mut world = World { ongoing: Vec::new(), ..self.clone() };
        world.user = user(BOB, "bob");
        world.client = ClientOwner::Device(BOB, device(2));
        world.request.client_ip = ip("10.77.0.3");
        world.session(id)
    }
}

pub(super) fn user(id: UserId, text: &str) -> User {
    let roles = vec![RoleGrant { role: OPERATOR, valid: Validity::ALWAYS }];
    User { id, tenant: None, name: name(text), roles, disabled: false }
}

pub(super) fn device(number: u8) -> ClientDevice {
    ClientDevice { id: DeviceId(number.into()), public_key: PublicKey::from_bytes([number; 32]) }
}

pub(super) fn router(id: RouterId) -> Router {
    Router {
        id,
        name: name("router"),
        kind: RouterKind::Sluice,
        client_ip_pool: pool(&["10.77.0.0/24", "fd77::/64"]),
        external_clients: false,
    }
}

pub(super) fn target(id: u128, text: &str, destinations: Vec<Destination>) -> Target {
    Target {
        id: TargetId(id),
        tenant: None,
        name: name(text),
        roles: vec![OPERATOR],
        destinations: Destinations::new(destinations).unwrap(),
        src_nat: false,
        exclusive_access: false,
        disabled: false,
        conditions: Conditions::default(),
        deny_signal: None,
        version: 1,
    }
}
