//! What routers refused, written down: every packet is counted, of each side one event a minute is kept (P26).

use std::net::{IpAddr, SocketAddr};

use jiff::{SignedDuration, Timestamp};
use router_core::access::{AuditKind, RouterId};
use serde_json::json;
use uuid::Uuid;

use super::flows::protocol_name;
use super::{Actor, Engine, Fault, events};
use crate::store::Tx;
use crate::store::audit::{Event, ObjectRef, Outcome};
use crate::store::objects::Kind;

/// Between two events about one side. What is refused meanwhile is counted in the next one.
const EVENT_EVERY: SignedDuration = SignedDuration::from_mins(1);
/// Sides that are told apart; what comes from more is counted together, for each router.
const SIDES_MAX: usize = 65_536;
/// Events of one transaction; the others follow with the next.
const EVENTS_AT_ONCE: usize = 500;

/// Where refused packets come from: at a router, a client's address, or anything else.
pub(super) type Side = (RouterId, Option<IpAddr>);

/// Packets that a router refused, all from one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusedPackets {
    /// The address of the device whose tunnel they came through, if it was one's.
    pub(crate) client: Option<IpAddr>,
    pub(crate) packets: u64,
    /// Why the last of them was.
    pub(crate) reason: String,
    /// By its number.
    pub(crate) protocol: u8,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
}

/// What is not yet written down of a side.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    packets: u64,
    last: RefusedPackets,
    written: Option<Timestamp>,
}

impl Engine {
    /// Takes what a router tells of; it is written down with the next tick that may.
    pub(crate) fn refused(&self, router: RouterId, refused: Vec<RefusedPackets>) {
        let mut live = self.live();
        for last in refused {
            let side = (router, last.client);
            let is_new = !live.refused.contains_key(&side);
            let side = if is_new && live.refused.len() >= SIDES_MAX { (router, None) } else { side };
            let packets = last.packets;
            let waiting = live.refused.entry(side);
            let waiting =
                waiting.or_insert_with(|| Waiting { packets: 0, last: last.clone(), written: None });
            waiting.packets = waiting.packets.saturating_add(packets);
            waiting.last = last;
        }
    }

    /// Writes down what waits and may be written.
    pub(crate) async fn write_refusals(&self, now: Timestamp) -> Result<(), Fault> {
        let due = self.due(now);
        if due.is_empty() {
            return Ok(());
        }
        let mut tx = self.store().write().await?;
        for ((router, _), waiting) in &due {
            let event = tx.refusal_event(*router, waiting).await?;
            tx.record(event, now).await?;
        }
        tx.commit().await?;
        let mut live = self.live();
        for (side, told) in due {
            if let Some(waiting) = live.refused.get_mut(&side) {
                waiting.packets = waiting.packets.saturating_sub(told.packets);
                waiting.written = Some(now);
            }
        }
        Ok(())
    }

    fn due(&self, now: Timestamp) -> Vec<(Side, Waiting)> {
        let mut live = self.live();
        let is_over = |written: Option<Timestamp>| {
            written.is_none_or(|written| now.duration_since(written) >= EVENT_EVERY)
        };
        live.refused.retain(|_, waiting| waiting.packets > 0 || !is_over(waiting.written));
        let due = live.refused.iter().filter(|(_, waiting)| waiting.packets > 0 && is_over(waiting.written));
        due.take(EVENTS_AT_ONCE).map(|(side, waiting)| (*side, waiting.clone())).collect()
    }
}

impl Tx {
    async fn refusal_event(&mut self, router: RouterId, waiting: &Waiting) -> Result<Event, Fault> {
        let Waiting { packets, last, .. } = waiting;
        let router = self.object(Kind::Router, Uuid::from_u128(router.0)).await?;
        let mut event = Event {
            outcome: Outcome::Refused,
            reason: Some(last.reason.clone()),
            details: json!({
                "packets": packets,
                "router": router.map(|router| router.name),
                "last": {
                    "proto": protocol_name(last.protocol),
                    "source": last.source,
                    "destination": last.destination,
                },
            }),
            ..events::event(AuditKind::PacketsRefused, &Actor::system())
        };
        // Behind another gateway there is no tunnel that says who it is; then the address does, if it is a device's.
        let address = last.client.unwrap_or(last.source.ip());
        let owner = self.claimant("address", &address.to_string()).await?;
        if let Some(device) = match owner {
            Some(owner) => self.object(Kind::Device, owner).await?,
            None => None,
        } {
            let (user, _) = self.device_of(&device).await?;
            let user = self.object(Kind::User, Uuid::from_u128(user.0)).await?;
            event.actor = user.map_or(event.actor, |user| user.name);
            event.tenant = device.tenant;
            event.source = Some(address);
            event.object =
                Some(ObjectRef { kind: Kind::Device.name().to_owned(), id: device.id, name: device.name });
        }
        Ok(event)
    }
}
