//! Which conversations sessions carried, as routers tell it: stored for a while, shown to those who see the sessions.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use router_core::access::RouterId;
use sluice_api::{FlowView, Page};
use uuid::Uuid;

use super::sessions::invalid;
use super::{Actor, Engine, Fault};
use crate::store::flows::{FlowFilter, FlowRow};
use crate::store::objects::Kind;
use crate::store::{StoreError, Tx};

/// How often it is looked which are too old.
const FORGET_EVERY: SignedDuration = SignedDuration::from_mins(10);

/// A conversation that is over, as a router tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) session: Uuid,
    /// By its number.
    pub(crate) protocol: u8,
    pub(crate) client: SocketAddr,
    pub(crate) destination: SocketAddr,
    /// Where that went.
    pub(crate) reached: SocketAddr,
    /// Bytes from the client, and to it.
    pub(crate) bytes: [u64; 2],
    /// How long ago its last packet passed.
    pub(crate) idle: Duration,
}

/// Which of them to list. What is absent leaves nothing out.
#[derive(Debug, Clone, Default)]
pub(crate) struct FlowQuery {
    pub(crate) session: Option<Uuid>,
    pub(crate) user: Option<Uuid>,
    pub(crate) target: Option<Uuid>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
}

impl Engine {
    /// Keeps what a router tells of. What it says of sessions that are not known is let be.
    pub(crate) async fn passed(
        &self,
        now: Timestamp,
        router: RouterId,
        passed: &[Passed],
    ) -> Result<(), Fault> {
        let mut tx = self.store().write().await?;
        let mut known = HashMap::new();
        let mut rows = Vec::with_capacity(passed.len());
        for flow in passed {
            if let Entry::Vacant(place) = known.entry(flow.session) {
                let session = tx.session(flow.session).await?;
                // A router tells of what it was told to let pass, and of nothing else.
                let session = match session {
                    Some(session) if session.body.routers.contains(&Uuid::from_u128(router.0)) => {
                        Some(session)
                    }
                    Some(_) | None => None,
                };
                place.insert(session);
            }
            let Some(Some(session)) = known.get(&flow.session) else { continue };
            rows.push(FlowRow {
                seq: 0,
                ended: now.checked_sub(flow.idle).unwrap_or(now),
                session: session.id,
                tenant: session.tenant,
                user: session.user,
                user_name: session.body.user_name.clone(),
                target: session.target,
                target_name: session.target_name.clone(),
                router: Uuid::from_u128(router.0),
                protocol: flow.protocol,
                client: flow.client,
                destination: flow.destination,
                reached: flow.reached,
                bytes: flow.bytes,
            });
        }
        tx.insert_flows(&rows).await?;
        if self.is_time_to_forget(now) {
            let oldest = now.checked_sub(self.policy().flows_kept_for).unwrap_or(Timestamp::MIN);
            let forgotten = tx.forget_flows(oldest, self.policy().flows_max).await?;
            tracing::debug!(forgotten, "flows");
        }
        tx.commit().await?;
        Ok(())
    }

    fn is_time_to_forget(&self, now: Timestamp) -> bool {
        let mut live = self.live();
        let is_due = live.flows_forgotten.is_none_or(|last| now.duration_since(last) >= FORGET_EVERY);
        if is_due {
            live.flows_forgotten = Some(now);
        }
        is_due
    }

    /// Conversations, those told of last first. `cursor` is what the page before ended with.
    pub(crate) async fn flows(
        &self,
        actor: &Actor,
        query: FlowQuery,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<FlowView>, Fault> {
        let FlowQuery { session, user, target, since, until } = query;
        let mut filter = FlowFilter { tenants: actor.tenants(), session, user, target, since, until };
        if !actor.sees_others() {
            filter.user = actor.user;
            filter.tenants = None;
        }
        let before = cursor.map(str::parse).transpose();
        let before = before.map_err(|_| invalid("/cursor", "it is no cursor of this list"))?;
        let mut tx = self.store().read().await?;
        let mut rows = tx.flows(&filter, before, limit.saturating_add(1)).await?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| more).map(|last| last.seq.to_string());
        let mut routers = HashMap::new();
        let mut items = Vec::with_capacity(rows.len());
        for row in rows {
            if let Entry::Vacant(place) = routers.entry(row.router) {
                place.insert(tx.name_of_router(row.router).await?);
            }
            let router = routers.get(&row.router).cloned().unwrap_or_default();
            items.push(view(row, router));
        }
        Ok(Page { items, next })
    }

    /// When something last went to a virtual port of one of these addresses.
    pub(crate) async fn last_used(
        &self,
        addresses: &[std::net::IpAddr],
        port: u16,
    ) -> Result<Option<Timestamp>, Fault> {
        let mut tx = self.store().read().await?;
        let mut last = None;
        for address in addresses {
            last = last.max(tx.last_flow_to(SocketAddr::new(*address, port)).await?);
        }
        Ok(last)
    }
}

impl Tx {
    async fn name_of_router(&mut self, id: Uuid) -> Result<String, StoreError> {
        let record = self.object(Kind::Router, id).await?;
        Ok(record.map_or_else(|| id.to_string(), |record| record.name))
    }
}

fn view(row: FlowRow, router: String) -> FlowView {
    FlowView {
        ended: row.ended,
        session: row.session,
        user: row.user_name,
        target: row.target_name,
        router,
        proto: protocol_name(row.protocol),
        client: row.client,
        destination: row.destination,
        reached: row.reached,
        bytes_out: row.bytes[0],
        bytes_in: row.bytes[1],
    }
}

/// As people say it.
pub(super) fn protocol_name(number: u8) -> String {
    match number {
        1 | 58 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        other => other.to_string(),
    }
}
