//! Changing passwords: one's own with the one so far, another's by right.

use jiff::Timestamp;
use router_core::access::AuditKind;
use sluice_api::SetPassword;
use uuid::Uuid;

use super::permission::{Permit, Reach};
use super::principal::{Principal, effective};
use super::{Auth, AuthFault, event_by, password, user_ref};
use crate::auth::fault::weak;
use crate::store::audit::{Event, Outcome};
use crate::store::secrets::SecretKind;

impl Auth {
    /// Changes one's own password. All one's other browsers are logged out; tokens stay.
    pub(crate) async fn change_password(
        &self,
        principal: &Principal,
        change: &SetPassword,
        now: Timestamp,
    ) -> Result<(), AuthFault> {
        let old = change.old.as_deref();
        let old = old.ok_or_else(|| AuthFault::field("/old", "say the password so far"))?;
        password::check(&change.new, &principal.name).map_err(weak("/new"))?;
        let (attempt, _, stored) = self.begin(&principal.name, principal.source, now).await?;
        let is_right = self.passwords.matches(old, stored.clone()).await?;
        if !is_right {
            let event = event_by(principal, AuditKind::CredentialsChanged, Outcome::Failure);
            let reason = Some("the password so far was wrong".to_owned());
            self.note(Event { reason, ..event }, now).await?;
            return Err(AuthFault::field("/old", "this is not the password so far"));
        }
        let hash = self.passwords.hash(&change.new).await?;
        let mut tx = self.store.write().await?;
        if tx.password(principal.user).await? != stored {
            return Err(AuthFault::field("/old", "the password was changed meanwhile"));
        }
        tx.attempt_was_right(&attempt).await?;
        tx.set_password(principal.user, &hash, now).await?;
        for other in tx.secrets_of(SecretKind::Browser, principal.user).await? {
            if other.id != principal.credential.id() {
                tx.delete_secret(other.id).await?;
            }
        }
        let event = event_by(principal, AuditKind::CredentialsChanged, Outcome::Success);
        tx.record(Event { object: Some(user_ref(principal.user, &principal.name)), ..event }, now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Sets the password of another user. Whatever they were logged in with, tokens too, is good no longer.
    pub(crate) async fn set_password_of(
        &self,
        permit: &Permit,
        user: Uuid,
        new: &str,
        now: Timestamp,
    ) -> Result<(), AuthFault> {
        let may = |found: &super::StoredUser| match permit.reach() {
            Reach::Own => false,
            Reach::Tenant => {
                found.tenant == permit.tenant && effective(found.right, found.tenant) <= permit.right
            }
            Reach::Installation => true,
        };
        let found = self.store.read().await?.stored_user(user).await?.filter(may);
        let found = found.ok_or(AuthFault::UnknownUser)?;
        password::check(new, &found.name).map_err(weak("/new"))?;
        let hash = self.passwords.hash(new).await?;
        let mut tx = self.store.write().await?;
        let found = tx.stored_user(user).await?.filter(may).ok_or(AuthFault::UnknownUser)?;
        tx.set_password(user, &hash, now).await?;
        tx.delete_secrets_of(SecretKind::Browser, user).await?;
        tx.delete_secrets_of(SecretKind::Api, user).await?;
        let event = event_by(permit, AuditKind::CredentialsChanged, Outcome::Success);
        let object = Some(user_ref(user, &found.name));
        tx.record(Event { object, tenant: found.tenant, ..event }, now).await?;
        tx.commit().await?;
        Ok(())
    }
}
