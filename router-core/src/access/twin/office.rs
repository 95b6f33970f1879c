//! A server in a few lines, the routers it speaks to, and what must hold whatever happens.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::mem::discriminant;
use core::time::Duration;

use wg_proto::UnixTime;

use super::naive::{Asked, SIZE, meet, packets_of, user_id};
use crate::access::schedule::{Schedule, Weekdays, Window};
use crate::access::tests::{OPERATOR, at, device, ip, ips, length, name, router};
use crate::access::*;
use crate::packet::Protocol;
use crate::rules::SessionId;
use crate::selector::{PortRange, Selector};

pub(super) const USERS: usize = 3;
/// The last one is in no pool.
pub(super) const CLIENTS: usize = 5;
pub(super) const TARGETS: usize = 3;
pub(super) const ROUTERS: usize = 2;
pub(super) const SILENCE_MAX_SECS: u64 = 180;
const LEASE_SECS: u64 = 15;

/// One destination of a target to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) addresses: (u8, u8),
    pub(super) protocol: Option<u8>,
    pub(super) ports: Option<(u8, u8)>,
}

/// A target, as the model understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recipe {
    pub(super) pieces: Vec<Piece>,
    pub(super) is_v6: bool,
    pub(super) tenant: Option<u128>,
    pub(super) exclusive: bool,
    pub(super) disabled: bool,
    pub(super) has_role: bool,
    pub(super) max_secs: Option<u32>,
    pub(super) hours: Option<(u8, u8)>,
    pub(super) needs_reason: bool,
    pub(super) needs_approval: bool,
    pub(super) version: u64,
}

/// A session, and what the model remembers of its opening.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) session: Session,
    pub(super) client: usize,
    pub(super) recipe: Recipe,
    pub(super) key: u8,
    pub(super) events: Vec<SessionEvent>,
}

/// A router, and what it lets pass.
#[derive(Debug, Clone)]
pub(super) struct Agent {
    pub(super) id: RouterId,
    pub(super) is_ready: bool,
    lease_until: u64,
    /// Its sessions, and when each ends by itself.
    has: BTreeMap<SessionId, Option<UnixTime>>,
}

#[derive(Debug, Clone)]
pub(super) struct Office {
    /// Seconds since the beginning.
    pub(super) now: u64,
    pub(super) users: Vec<User>,
    /// When each user has the role.
    pub(super) role_spans: Vec<Vec<(u64, Option<u64>)>>,
    pub(super) owners: [Option<usize>; CLIENTS],
    pub(super) keys: [u8; CLIENTS],
    pub(super) talking: [bool; CLIENTS],
    pub(super) heard: [u64; CLIENTS],
    pub(super) recipes: Vec<Recipe>,
    pub(super) targets: Vec<Target>,
    /// For user and target, in a version, until when.
    pub(super) approved: Option<(usize, usize, u64, u64)>,
    pub(super) sessions: Vec<Entry>,
    pub(super) routers: Vec<Agent>,
    /// How often each outcome of a request came about.
    pub(super) outcomes: BTreeMap<&'static str, u32>,
    pools: Vec<Router>,
}

impl Recipe {
    /// The target; `None` if two of its destinations overlap, which the model asserts in its own words.
    pub(super) fn build(&self, number: usize) -> Option<Target> {
        let destinations = self.pieces.iter().map(|piece| piece.build(self.is_v6)).collect();
        let destinations = Destinations::new(destinations);
        let count: usize =
            self.pieces.iter().map(|piece| super::naive::packets(self.is_v6, piece).len()).sum();
        assert_eq!(destinations.is_ok(), count == packets_of(self).len(), "{self:?}");
        let hours = self.hours.map(|(from, to)| {
            let window = Window::new(Weekdays::ALL, u16::from(from) * 60, u16::from(to) * 60).unwrap();
            Schedule::new(0, vec![window]).unwrap()
        });
        Some(Target {
            id: TargetId(number as u128),
            tenant: self.tenant.map(TenantId),
            name: target_name(number),
            roles: if self.has_role { vec![OPERATOR] } else { vec![RoleId(99)] },
            destinations: destinations.ok()?,
            src_nat: false,
            exclusive_access: self.exclusive,
            disabled: self.disabled,
            conditions: Conditions {
                max_duration: self.max_secs.map(length),
                require_reason: self.needs_reason,
                require_approval: self.needs_approval,
                schedule: hours.unwrap_or_default(),
            },
            deny_signal: None,
            version: self.version,
        })
    }
}

impl Piece {
    fn build(&self, is_v6: bool) -> Destination {
        let address = |last| if is_v6 { format!("fd20::{last}") } else { format!("10.20.0.{last}") };
        let range = ips(&format!("{}-{}", address(self.addresses.0), address(self.addresses.1)));
        let protocol = self.protocol.map(|number| if number == 0 { Protocol::TCP } else { Protocol::UDP });
        let ports = self.ports.map(|(first, last)| PortRange::new(first.into(), last.into()).unwrap());
        Destination::new(Selector::new(range, protocol, ports).unwrap(), None).unwrap()
    }
}

pub(super) fn target_name(number: usize) -> Name {
    name(&format!("target {number}"))
}

fn client_ip(client: usize) -> core::net::IpAddr {
    if client == CLIENTS - 1 { ip("10.66.0.1") } else { ip(&format!("10.77.0.{}", client + 2)) }
}

/// Makes one change and asserts that it has one event, or is none.
fn change(entry: &mut Entry, verb: impl FnOnce(&mut Session) -> Option<SessionEvent>) {
    let (before, ended) = (discriminant(&entry.session.state), entry.session.expires);
    let event = verb(&mut entry.session);
    let is_changed = before != discriminant(&entry.session.state) || ended != entry.session.expires;
    assert_eq!(event.is_some(), is_changed, "one event for each change: {:?}", entry.session);
    entry.events.extend(event);
}

impl Office {
    /// The first user has two addresses; the last one is a tenant's, and so is the last target.
    pub(super) fn new(mut recipes: Vec<Recipe>) -> Office {
        recipes[TARGETS - 1].tenant = Some(1);
        let mut users: Vec<User> =
            (0..USERS).map(|number| crate::access::tests::user(user_id(number), "user")).collect();
        users[USERS - 1].tenant = Some(TenantId(1));
        let ids = (0..ROUTERS).map(|number| RouterId(number as u128 + 1));
        let targets = recipes.iter().enumerate().map(|(number, recipe)| recipe.build(number));
        Office {
            now: 8 * 3600,
            users,
            role_spans: vec![vec![(0, None)]; USERS],
            owners: [Some(0), Some(0), Some(1), Some(2), Some(0)],
            keys: [0, 1, 2, 3, 4],
            talking: [true; CLIENTS],
            heard: [0; CLIENTS],
            targets: targets.collect::<Option<_>>().expect("the first recipes are right"),
            recipes,
            approved: None,
            sessions: Vec::new(),
            outcomes: BTreeMap::new(),
            pools: ids.clone().map(router).collect(),
            routers: ids
                .map(|id| Agent {
                    id,
                    is_ready: true,
                    lease_until: 8 * 3600 + LEASE_SECS,
                    has: BTreeMap::new(),
                })
                .collect(),
        }
    }

    /// One request: decided, compared with the model, and committed if it is granted.
    pub(super) fn open(&mut self, asked: &Asked) {
        let request = Request {
            client_ip: client_ip(asked.client),
            target: target_name(asked.target),
            reason: asked.has_reason.then(|| Reason::new("because").unwrap()),
            duration: asked.duration_secs.map(length),
        };
        let moment = at(self.now);
        let decision = self.with_facts(asked.user, asked.client, asked.target, asked.is_logged_in, |facts| {
            let failures = failures(facts, &request, moment);
            let decision = decide(facts, &request, moment);
            assert_eq!(failures.first(), decision.as_ref().err());
            decision
        });
        let outcome = decision.as_ref().map(|granted| granted.expires().map(|end| end.at.secs - at(0).secs));
        assert_eq!(outcome.map_err(Refused::code), self.expected(asked), "{asked:?}");
        let code = decision.as_ref().map_or_else(Refused::code, |_| "granted");
        *self.outcomes.entry(code).or_default() += 1;
        let Ok(granted) = decision else { return };
        let (session, event) = Session::open(SessionId(self.sessions.len() as u128), granted);
        self.sessions.push(Entry {
            session,
            client: asked.client,
            recipe: self.recipes[asked.target].clone(),
            key: self.keys[asked.client],
            events: vec![event],
        });
    }

    /// More time, for whoever asks.
    pub(super) fn extend(&mut self, number: usize, user: usize, secs: u32) {
        let Some(entry) = self.sessions.get(number).cloned() else { return };
        let (target, moment) = (entry.session.target.id.0 as usize, at(self.now));
        let extension = self.with_facts(user, entry.client, target, true, |facts| {
            extend(facts, &entry.session, length(secs), moment)
        });
        let is_theirs = entry.session.user == user_id(user);
        let code = extension.as_ref().map_or_else(Refused::code, |_| "extended");
        *self.outcomes.entry(code).or_default() += 1;
        let Ok(extension) = extension else { return };
        assert!(is_theirs && self.has_rights(&entry).is_ok(), "extended without rights: {entry:?}");
        let ends = |end: Option<Expiry>| end.map_or(u64::MAX, |end| end.at.secs);
        assert!(ends(extension.expires()) > ends(entry.session.expires));
        assert!(ends(extension.expires()) <= moment.secs + u64::from(secs));
        change(&mut self.sessions[number], |session| session.prolong(&extension, moment));
        assert_eq!(self.has_rights(&self.sessions[number]), Ok(()));
    }

    pub(super) fn end(&mut self, number: usize, why: EndReason) {
        let moment = at(self.now);
        if let Some(entry) = self.sessions.get_mut(number) {
            change(entry, |session| session.end(why, moment));
        }
    }

    /// What a server does at every change: sessions without rights are ended, and no others.
    pub(super) fn recheck(&mut self) {
        let moment = at(self.now);
        for number in 0..self.sessions.len() {
            let entry = &self.sessions[number];
            if !entry.session.is_open() {
                continue;
            }
            let seen = ClientSeen {
                at: Some(at(self.heard[entry.client])),
                silence_max: Duration::from_secs(SILENCE_MAX_SECS),
            };
            let user = (0..USERS).find(|user| user_id(*user) == entry.session.user).unwrap();
            let target = entry.session.target.id.0 as usize;
            let why = self.with_facts(user, entry.client, target, false, |facts| {
                entry.session.recheck(facts, seen, moment)
            });
            assert_eq!(why.is_some(), self.has_rights(entry).is_err(), "{why:?} {entry:?}");
            if let Some(why) = why {
                self.end(number, why);
            }
        }
    }

    /// A router hears of one session, if it is there, and says so.
    pub(super) fn deliver(&mut self, router: usize, number: usize) {
        let (moment, router) = (at(self.now), &mut self.routers[router]);
        let Some(entry) = self.sessions.get_mut(number).filter(|_| router.is_ready) else { return };
        if entry.session.is_open() {
            router.has.insert(entry.session.id, entry.session.expires.map(|end| end.at));
            change(entry, |session| session.acknowledged(router.id, moment));
        } else {
            router.has.remove(&entry.session.id);
            change(entry, |session| session.removed(router.id, moment));
        }
    }

    pub(super) fn cut(&mut self, router: usize) {
        let moment = at(self.now);
        self.routers[router].is_ready = false;
        for entry in &mut self.sessions {
            change(entry, |session| session.absent(self.routers[router].id, moment));
        }
    }

    /// A router comes back: it has everything before it gets a lease.
    pub(super) fn heal(&mut self, router: usize) {
        self.routers[router].is_ready = true;
        (0..self.sessions.len()).for_each(|number| self.deliver(router, number));
        self.routers[router].lease_until = self.now + LEASE_SECS;
    }

    /// Time passes. Leases are renewed for routers that are there and have removed what they should.
    pub(super) fn wait(&mut self, secs: u64) {
        self.now += secs;
        for client in 0..CLIENTS {
            if self.talking[client] {
                self.heard[client] = self.now;
            }
        }
        let moment = at(self.now);
        for router in &mut self.routers {
            let sessions = &mut self.sessions;
            let owes_removal =
                |entry: &Entry| !entry.session.is_open() && router.has.contains_key(&entry.session.id);
            if router.is_ready && !sessions.iter().any(owes_removal) {
                router.lease_until = self.now + LEASE_SECS;
            } else if router.lease_until <= self.now {
                router.has.clear();
                sessions
                    .iter_mut()
                    .for_each(|entry| change(entry, |session| session.removed(router.id, moment)));
            }
        }
    }

    /// What must hold after each deed.
    pub(super) fn check(&self) {
        for (number, entry) in self.sessions.iter().enumerate() {
            check_events(entry);
            if entry.session.is_open() {
                assert_eq!(self.has_rights(entry), Ok(()), "{entry:?}");
            }
            for later in &self.sessions[number + 1..] {
                if entry.session.is_ongoing() && later.session.is_ongoing() {
                    assert_may_be_together(entry, later);
                }
            }
        }
        self.check_routers();
    }

    /// What passes is what policy knows of, and never what two users must not have together.
    fn check_routers(&self) {
        let passing: Vec<&Entry> = self.routers.iter().flat_map(|router| self.passing(router)).collect();
        for (number, entry) in passing.iter().enumerate() {
            assert!(entry.session.is_ongoing(), "passes after its end: {entry:?}");
            for other in passing[number + 1..].iter().filter(|other| other.session.id != entry.session.id) {
                let (first, later) =
                    if entry.session.id < other.session.id { (*entry, *other) } else { (*other, *entry) };
                assert_may_be_together(first, later);
            }
        }
    }

    fn passing<'a>(&'a self, router: &'a Agent) -> impl Iterator<Item = &'a Entry> {
        let has_lease = self.now < router.lease_until;
        self.sessions.iter().filter(move |entry| {
            let end = router.has.get(&entry.session.id);
            has_lease && end.is_some_and(|end| end.is_none_or(|end| at(self.now) < end))
        })
    }

    fn with_facts<T>(
        &self,
        user: usize,
        client: usize,
        target: usize,
        authenticated: bool,
        ask: impl FnOnce(&Facts<'_>) -> T,
    ) -> T {
        let sessions: Vec<Session> = self.sessions.iter().map(|entry| entry.session.clone()).collect();
        let ongoing = || sessions.iter().filter(|session| session.is_ongoing());
        let ready: Vec<RouterId> =
            self.routers.iter().filter(|router| router.is_ready).map(|router| router.id).collect();
        let owner = self.owners[client].map(|owner| {
            let public_key = wg_proto::PublicKey::from_bytes([self.keys[client]; 32]);
            ClientOwner::Device(user_id(owner), ClientDevice { public_key, ..device(client as u8) })
        });
        let approval = self.approved.map(|(user, target, version, until)| {
            let target = (TargetId(target as u128), version);
            Approval::new(ApprovalId(1), UserId(77), user_id(user), target, at(until)).unwrap()
        });
        let of_user = ongoing().filter(|session| session.user == user_id(user)).count() as u32;
        let all = ongoing().count() as u32;
        ask(&Facts {
            user: &self.users[user],
            authenticated,
            client: owner.unwrap_or(ClientOwner::Nobody),
            routers: &self.pools,
            ready: &ready,
            target: self.targets.get(target),
            ongoing: &sessions,
            approval: approval.as_ref(),
            quotas: &Quotas { sessions_max: 100, sessions_per_user_max: 3, sessions_per_router_max: 5 },
            usage: Usage { sessions: all, sessions_of_user: of_user, sessions_of_router: all },
        })
    }
}

/// Two sessions, of which the first was opened earlier.
fn assert_may_be_together(first: &Entry, later: &Entry) {
    let is_one_user = first.session.user == later.session.user;
    let is_one_client = first.client == later.client;
    assert!(!is_one_client || is_one_user, "two users on one client IP: {first:?} {later:?}");
    let overlap = !packets_of(&first.recipe).is_disjoint(&packets_of(&later.recipe));
    assert!(!is_one_client || !overlap, "one packet means two sessions: {first:?} {later:?}");
    if meet(&first.recipe, &later.recipe) {
        assert!(!later.recipe.exclusive, "an exclusive session beside an earlier one: {first:?} {later:?}");
        assert!(
            !first.recipe.exclusive || is_one_user,
            "another user beside an exclusive one: {first:?} {later:?}"
        );
    }
}

/// A session's events tell its life: each stage once, in order.
fn check_events(entry: &Entry) {
    let mut expected = vec![AuditKind::SessionOpened];
    let told: Vec<AuditKind> = entry
        .events
        .iter()
        .map(SessionEvent::kind)
        .filter(|kind| *kind != AuditKind::SessionExtended)
        .collect();
    let was_active = told.contains(&AuditKind::SessionActivated);
    let stages: (bool, Option<EndReason>, bool) = match entry.session.state {
        SessionState::Pending { .. } => (false, None, false),
        SessionState::Active { .. } => (true, None, false),
        SessionState::Closing { why, .. } => (was_active, Some(why), false),
        SessionState::Closed { why, .. } => (was_active, Some(why), true),
    };
    expected.extend(stages.0.then_some(AuditKind::SessionActivated));
    expected.extend(stages.1.map(EndReason::audit_kind));
    expected.extend(stages.2.then_some(AuditKind::SessionClosed));
    assert_eq!(told, expected, "{entry:?}");
    assert!(entry.events.is_sorted_by_key(|event| event.at));
}

const _: () = assert!(SIZE <= 10, "addresses are written with one digit");
