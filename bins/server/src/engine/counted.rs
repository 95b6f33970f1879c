//! What sessions have carried, as routers tell it. A router counts from nothing in each of its lives.

use std::time::Duration;

use jiff::Timestamp;
use router_core::access::RouterId;
use sluice_api::SessionView;
use uuid::Uuid;

use super::{Engine, Fault};
use crate::store::session_body::Told;

/// What a session has carried at a router since that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) session: Uuid,
    /// Packets from the client, and to it.
    pub(crate) packets: [u64; 2],
    /// Bytes in them.
    pub(crate) bytes: [u64; 2],
    /// Flows now.
    pub(crate) flows: u32,
    /// How long ago the last of them passed.
    pub(crate) idle: Option<Duration>,
}

impl Engine {
    /// Adds what is new to what sessions have carried.
    pub(crate) async fn count(
        &self,
        now: Timestamp,
        router: RouterId,
        counted: &[Carried],
    ) -> Result<(), Fault> {
        let mut tx = self.store().write().await?;
        for carried in counted {
            let Some(mut record) = tx.session(carried.session).await? else { continue };
            let told = Told { packets: carried.packets, bytes: carried.bytes };
            // Kept for as long as the session is: a report comes again until its answer has arrived, perhaps at another server.
            let before = record.body.told.insert(Uuid::from_u128(router.0), told);
            let [packets, bytes] = [
                more(told.packets, before.map(|before| before.packets)),
                more(told.bytes, before.map(|before| before.bytes)),
            ];
            let body = &mut record.body;
            for direction in 0..2 {
                body.packets[direction] = body.packets[direction].saturating_add(packets[direction]);
                record.bytes[direction] = record.bytes[direction].saturating_add(bytes[direction]);
            }
            let last = carried.idle.and_then(|idle| now.checked_sub(idle).ok());
            body.last_packet = body.last_packet.max(last);
            tx.update_session(&record).await?;
        }
        tx.commit().await?;
        let mut live = self.live();
        for carried in counted {
            let key = (carried.session, router);
            if carried.flows == 0 {
                live.flows.remove(&key);
            } else {
                live.flows.insert(key, carried.flows);
            }
        }
        Ok(())
    }
}

impl Engine {
    /// With the flows that it has now, at all routers together.
    pub(super) fn with_flows(&self, mut view: SessionView, routers: &[Uuid]) -> SessionView {
        let live = self.live();
        let here = routers
            .iter()
            .filter_map(|router| live.flows.get(&(view.id, RouterId(router.as_u128()))).copied());
        view.traffic.flows = here.fold(0, u32::saturating_add);
        view
    }
}

/// What has come since; a router that counts less than before has begun anew.
fn more(now: [u64; 2], before: Option<[u64; 2]>) -> [u64; 2] {
    let before = before.unwrap_or_default();
    if now[0] < before[0] || now[1] < before[1] { now } else { [now[0] - before[0], now[1] - before[1]] }
}
