//! Sessions: opened, given more time, ended. Read first: spec of access, "Opening a session".

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use router_core::access::{
    self, Approval, ClientOwner, EndReason, Facts, Name, Reason, Refused, Request, Router, RouterId, Scope,
    Session, SessionEvent, SessionLength, Usage, User, UserId,
};
use router_core::rules::SessionId;
use serde_json::json;
use sluice_api::{EndSessions, FieldProblem, OpenSession, Page, Seconds, SessionView};
use uuid::Uuid;

use super::record::{self, new_record, session_of, update_record};
use super::unstored::Ending;
use super::ways::Ways;
use super::world::StoredTarget;
use super::{Actor, Change, Engine, Fault, events};
use crate::store::objects::{Filter, Kind};
use crate::store::sessions::{Ongoing, SessionFilter, SessionRecord};
use crate::store::{StoreError, Tx, unix_time};

/// All that a decision is made from, read in its transaction.
pub(super) struct Read {
    pub(super) user: User,
    pub(super) target: Option<StoredTarget>,
    routers: Vec<Router>,
    ready: Vec<RouterId>,
    client: ClientOwner,
    client_ip: IpAddr,
    pub(super) ongoing: Vec<Session>,
    approval: Option<Approval>,
    usage: Usage,
}

impl Read {
    pub(super) fn facts<'a>(&'a self, engine: &'a Engine) -> Facts<'a> {
        Facts {
            user: &self.user,
            // Whoever gets here has shown who they are; the API lets nobody else in.
            authenticated: true,
            client: self.client,
            routers: &self.routers,
            ready: &self.ready,
            target: self.target.as_ref().map(|target| &target.policy),
            ongoing: &self.ongoing,
            approval: self.approval.as_ref(),
            quotas: &engine.policy().quotas,
            usage: self.usage,
        }
    }
}

impl Engine {
    /// Opens a session, or says which check refuses it. Either is in the audit when this returns.
    pub(crate) async fn open_session(
        &self,
        now: Timestamp,
        actor: &Actor,
        asked: &OpenSession,
    ) -> Result<SessionView, Fault> {
        let mut tx = self.store().write().await?;
        let user = asking_user(&mut tx, actor).await?;
        let request = request_of(&mut tx, actor, asked).await?;
        let target = tx.target_meant(&user, request.target.as_str()).await?;
        let read = self.read(&mut tx, actor, user, target, request.client_ip).await?;
        let granted = match access::decide(&read.facts(self), &request, unix_time(now)) {
            Ok(granted) => granted,
            Err(refused) => return Err(refuse(tx, actor, refused, asked, now).await?),
        };
        let Some(target) = &read.target else {
            return Err(Fault::Conflict("a grant without a target".to_owned()));
        };
        let (session, happened) = Session::open(SessionId(Uuid::now_v7().as_u128()), granted);
        let references = tx.references_of(target.record.id).await?;
        let record = new_record(&session, read.user.name.as_str(), target, &references);
        // What no router could enforce is not granted.
        self.compile(&mut tx, &mut Ways::default(), &session)
            .await?
            .map_err(|why| Fault::Conflict(format!("target {:?}: {why}", target.spec.name)))?;
        tx.insert_session(&record, &record::ranges_of(&session)).await?;
        write_down(&mut tx, &happened, actor, &record, None, now).await?;
        let view = tx.session_view(&record).await?;
        self.commit(tx, [Change::Session(record.id)]).await?;
        Ok(view)
    }

    /// Gives a session more time: its user asks.
    pub(crate) async fn extend_session(
        &self,
        now: Timestamp,
        actor: &Actor,
        id: Uuid,
        duration: Seconds,
    ) -> Result<SessionView, Fault> {
        let wanted = length(duration, "/duration")?;
        let mut tx = self.store().write().await?;
        let mut record = own_session(&mut tx, actor, id).await?;
        let mut session = session_of(&record)?;
        let user = asking_user(&mut tx, actor).await?;
        let target = match tx.object(Kind::Target, record.target).await? {
            Some(found) => Some(tx.policy_target(found).await?),
            None => None,
        };
        let read = self.read(&mut tx, actor, user, target, session.client_ip).await?;
        let at = unix_time(now);
        let extension = match access::extend(&read.facts(self), &session, wanted, at) {
            Ok(extension) => extension,
            Err(refused) => {
                let asked = json!({ "session": id, "duration": duration });
                return Err(refuse(tx, actor, refused, &asked, now).await?);
            }
        };
        let happened = session.prolong(&extension, at);
        save(&mut tx, &mut record, &session, happened, actor, None, now).await?;
        let view = tx.session_view(&record).await?;
        self.commit(tx, [Change::Session(id)]).await?;
        Ok(view)
    }

    /// Ends a session: its user closes it, or somebody ends it who may. What has ended already stays as it is.
    pub(crate) async fn end_session(
        &self,
        now: Timestamp,
        actor: &Actor,
        id: Uuid,
        reason: Option<&str>,
    ) -> Result<SessionView, Fault> {
        match self.store_end_of_one(now, actor, id, reason).await {
            Err(Fault::Store(why)) => {
                let mut tx = self.store().read().await?;
                let record = seen_session(&mut tx, actor, id).await?;
                let ending = Ending::new(&record, why_ended(actor, record.user, Scope::Session)?)?;
                Err(self.end_unstored(actor, reason, vec![ending], why))
            }
            done => done,
        }
    }

    async fn store_end_of_one(
        &self,
        now: Timestamp,
        actor: &Actor,
        id: Uuid,
        reason: Option<&str>,
    ) -> Result<SessionView, Fault> {
        let mut tx = self.store().write().await?;
        let mut record = seen_session(&mut tx, actor, id).await?;
        let why = why_ended(actor, record.user, Scope::Session)?;
        let mut session = session_of(&record)?;
        let happened = session.end(why, unix_time(now));
        save(&mut tx, &mut record, &session, happened, actor, reason, now).await?;
        let view = tx.session_view(&record).await?;
        self.commit(tx, [Change::Session(id)]).await?;
        Ok(view)
    }

    /// Ends all sessions that are described; returns them.
    pub(crate) async fn end_sessions(
        &self,
        now: Timestamp,
        actor: &Actor,
        which: &EndSessions,
    ) -> Result<Vec<SessionView>, Fault> {
        match self.store_end_of_all(now, actor, which).await {
            Err(Fault::Store(why)) => {
                let mut tx = self.store().read().await?;
                let mut endings = Vec::new();
                for record in described(&mut tx, actor, which).await? {
                    endings.push(Ending::new(&record, why_ended(actor, record.user, scope_of(which))?)?);
                }
                Err(self.end_unstored(actor, which.reason.as_deref(), endings, why))
            }
            done => done,
        }
    }

    async fn store_end_of_all(
        &self,
        now: Timestamp,
        actor: &Actor,
        which: &EndSessions,
    ) -> Result<Vec<SessionView>, Fault> {
        let mut tx = self.store().write().await?;
        let ongoing = described(&mut tx, actor, which).await?;
        let mut ended = Vec::new();
        for mut record in ongoing {
            let why = why_ended(actor, record.user, scope_of(which))?;
            let mut session = session_of(&record)?;
            let happened = session.end(why, unix_time(now));
            if happened.is_some() {
                let reason = which.reason.as_deref();
                save(&mut tx, &mut record, &session, happened, actor, reason, now).await?;
                ended.push(tx.session_view(&record).await?);
            }
        }
        self.commit(tx, ended.iter().map(|view| Change::Session(view.id))).await?;
        Ok(ended)
    }

    /// A router says how it stands with sessions: `true`, it has one in force; `false`, it has it no more, and cannot. Returns
    /// those that do not wait for it any more: one that is ending meanwhile waits for another word.
    pub(crate) async fn confirm(
        &self,
        now: Timestamp,
        router: RouterId,
        standing: &[(Uuid, bool)],
    ) -> Result<Vec<Uuid>, Fault> {
        let mut tx = self.store().write().await?;
        let myself = self.live().myself;
        if let Some(myself) = myself
            && !tx.is_led_by(Uuid::from_u128(router.0), myself).await?
        {
            return Err(Fault::Conflict("another server leads this router now".to_owned()));
        }
        let (mut changed, mut settled, at) = (Vec::new(), Vec::new(), unix_time(now));
        for (id, in_force) in standing {
            let Some(mut record) = tx.session(*id).await? else {
                settled.push(*id);
                continue;
            };
            let mut session = session_of(&record)?;
            let before = session.clone();
            let happened =
                if *in_force { session.acknowledged(router, at) } else { session.removed(router, at) };
            if session != before {
                save(&mut tx, &mut record, &session, happened, &Actor::system(), None, now).await?;
                changed.push(Change::Session(*id));
            }
            if !record::waiting_for(&session).contains(&router) {
                settled.push(*id);
            }
        }
        self.commit(tx, changed).await?;
        Ok(settled)
    }

    /// A session as the API shows it.
    pub(crate) async fn session(&self, actor: &Actor, id: Uuid) -> Result<SessionView, Fault> {
        let mut tx = self.store().read().await?;
        let record = seen_session(&mut tx, actor, id).await?;
        self.live_view(&mut tx, &record).await
    }

    /// A session as the API shows it, with what is known only while the server runs.
    async fn live_view(&self, tx: &mut Tx, record: &SessionRecord) -> Result<SessionView, Fault> {
        let view = tx.session_view(record).await?;
        Ok(self.with_flows(view, &record.body.routers))
    }

    /// Sessions, newest first. `cursor` is what the page before ended with.
    pub(crate) async fn sessions(
        &self,
        actor: &Actor,
        mut filter: SessionFilter,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<SessionView>, Fault> {
        filter.tenants = actor.tenants();
        if !actor.sees_others() {
            filter.user = actor.user;
            filter.tenants = None;
        }
        let before = cursor.map(place_of).transpose()?;
        let mut tx = self.store().read().await?;
        let mut records = tx.sessions(&filter, before, limit.saturating_add(1)).await?;
        let more = records.len() > limit as usize;
        records.truncate(limit as usize);
        let next = records.last().filter(|_| more);
        let next = next.map(|last| format!("{}.{}", last.opened.as_microsecond(), last.id));
        let mut items = Vec::with_capacity(records.len());
        for record in &records {
            items.push(self.live_view(&mut tx, record).await?);
        }
        Ok(Page { items, next })
    }

    /// What a decision about this user, target and address is made from.
    pub(super) async fn read(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        user: User,
        target: Option<StoredTarget>,
        client_ip: IpAddr,
    ) -> Result<Read, StoreError> {
        let mut routers = tx.routers_of(client_ip).await?;
        routers.sort_by_key(|router| router.id);
        let group = routers.first().map_or(Uuid::nil(), |router| Uuid::from_u128(router.id.0));
        let [sessions, sessions_of_user, sessions_of_router] =
            tx.ongoing_counts(Uuid::from_u128(user.id.0), group).await?;
        let mut ready = self.ready();
        let myself = self.live().myself;
        if let Some(myself) = myself {
            ready.extend(tx.ready_elsewhere(myself.id).await?.iter().map(|id| RouterId(id.as_u128())));
            ready.sort_unstable();
            ready.dedup();
        }
        let mut read = Read {
            client: tx.owner_of(client_ip, actor.source).await?,
            client_ip,
            user,
            target: None,
            routers,
            ready,
            ongoing: Vec::new(),
            approval: None,
            usage: Usage { sessions, sessions_of_user, sessions_of_router },
        };
        read.turn_to(tx, target).await?;
        Ok(read)
    }
}

impl Read {
    /// The same for another target.
    pub(super) async fn turn_to(
        &mut self,
        tx: &mut Tx,
        target: Option<StoredTarget>,
    ) -> Result<(), StoreError> {
        let ranges = target.as_ref().map(|target| record::ranges(target.policy.destinations.as_slice()));
        let ongoing = tx.sessions_in_the_way(self.client_ip, &ranges.unwrap_or_default()).await?;
        self.ongoing = ongoing.iter().map(session_of).collect::<Result<_, _>>()?;
        self.approval = match &target {
            Some(target) if target.policy.conditions.require_approval => {
                tx.approval_for(Uuid::from_u128(self.user.id.0), target.record.id).await?
            }
            Some(_) | None => None,
        };
        self.target = target;
        Ok(())
    }
}

/// Writes a changed session and what happened to it.
pub(super) async fn save(
    tx: &mut Tx,
    record: &mut SessionRecord,
    session: &Session,
    happened: Option<SessionEvent>,
    actor: &Actor,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<(), Fault> {
    update_record(record, session, reason);
    tx.update_session(record).await?;
    if let Some(happened) = happened {
        write_down(tx, &happened, actor, record, reason, now).await?;
    }
    Ok(())
}

async fn write_down(
    tx: &mut Tx,
    happened: &SessionEvent,
    actor: &Actor,
    record: &SessionRecord,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.record(events::of_session(happened, actor, record, reason), now).await?;
    Ok(())
}

/// A refusal is written down before it is told.
async fn refuse(
    mut tx: Tx,
    actor: &Actor,
    refused: Refused,
    asked: &impl serde::Serialize,
    now: Timestamp,
) -> Result<Fault, Fault> {
    let asked = serde_json::to_value(asked).unwrap_or_default();
    tx.record(events::of_refusal(actor, &refused, asked), now).await?;
    tx.commit().await?;
    Ok(Fault::Refused(refused.disclosed()))
}

pub(super) async fn asking_user(tx: &mut Tx, actor: &Actor) -> Result<User, Fault> {
    let id = actor.user.ok_or(Fault::Forbidden("only users have sessions"))?;
    let user = tx.policy_user(id).await?;
    user.ok_or_else(|| Fault::Unknown { kind: Kind::User, name: actor.name.clone() })
}

pub(super) async fn request_of(tx: &mut Tx, actor: &Actor, asked: &OpenSession) -> Result<Request, Fault> {
    Ok(Request {
        client_ip: client_ip_of(tx, actor, asked).await?,
        target: Name::new(&asked.target).map_err(|why| invalid("/target", why))?,
        reason: match asked.reason.as_deref() {
            None => None,
            Some(text) => Some(Reason::new(text).map_err(|why| invalid("/reason", why))?),
        },
        duration: asked.duration.map(|duration| length(duration, "/duration")).transpose()?,
    })
}

/// The address as given, that of the device named, or that of the only device.
pub(super) async fn client_ip_of(tx: &mut Tx, actor: &Actor, asked: &OpenSession) -> Result<IpAddr, Fault> {
    if let Some(client_ip) = asked.client_ip {
        return Ok(client_ip);
    }
    let user = actor.user.ok_or(Fault::Forbidden("only users have sessions"))?;
    let filter = Filter { naming: Some(user), ..Filter::default() };
    let mut devices = tx.objects(Kind::Device, &filter, None, u32::MAX).await?;
    if let Some(name) = &asked.device {
        let whole = format!("{}/{name}", actor.name);
        devices.retain(|device| device.name == whole);
        if devices.is_empty() {
            return Err(invalid("/device", format!("you have no device {name:?}")));
        }
    }
    match devices.as_slice() {
        [device] => Ok(super::world::read::<sluice_api::DeviceSpec>(device)?.client_ip),
        [] => {
            Err(invalid("/client_ip", "you have no device yet: add one, or say from which address you come"))
        }
        [_, _, ..] => Err(invalid("/device", "you have several devices: say which")),
    }
}

fn length(duration: Seconds, pointer: &str) -> Result<SessionLength, Fault> {
    SessionLength::try_from(Duration::from_secs(duration.0)).map_err(|why| invalid(pointer, why))
}

pub(super) fn invalid(pointer: &str, why: impl std::fmt::Display) -> Fault {
    Fault::Invalid(vec![FieldProblem { pointer: pointer.to_owned(), detail: why.to_string() }])
}

/// A session that exists for the actor: their own, or one of others that they may see.
async fn seen_session(tx: &mut Tx, actor: &Actor, id: Uuid) -> Result<SessionRecord, Fault> {
    let is_seen = |record: &SessionRecord| {
        actor.user == Some(record.user) || (actor.sees_others() && actor.sees(record.tenant))
    };
    let found = tx.session(id).await?.filter(is_seen);
    found.ok_or_else(|| Fault::UnknownSession(id.to_string()))
}

async fn own_session(tx: &mut Tx, actor: &Actor, id: Uuid) -> Result<SessionRecord, Fault> {
    let record = seen_session(tx, actor, id).await?;
    if actor.user != Some(record.user) {
        return Err(Fault::Forbidden("only its user gives a session more time"));
    }
    Ok(record)
}

fn why_ended(actor: &Actor, user: Uuid, scope: Scope) -> Result<EndReason, Fault> {
    use sluice_api::Right;
    match (actor.user, actor.right) {
        (Some(by), _) if by == user && scope == Scope::Session => Ok(EndReason::UserClosed),
        (Some(by), Right::Admin | Right::TenantAdmin) => {
            Ok(EndReason::AdminTerminated { by: UserId(by.as_u128()), scope })
        }
        (Some(by), Right::User | Right::Auditor) if by == user => Ok(EndReason::UserClosed),
        (Some(_) | None, _) => Err(Fault::Forbidden("only administrators end sessions of others")),
    }
}

fn scope_of(which: &EndSessions) -> Scope {
    match which {
        EndSessions { session: Some(_), .. } => Scope::Session,
        EndSessions { user: Some(_), .. } => Scope::User,
        EndSessions { target: Some(_), .. } => Scope::Target,
        EndSessions { router: Some(_), .. } => Scope::Router,
        EndSessions { connector: Some(_), .. } => Scope::Connector,
        EndSessions { session: None, user: None, target: None, router: None, connector: None, .. } => {
            Scope::Session
        }
    }
}

/// The ongoing sessions that are meant. Without any description, none: nobody ends all by leaving something out.
async fn described(tx: &mut Tx, actor: &Actor, which: &EndSessions) -> Result<Vec<SessionRecord>, Fault> {
    let EndSessions { session, user, target, router, connector, .. } = which;
    if session.is_none() && [user, target, router, connector].iter().all(|field| field.is_none()) {
        return Err(invalid("", "say which sessions: session, user, target, router or connector"));
    }
    let router = match router {
        Some(name) => {
            let found = tx.object_named(Kind::Router, None, name).await?;
            Some(found.ok_or_else(|| Fault::Unknown { kind: Kind::Router, name: name.clone() })?.id)
        }
        None => None,
    };
    let mut meant = Vec::new();
    let mut found = match session {
        Some(id) => tx.sessions_of(&[*id]).await?,
        None => tx.ongoing(Ongoing::All).await?,
    };
    found.retain(|record| record.closed.is_none());
    for record in found {
        let body = &record.body;
        let prefix = connector.as_ref().map(|name| format!("{name}/"));
        let through = |prefix: &String| {
            let nats = body.target.dst.iter().filter_map(|entry| entry.nat.as_ref());
            nats.map(|nat| nat.addr.to_string()).any(|addr| addr.starts_with(prefix.as_str()))
        };
        let is_meant = (actor.user == Some(record.user)
            || (actor.sees_others() && actor.sees(record.tenant)))
            && session.is_none_or(|id| record.id == id)
            && user.as_ref().is_none_or(|name| *name == body.user_name)
            && target.as_ref().is_none_or(|name| *name == record.target_name)
            && router.is_none_or(|id| body.routers.contains(&id))
            && prefix.as_ref().is_none_or(through);
        if is_meant {
            meant.push(record);
        }
    }
    Ok(meant)
}

fn place_of(cursor: &str) -> Result<(Timestamp, Uuid), Fault> {
    let parsed = cursor
        .split_once('.')
        .and_then(|(at, id)| Some((Timestamp::from_microsecond(at.parse().ok()?).ok()?, id.parse().ok()?)));
    parsed.ok_or_else(|| invalid("/cursor", "it is no cursor of this list"))
}
