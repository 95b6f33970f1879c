//! Leads routers and connectors: one seat for each, whether it is connected or not, with what it is to have. Read first:
//! docs/protocol.md, docs/control-plane.md. Called by run and http; calls engine and the runtime's `Leadership`.
//!
//! ```text
//! engine --changes--> plan: desired state --> Seat (Leadership) <--> agent
//!        <--news: confirmations, counters, who was heard------'
//! ```

mod collector;
mod items;
mod leads;
mod news;
mod plan;
mod presence;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use control_proto::{AgentKind, Change, CounterReport, Epoch, Leader, Terms};
use jiff::Timestamp;
use router_core::access::RouterId;
use sluice_runtime::host::control::{AgentNews, Leadership};
use sluice_runtime::host::moment::Moment;
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;
use wg_proto::{Instant, PublicKey};

use self::leads::Leads;
use self::presence::{Presence, Sight};
use crate::engine::{DesiredPeer, Engine, Fault};
use crate::store::leads::Myself;
use crate::store::objects::Kind;

/// For a last message to leave by the tunnels.
const FAREWELL_TIME: Duration = Duration::from_millis(200);
/// News that wait to be taken; agents are not listened to meanwhile.
const NEWS_MAX: usize = 256;

/// Everybody who is led.
#[derive(Clone)]
pub(crate) struct Control {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    terms: Terms,
    seats: Mutex<HashMap<Uuid, Arc<Seat>>>,
    /// The peers that grants may lead through, as last planned.
    connectors: Mutex<Vec<DesiredPeer>>,
    /// The clients' addresses and what their tunnels had carried when last heard of.
    clients: Mutex<HashMap<PublicKey, Client>>,
    news: mpsc::Sender<AgentNews>,
    myself: Myself,
    leads: Mutex<Leads>,
    /// Rung when an agent asks that another server leads.
    asked: Notify,
    is_leaving: AtomicBool,
    /// Held from reading the store until agents are to have what was read: else what was read first could be told last.
    planning: tokio::sync::Mutex<()>,
}

/// A client's tunnel.
struct Client {
    device: Uuid,
    address: IpAddr,
    bytes: u64,
}

/// One agent's place.
struct Seat {
    id: Uuid,
    kind: Kind,
    leadership: Leadership,
    /// Its own inside the tunnels.
    addresses: Mutex<Vec<IpAddr>>,
    /// Sessions of which it has to say that it has them, or has them no more.
    watched: Mutex<HashSet<Uuid>>,
    /// What it has told of sessions, until that is stored.
    report: Mutex<Option<CounterReport>>,
    said: Mutex<Said>,
    presence: Mutex<Presence>,
}

/// What an agent said of itself.
#[derive(Debug, Clone, Default)]
struct Said {
    heard: Option<Timestamp>,
    software: Option<String>,
    problem: Option<String>,
    /// When a router last completed a handshake with it.
    handshake: Option<Timestamp>,
}

/// How an agent is.
#[derive(Debug, Clone, Default)]
pub(crate) struct AgentState {
    /// Whether it is connected.
    pub(crate) connected: bool,
    /// When it last said something.
    pub(crate) heard: Option<Timestamp>,
    /// Its program.
    pub(crate) software: Option<String>,
    /// Why it refused what it was to have.
    pub(crate) problem: Option<String>,
    /// The generation that it is to have.
    pub(crate) wanted: u64,
    /// The one it has.
    pub(crate) applied: Option<u64>,
    /// When a router last completed a handshake with it.
    pub(crate) handshake: Option<Timestamp>,
}

impl Control {
    /// Plans for everybody whom this server leads, and goes on planning until the engine is gone. `me`: its embedded router.
    pub(crate) async fn start(engine: Engine, terms: Terms, me: Uuid) -> Result<Control, Fault> {
        let myself = engine.become_server(me);
        let (news, told) = mpsc::channel(NEWS_MAX);
        let shared = Shared {
            engine,
            terms,
            seats: Mutex::default(),
            connectors: Mutex::default(),
            clients: Mutex::default(),
            news,
            myself,
            leads: Mutex::default(),
            asked: Notify::new(),
            is_leaving: AtomicBool::new(false),
            planning: tokio::sync::Mutex::default(),
        };
        let control = Control { shared: Arc::new(shared) };
        let changes = control.shared.engine.changes();
        control.enter().await?;
        control.plan_all().await?;
        tokio::spawn(control.engine().clone().hear_others());
        tokio::spawn(leads::keep(control.clone()));
        if !control.engine().store().is_shared() {
            tokio::spawn(leads::vouch_alone(control.clone()));
        }
        tokio::spawn(plan::follow(control.clone(), changes));
        tokio::spawn(plan::watch(control.clone()));
        tokio::spawn(news::take(control.clone(), told));
        Ok(control)
    }

    /// Who leads an agent; `None`: it is none, or has not enrolled.
    pub(crate) fn leadership(&self, agent: Uuid) -> Option<Leadership> {
        self.seats().get(&agent).map(|seat| seat.leadership.clone())
    }

    /// The same for the agent that has an address inside the tunnels. One that another server leads is led here when it asks
    /// again.
    pub(crate) fn leadership_at(&self, address: IpAddr) -> Option<Leadership> {
        let seat = self.all_seats().into_iter().find(|seat| lock(&seat.addresses).contains(&address));
        if seat.is_none() {
            self.ask_to_be_led(address);
        }
        seat.map(|seat| seat.leadership.clone())
    }

    /// How an agent is.
    pub(crate) fn state_of(&self, agent: Uuid) -> Option<AgentState> {
        let seat = self.seats().get(&agent).cloned();
        let Some(seat) = seat else {
            // Another server knows more.
            let elsewhere = lock(&self.shared.leads).elsewhere().get(&agent).copied();
            return elsewhere.map(|(_, connected)| AgentState { connected, ..AgentState::default() });
        };
        let Said { heard, software, problem, handshake } = lock(&seat.said).clone();
        Some(seat.leadership.ask(|leader, _| AgentState {
            connected: leader.is_up(),
            heard,
            software,
            problem,
            wanted: leader.generation().0,
            applied: leader.acknowledged().map(|generation| generation.0),
            handshake,
        }))
    }

    /// A router has completed a handshake with whoever has this key.
    fn shook_hands(&self, key: PublicKey, at: Timestamp) {
        if let Some(seat) = self.all_seats().into_iter().find(|seat| seat.leadership.agent() == key) {
            let mut said = lock(&seat.said);
            said.handshake = said.handshake.max(Some(at));
        }
    }

    /// A client's tunnel has carried so much by now, and was opened anew at `handshake`.
    fn heard(&self, key: PublicKey, bytes: u64, handshake: Option<Timestamp>, now: Timestamp) {
        let mut clients = lock(&self.shared.clients);
        let Some(client) = clients.get_mut(&key) else { return };
        // More authenticated bytes than before: it was heard between the reports.
        let at = if bytes > client.bytes { Some(now) } else { handshake };
        client.bytes = bytes;
        if let Some(at) = at {
            self.engine().heard(client.address, at);
        }
    }

    /// Tells the engine which routers are there and hold rules, and which connectors are not there.
    fn tell_presence(&self) {
        let (mut ready, mut unhealthy) = (Vec::new(), Vec::new());
        for seat in self.all_seats() {
            let (up, holds) =
                seat.leadership.ask(|leader, _| (leader.is_up(), leader.acknowledged().is_some()));
            match seat.kind {
                Kind::Router if up && holds => ready.push(RouterId(seat.id.as_u128())),
                Kind::Connector if !up => unhealthy.push(seat.id),
                Kind::Router | Kind::Connector => {}
                Kind::Tenant | Kind::Role | Kind::User | Kind::Device | Kind::Target | Kind::Mapping => {}
            }
        }
        let elsewhere = lock(&self.shared.leads).elsewhere().clone();
        unhealthy.extend(
            elsewhere.into_iter().filter_map(|(agent, (kind, is_ready))| {
                (kind == Kind::Connector && !is_ready).then_some(agent)
            }),
        );
        ready.sort_unstable();
        self.engine().set_ready(ready);
        self.engine().set_unhealthy(unhealthy);
    }

    /// Tells everybody that the server stops, and waits until that has left. They keep what they have until their leases run out.
    pub(crate) async fn farewell(&self) {
        for seat in self.all_seats() {
            seat.leadership.with(|leader, _| {
                if leader.is_up() {
                    leader.refuse("the server stops");
                }
            });
        }
        tokio::time::sleep(FAREWELL_TIME).await;
    }

    /// A router gets no lease while the store does not know all that has ended there.
    fn withhold(&self, seat: &Seat) {
        let router = RouterId(seat.id.as_u128());
        let withhold = seat.kind == Kind::Router && self.engine().withholds_leases(router);
        seat.leadership.with(|leader, _| leader.withhold_leases(withhold));
    }

    /// Looks how an agent stands, and writes down what has changed.
    async fn look_at(&self, seat: &Seat) {
        self.withhold(seat);
        let sight = seat.leadership.with(|leader, now| {
            let has_lease = leader.acknowledged().is_some() && now < leader.lapses_at();
            Sight { is_up: leader.is_up(), has_lease }
        });
        let now = Timestamp::now();
        let mut did = lock(&seat.presence).observed(now, sight).into_iter();
        while let Some(first) = did.next() {
            if let Err(why) = self.engine().agent_did(now, seat.kind, seat.id, &first).await {
                tracing::error!(agent = %seat.id, %why, "cannot write down what an agent did; trying again");
                lock(&seat.presence).is_untold(std::iter::once(first).chain(did));
                return;
            }
        }
    }

    fn seats(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Seat>>> {
        lock(&self.shared.seats)
    }

    fn all_seats(&self) -> Vec<Arc<Seat>> {
        self.seats().values().cloned().collect()
    }

    fn engine(&self) -> &Engine {
        &self.shared.engine
    }
}

impl Seat {
    fn new(control: &Control, kind: Kind, id: Uuid, key: PublicKey) -> Seat {
        let agent = if kind == Kind::Router { AgentKind::Router } else { AgentKind::Connector };
        // Whoever led it before may have granted it a lease just now.
        let epoch = Epoch(Uuid::now_v7().as_u128());
        let mut leader = Leader::new(Moment::now().boot, agent, epoch, control.shared.terms);
        // Without a word for it, it grants none.
        let vouched = lock(&control.shared.leads).vouched();
        leader.vouch(vouched.unwrap_or(Instant::from_nanos(0)));
        let leadership = Leadership::new(key, leader, control.shared.news.clone());
        Seat {
            id,
            kind,
            leadership,
            addresses: Mutex::default(),
            watched: Mutex::default(),
            report: Mutex::default(),
            said: Mutex::default(),
            presence: Mutex::default(),
        }
    }

    /// Changes what it is to have, as far as it is not so already.
    fn change(&self, steps: Vec<Change>) {
        let mut faults = Vec::new();
        self.leadership.with(|leader, _| {
            // One that does not fit keeps no other from being made.
            for step in steps {
                faults.extend(leader.change([step]).err());
            }
        });
        for fault in faults {
            tracing::error!(agent = %self.id, %fault, "what it is to have contradicts itself: it keeps what it had");
        }
    }
}

/// What is under these locks is whole at each step, whoever panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
