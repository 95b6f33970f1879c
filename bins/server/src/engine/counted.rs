//! What sessions have carried, as routers tell it. A router counts from nothing in each of its lives.

use std::time::Duration;

use jiff::Timestamp;
use router_core::access::RouterId;
use uuid::Uuid;

use super::record::body_of;
use super::{Engine, Fault};
use crate::store::StoreError;

/// What a session has carried at a router since that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) session: Uuid,
    /// Packets from the client, and to it.
    pub(crate) packets: [u64; 2],
    /// Bytes in them.
    pub(crate) bytes: [u64; 2],
    /// How long ago the last of them passed.
    pub(crate) idle: Option<Duration>,
    /// Whether these are the last ones.
    pub(crate) closed: bool,
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
            let before = self.live().counted.get(&(carried.session, router)).copied();
            let [packets, bytes] = [
                more(carried.packets, before.map(|before| before.packets)),
                more(carried.bytes, before.map(|before| before.bytes)),
            ];
            let mut body = body_of(&record)?;
            for direction in 0..2 {
                body.packets[direction] = body.packets[direction].saturating_add(packets[direction]);
                record.bytes[direction] = record.bytes[direction].saturating_add(bytes[direction]);
            }
            let last = carried.idle.and_then(|idle| now.checked_sub(idle).ok());
            body.last_packet = body.last_packet.max(last);
            record.body =
                serde_json::to_string(&body).map_err(|why| StoreError::unreadable("a session", why))?;
            tx.update_session(&record).await?;
        }
        tx.commit().await?;
        let mut live = self.live();
        for carried in counted {
            let key = (carried.session, router);
            if carried.closed {
                live.counted.remove(&key);
            } else {
                live.counted.insert(key, *carried);
            }
        }
        Ok(())
    }
}

/// What has come since; a router that counts less than before has begun anew.
fn more(now: [u64; 2], before: Option<[u64; 2]>) -> [u64; 2] {
    let before = before.unwrap_or_default();
    if now[0] < before[0] || now[1] < before[1] { now } else { [now[0] - before[0], now[1] - before[1]] }
}
