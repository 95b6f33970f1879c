//! Who somebody is, and what they may do. Read first: spec of P18, P19, P21, P22, P29 and P31 in SECURITY.md.
//! Called by http; calls store.
//!
//! Three things show who somebody is: a password (once, at login), a cookie (browsers), a token (programs). Whatever is
//! wrong with one of them, the answer is the same and takes as long.

pub(crate) mod cookie;
mod fault;
pub(crate) mod first_admin;
mod login;
mod own_password;
mod password;
pub(crate) mod permission;
pub(crate) mod principal;
mod sampler;
pub(crate) mod secret;
mod throttle;
mod token;
mod user;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use router_core::access::AuditKind;
use serde_json::json;
use uuid::Uuid;

pub(crate) use self::fault::AuthFault;
pub(crate) use self::login::Given;
use self::password::Passwords;
use self::permission::{Action, Denied};
use self::principal::{Credential, Principal, Scopes, effective};
use self::sampler::Sampler;
use self::secret::Secret;
use self::user::StoredUser;
use crate::store::audit::{Event, ObjectRef, Outcome};
use crate::store::secrets::{SecretKind, SecretRecord};
use crate::store::{Store, StoreError, Tx};

// Our own choices.
/// A browser that shows nothing for so long is logged out.
const IDLE_MAX: SignedDuration = SignedDuration::from_mins(30);
/// So is one that logged in so long ago.
const COOKIE_LIFE: SignedDuration = SignedDuration::from_hours(12);
/// How exactly the store knows when a secret was last shown: not every request is worth a commit.
const SEEN_EVERY: SignedDuration = SignedDuration::from_mins(1);
/// How long expired secrets are kept, for those who ask what became of them.
const EXPIRED_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// Authentication and its records. Cloning it is cheap, and both are the same.
#[derive(Clone)]
pub(crate) struct Auth {
    store: Store,
    passwords: Passwords,
    sampler: Arc<Sampler>,
}

/// What a request showed.
#[derive(Debug)]
pub(crate) enum Shown {
    /// A cookie.
    Cookie(Secret),
    /// A token.
    Token(Secret),
}

impl Auth {
    /// Over a store. Takes as long as one login.
    pub(crate) fn new(store: Store) -> Result<Auth, AuthFault> {
        Ok(Auth { store, passwords: Passwords::new()?, sampler: Arc::default() })
    }

    /// Who shows this secret from there.
    pub(crate) async fn authenticate(
        &self,
        shown: &Shown,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Principal, AuthFault> {
        let (kind, secret) = match shown {
            Shown::Cookie(secret) => (SecretKind::Browser, secret),
            Shown::Token(secret) => (SecretKind::Api, secret),
        };
        let mut tx = self.store.read().await?;
        let found = tx.secret(kind, &secret.hash()).await?;
        let Some(record) = found.filter(|record| is_good(record, now)) else {
            drop(tx);
            self.note(misuse(source, "expired, taken back or made up"), now).await?;
            return Err(AuthFault::NotAuthenticated);
        };
        let user = tx.stored_user(record.owner).await?.filter(|user| !user.disabled);
        let Some(user) = user else {
            drop(tx);
            self.note(misuse(source, "its user is disabled or gone"), now).await?;
            return Err(AuthFault::NotAuthenticated);
        };
        let tenant_name = tx.tenant_name(user.tenant).await?;
        drop(tx);
        self.saw(&record, now).await;
        Ok(principal(&user, tenant_name, &record, source))
    }

    /// Whether what somebody showed once is good still, and they may do as much.
    pub(crate) async fn is_still_good(
        &self,
        principal: &Principal,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let kind = match principal.credential {
            Credential::Cookie(_) => SecretKind::Browser,
            Credential::Token(_) => SecretKind::Api,
        };
        let mut tx = self.store.read().await?;
        let held = tx.secrets_of(kind, principal.user).await?;
        let record = held.iter().find(|record| record.id == principal.credential.id());
        let user = tx.stored_user(principal.user).await?;
        let same = |user: &StoredUser| {
            !user.disabled
                && user.tenant == principal.tenant
                && effective(user.right, user.tenant) == principal.right
        };
        Ok(record.is_some_and(|record| is_good(record, now)) && user.as_ref().is_some_and(same))
    }

    /// Writes down that somebody asked for what they may not do.
    pub(crate) async fn denied(
        &self,
        principal: &Principal,
        action: Action,
        why: Denied,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let event = Event {
            reason: Some(format!("{action:?}: {why}")),
            ..event_by(principal, AuditKind::PermissionDenied, Outcome::Refused)
        };
        self.note(event, now).await
    }

    /// Writes what was counted, forgets what is over. To be called every few seconds; `last`: for the last time.
    pub(crate) async fn tidy(&self, last: bool, now: Timestamp) -> Result<(), StoreError> {
        let counted = self.sampler.drain(last, now);
        let mut tx = self.store.write().await?;
        for event in counted {
            tx.record(event, now).await?;
        }
        let before = now.checked_sub(EXPIRED_KEPT).unwrap_or(Timestamp::MIN);
        tx.delete_expired_secrets(before).await?;
        tx.forget_old_failures(before).await?;
        tx.commit().await
    }

    /// Writes an event, or counts it if many like it come.
    async fn note(&self, event: Event, now: Timestamp) -> Result<(), StoreError> {
        let Some(event) = self.sampler.take(event, now) else { return Ok(()) };
        let mut tx = self.store.write().await?;
        tx.record(event, now).await?;
        tx.commit().await
    }

    /// Remembers that a secret was shown. If the store has no time for it, the owner is logged out early at worst.
    async fn saw(&self, record: &SecretRecord, now: Timestamp) {
        if record.seen.is_some_and(|seen| now.duration_since(seen).abs() < SEEN_EVERY) {
            return;
        }
        let touched = async {
            let mut tx = self.store.write().await?;
            tx.touch_secret(&record.hash, now).await?;
            tx.commit().await
        };
        if let Err(error) = touched.await {
            tracing::warn!(%error, "could not note that a credential was used");
        }
    }
}

/// A secret that was not used up, is within its time and, if it is a browser's, has not lain idle. A clock that was set
/// back makes no secret good for longer than its whole life.
fn is_good(record: &SecretRecord, now: Timestamp) -> bool {
    let is_idle = match record.kind {
        SecretKind::Browser => now.duration_since(record.seen.unwrap_or(record.created)) > IDLE_MAX,
        SecretKind::Api | SecretKind::Admin => false,
    };
    record.used.is_none() && now < record.expires && !is_idle
}

fn principal(
    user: &StoredUser,
    tenant_name: Option<String>,
    record: &SecretRecord,
    source: IpAddr,
) -> Principal {
    let credential = match record.kind {
        SecretKind::Browser => Credential::Cookie(record.id),
        SecretKind::Api | SecretKind::Admin => Credential::Token(record.id),
    };
    Principal {
        user: user.id,
        name: user.name.clone(),
        tenant: user.tenant,
        tenant_name,
        right: effective(user.right, user.tenant),
        scopes: Scopes::stored(&record.scopes),
        credential,
        since: record.created,
        expires: record.expires,
        source,
    }
}

/// An event that a principal brought about, so far without object.
fn event_by(principal: &Principal, kind: AuditKind, outcome: Outcome) -> Event {
    Event {
        number: kind.number(),
        action: kind.name().to_owned(),
        actor: principal.name.clone(),
        tenant: principal.tenant,
        object: None,
        source: Some(principal.source),
        outcome,
        reason: None,
        details: json!({ "credential": principal.credential.id() }),
    }
}

/// An event about a user that nobody who showed who they are brought about.
fn event_about(user: Option<&StoredUser>, source: IpAddr, kind: AuditKind, outcome: Outcome) -> Event {
    Event {
        number: kind.number(),
        action: kind.name().to_owned(),
        actor: user.map_or_else(|| "nobody".to_owned(), |user| user.name.clone()),
        tenant: user.and_then(|user| user.tenant),
        object: user.map(|user| user_ref(user.id, &user.name)),
        source: Some(source),
        outcome,
        reason: None,
        details: json!({}),
    }
}

fn misuse(source: IpAddr, why: &str) -> Event {
    Event {
        reason: Some(why.to_owned()),
        ..event_about(None, source, AuditKind::TokenMisused, Outcome::Refused)
    }
}

fn user_ref(id: Uuid, name: &str) -> ObjectRef {
    ObjectRef { kind: "user".to_owned(), id, name: name.to_owned() }
}

/// A secret of a user, to be stored.
fn secret_record(
    secret: &Secret,
    (kind, owner): (SecretKind, Uuid),
    name: &str,
    life: SignedDuration,
    now: Timestamp,
) -> SecretRecord {
    SecretRecord {
        hash: secret.hash(),
        id: Uuid::now_v7(),
        kind,
        owner,
        name: name.to_owned(),
        scopes: Vec::new(),
        created: now,
        expires: now.checked_add(life).unwrap_or(Timestamp::MAX),
        seen: None,
        used: None,
        body: "{}".to_owned(),
    }
}

impl Tx {
    async fn tenant_name(&mut self, tenant: Option<Uuid>) -> Result<Option<String>, StoreError> {
        let Some(tenant) = tenant else { return Ok(None) };
        let record = self.object(crate::store::objects::Kind::Tenant, tenant).await?;
        Ok(record.map(|record| record.name))
    }
}
