//! Sessions that end although the store cannot be told: it is locked, full, or gone. Spec of security, the table of failures: their
//! grants go from the routers at once, and those routers get no lease until the store knows, so that whoever leads them after a
//! crash, knowing only what is stored, does not let such a session go on.

use std::collections::BTreeMap;

use jiff::Timestamp;
use router_core::access::{EndReason, RouterId};
use uuid::Uuid;

use super::record::session_of;
use super::sessions::save;
use super::{Actor, Change, Engine, Fault};
use crate::store::sessions::SessionRecord;
use crate::store::{StoreError, unix_time};

/// By session; as many as there are sessions at most.
pub(super) type Unstored = BTreeMap<Uuid, Waiting>;

/// A session that is to end, as it was read.
pub(super) struct Ending {
    session: Uuid,
    why: EndReason,
    routers: Vec<RouterId>,
}

/// An ending that waits for the store.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    actor: Actor,
    why: EndReason,
    reason: Option<String>,
    routers: Vec<RouterId>,
}

impl Ending {
    pub(super) fn new(record: &SessionRecord, why: EndReason) -> Result<Ending, Fault> {
        let routers = session_of(record)?.routers;
        Ok(Ending { session: record.id, why, routers })
    }
}

impl Engine {
    /// Ends sessions for their routers, and remembers to store that.
    pub(super) fn end_unstored(
        &self,
        actor: &Actor,
        reason: Option<&str>,
        endings: Vec<Ending>,
        why: StoreError,
    ) -> Fault {
        let sessions: Vec<Uuid> = endings.iter().map(|ending| ending.session).collect();
        if sessions.is_empty() {
            return Fault::Store(why);
        }
        tracing::error!(sessions = sessions.len(), %why, "sessions end, but that cannot be stored: their routers get no lease");
        let mut live = self.live();
        for Ending { session, why, routers } in endings {
            // Who ended it first did.
            live.unstored.entry(session).or_insert_with(|| Waiting {
                actor: actor.clone(),
                why,
                reason: reason.map(str::to_owned),
                routers,
            });
        }
        drop(live);
        self.tell(sessions.iter().copied().map(Change::Session));
        Fault::Unstored { sessions: sessions.len(), why }
    }

    /// Stores what could not be stored before.
    pub(super) async fn store_unstored(&self, now: Timestamp) -> Result<(), Fault> {
        let waiting = self.live().unstored.clone();
        if waiting.is_empty() {
            return Ok(());
        }
        let mut tx = self.store().write().await?;
        for (id, Waiting { actor, why, reason, .. }) in &waiting {
            let Some(mut record) = tx.session(*id).await? else { continue };
            let mut session = session_of(&record)?;
            let happened = session.end(*why, unix_time(now));
            save(&mut tx, &mut record, &session, happened, actor, reason.as_deref(), now).await?;
        }
        self.commit(tx, waiting.keys().copied().map(Change::Session)).await?;
        tracing::info!(sessions = waiting.len(), "the store knows of all sessions that have ended");
        self.live().unstored.retain(|id, _| !waiting.contains_key(id));
        Ok(())
    }

    /// Whether a session has ended without the store knowing: no router is to have it.
    pub(crate) fn has_ended_unstored(&self, session: Uuid) -> bool {
        self.live().unstored.contains_key(&session)
    }

    /// Whether a router is to get no lease, because of what the store does not know.
    pub(crate) fn withholds_leases(&self, router: RouterId) -> bool {
        self.live().unstored.values().any(|waiting| waiting.routers.contains(&router))
    }
}
