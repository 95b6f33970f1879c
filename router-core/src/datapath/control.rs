//! What the control plane changes in the data path, and what it may look at.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use wg_proto::{Device, Instant, PeerIndex};

use super::Path;
use super::family::{Family, egress_of, ends_of};
use super::side::{Side, of_version};
use crate::flow::{Direction, Phase, Tick};
use crate::nat::{Mapping, POOL_ADDRESSES_MAX, PoolError, PoolId, Snat};
use crate::packet::{Ends, Protocol};
use crate::rules::{
    Applied, ApplyError, Rule, RuleError, RuleSnapshot, Session, SessionId, SessionView, SnatPool,
};
use crate::verdict::Egress;

/// A flow, as administrators see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowView {
    /// Its session; `None`: closed, and the flow waits for its end.
    pub session: Option<SessionId>,
    /// The protocol above IP.
    pub protocol: Protocol,
    /// Addresses and ports of the opening packet as it came in.
    pub original: Ends,
    /// Addresses and ports of answers as they come in.
    pub reply: Ends,
    /// The side that the opening packet came from.
    pub from: Egress,
    /// The side that it left to.
    pub to: Egress,
    /// How far it has come.
    pub phase: Phase,
    /// Bytes in the opening packet's direction, and back.
    pub bytes: [u64; 2],
    /// How long no packet has refreshed it.
    pub idle: Duration,
}

impl Path {
    /// Makes pools and rules what the snapshot says, or changes nothing.
    pub(crate) fn apply(
        &mut self,
        device: &Device,
        now: Instant,
        snapshot: &RuleSnapshot,
    ) -> Result<Applied, ApplyError> {
        check_pools(&snapshot.pools)?;
        let pools: BTreeSet<PoolId> = snapshot.pools.iter().map(|pool| pool.id).collect();
        let allow = |session: &Session| {
            check_pool(session, |pool| pools.contains(&pool))?;
            check_peers(session, device)
        };
        let difference = self.shared.rules.compare(snapshot, allow)?;
        self.put_pools(&snapshot.pools);
        let applied = self.shared.rules.apply(now, difference);
        if applied.removed > 0 {
            self.begin_sweep();
        }
        Ok(applied)
    }

    /// Replaces all pools. Flows keep their translation.
    pub(crate) fn set_pools(&mut self, pools: &[SnatPool]) -> Result<(), ApplyError> {
        check_pools(pools)?;
        self.put_pools(pools);
        Ok(())
    }

    pub(crate) fn open_session(&mut self, device: &Device, rule: &Rule) -> Result<(), RuleError> {
        let session = Session::new(rule)?;
        check_pool(&session, |pool| self.shared.pools.contains_key(&pool))?;
        check_peers(&session, device)?;
        self.shared.rules.open(session).map(|_| ())
    }

    pub(crate) fn close_session(&mut self, id: SessionId) -> bool {
        let closed = self.shared.rules.close(id).is_some();
        if closed {
            self.begin_sweep();
        }
        closed
    }

    /// Closes all sessions that come from a peer or leave to it.
    pub(crate) fn close_sessions_of(&mut self, peer: PeerIndex) -> usize {
        let sessions = self.shared.rules.sessions_of_peer(peer);
        sessions.into_iter().filter(|id| self.close_session(*id)).count()
    }

    pub(crate) fn session(&self, id: SessionId) -> Option<SessionView> {
        self.shared.rules.session(id)
    }

    pub(crate) fn sessions(&self) -> impl Iterator<Item = SessionView> + '_ {
        self.shared.rules.sessions()
    }

    pub(crate) fn flows(&self, now: Instant) -> impl Iterator<Item = FlowView> + '_ {
        let tick = Tick::from_nanos(now.as_nanos());
        self.flows_of(&self.v4, tick).chain(self.flows_of(&self.v6, tick))
    }

    /// Flows stored now, and the most there can be.
    pub(crate) fn flows_used(&self) -> (u32, u32) {
        let used = self.v4.flows.flows_used() + self.v6.flows.flows_used();
        (used, self.v4.flows.flows_max() + self.v6.flows.flows_max())
    }

    fn flows_of<'a, A: Family>(
        &'a self,
        side: &'a Side<A>,
        tick: Tick,
    ) -> impl Iterator<Item = FlowView> + 'a {
        side.flows.iter().map(move |(_, flow)| {
            let meta = flow.meta();
            let idle_nanos = tick.as_nanos().saturating_sub(flow.last_seen().as_nanos());
            FlowView {
                session: self.shared.rules.id_of(meta.session),
                protocol: flow.incoming(Direction::Original).protocol,
                original: ends_of(&flow.incoming(Direction::Original)),
                reply: ends_of(&flow.incoming(Direction::Reply)),
                from: egress_of(meta.ingress),
                to: egress_of(meta.egress),
                phase: flow.phase(),
                bytes: Direction::BOTH.map(|direction| flow.bytes(direction)),
                idle: Duration::from_nanos(idle_nanos),
            }
        })
    }

    fn put_pools(&mut self, pools: &[SnatPool]) {
        let pools: BTreeMap<PoolId, SnatPool> = pools.iter().map(|pool| (pool.id, pool.clone())).collect();
        let present = core::mem::take(&mut self.shared.pools);
        put_pools(&mut self.v4, &present, &pools);
        put_pools(&mut self.v6, &present, &pools);
        self.shared.pools = pools;
    }
}

/// First what goes or changes is taken out, so that no pool in between stands in the way of another.
fn put_pools<A: Family>(
    side: &mut Side<A>,
    present: &BTreeMap<PoolId, SnatPool>,
    pools: &BTreeMap<PoolId, SnatPool>,
) {
    for (id, pool) in present {
        if pools.get(id) != Some(pool) {
            side.nat.remove_pool(*id);
        }
    }
    let mut external = Vec::new();
    for (id, pool) in pools {
        let addresses: Vec<A> = pool.addresses.iter().filter_map(|address| of_version(*address)).collect();
        side.nat.set_pool(*id, &addresses, pool.mapping).expect("check_pools has checked all of them");
        external.extend(addresses);
    }
    side.ours.set_external(external);
}

fn check_pools(pools: &[SnatPool]) -> Result<(), ApplyError> {
    let mut ids = BTreeSet::new();
    let mut mappings: BTreeMap<_, Mapping> = BTreeMap::new();
    for pool in pools {
        let refused = |error| ApplyError::Pool { pool: pool.id, error };
        if !ids.insert(pool.id) {
            return Err(ApplyError::DuplicatePool(pool.id));
        }
        if pool.addresses.len() > POOL_ADDRESSES_MAX {
            return Err(refused(PoolError::TooManyAddresses));
        }
        for address in &pool.addresses {
            if *mappings.entry(*address).or_insert(pool.mapping) != pool.mapping {
                return Err(refused(PoolError::MappingDiffers));
            }
        }
    }
    Ok(())
}

fn check_pool(session: &Session, exists: impl Fn(PoolId) -> bool) -> Result<(), RuleError> {
    match session.snat() {
        Snat::Pool(pool) if !exists(pool) => Err(RuleError::UnknownPool),
        Snat::Pool(_) | Snat::Off => Ok(()),
    }
}

fn check_peers(session: &Session, device: &Device) -> Result<(), RuleError> {
    match session.peers().all(|peer| device.peer(peer).is_some()) {
        true => Ok(()),
        false => Err(RuleError::UnknownPeer),
    }
}
