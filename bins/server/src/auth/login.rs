//! Logging in and out.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use router_core::access::AuditKind;
use serde_json::json;
use sluice_api::LogIn;

use super::principal::{Credential, Principal};
use super::secret::Secret;
use super::throttle::Attempt;
use super::user::StoredUser;
use super::{Auth, AuthFault, COOKIE_LIFE, event_about, event_by, principal, secret_record};
use crate::store::Tx;
use crate::store::audit::{Event, Outcome};
use crate::store::secrets::SecretKind;

/// How long a token is good that was asked for in place of a cookie: as a working day.
const LOGIN_TOKEN_LIFE: SignedDuration = COOKIE_LIFE;
/// Bytes of what a token is called.
pub(super) const TOKEN_NAME_MAX: usize = 64;

/// What a login gives.
pub(crate) struct Given {
    /// Who that is.
    pub(crate) principal: Principal,
    /// The cookie or token.
    pub(crate) secret: Secret,
}

impl Auth {
    /// Logs in. `before`: the cookie that the browser had; it is good no longer, so that nobody can have planted it.
    pub(crate) async fn log_in(
        &self,
        login: &LogIn,
        before: Option<&Secret>,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Given, AuthFault> {
        if login.token.as_ref().is_some_and(|name| name.is_empty() || name.len() > TOKEN_NAME_MAX) {
            return Err(AuthFault::field("/token", format!("a name has 1 to {TOKEN_NAME_MAX} bytes")));
        }
        let (attempt, user, stored) = self.begin(&login.user, source, now).await?;
        let matches = match self.passwords.matches(&login.password, stored.clone()).await {
            Ok(matches) => matches,
            Err(fault) => {
                let mut tx = self.store.write().await?;
                tx.take_back(&attempt).await?;
                tx.commit().await?;
                return Err(fault.into());
            }
        };
        let mut tx = self.store.write().await?;
        // What was compared may have changed meanwhile.
        let user = match &user {
            Some(user) => tx.stored_user(user.id).await?,
            None => None,
        };
        let still = match &user {
            Some(user) => tx.password(user.id).await? == stored && !user.disabled,
            None => false,
        };
        match user {
            Some(user) if matches && still => {
                tx.attempt_was_right(&attempt).await?;
                let given = log_in(&mut tx, &user, login.token.as_deref(), before, source, now).await?;
                tx.commit().await?;
                Ok(given)
            }
            user => {
                let event = event_about(user.as_ref(), source, AuditKind::LoginFailed, Outcome::Failure);
                tx.record(Event { actor: "nobody".to_owned(), ..event }, now).await?;
                tx.commit().await?;
                Err(AuthFault::WrongCredentials)
            }
        }
    }

    /// Logs out: the cookie or token is good no longer.
    pub(crate) async fn log_out(&self, principal: &Principal, now: Timestamp) -> Result<(), AuthFault> {
        let mut tx = self.store.write().await?;
        tx.delete_secret(principal.credential.id()).await?;
        tx.record(event_by(principal, AuditKind::LoggedOut, Outcome::Success), now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Counts the attempt; finds whom it is about and what their password's hash is.
    pub(super) async fn begin(
        &self,
        name: &str,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<(Attempt, Option<StoredUser>, Option<String>), AuthFault> {
        let mut tx = self.store.write().await?;
        let attempt = match tx.begin_attempt(name, source, now).await? {
            Ok(attempt) => attempt,
            Err(limited) => {
                let user = tx.stored_user_named(name).await?;
                drop(tx);
                let event = event_about(user.as_ref(), source, AuditKind::LoginFailed, Outcome::Refused);
                let reason = Some("too many failed attempts".to_owned());
                self.note(Event { actor: "nobody".to_owned(), reason, ..event }, now).await?;
                return Err(limited.into());
            }
        };
        let user = tx.stored_user_named(name).await?;
        let stored = match &user {
            Some(user) => tx.password(user.id).await?,
            None => None,
        };
        tx.commit().await?;
        Ok((attempt, user, stored))
    }
}

/// Makes the cookie or the token of who has shown who they are.
async fn log_in(
    tx: &mut Tx,
    user: &StoredUser,
    token: Option<&str>,
    before: Option<&Secret>,
    source: IpAddr,
    now: Timestamp,
) -> Result<Given, AuthFault> {
    if let Some(before) = before
        && let Some(old) = tx.secret(SecretKind::Browser, &before.hash()).await?
    {
        tx.delete_secret(old.id).await?;
    }
    let secret = Secret::random()?;
    let (kind, name, life) = match token {
        Some(name) => (SecretKind::Api, name, LOGIN_TOKEN_LIFE),
        None => (SecretKind::Browser, "browser", COOKIE_LIFE),
    };
    let record = secret_record(&secret, (kind, user.id), name, life, now);
    tx.insert_secret(&record).await?;
    let principal = principal(user, tx.tenant_name(user.tenant).await?, &record, source);
    let by = match principal.credential {
        Credential::Cookie(_) => "browser",
        Credential::Token(_) => "token",
    };
    let details = json!({ "credential": record.id, "by": by });
    tx.record(Event { details, ..event_by(&principal, AuditKind::LoginSucceeded, Outcome::Success) }, now)
        .await?;
    Ok(Given { principal, secret })
}
