//! Whether open sessions still have their rights: at every change that could take one, at the moments when time does, and all
//! of them now and then as a net.

use std::net::IpAddr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use router_core::access::{ClientSeen, EndReason, Notice};
use uuid::Uuid;

use super::record::session_of;
use super::rights::Rights;
use super::sessions::save;
use super::unstored::Ending;
use super::ways::Ways;
use super::{Actor, Change, Engine, Fault};
use crate::store::objects::Kind;
use crate::store::sessions::{Ongoing, SessionRecord};
use crate::store::{Tx, unix_time};

/// How long it takes until each session was looked at without any reason. DESIGN decision 5.
const ROUND: Duration = Duration::from_secs(10);
/// Sessions that are looked at without any reason in one second, at most: with more than ten times as many a round takes longer.
const WITHOUT_REASON_MAX: u32 = 2000;

impl Engine {
    /// Ends what must end at this moment, and warns users whose sessions soon will. Call it every second.
    pub(crate) async fn tick(&self, now: Timestamp) -> Result<(), Fault> {
        let due = {
            let mut tx = self.store().read().await?;
            self.warn(&mut tx, self.ticked(now), now).await?;
            let looked_at = self.worth_a_look(&mut tx, now).await?;
            self.must_end(&mut tx, looked_at, now).await?
        };
        self.store_unstored(now).await?;
        if due.is_empty() {
            return Ok(());
        }
        match self.end_due(&due, now).await {
            Err(Fault::Store(fault)) => {
                // Routers know themselves when a session expires, and so does whoever reads the store later.
                let revoked = due.iter().filter(|(_, why)| *why != EndReason::Expired);
                let endings = revoked.map(|(record, why)| Ending::new(record, *why));
                Err(self.end_unstored(&Actor::system(), None, endings.collect::<Result<_, _>>()?, fault))
            }
            done => done,
        }
    }

    async fn end_due(&self, due: &[(SessionRecord, EndReason)], now: Timestamp) -> Result<(), Fault> {
        let mut tx = self.store().write().await?;
        // They may have changed since they were looked at.
        let sessions: Vec<_> = due.iter().map(|(record, _)| record.id).collect();
        let again = tx.sessions_of(&sessions).await?;
        let ended = self.recheck(&mut tx, again, now).await?;
        self.commit(tx, ended.into_iter().map(Change::Session)).await?;
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
            Kind::User => tx.ongoing(Ongoing::OfUser(id)).await?,
            Kind::Target => tx.ongoing(Ongoing::ToTarget(id)).await?,
            Kind::Device | Kind::Router | Kind::Connector | Kind::Mapping => tx.ongoing(Ongoing::All).await?,
            // What others name cannot be removed.
            Kind::Tenant | Kind::Role => Vec::new(),
        };
        self.recheck(tx, concerned, now).await
    }

    /// Sessions that time may have ended: those that expire, those of clients that are silent, and some of all the others.
    async fn worth_a_look(&self, tx: &mut Tx, now: Timestamp) -> Result<Vec<SessionRecord>, Fault> {
        let mut sessions = tx.expiring(Timestamp::MIN, now).await?;
        let silent_since = now.checked_sub(self.policy().silence_max).unwrap_or(Timestamp::MIN);
        let mut silent = tx.ongoing_clients().await?;
        silent.retain(|client_ip| self.last_heard(*client_ip) <= silent_since);
        // Another server may lead the router that hears them.
        for (client_ip, at) in tx.heard(&silent).await? {
            self.heard(client_ip, at);
        }
        for client_ip in silent.into_iter().filter(|client_ip| self.last_heard(*client_ip) <= silent_since) {
            sessions.extend(tx.ongoing(Ongoing::From(client_ip)).await?);
        }
        sessions.extend(self.next_of_round(tx).await?);
        sessions.sort_unstable_by_key(|session| session.id);
        sessions.dedup_by_key(|session| session.id);
        Ok(sessions)
    }

    /// The next part of all ongoing sessions, so that a round takes its time.
    async fn next_of_round(&self, tx: &mut Tx) -> Result<Vec<SessionRecord>, Fault> {
        let [all, _, _] = tx.ongoing_counts(Uuid::nil(), Uuid::nil()).await?;
        let seconds = u32::try_from(ROUND.as_secs()).unwrap_or(u32::MAX);
        let some = all.div_ceil(seconds).clamp(1, WITHOUT_REASON_MAX);
        let last = self.live().looked_at;
        let sessions = tx.ongoing_behind(last, some).await?;
        let is_over = sessions.len() < some as usize;
        self.live().looked_at =
            sessions.last().filter(|_| !is_over).map(|session| (session.opened, session.id));
        Ok(sessions)
    }

    /// Warns of sessions that will end by themselves, once for each moment at which that is told.
    async fn warn(&self, tx: &mut Tx, since: Timestamp, now: Timestamp) -> Result<(), Fault> {
        for notice in Notice::BOTH {
            let ahead = SignedDuration::try_from(notice.ahead()).unwrap_or_default();
            let later = |moment: Timestamp| moment.checked_add(ahead).unwrap_or(Timestamp::MAX);
            for record in tx.expiring(later(since), later(now)).await? {
                let due = session_of(&record)?.next_notice(unix_time(since));
                let due = due.filter(|(at, next)| *at <= unix_time(now) && *next == notice);
                self.tell(due.map(|_| Change::Expiring(record.id, notice.ahead().as_secs())));
            }
        }
        Ok(())
    }

    /// When it was last looked; from now on that is now.
    fn ticked(&self, now: Timestamp) -> Timestamp {
        let mut live = self.live();
        live.ticked.replace(now).unwrap_or(now)
    }

    /// Ends those of the sessions that must end; says which.
    async fn recheck(
        &self,
        tx: &mut Tx,
        mut records: Vec<SessionRecord>,
        now: Timestamp,
    ) -> Result<Vec<Uuid>, Fault> {
        let mut ended = Vec::new();
        for (place, why) in self.judged(tx, &records, now).await? {
            let record = &mut records[place];
            let mut session = session_of(record)?;
            let happened = session.end(why, unix_time(now));
            save(tx, record, &session, happened, &Actor::system(), None, now).await?;
            ended.push(record.id);
        }
        Ok(ended)
    }

    /// Those of the sessions that must end, and why.
    async fn must_end(
        &self,
        tx: &mut Tx,
        mut records: Vec<SessionRecord>,
        now: Timestamp,
    ) -> Result<Vec<(SessionRecord, EndReason)>, Fault> {
        records.retain(|record| !self.has_ended_unstored(record.id));
        let judged = self.judged(tx, &records, now).await?;
        Ok(judged.into_iter().map(|(place, why)| (records[place].clone(), why)).collect())
    }

    /// Which of the sessions must end, by their places, and why.
    async fn judged(
        &self,
        tx: &mut Tx,
        records: &[SessionRecord],
        now: Timestamp,
    ) -> Result<Vec<(usize, EndReason)>, Fault> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let (rights, mut ways) = (Rights::of(tx, records).await?, Ways::default());
        let mut judged = Vec::new();
        for (place, record) in records.iter().enumerate() {
            let session = session_of(record)?;
            if !session.is_open() {
                continue;
            }
            let seen = ClientSeen {
                at: Some(unix_time(self.last_heard(session.client_ip))),
                silence_max: self.policy().silence_max,
            };
            let why = rights.must_end(self, (record, &session), seen, unix_time(now));
            // Without its device mapping a target leads elsewhere than it did, as if it had been edited: nothing enforces it.
            let why = match why {
                Some(why) => Some(why),
                None => {
                    let leads_nowhere = self.compile(tx, &mut ways, &session).await?.is_err();
                    leads_nowhere.then_some(EndReason::TargetEdited)
                }
            };
            judged.extend(why.map(|why| (place, why)));
        }
        Ok(judged)
    }

    /// When a client was last heard, since this server runs.
    pub(crate) fn heard_at(&self, client_ip: IpAddr) -> Option<Timestamp> {
        self.live().heard.get(&client_ip).copied()
    }

    /// When a client was last heard; since this server runs, if it does not know.
    fn last_heard(&self, client_ip: IpAddr) -> Timestamp {
        let heard = self.heard_at(client_ip);
        heard.unwrap_or(self.shared.started).max(self.shared.started)
    }
}
