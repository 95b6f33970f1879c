//! What the rights of open sessions rest on, read for many of them at once. Called by recheck; calls store.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use router_core::access::{
    Approval, Client, ClientOwner, ClientSeen, EndReason, Facts, Router, Session, Target, Usage, User,
};
use sluice_api::{TargetSpec, UserSpec};
use uuid::Uuid;
use wg_proto::UnixTime;

use super::Engine;
use super::world::{client_device, read};
use crate::documents::{target_of, user_of};
use crate::store::objects::Kind;
use crate::store::sessions::SessionRecord;
use crate::store::{StoreError, Tx};

/// Users, targets, devices and approvals of some sessions, and all routers, as one transaction sees them.
pub(super) struct Rights {
    users: HashMap<Uuid, User>,
    targets: HashMap<Uuid, Target>,
    owners: HashMap<IpAddr, ClientOwner>,
    approvals: HashMap<(Uuid, Uuid), Approval>,
    routers: Vec<Router>,
}

impl Rights {
    /// Reads what these sessions rest on.
    pub(super) async fn of(tx: &mut Tx, sessions: &[SessionRecord]) -> Result<Rights, StoreError> {
        let ids = |of: fn(&SessionRecord) -> Uuid| -> Vec<Uuid> {
            sessions.iter().map(of).collect::<BTreeSet<_>>().into_iter().collect()
        };
        let targets = targets(tx, &ids(|session| session.target)).await?;
        let mut approvals = HashMap::new();
        for SessionRecord { user, target, .. } in sessions {
            let needs_one = targets.get(target).is_some_and(|target| target.conditions.require_approval);
            if needs_one && let Some(approval) = tx.approval_for(*user, *target).await? {
                approvals.insert((*user, *target), approval);
            }
        }
        Ok(Rights {
            users: users(tx, &ids(|session| session.user)).await?,
            targets,
            owners: owners(tx, sessions).await?,
            approvals,
            routers: tx.policy_routers().await?,
        })
    }

    /// Why a session must end, if it must.
    pub(super) fn must_end(
        &self,
        engine: &Engine,
        (record, session): (&SessionRecord, &Session),
        seen: ClientSeen,
        at: UnixTime,
    ) -> Option<EndReason> {
        let Some(user) = self.users.get(&record.user) else { return Some(EndReason::UserDisabled) };
        let owner = self.owners.get(&session.client_ip).copied().unwrap_or(ClientOwner::Nobody);
        let client = match (owner, &session.client) {
            // Its device is gone: nobody else has come in its place.
            (ClientOwner::External, Client::Device(_)) => ClientOwner::Nobody,
            (owner, Client::External | Client::Device(_)) => owner,
        };
        let facts = Facts {
            user,
            authenticated: true,
            client,
            routers: &self.routers,
            ready: &[],
            target: self.targets.get(&record.target),
            ongoing: &[],
            approval: self.approvals.get(&(record.user, record.target)),
            quotas: &engine.policy().quotas,
            usage: Usage { sessions: 0, sessions_of_user: 0, sessions_of_router: 0 },
        };
        session.recheck(&facts, seen, at)
    }
}

async fn users(tx: &mut Tx, ids: &[Uuid]) -> Result<HashMap<Uuid, User>, StoreError> {
    let references = tx.references_of_all(ids).await?;
    let mut users = HashMap::with_capacity(ids.len());
    for record in tx.objects_of(Kind::User, ids).await? {
        let named = references.get(&record.id).map_or(&[][..], Vec::as_slice);
        users.insert(record.id, user_of((record.id, record.tenant), &read::<UserSpec>(&record)?, named)?);
    }
    Ok(users)
}

async fn targets(tx: &mut Tx, ids: &[Uuid]) -> Result<HashMap<Uuid, Target>, StoreError> {
    let references = tx.references_of_all(ids).await?;
    let mut targets = HashMap::with_capacity(ids.len());
    for record in tx.objects_of(Kind::Target, ids).await? {
        let named = references.get(&record.id).map_or(&[][..], Vec::as_slice);
        let identity = (record.id, record.tenant, record.version);
        targets.insert(record.id, target_of(identity, &read::<TargetSpec>(&record)?, named)?);
    }
    Ok(targets)
}

/// Whose the addresses are that sessions come from.
async fn owners(tx: &mut Tx, sessions: &[SessionRecord]) -> Result<HashMap<IpAddr, ClientOwner>, StoreError> {
    let addresses: BTreeSet<_> = sessions.iter().map(|session| session.client_ip).collect();
    let texts: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
    let claimants = tx.claimants("address", &texts).await?;
    let ids: Vec<_> = claimants.values().copied().collect();
    let references = tx.references_of_all(&ids).await?;
    let mut devices = HashMap::with_capacity(ids.len());
    for record in tx.objects_of(Kind::Device, &ids).await? {
        let named = references.get(&record.id).map_or(&[][..], Vec::as_slice);
        let (user, device) = client_device(&record, named)?;
        devices.insert(record.id, ClientOwner::Device(user, device));
    }
    let mut owners = HashMap::with_capacity(addresses.len());
    for (address, text) in addresses.into_iter().zip(texts) {
        // Claimed by a router or a connector: nobody's client IP. Claimed by nobody: that of a client behind another gateway.
        owners.insert(
            address,
            match claimants.get(&text) {
                Some(owner) => devices.get(owner).copied().unwrap_or(ClientOwner::Nobody),
                None => ClientOwner::External,
            },
        );
    }
    Ok(owners)
}
