//! Which routers and connectors this server leads, and the word it gives for it: as long as its signs of life are stored, the
//! leases of its agents are renewed. Read first: docs/adr/0011. Called by control; calls engine and store.
//!
//! An agent is led by the server that it is connected with; while it is with none, by whoever led it last, and when that server is
//! dead, by whoever notices first. A server that takes an agent over reckons with a lease that was granted at that moment; one
//! that has lost an agent, or the database, grants none that ends later than one lease after its last stored sign of life. So no
//! two of them ever contradict each other at an agent, whatever the one that lost it knows.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sluice_runtime::host::moment::Moment;
use uuid::Uuid;
use wg_proto::Instant;

use super::{Control, lock};
use crate::engine::Fault;
use crate::store::Tx;
use crate::store::leads::{LeadRecord, Myself, ServerRecord};
use crate::store::objects::Kind;

// Our own choices.
/// How often a server gives a sign of life.
const BEAT: Duration = Duration::from_secs(1);
/// After how long without any it is dead.
const DEAD_AFTER: Duration = Duration::from_secs(5);
/// After how many of its own a server stores which clients it has heard, if it is not alone.
const BEATS_OF_HEARD: u32 = 10;

/// What is known of leads.
#[derive(Default)]
pub(super) struct Leads {
    mine: HashSet<Uuid>,
    /// Agents of other servers, and whether each is ready there.
    elsewhere: HashMap<Uuid, (Kind, bool)>,
    /// Where each agent is inside the tunnels.
    addresses: HashMap<IpAddr, Uuid>,
    /// Agents of other servers that have asked to be led here.
    asked: HashSet<Uuid>,
    /// The newest sign of life of each other server, and when it was first seen, by the own clock.
    seen: HashMap<Uuid, (Uuid, i64, Instant)>,
    beats: u32,
    vouched: Option<Instant>,
}

impl Leads {
    pub(super) fn is_mine(&self, agent: Uuid) -> bool {
        self.mine.contains(&agent)
    }

    pub(super) fn elsewhere(&self) -> &HashMap<Uuid, (Kind, bool)> {
        &self.elsewhere
    }

    pub(super) fn vouched(&self) -> Option<Instant> {
        self.vouched
    }

    pub(super) fn set_addresses(&mut self, addresses: HashMap<IpAddr, Uuid>) {
        self.addresses = addresses;
    }

    /// An agent that another server leads wants to be led here. Says whether there is such an agent.
    fn ask(&mut self, address: IpAddr) -> bool {
        let agent = self.addresses.get(&address).filter(|agent| !self.mine.contains(agent));
        agent.is_some_and(|agent| {
            self.asked.insert(*agent);
            true
        })
    }

    /// The servers of which there was no sign of life for too long.
    fn dead(&mut self, servers: &[ServerRecord], me: Uuid, now: Instant) -> Vec<Myself> {
        self.seen.retain(|id, _| servers.iter().any(|server| server.id == *id));
        let mut dead = Vec::new();
        for ServerRecord { id, life, beat } in servers.iter().filter(|server| server.id != me) {
            let seen = self.seen.entry(*id).or_insert((*life, *beat, now));
            if (seen.0, seen.1) != (*life, *beat) {
                *seen = (*life, *beat, now);
            }
            if now.saturating_duration_since(seen.2) >= DEAD_AFTER {
                dead.push(Myself { id: *id, life: *life });
            }
        }
        dead
    }

    /// The agents that this server has to take.
    fn due(&self, agents: &[(Uuid, Kind)], led: &[LeadRecord], alive: &HashSet<Uuid>, me: Uuid) -> Vec<Uuid> {
        let leader: HashMap<Uuid, Uuid> = led.iter().map(|lead| (lead.agent, lead.server)).collect();
        let is_due = |agent: Uuid| match leader.get(&agent) {
            Some(server) if *server == me => false,
            // The router in its own process is with no other.
            Some(server) => agent == me || self.asked.contains(&agent) || !alive.contains(server),
            None => true,
        };
        agents.iter().map(|(agent, _)| *agent).filter(|agent| is_due(*agent)).collect()
    }
}

/// Gives signs of life until the server stops.
pub(super) async fn keep(control: Control) {
    while !control.shared.is_leaving.load(Ordering::Relaxed) {
        let rung = control.shared.asked.notified();
        let _ = tokio::time::timeout(BEAT, rung).await;
        if let Err(why) = control.beat().await {
            tracing::error!(%why, "no sign of life can be stored; on a shared store leases are not renewed until one is");
        }
    }
}

/// Vouches for what was decided, where nobody else can have decided anything: whether or not the store can be written.
pub(super) async fn vouch_alone(control: Control) {
    while !control.shared.is_leaving.load(Ordering::Relaxed) {
        control.vouch(Moment::now().boot);
        tokio::time::sleep(BEAT).await;
    }
}

impl Control {
    /// Whom an agent at this address finds here: its leader, or nobody yet.
    pub(super) fn ask_to_be_led(&self, address: IpAddr) {
        if lock(&self.shared.leads).ask(address) {
            self.shared.asked.notify_one();
        }
    }

    /// This server is at work from now on.
    pub(super) async fn enter(&self) -> Result<(), Fault> {
        let mut tx = self.engine().store().write().await?;
        tx.enter_server(self.shared.myself).await?;
        tx.commit().await?;
        self.beat().await
    }

    /// It is at work no more: others need not wait until it is dead.
    pub(crate) async fn leave(&self) {
        self.shared.is_leaving.store(true, Ordering::Relaxed);
        let left = async {
            let mut tx = self.engine().store().write().await?;
            tx.leave_server(self.shared.myself).await?;
            tx.commit().await
        };
        if let Err(why) = left.await {
            tracing::warn!(%why, "other servers are not told that this one stops");
        }
    }

    /// Gives a sign of life, takes over whom nobody leads, and learns who leads the others.
    async fn beat(&self) -> Result<(), Fault> {
        let (myself, began) = (self.shared.myself, Moment::now().boot);
        if self.shared.is_leaving.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut tx = self.engine().store().write().await?;
        if !tx.beat(myself).await? {
            if tx.servers().await?.iter().any(|server| server.id == myself.id) {
                self.settle(HashSet::new(), HashMap::new(), None).await?;
                let why = "another process is at work with this server's key: one of them has to stop";
                return Err(Fault::Conflict(why.to_owned()));
            }
            // It was so slow that others took it for dead.
            tx.enter_server(myself).await?;
        }
        let (servers, led) = (tx.servers().await?, tx.leads().await?);
        let mut agents: Vec<_> =
            tx.ids_of(Kind::Router).await?.into_iter().map(|id| (id, Kind::Router)).collect();
        agents.extend(tx.ids_of(Kind::Connector).await?.into_iter().map(|id| (id, Kind::Connector)));
        let (dead, due) = {
            let mut leads = lock(&self.shared.leads);
            let dead = leads.dead(&servers, myself.id, began);
            let is_alive = |id: &Uuid| !dead.iter().any(|dead| dead.id == *id);
            let alive: HashSet<_> = servers.iter().map(|server| server.id).filter(is_alive).collect();
            let due = leads.due(&agents, &led, &alive, myself.id);
            (dead, due)
        };
        for dead in &dead {
            tracing::warn!(server = %dead.id, "a server gives no sign of life: its routers and connectors are taken over");
            tx.leave_server(*dead).await?;
        }
        for agent in &due {
            tx.take_lead(*agent, myself.id).await?;
        }
        if led.len() > agents.len() {
            tx.forget_leads().await?;
        }
        self.store_readiness(&mut tx, &led).await?;
        if servers.len() > 1 {
            self.store_heard(&mut tx).await?;
        }
        tx.commit().await?;
        let due: HashSet<_> = due.into_iter().collect();
        let (mut mine, mut elsewhere) = (due.clone(), HashMap::new());
        for LeadRecord { agent, server, ready } in led.into_iter().filter(|lead| !due.contains(&lead.agent)) {
            let Some((_, kind)) = agents.iter().find(|(id, _)| *id == agent) else { continue };
            if server == myself.id {
                mine.insert(agent);
            } else {
                elsewhere.insert(agent, (*kind, ready));
            }
        }
        self.settle(mine, elsewhere, Some(began)).await
    }

    async fn store_readiness(&self, tx: &mut Tx, led: &[LeadRecord]) -> Result<(), Fault> {
        for LeadRecord { agent, ready, .. } in led {
            let seat = self.seats().get(agent).cloned();
            let Some(seat) = seat else { continue };
            let is_ready = seat.leadership.ask(|leader, _| leader.is_up() && leader.acknowledged().is_some());
            if is_ready != *ready && lock(&self.shared.leads).is_mine(*agent) {
                tx.set_lead_ready(*agent, is_ready).await?;
            }
        }
        Ok(())
    }

    async fn store_heard(&self, tx: &mut Tx) -> Result<(), Fault> {
        let beats = {
            let mut leads = lock(&self.shared.leads);
            leads.beats = leads.beats.wrapping_add(1);
            leads.beats
        };
        if beats.is_multiple_of(BEATS_OF_HEARD) {
            let ago = SignedDuration::try_from(BEAT * (BEATS_OF_HEARD + 2)).unwrap_or_default();
            let since = Timestamp::now().checked_sub(ago).unwrap_or(Timestamp::MIN);
            tx.store_heard(&self.engine().heard_since(since)).await?;
        }
        Ok(())
    }

    /// What was stored is so from now on: seats come and go, and leases may be renewed. `began`: when it was begun to store it.
    async fn settle(
        &self,
        mine: HashSet<Uuid>,
        elsewhere: HashMap<Uuid, (Kind, bool)>,
        began: Option<Instant>,
    ) -> Result<(), Fault> {
        let (gained, lost) = {
            let mut leads = lock(&self.shared.leads);
            let gained = mine.difference(&leads.mine).count();
            let lost: Vec<_> = leads.mine.difference(&mine).copied().collect();
            leads.asked.retain(|agent| !mine.contains(agent));
            (leads.mine, leads.elsewhere) = (mine, elsewhere);
            (gained, lost)
        };
        for agent in lost {
            let seat = self.seats().remove(&agent);
            if let Some(seat) = seat {
                tracing::info!(%agent, "another server leads it now");
                seat.leadership.with(|leader, _| leader.refuse("another server leads you now"));
            }
        }
        if gained > 0 {
            tracing::info!(agents = gained, "leading more routers and connectors");
            self.plan_all().await?;
        }
        if let Some(began) = began {
            self.vouch(began);
        }
        Ok(())
    }

    /// All that was decided until then is known here. Leases may be renewed for one lease from then.
    fn vouch(&self, at: Instant) {
        {
            let mut leads = lock(&self.shared.leads);
            leads.vouched = leads.vouched.max(Some(at));
        }
        for seat in self.all_seats() {
            self.withhold(&seat);
            seat.leadership.with(|leader, _| leader.vouch(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn at(secs: u64) -> Instant {
        Instant::from_nanos(secs * 1_000_000_000)
    }

    fn server(id: Uuid, beat: i64) -> ServerRecord {
        ServerRecord { id, life: Uuid::nil(), beat }
    }

    #[test]
    fn a_server_is_dead_when_its_sign_of_life_has_not_changed_for_long_enough() {
        let mut leads = Leads::default();
        let mut dead = |beat: i64, secs: u64| {
            leads.dead(&[server(id(1), 0), server(id(2), beat)], id(1), at(secs)).len()
        };
        // However long ago it was stored: only what is seen counts.
        assert_eq!([dead(7, 100), dead(7, 104), dead(8, 105), dead(8, 109), dead(8, 110)], [0, 0, 0, 0, 1]);
        assert_eq!(dead(9, 111), 0, "it was only slow");
    }

    #[test]
    fn what_nobody_leads_is_taken_and_what_somebody_leads_only_if_it_asks() {
        let mut leads = Leads::default();
        let agents: Vec<_> = (1..=5).map(|number| (id(number), Kind::Router)).collect();
        // 1 and 2 are the embedded routers of servers 1 and 2.
        let led: Vec<_> = [(1, 2), (2, 2), (3, 1), (4, 9), (5, 2)]
            .map(|(agent, server)| LeadRecord { agent: id(agent), server: id(server), ready: true })
            .into();
        let alive = [id(1), id(2)].into();
        assert_eq!(leads.due(&agents, &led, &alive, id(1)), [id(1), id(4)]);
        leads.set_addresses([("10.99.0.5".parse().unwrap(), id(5))].into());
        assert!(leads.ask("10.99.0.5".parse().unwrap()) && !leads.ask("10.99.0.6".parse().unwrap()));
        assert_eq!(leads.due(&agents, &led, &alive, id(1)), [id(1), id(4), id(5)]);
        assert_eq!(leads.due(&agents[..4], &led[..3], &alive, id(1)), [id(1), id(4)]);
    }
}
