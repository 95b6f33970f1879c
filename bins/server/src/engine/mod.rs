//! What the control plane does: every change of what is stored, with its audit event, in one transaction; and what follows from
//! it for routers and connectors. Read first: spec of access, docs/control-plane.md. Called by http and control; calls documents,
//! store and `router_core::access`.
//!
//! Time is an argument everywhere, so that tests say what it is.

mod actor;
mod agents;
mod approvals;
mod complete;
mod counted;
mod desired;
mod devices;
mod events;
mod fault;
mod flows;
mod objects;
mod others;
mod outlook;
mod passage;
mod recheck;
mod record;
mod refusals;
mod rights;
mod sessions;
mod unstored;
mod view;
mod ways;
mod world;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use router_core::access::{ForbiddenAddresses, Quotas, RouterId};
use router_core::flow::Caps;
use tokio::sync::broadcast;
use uuid::Uuid;

use self::unstored::Unstored;
use crate::store::Store;
use crate::store::leads::Myself;
use crate::store::objects::Kind;

pub(crate) use self::actor::Actor;
pub(crate) use self::agents::AgentDid;
pub(crate) use self::complete::Managed;
pub(crate) use self::counted::Carried;
pub(crate) use self::desired::{AgentIdentity, Desired, DesiredPeer, NamedGrant, PlannedSession};
pub(crate) use self::fault::Fault;
pub(crate) use self::flows::{FlowQuery, Passed};
pub(crate) use self::outlook::Outlook;
pub(crate) use self::passage::failed_check;
pub(crate) use self::refusals::RefusedPackets;

/// Changes that a slow listener may fall behind; then it looks at everything anew.
const CHANGES_KEPT: usize = 4096;

/// What an installation decides for itself.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// How many sessions there may be.
    pub(crate) quotas: Quotas,
    /// What a session may hold at once.
    pub(crate) caps: Caps,
    /// How long a client may be silent before its sessions end. DESIGN decision 5.
    pub(crate) silence_max: Duration,
    /// How long a virtual port rests. DESIGN decision 4.
    pub(crate) quarantine: Duration,
    /// Addresses that targets may lead to although they are reserved.
    pub(crate) allowed: Vec<IpNet>,
    /// Addresses of connectors and routers come from here.
    pub(crate) overlay: Vec<IpNet>,
    /// How long it is kept which conversations sessions carried.
    pub(crate) flows_kept_for: Duration,
    /// And how many at most.
    pub(crate) flows_max: u64,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            quotas: Quotas::default(),
            caps: Caps::default(),
            silence_max: Duration::from_secs(180),
            quarantine: router_core::access::VIRTUAL_PORT_QUARANTINE,
            allowed: Vec::new(),
            overlay: vec!["10.99.0.0/16".parse().expect("a prefix")],
            flows_kept_for: Duration::from_secs(30 * 86_400),
            flows_max: 1_000_000,
        }
    }
}

/// Something changed: for those who lead agents, and for those who watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// A session was opened, changed, or is ending.
    Session(Uuid),
    /// An object was made, changed or removed.
    Object(Kind, Uuid),
    /// A session will end by itself, in so many seconds.
    Expiring(Uuid, u64),
    /// Nobody knows what: look at everything anew.
    Missed,
}

/// The control plane. Cloning it is cheap, and both are the same.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    policy: Policy,
    started: Timestamp,
    /// Tells this one from other servers.
    life: Uuid,
    changes: broadcast::Sender<Change>,
    live: Mutex<Live>,
}

/// What is known only while the server runs. Never decides alone: what is missing here is missing, not allowed.
#[derive(Debug, Default)]
struct Live {
    /// Routers that are connected and hold their rules.
    ready: Vec<RouterId>,
    /// When it was last looked what time does.
    ticked: Option<Timestamp>,
    /// When each client's tunnel was last heard.
    heard: HashMap<IpAddr, Timestamp>,
    /// Connectors that cannot be reached now.
    unhealthy: Vec<Uuid>,
    /// Which server this is, among those on one database; `None`: it leads nobody.
    myself: Option<Myself>,
    /// The session that was looked at last of those that are looked at in turns.
    looked_at: Option<(Timestamp, Uuid)>,
    /// Sessions that have ended, although the store could not be told.
    unstored: Unstored,
    /// Flows that sessions have now, at each router.
    flows: HashMap<(Uuid, RouterId), u32>,
    /// When it was last looked which flows are too old to be kept.
    flows_forgotten: Option<Timestamp>,
    /// What routers refused and is not yet written down, by whom it came from.
    refused: HashMap<refusals::Side, refusals::Waiting>,
}

impl Engine {
    /// A control plane over a store.
    pub(crate) fn new(now: Timestamp, store: Store, policy: Policy) -> Engine {
        let (changes, _) = broadcast::channel(CHANGES_KEPT);
        let live = Mutex::default();
        Engine {
            shared: Arc::new(Shared { store, policy, started: now, life: Uuid::now_v7(), changes, live }),
        }
    }

    /// The store under it.
    pub(crate) fn store(&self) -> &Store {
        &self.shared.store
    }

    /// What changes from now on.
    pub(crate) fn changes(&self) -> broadcast::Receiver<Change> {
        self.shared.changes.subscribe()
    }

    /// Which routers are connected and hold their rules.
    pub(crate) fn set_ready(&self, routers: Vec<RouterId>) {
        self.live().ready = routers;
    }

    /// The same, as it was told last.
    pub(crate) fn ready(&self) -> Vec<RouterId> {
        self.live().ready.clone()
    }

    /// This server, among others on the database; it leads agents from now on. Its life is returned.
    pub(crate) fn become_server(&self, id: Uuid) -> Myself {
        let myself = Myself { id, life: self.shared.life };
        self.live().myself = Some(myself);
        myself
    }

    /// Which connectors cannot be reached.
    pub(crate) fn set_unhealthy(&self, connectors: Vec<Uuid>) {
        self.live().unhealthy = connectors;
    }

    /// A client's tunnel was heard.
    pub(crate) fn heard(&self, client_ip: IpAddr, at: Timestamp) {
        let mut live = self.live();
        let heard = live.heard.entry(client_ip).or_insert(at);
        *heard = at.max(*heard);
    }

    /// Which clients were heard after this moment, and when.
    pub(crate) fn heard_since(&self, since: Timestamp) -> Vec<(IpAddr, Timestamp)> {
        let live = self.live();
        live.heard.iter().filter(|(_, at)| **at > since).map(|(client_ip, at)| (*client_ip, *at)).collect()
    }

    fn policy(&self) -> &Policy {
        &self.shared.policy
    }

    fn live(&self) -> std::sync::MutexGuard<'_, Live> {
        // Each change of it is one assignment, so it is whole whoever panicked.
        self.shared.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who listen; nobody may.
    fn tell(&self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            let _ = self.shared.changes.send(change);
        }
    }

    fn forbidden(&self, control: Vec<IpNet>) -> ForbiddenAddresses {
        ForbiddenAddresses::new(control, self.policy().allowed.clone())
    }
}

#[cfg(test)]
mod tests;
