//! Whether open sessions still have their rights: at every change that could take one, and now and then as a net.

use std::net::IpAddr;

use jiff::Timestamp;
use router_core::access::{Client, ClientSeen, EndReason};
use uuid::Uuid;

use super::record::session_of;
use super::sessions::save;
use super::{Actor, Change, Engine, Fault};
use crate::store::objects::Kind;
use crate::store::sessions::SessionRecord;
use crate::store::{Tx, unix_time};

impl Engine {
    /// Ends what must end at this moment, and warns users whose sessions soon will. Call it every second or so.
    pub(crate) async fn tick(&self, now: Timestamp) -> Result<(), Fault> {
        let due = {
            let mut tx = self.store().read().await?;
            let (mut due, since) = (Vec::new(), self.ticked(now));
            for record in tx.ongoing_sessions().await? {
                self.warn(&record, since, now)?;
                if self.must_end(&mut tx, &record, now).await?.is_some() {
                    due.push(record);
                }
            }
            due
        };
        if due.is_empty() {
            return Ok(());
        }
        let mut tx = self.store().write().await?;
        let mut changes = Vec::new();
        for record in due {
            // It may have changed since it was looked at.
            let Some(record) = tx.session(record.id).await? else { continue };
            changes.extend(self.recheck(&mut tx, record, now).await?.map(Change::Session));
        }
        tx.commit().await?;
        self.tell(changes);
        Ok(())
    }

    /// Ends the sessions that an object's change has taken their right from; says which.
    pub(super) async fn recheck_after(
        &self,
        tx: &mut Tx,
        kind: Kind,
        id: Uuid,
        now: Timestamp,
    ) -> Result<Vec<Uuid>, Fault> {
        let concerned = match kind {
            Kind::User => tx.ongoing_of_user(id).await?,
            Kind::Target => tx.ongoing_to_target(id).await?,
            Kind::Device | Kind::Router | Kind::Connector | Kind::Mapping => tx.ongoing_sessions().await?,
            // What others name cannot be removed.
            Kind::Tenant | Kind::Role => Vec::new(),
        };
        let mut ended = Vec::new();
        for record in concerned {
            ended.extend(self.recheck(tx, record, now).await?);
        }
        Ok(ended)
    }

    /// Warns of a session that will end by itself, once for each moment at which that is told.
    fn warn(&self, record: &SessionRecord, since: Timestamp, now: Timestamp) -> Result<(), Fault> {
        let due = session_of(record)?.next_notice(unix_time(since)).filter(|(at, _)| *at <= unix_time(now));
        self.tell(due.map(|(_, notice)| Change::Expiring(record.id, notice.ahead().as_secs())));
        Ok(())
    }

    /// When it was last looked; from now on that is now.
    fn ticked(&self, now: Timestamp) -> Timestamp {
        let mut live = self.live();
        live.ticked.replace(now).unwrap_or(now)
    }

    async fn recheck(
        &self,
        tx: &mut Tx,
        mut record: SessionRecord,
        now: Timestamp,
    ) -> Result<Option<Uuid>, Fault> {
        let Some(why) = self.must_end(tx, &record, now).await? else { return Ok(None) };
        let mut session = session_of(&record)?;
        let happened = session.end(why, unix_time(now));
        save(tx, &mut record, &session, happened, &Actor::system(), None, now).await?;
        Ok(Some(record.id))
    }

    async fn must_end(
        &self,
        tx: &mut Tx,
        record: &SessionRecord,
        now: Timestamp,
    ) -> Result<Option<EndReason>, Fault> {
        let session = session_of(record)?;
        if !session.is_open() {
            return Ok(None);
        }
        let Some(user) = tx.policy_user(record.user).await? else {
            return Ok(Some(EndReason::UserDisabled));
        };
        let target = match tx.object(Kind::Target, record.target).await? {
            Some(found) => Some(tx.policy_target(found).await?),
            None => None,
        };
        // As if a client behind another gateway asked itself: it has no device to be known by.
        let source = (session.client == Client::External).then_some(session.client_ip);
        let as_client = Actor { source, ..Actor::system() };
        let read = self.read(tx, &as_client, user, target, session.client_ip).await?;
        let seen = ClientSeen {
            at: Some(unix_time(self.last_heard(session.client_ip))),
            silence_max: self.policy().silence_max,
        };
        if let Some(why) = session.recheck(&read.facts(self), seen, unix_time(now)) {
            return Ok(Some(why));
        }
        // Without its device mapping a target leads elsewhere than it did, as if it had been edited: nothing enforces it.
        let leads_nowhere = self.compile(tx, &session).await?.is_err();
        Ok(leads_nowhere.then_some(EndReason::TargetEdited))
    }

    /// When a client was last heard; since this server runs, if it does not know.
    fn last_heard(&self, client_ip: IpAddr) -> Timestamp {
        let heard = self.live().heard.get(&client_ip).copied();
        heard.unwrap_or(self.shared.started).max(self.shared.started)
    }
}
