//! A user, as far as authentication cares.

use sluice_api::{Right, UserSpec};
use uuid::Uuid;

use crate::store::objects::{Kind, Record};
use crate::store::{StoreError, Tx};

/// A user as it is stored.
#[derive(Debug, Clone)]
pub(super) struct StoredUser {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) tenant: Option<Uuid>,
    pub(super) right: Right,
    pub(super) disabled: bool,
}

impl Tx {
    /// The user of this identity.
    pub(super) async fn stored_user(&mut self, id: Uuid) -> Result<Option<StoredUser>, StoreError> {
        self.object(Kind::User, id).await?.as_ref().map(stored_user).transpose()
    }

    /// The user of this name: users are unique in the installation.
    pub(super) async fn stored_user_named(&mut self, name: &str) -> Result<Option<StoredUser>, StoreError> {
        match self.claimant("user name", name).await? {
            Some(id) => self.stored_user(id).await,
            None => Ok(None),
        }
    }
}

fn stored_user(record: &Record) -> Result<StoredUser, StoreError> {
    let unreadable = |why| StoreError::unreadable(format!("user {:?}", record.name), why);
    let spec: UserSpec = serde_json::from_str(&record.body).map_err(unreadable)?;
    Ok(StoredUser {
        id: record.id,
        name: record.name.clone(),
        tenant: record.tenant,
        right: spec.right,
        disabled: spec.disabled,
    })
}
