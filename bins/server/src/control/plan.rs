//! Keeps what agents are to have in step with the store. Called by control.

use std::sync::Arc;
use std::time::Duration;

use control_proto::{Change as Step, Item, ItemKey, Standing};
use jiff::Timestamp;
use router_core::access::RouterId;
use router_core::rules::SessionId;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use uuid::Uuid;
use wg_proto::PublicKey;

use super::{Client, Control, Seat, items, lock};
use crate::engine::{AgentIdentity, Change, DesiredPeer, Fault};
use crate::store::objects::Kind;

/// How often it is looked whether leases have lapsed, sessions have expired, clients are gone.
const TICK: Duration = Duration::from_secs(1);
/// How long planning waits after it failed: the store may be back then.
const RETRY: Duration = Duration::from_millis(500);

/// Follows the engine's changes.
pub(super) async fn follow(control: Control, mut changes: Receiver<Change>) {
    loop {
        let planned = match changes.recv().await {
            Ok(Change::Session(session)) => control.plan_session(session).await,
            Ok(Change::Object(..)) | Err(RecvError::Lagged(_)) => control.plan_all().await,
            Ok(Change::Expiring(..)) => Ok(()),
            Err(RecvError::Closed) => return,
        };
        if let Err(why) = planned {
            tracing::error!(%why, "cannot plan what routers are to have; trying again");
            while let Err(why) = control.plan_all().await {
                tracing::debug!(%why, "cannot plan yet");
                tokio::time::sleep(RETRY).await;
            }
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
        control.tell_presence();
        for seat in control.all_seats() {
            control.confirm(&seat).await;
        }
    }
}

impl Control {
    /// Plans everything for everybody.
    pub(super) async fn plan_all(&self) -> Result<(), Fault> {
        let agents = self.engine().agents().await?;
        self.seats().retain(|id, seat| {
            agents.iter().any(|agent| agent.id == *id && agent.key == Some(seat.leadership.agent()))
        });
        let mut connectors = Vec::new();
        for AgentIdentity { kind, id, key } in agents {
            // One that has not enrolled has no key, and nobody to lead.
            let Some(key) = key else { continue };
            let seat = self.seat(kind, id, key);
            let desired = match kind {
                Kind::Connector => self.engine().desired_of_connector(id).await?,
                Kind::Router
                | Kind::Tenant
                | Kind::Role
                | Kind::User
                | Kind::Device
                | Kind::Target
                | Kind::Mapping => self.engine().desired_of_router(id).await?,
            };
            let Some(desired) = desired else { continue };
            if kind == Kind::Router {
                self.know_clients(&desired.peers);
                connectors =
                    desired.peers.iter().filter(|peer| peer.kind == Kind::Connector).cloned().collect();
            }
            lock(&seat.addresses).clone_from(&desired.addresses);
            if let Err(fault) = seat.leadership.with(|leader, _| leader.replace(items::items(&desired))) {
                tracing::error!(agent = %id, %fault, "what it is to have contradicts itself: it keeps what it had");
            }
        }
        *lock(&self.shared.connectors) = connectors;
        for (session, waiting) in self.engine().unconfirmed().await? {
            self.watch_session(session, &waiting);
        }
        self.tell_presence();
        Ok(())
    }

    /// Plans one session: its grant comes, changes or goes.
    async fn plan_session(&self, session: Uuid) -> Result<(), Fault> {
        let grant = self.engine().grant_of(session).await?;
        let connectors = lock(&self.shared.connectors).clone();
        let key = ItemKey::Grant(SessionId(session.as_u128()));
        for seat in self.all_seats().into_iter().filter(|seat| seat.kind == Kind::Router) {
            let router = RouterId(seat.id.as_u128());
            let here = grant.as_ref().filter(|(routers, _)| routers.contains(&router));
            let step = match here.and_then(|(_, grant)| items::grant(grant, &connectors)) {
                Some(grant) => Step::put(Item::Grant(grant)),
                None => Step::Remove(key),
            };
            if let Err(fault) = seat.leadership.with(|leader, _| leader.change([step])) {
                tracing::error!(router = %seat.id, %session, %fault, "a grant does not fit");
            }
        }
        let waiting = self.engine().waiting_for(session).await?;
        self.watch_session(session, &waiting);
        // One that is fast may have answered before it was watched.
        for seat in self.all_seats() {
            self.confirm(&seat).await;
        }
        Ok(())
    }

    /// Tells the engine how an agent stands with the sessions of which that is asked.
    pub(super) async fn confirm(&self, seat: &Seat) {
        let watched = lock(&seat.watched).clone();
        let standing: Vec<(Uuid, bool)> = seat.leadership.with(|leader, now| {
            let standing = |id: &Uuid| match leader.standing(now, SessionId(id.as_u128())) {
                Standing::Open => Some((*id, true)),
                Standing::Closed => Some((*id, false)),
                Standing::Opening | Standing::Closing => None,
            };
            watched.iter().filter_map(standing).collect()
        });
        if standing.is_empty() {
            return;
        }
        match self.engine().confirm(Timestamp::now(), RouterId(seat.id.as_u128()), &standing).await {
            Ok(()) => lock(&seat.watched).retain(|id| !standing.iter().any(|(told, _)| told == id)),
            Err(why) => tracing::error!(%why, "cannot store what a router confirmed; trying again"),
        }
    }

    fn know_clients(&self, peers: &[DesiredPeer]) {
        let mut clients = lock(&self.shared.clients);
        for peer in peers.iter().filter(|peer| peer.kind == Kind::Device) {
            let Some(address) = peer.addresses.first() else { continue };
            clients.entry(peer.key).or_insert(Client { address: *address, bytes: 0 }).address = *address;
        }
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
                let mut watched = lock(&seat.watched);
                if !watched.contains(&session) {
                    watched.push(session);
                }
            }
        }
    }
}
