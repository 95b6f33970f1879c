//! Tokens for programs: named, for some things only, for a limited time.

use jiff::{SignedDuration, Timestamp};
use router_core::access::AuditKind;
use serde_json::json;
use sluice_api::{FieldProblem, TokenSpec, TokenView};
use uuid::Uuid;

use super::login::TOKEN_NAME_MAX;
use super::principal::{Principal, Scope};
use super::secret::Secret;
use super::{Auth, AuthFault, event_by, secret_record};
use crate::store::audit::{Event, Outcome};
use crate::store::secrets::{SecretKind, SecretRecord};

// Our own choices.
const LIFE_DEFAULT: SignedDuration = SignedDuration::from_hours(90 * 24);
/// A token that is never renewed is one that is forgotten.
const LIFE_MAX: SignedDuration = SignedDuration::from_hours(366 * 24);
/// Tokens of one user, those of logins included.
const TOKENS_MAX: usize = 100;

impl Auth {
    /// Makes a token. It is shown here, and never again.
    pub(crate) async fn make_token(
        &self,
        principal: &Principal,
        spec: &TokenSpec,
        now: Timestamp,
    ) -> Result<(TokenView, Secret), AuthFault> {
        let life = check(spec)?;
        let secret = Secret::random()?;
        let owner = (SecretKind::Api, principal.user);
        let mut record = secret_record(&secret, owner, &spec.name, life, now);
        let mut scopes = spec.scopes.clone();
        scopes.sort_unstable();
        scopes.dedup();
        record.scopes = scopes;
        let mut tx = self.store.write().await?;
        let held = tx.secrets_of(SecretKind::Api, principal.user).await?;
        let held = held.iter().filter(|held| held.expires > now).count();
        if held >= TOKENS_MAX {
            return Err(AuthFault::TooManyTokens(held));
        }
        tx.insert_secret(&record).await?;
        let details = json!({ "token": record.id, "name": record.name, "scopes": record.scopes, "expires": record.expires });
        tx.record(Event { details, ..event_by(principal, AuditKind::TokenCreated, Outcome::Success) }, now)
            .await?;
        tx.commit().await?;
        Ok((view(record), secret))
    }

    /// One's own tokens that are still good, newest first.
    pub(crate) async fn tokens(
        &self,
        principal: &Principal,
        now: Timestamp,
    ) -> Result<Vec<TokenView>, AuthFault> {
        let records = self.store.read().await?.secrets_of(SecretKind::Api, principal.user).await?;
        Ok(records.into_iter().filter(|record| record.expires > now).map(view).collect())
    }

    /// Takes one of one's own tokens back.
    pub(crate) async fn revoke_token(
        &self,
        principal: &Principal,
        id: Uuid,
        now: Timestamp,
    ) -> Result<(), AuthFault> {
        let mut tx = self.store.write().await?;
        let held = tx.secrets_of(SecretKind::Api, principal.user).await?;
        let record = held.into_iter().find(|record| record.id == id).ok_or(AuthFault::UnknownToken)?;
        tx.delete_secret(id).await?;
        let details = json!({ "token": id, "name": record.name });
        tx.record(Event { details, ..event_by(principal, AuditKind::TokenRevoked, Outcome::Success) }, now)
            .await?;
        tx.commit().await?;
        Ok(())
    }
}

/// How long it is to be good, or everything that is wrong.
fn check(spec: &TokenSpec) -> Result<SignedDuration, AuthFault> {
    let mut errors = Vec::new();
    let mut wrong = |pointer: String, detail: String| errors.push(FieldProblem { pointer, detail });
    if spec.name.is_empty() || spec.name.len() > TOKEN_NAME_MAX || spec.name.chars().any(char::is_control) {
        wrong(
            "/name".to_owned(),
            format!("a name has 1 to {TOKEN_NAME_MAX} bytes and no control characters"),
        );
    }
    for (index, _) in spec.scopes.iter().enumerate().filter(|(_, scope)| Scope::named(scope).is_none()) {
        let known = Scope::ALL.map(Scope::name).join(", ");
        wrong(format!("/scopes/{index}"), format!("there is no such scope; there are {known}"));
    }
    let life = spec.duration.map_or(LIFE_DEFAULT, |duration| {
        SignedDuration::from_secs(i64::try_from(duration.0).unwrap_or(i64::MAX))
    });
    if life.is_zero() || life > LIFE_MAX {
        wrong("/duration".to_owned(), "a token is good for one second to 366 days".to_owned());
    }
    if errors.is_empty() { Ok(life) } else { Err(AuthFault::Invalid(errors)) }
}

fn view(record: SecretRecord) -> TokenView {
    TokenView {
        id: record.id,
        name: record.name,
        scopes: record.scopes,
        created: record.created,
        expires: record.expires,
        seen: record.seen,
    }
}
