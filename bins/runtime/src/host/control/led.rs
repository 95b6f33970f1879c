//! A program that does what a server says. Read first: `control_proto::Led`. Called by follow; calls grants, books and ledger.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use control_proto::{
    Applied, Change, CounterReport, FlowRecord, Grant, Health, Item, ItemKey, Led, Name, Peer, PeerKind,
    PeerSeen, Problem, Refusal, ServerClock, State,
};
use router_core::packet::Ends;
use router_core::rules::{ApplyError, Rule, RuleSnapshot, SessionId, SessionView, SnatPool};
use router_core::{EndedFlow, Ingress};
use wg_proto::{Instant, PublicKey};

use super::books::Books;
use super::grants::{self, Defaults};
use super::ledger::Ledger;
use super::link::Link;
use crate::clock;
use crate::host::adjustment::Adjustment;
use crate::host::admin::collect::{RuleText, RuleTexts};
use crate::host::mappings::{self, Outlet};
use crate::host::moment::Moment;
use crate::host::peers::{PeerNumbers, PeerPlan};
use crate::host::program::{NodePlan, Program, ReloadFault};
use crate::host::ways;

// Our own choice: some hundred microseconds.
/// Changes made under one lock.
const CHANGES_PER_LOCK: usize = 128;

/// What a led node has of its own, whatever its server says: the server as a peer, and the rules to reach it.
#[derive(Clone)]
pub struct Own {
    /// What is led.
    pub kind: LedKind,
    /// Its own peers. A state that names one of them is refused.
    pub peers: Vec<PeerPlan>,
    /// Its own rules, which name no peers by number, and what they are called.
    pub rules: Vec<(Rule, RuleText)>,
}

/// Conversations that are over and wait to be told of; of more, the oldest are lost, and counted.
const FLOWS_KEPT: usize = 65_536;

/// What is led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedKind {
    /// By grants.
    Router,
    /// By mappings.
    Connector {
        /// Whether packets to devices by the TUN are translated.
        snat: bool,
    },
}

impl Own {
    /// The rules to start the program with: those of its own.
    pub fn snapshot(&self, plan: &NodePlan) -> RuleSnapshot {
        let rules = self.rules.iter().map(|(rule, _)| rule.clone()).collect();
        RuleSnapshot { pools: self.pools(plan), rules }
    }

    fn pools(&self, plan: &NodePlan) -> Vec<SnatPool> {
        let egress = plan.tun.as_ref().map(|tun| &tun.settings.egress_addresses[..]);
        match self.outlet(plan) {
            None => ways::pools(&plan.node.addresses, egress),
            Some(outlet) => mappings::pools(outlet, &plan.node.addresses, egress.unwrap_or_default()),
        }
    }

    /// How a connector reaches devices; `None`: it is a router.
    fn outlet(&self, plan: &NodePlan) -> Option<Outlet> {
        match (self.kind, &plan.tun) {
            (LedKind::Router, _) => None,
            (LedKind::Connector { snat }, Some(_)) => Some(Outlet::Tun { snat }),
            (LedKind::Connector { .. }, None) => Some(Outlet::Sockets),
        }
    }
}

/// A running program under a server's lead. It is not kept from ending.
pub struct LedNode {
    program: Weak<Program>,
    own: Own,
    books: Books,
    ledger: Ledger,
    texts: Arc<Mutex<RuleTexts>>,
    link: Link,
}

impl LedNode {
    /// Of a program that was started with the peers and rules of `own`.
    pub fn new(program: &Arc<Program>, own: Own) -> Self {
        let texts: RuleTexts = own.rules.iter().map(|(rule, text)| (rule.id, text.clone())).collect();
        program.runtime().with_node(|node, _| node.keep_journal(FLOWS_KEPT));
        Self {
            program: Arc::downgrade(program),
            own,
            books: Books::default(),
            ledger: Ledger::default(),
            texts: Arc::new(Mutex::new(texts)),
            link: Link::default(),
        }
    }

    /// How it stands with its server, now and later.
    pub fn link(&self) -> Link {
        self.link.clone()
    }

    /// What all rules are called, now and later.
    pub fn texts(&self) -> Arc<Mutex<RuleTexts>> {
        Arc::clone(&self.texts)
    }

    /// Whether the program still runs.
    pub(super) fn is_there(&self) -> bool {
        self.program.strong_count() > 0
    }

    /// Nothing passes before there is a lease.
    pub(super) fn begin(&mut self, now: Instant) {
        self.lease(now);
    }

    /// The connection is gone.
    pub(super) fn disconnected(&mut self) {
        self.link.set_connected(false);
        self.ledger.disconnected();
    }

    pub(super) fn health(&self, now: Instant) -> Option<Health> {
        let program = self.program.upgrade()?;
        let uptime_secs = now.saturating_duration_since(program.started().boot).as_secs();
        Some(program.runtime().with_node(|node, _| {
            let (counters, (flows, flows_max)) = (node.counters(), node.flows_used());
            Health {
                uptime_secs,
                rules: u32::try_from(node.sessions().count()).unwrap_or(u32::MAX),
                flows,
                flows_max,
                forwarded_packets: counters.forwarded_packets,
                forwarded_bytes: counters.forwarded_bytes,
                dropped_packets: counters.drops().map(|(_, count)| count).sum(),
            }
        }))
    }

    /// Peers that were ever heard of.
    pub(super) fn peers(&self, now: Instant) -> Vec<PeerSeen> {
        let Some(program) = self.program.upgrade() else { return Vec::new() };
        let since = |at| u64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX);
        program.runtime().with_node(|node, _| {
            let peers = node.device().peers().filter_map(|index| node.device().peer(index));
            let seen = peers.filter(|peer| peer.rx_bytes() > 0).map(|peer| PeerSeen {
                key: peer.public_key(),
                endpoint: peer.endpoint().map(|endpoint| endpoint.remote),
                handshake_ms: peer.last_handshake().map(since),
                bytes: [peer.rx_bytes(), peer.tx_bytes()],
            });
            seen.collect()
        })
    }

    pub(super) fn counters(&mut self, now: Instant) -> Option<CounterReport> {
        let program = self.program.upgrade()?;
        self.ledger.report(now, &views(&program))
    }

    /// Conversations of sessions that are over since the last time, and how many more there were. A connector's are the routers'
    /// as well, who know whose they are.
    pub(super) fn flows(&self, now: Instant) -> (Vec<FlowRecord>, u64) {
        let Some(program) = self.program.upgrade() else { return (Vec::new(), 0) };
        if self.own.kind != LedKind::Router {
            return (Vec::new(), 0);
        }
        let (ended, lost) = program.runtime().with_node(|node, _| node.take_ended_flows(FLOWS_KEPT));
        let record = |flow: &EndedFlow| {
            let idle = now.saturating_duration_since(flow.last_seen);
            Some(FlowRecord {
                session: self.ledger.session_of(flow.session)?,
                protocol: flow.protocol.0,
                client: source(&flow.original),
                destination: destination(&flow.original),
                reached: source(&flow.reply),
                bytes: flow.bytes,
                idle_ms: u64::try_from(idle.as_millis()).unwrap_or(u64::MAX),
            })
        };
        (ended.iter().filter_map(record).collect(), lost)
    }

    /// What was refused since the last time.
    pub(super) fn refusals(&self) -> Vec<Refusal> {
        let Some(program) = self.program.upgrade() else { return Vec::new() };
        program.runtime().with_node(|node, _| {
            let refusals = node.take_refusals();
            let told = refusals.iter().map(|refusals| Refusal {
                from: match refusals.from {
                    Ingress::Peer(peer) => node.device().peer(peer).map(|peer| peer.public_key()),
                    Ingress::Tun | Ingress::Sockets => None,
                },
                packets: refusals.packets,
                reason: Name::cut(refusals.last.reason.name()),
                protocol: refusals.last.protocol.0,
                source: source(&refusals.last.ends),
                destination: destination(&refusals.last.ends),
            });
            told.collect()
        })
    }

    fn program(&self) -> Result<Arc<Program>, Problem> {
        self.program.upgrade().ok_or_else(|| Problem::new("the program ends"))
    }

    /// What this node cannot take: an identity that is not its own, peers that are.
    fn check<'a>(&self, plan: &NodePlan, items: impl Iterator<Item = &'a Item>) -> Result<(), Problem> {
        for item in items {
            match item {
                Item::Identity(identity) => {
                    let same = identity.addresses.len() == plan.node.addresses.len()
                        && identity.addresses.iter().all(|address| plan.node.addresses.contains(address));
                    if !same {
                        let own = &plan.node.addresses;
                        return Err(Problem::new(format_args!("the addresses here are {own:?}")));
                    }
                }
                Item::Peer(peer) => self.check_peer(peer)?,
                Item::Grant(_) | Item::Mapping(_) => {}
            }
        }
        Ok(())
    }

    fn check_peer(&self, peer: &Peer) -> Result<(), Problem> {
        let clash = self.own.peers.iter().find(|own| {
            own.public_key == peer.key || own.allowed_ips.iter().any(|ip| peer.allowed_ips.contains(ip))
        });
        clash.map_or(Ok(()), |own| {
            let (name, own) = (&peer.name, &own.name);
            Err(Problem::new(format_args!("the peer {name} has the key or an address of the own peer {own}")))
        })
    }

    fn make_whole(&mut self, state: &State, clock: ServerClock) -> Result<Applied, Problem> {
        let program = self.program()?;
        let plan = program.plan().clone();
        self.check(&plan, state.items().map(Arc::as_ref))?;
        let before = views(&program);
        let peers = state.items().filter_map(|item| match item.as_ref() {
            Item::Peer(peer) => Some(grants::plan_of(peer)),
            Item::Identity(_) | Item::Grant(_) | Item::Mapping(_) => None,
        });
        let peers = self.own.peers.iter().cloned().chain(peers).collect();
        let mut made = Made::default();
        let applied = program.reload(NodePlan { peers, ..plan.clone() }, |numbers, _| {
            made = self.make(state, &plan, moment_of(clock), numbers);
            RuleSnapshot { pools: self.own.pools(&plan), rules: std::mem::take(&mut made.rules) }
        });
        let applied = applied.map_err(|fault| problem_of(&fault, &made.books))?;
        self.take_over(made, &before, &views(&program));
        Ok(Applied { added: applied.added, removed: applied.removed, kept: applied.kept, took_us: 0 })
    }

    /// The rules of a whole state, and the books about them.
    fn make(&self, state: &State, plan: &NodePlan, moment: Moment, numbers: &PeerNumbers) -> Made {
        let mut made = Made::default();
        for (rule, text) in &self.own.rules {
            made.texts.insert(rule.id, text.clone());
            made.rules.push(rule.clone());
        }
        let defaults = Defaults::of(plan);
        for item in state.items() {
            match item.as_ref() {
                Item::Grant(grant) => {
                    let rules = grants::rules(grant, defaults, moment, |key| numbers.get(key));
                    made.books.enter(grant);
                    made.books.opened(grant.session, &rules);
                    made.texts.extend(rules.iter().map(|rule| (rule.id, grants::text(grant, rule))));
                    made.rules.extend(rules);
                }
                Item::Mapping(mapping) => {
                    let Some(outlet) = self.own.outlet(plan) else { continue };
                    for router in routers(state) {
                        let peer = numbers.get(&router.key);
                        if let Some((rule, text)) = grants::mapping_rule(mapping, router, peer, plan, outlet)
                        {
                            made.texts.insert(rule.id, text);
                            made.rules.push(rule);
                        }
                    }
                }
                Item::Identity(_) | Item::Peer(_) => {}
            }
        }
        made
    }

    /// A rule that is gone, or counts less than before because it was opened anew, is accounted for.
    fn take_over(&mut self, made: Made, before: &[SessionView], after: &[SessionView]) {
        let now: HashMap<SessionId, &SessionView> = after.iter().map(|view| (view.id, view)).collect();
        for view in before {
            if now.get(&view.id).is_none_or(|now| now.packets < view.packets) {
                self.ledger.closed(view);
            }
        }
        let stay: HashSet<SessionId> = made.books.rules().map(|(_, session)| session).collect();
        let ended = self.books.rules().map(|(_, session)| session).filter(|session| !stay.contains(session));
        ended.for_each(|session| self.ledger.ended(session));
        self.ledger.replace(made.books.rules());
        self.books = made.books;
        *self.texts.lock().unwrap_or_else(PoisonError::into_inner) = made.texts;
    }

    fn make_part(
        &mut self,
        state: &State,
        changes: &[Change],
        clock: ServerClock,
    ) -> Result<Applied, Problem> {
        let program = self.program()?;
        let defaults = {
            let plan = program.plan();
            let items = changes.iter().filter_map(|change| match change {
                Change::Put(item) => Some(item.as_ref()),
                Change::Remove(_) => None,
            });
            self.check(&plan, items)?;
            Defaults::of(&plan)
        };
        let mut applied = Applied::default();
        for some in changes.chunks(CHANGES_PER_LOCK) {
            let texts = Arc::clone(&self.texts);
            let mut texts = texts.lock().unwrap_or_else(PoisonError::into_inner);
            program.adjust(|node| {
                let mut step = Step {
                    led: self,
                    node,
                    state,
                    texts: &mut texts,
                    defaults,
                    moment: moment_of(clock),
                    applied: &mut applied,
                };
                some.iter().try_for_each(|change| step.take(change))
            })?;
        }
        Ok(applied)
    }
}

impl Led for LedNode {
    fn whole(&mut self, state: &State, clock: ServerClock) -> Result<Applied, Problem> {
        let began = clock::now();
        let applied = self.make_whole(state, clock);
        told("snapshot", applied.map(|applied| since(began, applied)))
    }

    /// A connector has few mappings and fewer routers: it is made whole each time.
    fn part(&mut self, state: &State, changes: &[Change], clock: ServerClock) -> Result<Applied, Problem> {
        let began = clock::now();
        let applied = match self.own.kind {
            LedKind::Router => self.make_part(state, changes, clock),
            LedKind::Connector { .. } => self.make_whole(state, clock),
        };
        told("changes", applied.map(|applied| since(began, applied)))
    }

    fn lease(&mut self, until: Instant) {
        self.link.set_lease(until);
        if let Some(program) = self.program.upgrade() {
            program.runtime().with_node(|node, now| node.set_node_lease(now, Some(until)));
        }
    }

    fn counted(&mut self, report: u64) {
        self.ledger.taken(report);
    }
}

/// One change, made to the node.
struct Step<'a, 'n> {
    led: &'a mut LedNode,
    node: &'a mut Adjustment<'n>,
    /// With all changes made.
    state: &'a State,
    texts: &'a mut RuleTexts,
    defaults: Defaults,
    moment: Moment,
    applied: &'a mut Applied,
}

impl Step<'_, '_> {
    fn take(&mut self, change: &Change) -> Result<(), Problem> {
        match change {
            Change::Put(item) => match item.as_ref() {
                Item::Identity(_) | Item::Mapping(_) => Ok(()),
                Item::Peer(peer) => self.put_peer(peer),
                Item::Grant(grant) => {
                    self.close(grant.session);
                    self.led.books.strike(grant.session);
                    self.led.books.enter(grant);
                    self.open(grant)
                }
            },
            Change::Remove(ItemKey::Peer(key)) => {
                self.close_naming(key);
                self.node.remove_peer(key);
                self.reopen_naming(key)
            }
            Change::Remove(ItemKey::Grant(session)) => {
                self.close(*session);
                self.led.books.strike(*session);
                self.led.ledger.ended(*session);
                Ok(())
            }
            Change::Remove(ItemKey::Identity | ItemKey::Mapping(_)) => Ok(()),
        }
    }

    /// Sessions that waited for it are opened.
    fn put_peer(&mut self, peer: &Peer) -> Result<(), Problem> {
        let is_new = self.node.put_peer(grants::plan_of(peer));
        match is_new.map_err(|error| Problem::new(format_args!("the peer {}: {error}", peer.name)))? {
            false => Ok(()),
            true => {
                self.close_naming(&peer.key);
                self.reopen_naming(&peer.key)
            }
        }
    }

    fn close_naming(&mut self, key: &PublicKey) {
        self.led.books.naming(key).into_iter().for_each(|session| self.close(session));
    }

    /// As far as they can be, with the peers there are now.
    fn reopen_naming(&mut self, key: &PublicKey) -> Result<(), Problem> {
        for session in self.led.books.naming(key) {
            // One that is not in the state any more is removed by a later change.
            if let Some(Item::Grant(grant)) = self.state.get(&ItemKey::Grant(session)) {
                self.open(grant)?;
            }
        }
        Ok(())
    }

    fn open(&mut self, grant: &Grant) -> Result<(), Problem> {
        let rules = grants::rules(grant, self.defaults, self.moment, |key| self.node.peer(key));
        self.led.books.opened(grant.session, &rules);
        for rule in &rules {
            self.node.open(rule).map_err(|error| Problem::with(grant.session, error))?;
            self.led.ledger.opened(grant.session, rule.id);
            self.texts.insert(rule.id, grants::text(grant, rule));
            self.applied.added += 1;
        }
        Ok(())
    }

    fn close(&mut self, session: SessionId) {
        for rule in self.led.books.closed(session) {
            self.texts.remove(&rule);
            if let Some(view) = self.node.close(rule) {
                self.led.ledger.closed(&view);
                self.applied.removed += 1;
            }
        }
    }
}

/// What is made of a whole state.
#[derive(Default)]
struct Made {
    rules: Vec<Rule>,
    books: Books,
    texts: RuleTexts,
}

fn routers(state: &State) -> impl Iterator<Item = &Peer> {
    state.items().filter_map(|item| match item.as_ref() {
        Item::Peer(peer) if peer.kind == PeerKind::Router => Some(peer),
        Item::Peer(_) | Item::Identity(_) | Item::Grant(_) | Item::Mapping(_) => None,
    })
}

fn source(ends: &Ends) -> SocketAddr {
    SocketAddr::new(ends.addresses.source(), ends.ports.source)
}

fn destination(ends: &Ends) -> SocketAddr {
    SocketAddr::new(ends.addresses.destination(), ends.ports.destination)
}

fn views(program: &Program) -> Vec<SessionView> {
    program.runtime().with_node(|node, _| node.sessions().collect())
}

fn moment_of(clock: ServerClock) -> Moment {
    Moment { boot: clock.boot, unix: clock.unix }
}

fn problem_of(fault: &ReloadFault, books: &Books) -> Problem {
    let rule = match fault {
        ReloadFault::Rules(ApplyError::Rule { session, .. }) => Some(*session),
        ReloadFault::Rules(ApplyError::Pool { .. } | ApplyError::DuplicatePool(_))
        | ReloadFault::NeedsRestart(_)
        | ReloadFault::GivenUp
        | ReloadFault::Metrics { .. }
        | ReloadFault::Peer(_)
        | ReloadFault::Port { .. } => None,
    };
    let session = rule.and_then(|rule| books.rules().find(|(id, _)| *id == rule)).map(|(_, session)| session);
    session.map_or_else(|| Problem::new(fault), |session| Problem::with(session, fault))
}

fn since(began: Instant, applied: Applied) -> Applied {
    let took = clock::now().saturating_duration_since(began);
    Applied { took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX), ..applied }
}

fn told(what: &str, applied: Result<Applied, Problem>) -> Result<Applied, Problem> {
    match &applied {
        Ok(applied) => tracing::debug!(what, ?applied, "in force"),
        Err(problem) => tracing::error!(what, %problem, "refused what the server says"),
    }
    applied
}
