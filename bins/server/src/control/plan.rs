//! Keeps what agents are to have in step with the store. Called by control.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use control_proto::{Change as Step, Item, ItemKey, Standing};
use jiff::Timestamp;
use router_core::access::RouterId;
use router_core::rules::SessionId;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use uuid::Uuid;
use wg_proto::PublicKey;

use super::{Client, Control, Seat, items, lock};
use crate::engine::{AgentIdentity, Change, Desired, DesiredPeer, Fault, PlannedSession};
use crate::store::objects::Kind;

/// How often it is looked whether leases have lapsed, sessions have expired, clients are gone.
const TICK: Duration = Duration::from_secs(1);
/// How long planning waits after it failed: the store may be back then.
const RETRY: Duration = Duration::from_millis(500);

/// Changes that are planned together, at most: a revocation behind them waits so long.
const TOGETHER_MAX: usize = 256;

/// Confirmations that are stored together, at most: everybody else who writes waits so long.
const CONFIRMED_MAX: usize = 100;

/// Follows the engine's changes. Those that have come meanwhile are planned together.
pub(super) async fn follow(control: Control, mut changes: Receiver<Change>) {
    loop {
        let mut due = Due::default();
        match changes.recv().await {
            Ok(change) => due.note(change),
            Err(RecvError::Lagged(_)) => due.everything = true,
            Err(RecvError::Closed) => return,
        }
        for _ in 1..TOGETHER_MAX {
            match changes.try_recv() {
                Ok(change) => due.note(change),
                Err(TryRecvError::Lagged(_)) => due.everything = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        if let Err(why) = control.plan(&due).await {
            tracing::error!(%why, "cannot plan what routers are to have; trying again");
            while let Err(why) = control.plan_all().await {
                tracing::debug!(%why, "cannot plan yet");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// What has to be planned anew.
#[derive(Default)]
struct Due {
    sessions: Vec<Uuid>,
    devices: Vec<Uuid>,
    everything: bool,
}

impl Due {
    fn note(&mut self, change: Change) {
        match change {
            Change::Session(session) => self.sessions.push(session),
            Change::Object(Kind::Device, device) => self.devices.push(device),
            Change::Object(Kind::Router | Kind::Connector | Kind::Mapping, _) | Change::Missed => {
                self.everything = true;
            }
            // Agents know nothing of them. Sessions that such a change ends are told one by one.
            Change::Object(Kind::Tenant | Kind::Role | Kind::User | Kind::Target, _)
            | Change::Expiring(..) => {}
        }
    }
}

/// Looks at what time does.
pub(super) async fn watch(control: Control) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let began = std::time::Instant::now();
        if let Err(why) = control.engine().tick(Timestamp::now()).await {
            tracing::error!(%why, "cannot look which sessions must end; trying again");
        }
        control.engine().store().meter().ticked(began.elapsed());
        if let Err(why) = control.engine().write_refusals(Timestamp::now()).await {
            tracing::error!(%why, "cannot write down what was refused; trying again");
        }
        control.tell_presence();
        for seat in control.all_seats() {
            control.confirm(&seat).await;
            control.store_report(&seat).await;
            control.look_at(&seat).await;
        }
    }
}

impl Control {
    /// Sessions first: what is revoked is not to wait for anything else.
    async fn plan(&self, due: &Due) -> Result<(), Fault> {
        self.plan_sessions(&due.sessions).await?;
        if due.everything {
            return self.plan_all().await;
        }
        for device in &due.devices {
            self.plan_device(*device).await?;
        }
        Ok(())
    }

    /// Plans everything for everybody.
    pub(crate) async fn plan_all(&self) -> Result<(), Fault> {
        let _turn = self.shared.planning.lock().await;
        let plan = self.engine().plan().await?;
        self.seats().retain(|id, seat| {
            let key = Some(seat.leadership.agent());
            plan.agents.iter().any(|(agent, _)| agent.id == *id && agent.key == key)
        });
        let address = |(agent, desired): &(AgentIdentity, Desired)| {
            let id = agent.id;
            desired.addresses.clone().into_iter().map(move |address| (address, id))
        };
        lock(&self.shared.leads).set_addresses(plan.agents.iter().flat_map(address).collect());
        let mut connectors = Vec::new();
        for (AgentIdentity { kind, id, key }, desired) in plan.agents {
            if kind == Kind::Router {
                self.know_clients(&desired.peers);
                connectors =
                    desired.peers.iter().filter(|peer| peer.kind == Kind::Connector).cloned().collect();
            }
            // One that has not enrolled has no key, and nobody to lead.
            let Some(key) = key.filter(|_| lock(&self.shared.leads).is_mine(id)) else { continue };
            let seat = self.seat(kind, id, key);
            lock(&seat.addresses).clone_from(&desired.addresses);
            if let Err(fault) = seat.leadership.with(|leader, _| leader.replace(items::items(&desired))) {
                tracing::error!(agent = %id, %fault, "what it is to have contradicts itself: it keeps what it had");
            }
        }
        *lock(&self.shared.connectors) = connectors;
        for (session, waiting) in plan.unconfirmed {
            self.watch_session(session, &waiting);
        }
        self.tell_presence();
        Ok(())
    }

    /// Plans some sessions: the grant of each comes, changes or goes.
    async fn plan_sessions(&self, sessions: &[Uuid]) -> Result<(), Fault> {
        // What has ended must go even when the store cannot be asked.
        let (ended, sessions): (Vec<Uuid>, Vec<Uuid>) =
            sessions.iter().partition(|session| self.engine().has_ended_unstored(**session));
        self.take_away(&ended);
        if sessions.is_empty() {
            return Ok(());
        }
        let _turn = self.shared.planning.lock().await;
        let planned = self.engine().plan_sessions(&sessions).await?;
        let connectors = lock(&self.shared.connectors).clone();
        for seat in self.all_seats().into_iter().filter(|seat| seat.kind == Kind::Router) {
            let router = RouterId(seat.id.as_u128());
            let step = |planned: &PlannedSession| {
                let here = planned.grant.as_ref().filter(|(routers, _)| routers.contains(&router));
                match here.and_then(|(_, grant)| items::grant(grant, &connectors)) {
                    Some(grant) => Step::put(Item::Grant(grant)),
                    None => Step::Remove(ItemKey::Grant(SessionId(planned.session.as_u128()))),
                }
            };
            seat.change(planned.iter().map(step).collect());
        }
        let mut waited_for = HashSet::new();
        for PlannedSession { session, waiting, .. } in &planned {
            self.watch_session(*session, waiting);
            waited_for.extend(waiting.iter().copied());
        }
        // One that is fast may have answered before it was watched.
        for router in waited_for {
            let seat = self.seats().get(&Uuid::from_u128(router.0)).cloned();
            if let Some(seat) = seat {
                self.confirm(&seat).await;
            }
        }
        Ok(())
    }

    /// Sessions of whose end the store does not know.
    fn take_away(&self, ended: &[Uuid]) {
        if ended.is_empty() {
            return;
        }
        for seat in self.all_seats().into_iter().filter(|seat| seat.kind == Kind::Router) {
            let removed = ended.iter().map(|session| ItemKey::Grant(SessionId(session.as_u128())));
            seat.change(removed.map(Step::Remove).collect());
            self.withhold(&seat);
        }
    }

    /// Plans one device: its tunnel comes, changes or goes.
    async fn plan_device(&self, device: Uuid) -> Result<(), Fault> {
        let _turn = self.shared.planning.lock().await;
        let planned = self.engine().plan_device(device).await?;
        let key = planned.as_ref().map(|(_, peer)| peer.key);
        let former = self.former_keys(device, key);
        if let Some((_, peer)) = &planned {
            self.know_clients(std::slice::from_ref(peer));
        }
        for seat in self.all_seats().into_iter().filter(|seat| seat.kind == Kind::Router) {
            let mut steps: Vec<_> = former.iter().map(|key| Step::Remove(ItemKey::Peer(*key))).collect();
            match &planned {
                Some((router, peer)) if *router == seat.id => {
                    steps.push(Step::put(Item::Peer(items::peer(peer))))
                }
                Some((_, peer)) => steps.push(Step::Remove(ItemKey::Peer(peer.key))),
                None => {}
            }
            seat.change(steps);
        }
        Ok(())
    }

    /// Tells the engine how an agent stands with the sessions of which that is asked.
    pub(super) async fn confirm(&self, seat: &Seat) {
        let watched = lock(&seat.watched).clone();
        let standing: Vec<(Uuid, bool)> = seat.leadership.ask(|leader, now| {
            let standing = |id: &Uuid| match leader.standing(now, SessionId(id.as_u128())) {
                Standing::Open => Some((*id, true)),
                Standing::Closed => Some((*id, false)),
                Standing::Opening | Standing::Closing => None,
            };
            watched.iter().filter_map(standing).collect()
        });
        let router = RouterId(seat.id.as_u128());
        for some in standing.chunks(CONFIRMED_MAX) {
            match self.engine().confirm(Timestamp::now(), router, some).await {
                Ok(settled) => {
                    let mut watched = lock(&seat.watched);
                    for session in settled {
                        watched.remove(&session);
                    }
                }
                Err(why) => {
                    return tracing::error!(%why, "cannot store what a router confirmed; trying again");
                }
            }
        }
    }

    fn know_clients(&self, peers: &[DesiredPeer]) {
        let mut clients = lock(&self.shared.clients);
        for peer in peers.iter().filter(|peer| peer.kind == Kind::Device) {
            let Some(address) = peer.addresses.first() else { continue };
            let client =
                clients.entry(peer.key).or_insert(Client { device: peer.id, address: *address, bytes: 0 });
            (client.device, client.address) = (peer.id, *address);
        }
    }

    /// The keys that a device had before it had this one; they are forgotten.
    fn former_keys(&self, device: Uuid, now: Option<PublicKey>) -> Vec<PublicKey> {
        let mut clients = lock(&self.shared.clients);
        let is_former = |(key, client): (&PublicKey, &Client)| {
            (client.device == device && Some(*key) != now).then_some(*key)
        };
        let former: Vec<_> = clients.iter().filter_map(is_former).collect();
        for key in &former {
            clients.remove(key);
        }
        former
    }

    fn seat(&self, kind: Kind, id: Uuid, key: PublicKey) -> Arc<Seat> {
        let mut seats = self.seats();
        let seat = seats.entry(id).or_insert_with(|| Arc::new(Seat::new(self, kind, id, key)));
        Arc::clone(seat)
    }

    fn watch_session(&self, session: Uuid, waiting: &[RouterId]) {
        for router in waiting {
            let seat = self.seats().get(&Uuid::from_u128(router.0)).cloned();
            if let Some(seat) = seat {
                lock(&seat.watched).insert(session);
            }
        }
    }
}
