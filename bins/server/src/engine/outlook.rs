//! What would be granted, without asking for it: what a user may open, and why not.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use router_core::access::{self, Expiry, Refused, User};
use sluice_api::{AccessTarget, Blocked, DeviceSpec, OpenSession};
use uuid::Uuid;

use super::sessions::{Read, asking_user, request_of};
use super::world::{StoredTarget, read, stored_target};
use super::{Actor, Engine, Fault, objects};
use crate::documents::words_of;
use crate::store::objects::{Filter, Kind, Record};
use crate::store::sessions::SessionFilter;
use crate::store::{Tx, unix_time};

/// What a request would get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// Access, until then.
    Granted(Option<Expiry>),
    /// All checks that fail, in their order.
    Refused(Vec<Refused>),
}

impl Engine {
    /// What a request would get. `user`: another than the actor, for those who may ask that.
    pub(crate) async fn outlook(
        &self,
        now: Timestamp,
        actor: &Actor,
        user: Option<&str>,
        asked: &OpenSession,
    ) -> Result<Outlook, Fault> {
        let mut tx = self.store().read().await?;
        let asker = tx.asked_about(actor, user).await?;
        let policy = asking_user(&mut tx, &asker).await?;
        let request = request_of(&mut tx, &asker, asked).await?;
        let target = tx.target_meant(&policy, request.target.as_str()).await?;
        let read = self.read(&mut tx, &asker, policy, target, request.client_ip).await?;
        let (facts, at) = (read.facts(self), unix_time(now));
        match access::decide(&facts, &request, at) {
            Ok(granted) => Ok(Outlook::Granted(granted.expires())),
            Err(_) => {
                // Whoever asks about others sees what they may not; about oneself one learns no more than by asking.
                let all = access::failures(&facts, &request, at);
                let shown = |refused: Refused| if user.is_some() { refused } else { refused.disclosed() };
                Ok(Outlook::Refused(all.into_iter().map(shown).collect()))
            }
        }
    }

    /// The targets that the actor has a role for, with what is in the way of opening each.
    pub(crate) async fn access(&self, now: Timestamp, actor: &Actor) -> Result<Vec<AccessTarget>, Fault> {
        let mut tx = self.store().read().await?;
        let user = asking_user(&mut tx, actor).await?;
        let own = SessionFilter { user: actor.user, ongoing: Some(true), ..SessionFilter::default() };
        let sessions = tx.sessions(&own, None, u32::MAX).await?;
        let mut asking = self.asking(&mut tx, actor, &user).await?;
        let mut targets = Vec::new();
        for target in tx.targets_of(&user).await? {
            let session = match sessions.iter().find(|session| session.target == target.record.id) {
                Some(record) => Some(tx.session_view(record).await?),
                None => None,
            };
            let blocked = match (&session, &mut asking) {
                (Some(_), _) => None,
                (None, None) => {
                    let text = "you have no device yet: add one".to_owned();
                    Some(Blocked { code: "no-device".to_owned(), text })
                }
                (None, Some((client_ip, read))) => {
                    read.turn_to(&mut tx, Some(target.clone())).await?;
                    self.blocked(read, *client_ip, &target, now)
                }
            };
            targets.push(AccessTarget {
                name: target.spec.name.clone(),
                user_instructions: target.spec.user_instructions.clone(),
                tags: target.spec.tags.clone(),
                destinations: target.spec.dst.iter().map(words_of).collect(),
                require_reason: target.spec.require_reason,
                require_approval: target.spec.require_approval,
                max_duration: target.spec.max_duration,
                blocked,
                session,
            });
        }
        Ok(targets)
    }

    /// What decisions are made from for the first of the user's devices; `None`: they have none.
    async fn asking(&self, tx: &mut Tx, actor: &Actor, user: &User) -> Result<Option<(IpAddr, Read)>, Fault> {
        let filter = Filter { naming: actor.user, ..Filter::default() };
        let Some(device) = tx.objects(Kind::Device, &filter, None, 1).await?.into_iter().next() else {
            return Ok(None);
        };
        let client_ip = read::<DeviceSpec>(&device)?.client_ip;
        Ok(Some((client_ip, self.read(tx, actor, user.clone(), None, client_ip).await?)))
    }

    /// What is in the way of a target.
    fn blocked(
        &self,
        read: &Read,
        client_ip: IpAddr,
        target: &StoredTarget,
        now: Timestamp,
    ) -> Option<Blocked> {
        let request = access::Request {
            client_ip,
            target: target.policy.name.clone(),
            // That one is asked for is shown beside it, and is nothing in the way.
            reason: access::Reason::new("asked for when it is opened").ok(),
            duration: None,
        };
        let refused = access::decide(&read.facts(self), &request, unix_time(now)).err()?.disclosed();
        Some(Blocked { code: refused.code().to_owned(), text: refused.to_string() })
    }
}

impl Tx {
    /// The actor as whom a question is answered: another user, for those who may ask about others.
    pub(super) async fn asked_about(&mut self, actor: &Actor, user: Option<&str>) -> Result<Actor, Fault> {
        let Some(name) = user else { return Ok(actor.clone()) };
        let record = objects::known(self, actor, Kind::User, name).await?;
        Ok(Actor { user: Some(record.id), name: record.name, tenant: record.tenant, ..actor.clone() })
    }

    /// The targets that name a role of the user's.
    pub(super) async fn targets_of(&mut self, user: &User) -> Result<Vec<StoredTarget>, Fault> {
        let mut found: BTreeMap<Uuid, Record> = BTreeMap::new();
        for grant in &user.roles {
            let filter = Filter { naming: Some(Uuid::from_u128(grant.role.0)), ..Filter::default() };
            let named = self.objects(Kind::Target, &filter, None, u32::MAX).await?.into_iter();
            let tenant = |record: &Record| record.tenant.map(|tenant| access::TenantId(tenant.as_u128()));
            found.extend(
                named.filter(|record| user.may_know(tenant(record))).map(|record| (record.id, record)),
            );
        }
        let ids: Vec<_> = found.keys().copied().collect();
        let mut references = self.references_of_all(&ids).await?;
        let stored = |record: Record| {
            let named = references.remove(&record.id).unwrap_or_default();
            stored_target(record, &named)
        };
        let mut targets = found.into_values().map(stored).collect::<Result<Vec<_>, _>>()?;
        targets.sort_by(|a, b| a.record.name.cmp(&b.record.name));
        Ok(targets)
    }
}
