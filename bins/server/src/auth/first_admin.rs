//! The first administrator (P31): there is no default password. Whoever starts the server for the first time gets a
//! one-time token on its own terminal, and makes the account with it.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use router_core::access::AuditKind;
use serde_json::json;
use sluice_api::{FirstAdmin, Right, UserSpec};
use uuid::Uuid;

use super::secret::Secret;
use super::{Auth, AuthFault, misuse, password, secret_record, user_ref};
use crate::auth::fault::weak;
use crate::documents::{Document, Faults};
use crate::store::audit::{Event, Outcome};
use crate::store::objects::{Draft, Kind, ObjectFault};
use crate::store::secrets::SecretKind;
use crate::store::{Store, StoreError, Tx};

/// How long the one-time token is good.
pub(crate) const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(1);

/// Makes the one-time token. Any that was made before is good no longer.
pub(crate) async fn issue(store: &Store, now: Timestamp) -> Result<Secret, AuthFault> {
    let secret = Secret::random()?;
    let record =
        secret_record(&secret, (SecretKind::Admin, Uuid::nil()), "first administrator", TOKEN_LIFE, now);
    let mut tx = store.write().await?;
    tx.delete_secrets_of(SecretKind::Admin, Uuid::nil()).await?;
    tx.insert_secret(&record).await?;
    let event = Event {
        details: json!({ "expires": record.expires }),
        ..event("system", None, AuditKind::TokenCreated)
    };
    tx.record(event, now).await?;
    tx.commit().await?;
    Ok(secret)
}

impl Auth {
    /// Makes the administrator that the one-time token is for. Of any number of calls at once, one does.
    pub(crate) async fn redeem_admin(
        &self,
        request: &FirstAdmin,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Uuid, AuthFault> {
        let secret = Secret::parse(&request.token);
        // Looked at before the password is hashed, so that made-up tokens cost nothing.
        let hash = match &secret {
            Some(secret) => {
                let found = self.store.read().await?.secret(SecretKind::Admin, &secret.hash()).await?;
                found.filter(|found| super::is_good(found, now)).map(|found| found.hash)
            }
            None => None,
        };
        let Some(hash) = hash else { return self.refuse(source, now).await };
        let draft = draft(&request.user)?;
        password::check(&request.password, &request.user).map_err(weak("/password"))?;
        let password = self.passwords.hash(&request.password).await?;
        let mut tx = self.store.write().await?;
        if !tx.redeem(SecretKind::Admin, &hash, now).await? {
            drop(tx);
            return self.refuse(source, now).await;
        }
        let user = insert(&mut tx, &draft, &password, now).await?;
        for kind in [AuditKind::TokenRedeemed, AuditKind::UserCreated, AuditKind::CredentialsChanged] {
            let event = event(&request.user, Some(source), kind);
            tx.record(Event { object: Some(user_ref(user, &request.user)), ..event }, now).await?;
        }
        tx.commit().await?;
        Ok(user)
    }

    async fn refuse(&self, source: IpAddr, now: Timestamp) -> Result<Uuid, AuthFault> {
        self.note(misuse(source, "no one-time token, or one that was used or is past its time"), now).await?;
        Err(AuthFault::NoSuchSecret)
    }
}

fn draft(user: &str) -> Result<Draft, AuthFault> {
    let spec = UserSpec {
        name: user.to_owned(),
        tenant: None,
        full_name: String::new(),
        comment: String::new(),
        right: Right::Admin,
        roles: Vec::new(),
        disabled: false,
    };
    let mut faults = Faults::default();
    spec.check(&mut faults);
    let mut problems = faults.into_problems();
    for problem in &mut problems {
        problem.pointer = "/user".to_owned();
    }
    if !problems.is_empty() {
        return Err(AuthFault::Invalid(problems));
    }
    let body = serde_json::to_string(&spec).map_err(|why| StoreError::unreadable("a user", why))?;
    Ok(Draft {
        kind: Kind::User,
        tenant: None,
        name: spec.name(),
        body,
        references: Vec::new(),
        claims: spec.claims(),
    })
}

async fn insert(tx: &mut Tx, draft: &Draft, password: &str, now: Timestamp) -> Result<Uuid, AuthFault> {
    let id = Uuid::now_v7();
    match tx.insert_object(id, draft, &draft.name, now).await {
        Ok(_) => {}
        Err(ObjectFault::Store(error)) => return Err(error.into()),
        Err(taken) => return Err(AuthFault::field("/user", taken)),
    }
    tx.set_password(id, password, now).await?;
    Ok(id)
}

fn event(actor: &str, source: Option<IpAddr>, kind: AuditKind) -> Event {
    Event {
        number: kind.number(),
        action: kind.name().to_owned(),
        actor: actor.to_owned(),
        tenant: None,
        object: None,
        source,
        outcome: Outcome::Success,
        reason: None,
        details: json!({ "token": "first-admin" }),
    }
}
