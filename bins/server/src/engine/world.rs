//! What is stored, as objects of policy: read in the transaction that decides.

use std::net::IpAddr;

use router_core::access::{
    Approval, ApprovalId, ClientDevice, ClientOwner, DeviceId, Name, Router, RouterId, RouterKind, Target,
    TargetId, User, UserId,
};
use serde::de::DeserializeOwned;
use sluice_api::{DeviceSpec, RouterSpec, TargetSpec, UserSpec};
use uuid::Uuid;

use crate::documents::{pool_of, target_of, user_of};
use crate::store::objects::{Kind, Record, Reference};
use crate::store::{StoreError, Tx, unix_time};

/// A target as it is stored, and as policy sees it.
#[derive(Debug, Clone)]
pub(crate) struct StoredTarget {
    pub(crate) record: Record,
    pub(crate) spec: TargetSpec,
    pub(crate) policy: Target,
}

impl Tx {
    /// A user, for decisions.
    pub(crate) async fn policy_user(&mut self, id: Uuid) -> Result<Option<User>, StoreError> {
        let Some(record) = self.object(Kind::User, id).await? else { return Ok(None) };
        let references = self.references_of(id).await?;
        user_of((id, record.tenant), &read::<UserSpec>(&record)?, &references).map(Some)
    }

    /// A target, for decisions.
    pub(crate) async fn policy_target(&mut self, record: Record) -> Result<StoredTarget, StoreError> {
        let references = self.references_of(record.id).await?;
        stored_target(record, &references)
    }

    /// The target that a user means by a name: their tenant's; for those of the installation its own, else the only one.
    pub(crate) async fn target_meant(
        &mut self,
        user: &User,
        name: &str,
    ) -> Result<Option<StoredTarget>, StoreError> {
        let tenant = user.tenant.map(|tenant| Uuid::from_u128(tenant.0));
        let found = match self.object_named(Kind::Target, tenant, name).await? {
            Some(record) => Some(record),
            None if tenant.is_some() => None,
            None => match self.objects_named(Kind::Target, name).await? {
                named if named.len() == 1 => named.into_iter().next(),
                _ => None,
            },
        };
        match found {
            Some(record) => self.policy_target(record).await.map(Some),
            None => Ok(None),
        }
    }

    /// All routers whose pool has the address.
    pub(crate) async fn routers_of(&mut self, client_ip: IpAddr) -> Result<Vec<Router>, StoreError> {
        let all = self.policy_routers().await?;
        Ok(all.into_iter().filter(|router| router.client_ip_pool.contains(client_ip)).collect())
    }

    /// All routers.
    pub(crate) async fn policy_routers(&mut self) -> Result<Vec<Router>, StoreError> {
        let records = self.all_objects(Kind::Router).await?;
        records.iter().map(|record| router_of(record, &read(record)?)).collect()
    }

    /// All objects of a kind. For kinds of which there are hundreds at most.
    pub(crate) async fn all_objects(&mut self, kind: Kind) -> Result<Vec<Record>, StoreError> {
        self.objects(kind, &crate::store::objects::Filter::default(), None, OBJECTS_MAX).await
    }

    /// Whose a client IP is. `from` is where the request came from: only who has an address may open sessions for it.
    pub(crate) async fn owner_of(
        &mut self,
        client_ip: IpAddr,
        from: Option<IpAddr>,
    ) -> Result<ClientOwner, StoreError> {
        let claimed = match self.claimant("address", &client_ip.to_string()).await? {
            Some(owner) => self.object(Kind::Device, owner).await?,
            None if from == Some(client_ip) => return Ok(ClientOwner::External),
            None => return Ok(ClientOwner::Nobody),
        };
        // Claimed by a router or a connector: nobody's client IP.
        let Some(record) = claimed else { return Ok(ClientOwner::Nobody) };
        let (user, device) = self.device_of(&record).await?;
        Ok(ClientOwner::Device(user, device))
    }

    /// A device's user, and itself.
    pub(crate) async fn device_of(&mut self, record: &Record) -> Result<(UserId, ClientDevice), StoreError> {
        client_device(record, &self.references_of(record.id).await?)
    }

    /// The newest approval of this user's use of this target that was granted.
    pub(crate) async fn approval_for(
        &mut self,
        user: Uuid,
        target: Uuid,
    ) -> Result<Option<Approval>, StoreError> {
        let Some(asked) = self.newest_granted(user, target).await? else { return Ok(None) };
        let Some(decided) = asked.decided else { return Ok(None) };
        let approval = Approval::new(
            ApprovalId(asked.id.as_u128()),
            UserId(decided.approver.as_u128()),
            UserId(user.as_u128()),
            (TargetId(target.as_u128()), asked.target_version),
            unix_time(decided.valid_until),
        );
        approval.map(Some).map_err(|why| StoreError::unreadable("an approval", why))
    }
}

/// A target, with whom its document names.
pub(super) fn stored_target(record: Record, references: &[Reference]) -> Result<StoredTarget, StoreError> {
    let spec: TargetSpec = read(&record)?;
    let policy = target_of((record.id, record.tenant, record.version), &spec, references)?;
    Ok(StoredTarget { record, spec, policy })
}

/// A device's user, and itself.
pub(super) fn client_device(
    record: &Record,
    references: &[Reference],
) -> Result<(UserId, ClientDevice), StoreError> {
    let spec: DeviceSpec = read(record)?;
    let unreadable = |why: &str| StoreError::unreadable(format!("device {:?}", record.name), why);
    let user = references.iter().find(|reference| reference.field == "/user");
    let user = user.ok_or_else(|| unreadable("/user names nobody"))?;
    let public_key = spec.public_key.parse().map_err(|_| unreadable("its key is none"))?;
    let device = ClientDevice { id: DeviceId(record.id.as_u128()), public_key };
    Ok((UserId(user.object.as_u128()), device))
}

/// Of kinds that are read as a whole.
const OBJECTS_MAX: u32 = 100_000;

/// The document of a record.
pub(crate) fn read<D: DeserializeOwned>(record: &Record) -> Result<D, StoreError> {
    let what = || format!("{} {:?}", record.kind.name(), record.name);
    serde_json::from_str(&record.body).map_err(|why| StoreError::unreadable(what(), why))
}

fn router_of(record: &Record, spec: &RouterSpec) -> Result<Router, StoreError> {
    let unreadable = |why: String| StoreError::unreadable(format!("router {:?}", record.name), why);
    Ok(Router {
        id: RouterId(record.id.as_u128()),
        name: Name::new(&spec.name).map_err(|why| unreadable(why.to_string()))?,
        kind: match spec.kind {
            sluice_api::RouterKind::Embedded => RouterKind::Embedded,
            sluice_api::RouterKind::Sluice => RouterKind::Sluice,
            sluice_api::RouterKind::Logger => RouterKind::Logger,
        },
        client_ip_pool: pool_of(&spec.client_ip_pool).map_err(|why| unreadable(why.to_string()))?,
        external_clients: spec.external_clients,
    })
}
