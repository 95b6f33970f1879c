//! What is checked and filled in of a document with a view to what else there is.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use router_core::access::{Quarantined, VirtualPort, allocate, pools_agree};
use sluice_api::{
    ConnectorSpec, DeviceSpec, MappingSpec, Right, RoleSpec, RouterKind, RouterSpec, TargetSpec, TenantSpec,
    UserSpec,
};
use uuid::Uuid;
use wg_proto::UnixTime;

use super::{Actor, Engine, Fault, world};
use crate::documents::{Document, Faults, Place, pool_of, target_of};
use crate::store::objects::{Kind, Reference};
use crate::store::{StoreError, Tx, unix_time};

/// A document of which the engine keeps the objects.
pub(crate) trait Managed: Document + Clone {
    /// The field that says whose it is, for kinds that have one.
    fn tenant_mut(&mut self) -> Option<&mut Option<String>> {
        None
    }

    /// Whether the actor may write or remove this, beyond what its kind needs: asked of what is to be and of what was.
    fn check_writer(&self, _actor: &Actor) -> Result<(), Fault> {
        Ok(())
    }

    /// Notes what does not fit to what else there is, and fills in what was left out. `old`: what it replaces.
    fn complete(
        &mut self,
        _with: &mut Completing<'_>,
        _old: Option<&Self>,
    ) -> impl Future<Output = Result<(), Fault>> + Send {
        std::future::ready(Ok(()))
    }

    /// What goes with it when it is removed.
    fn forget(
        _tx: &mut Tx,
        _id: Uuid,
        _now: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        std::future::ready(Ok(()))
    }
}

/// What completing a document may look at.
pub(crate) struct Completing<'a> {
    pub(super) tx: &'a mut Tx,
    pub(super) engine: &'a Engine,
    pub(super) actor: &'a Actor,
    pub(super) id: Uuid,
    /// Whose it will be.
    pub(super) tenant: Option<Uuid>,
    pub(super) references: &'a [Reference],
    pub(super) now: Timestamp,
    pub(super) faults: Faults,
}

impl Completing<'_> {
    fn note(&mut self, field: &str, why: impl std::fmt::Display) {
        self.faults.note(&Place::document().field(field), why);
    }

    /// Whom a field names.
    fn named(&self, field: &str) -> Option<Uuid> {
        let place = Place::document().field(field);
        let found = self.references.iter().find(|reference| reference.field == place.pointer());
        found.map(|reference| reference.object)
    }

    /// The lowest address of the overlay networks that nobody has.
    async fn free_address(&mut self) -> Result<Option<IpAddr>, StoreError> {
        let taken = self.tx.claimed("address").await?;
        let free = |prefix: &IpNet| prefix.hosts().find(|address| !taken.contains(&address.to_string()));
        Ok(self.engine.policy().overlay.iter().find_map(free))
    }
}

impl Managed for TenantSpec {}

impl Managed for RoleSpec {
    fn tenant_mut(&mut self) -> Option<&mut Option<String>> {
        Some(&mut self.tenant)
    }
}

impl Managed for UserSpec {
    fn tenant_mut(&mut self) -> Option<&mut Option<String>> {
        Some(&mut self.tenant)
    }

    /// Nobody gives or takes more than they have.
    fn check_writer(&self, actor: &Actor) -> Result<(), Fault> {
        if self.right > actor.right {
            return Err(Fault::Forbidden("nobody gives or takes a right above their own"));
        }
        Ok(())
    }

    /// Rights that would mean less than they say are refused.
    async fn complete(&mut self, with: &mut Completing<'_>, _old: Option<&Self>) -> Result<(), Fault> {
        match (self.right, with.tenant) {
            (Right::Admin, Some(_)) => {
                with.note(
                    "right",
                    "an admin is of the whole installation: leave tenant out, or write tenant-admin",
                );
            }
            (Right::TenantAdmin, None) => {
                with.note("right", "a tenant-admin is of a tenant: say of which, or write admin");
            }
            (Right::Admin, None)
            | (Right::TenantAdmin, Some(_))
            | (Right::User | Right::Auditor, Some(_) | None) => {}
        }
        Ok(())
    }
}

impl Managed for DeviceSpec {
    /// It belongs to its user's tenant, and its address to its router's pool.
    async fn complete(&mut self, with: &mut Completing<'_>, _old: Option<&Self>) -> Result<(), Fault> {
        if let Some(user) = with.named("user") {
            let user = with.tx.object(Kind::User, user).await?;
            with.tenant = user.and_then(|user| user.tenant);
        }
        if !with.actor.sees(with.tenant) {
            with.note("user", format!("there is no user {:?}", self.user));
        }
        let routers = with.tx.routers_of(self.client_ip).await?;
        let router = with.named("router").map(|id| id.as_u128());
        if !routers.iter().any(|found| Some(found.id.0) == router) {
            let why = format!("{} is not in the client IP pool of router {:?}", self.client_ip, self.router);
            with.note("client_ip", why);
        }
        Ok(())
    }
}

impl Managed for RouterSpec {
    /// Pools are equal or have nothing in common; only servers make embedded routers; its own addresses are no client's, and stay,
    /// as does its key.
    async fn complete(&mut self, with: &mut Completing<'_>, old: Option<&Self>) -> Result<(), Fault> {
        if let Some(old) = old {
            if self.addresses.is_empty() {
                self.addresses.clone_from(&old.addresses);
            }
            if self.public_key.is_none() {
                self.public_key.clone_from(&old.public_key);
            }
        }
        let Ok(pool) = pool_of(&self.client_ip_pool) else { return Ok(()) };
        for other in with.tx.policy_routers().await? {
            if other.id.0 == with.id.as_u128() {
                continue;
            }
            if let Err(overlap) = pools_agree(&pool, &other.client_ip_pool) {
                with.note("client_ip_pool", format!("router {:?}: {overlap}", other.name.as_str()));
            }
        }
        let was_embedded = old.is_some_and(|old| old.kind == RouterKind::Embedded);
        if (self.kind == RouterKind::Embedded) != was_embedded && with.actor.user.is_some() {
            with.note("kind", "an embedded router comes with its server, and goes with it");
        }
        if self.addresses.is_empty() {
            self.addresses.extend(with.free_address().await?);
        }
        for (index, address) in self.addresses.iter().enumerate() {
            if pool.contains(*address) {
                let place = Place::document().field("addresses").index(index);
                with.faults
                    .note(&place, format!("{address} is in the client IP pool: a client could have it"));
            }
        }
        Ok(())
    }
}

impl Managed for ConnectorSpec {
    fn tenant_mut(&mut self) -> Option<&mut Option<String>> {
        Some(&mut self.tenant)
    }

    /// Its address is the server's to choose; its key comes by enrolment and stays.
    async fn complete(&mut self, with: &mut Completing<'_>, old: Option<&Self>) -> Result<(), Fault> {
        if self.addresses.is_empty() {
            match old.map(|old| &old.addresses).filter(|addresses| !addresses.is_empty()) {
                Some(addresses) => self.addresses.clone_from(addresses),
                None => self.addresses.extend(with.free_address().await?),
            }
        }
        if self.addresses.is_empty() {
            with.note("addresses", "the overlay networks have no free address: widen them, or give one");
        }
        if let Some(old) = old
            && self.public_key.is_none()
        {
            self.public_key.clone_from(&old.public_key);
        }
        Ok(())
    }

    async fn forget(tx: &mut Tx, id: Uuid, _now: Timestamp) -> Result<(), StoreError> {
        tx.forget_ports(id).await
    }
}

impl Managed for MappingSpec {
    fn tenant_mut(&mut self) -> Option<&mut Option<String>> {
        Some(&mut self.tenant)
    }

    /// It belongs to its connector's tenant, and has a virtual port of its own there, for as long as it lives.
    async fn complete(&mut self, with: &mut Completing<'_>, old: Option<&Self>) -> Result<(), Fault> {
        let Some(connector) = with.named("connector") else { return Ok(()) };
        let owner = with.tx.object(Kind::Connector, connector).await?;
        with.tenant = owner.and_then(|connector| connector.tenant);
        if !with.actor.sees(with.tenant) {
            with.note("connector", format!("there is no connector {:?}", self.connector));
            return Ok(());
        }
        let same = old.filter(|old| old.connector == self.connector);
        let port = match (self.virtual_port, same.and_then(|old| old.virtual_port)) {
            (None, Some(port)) => Some(port),
            (Some(asked), Some(port)) if asked == port => Some(port),
            (asked, _) => free_port(with, connector, asked).await?,
        };
        if let Some(port) = port {
            if old.is_some() {
                with.tx.release_port(with.id, with.now).await?;
            }
            with.tx.take_port(connector, port, with.id).await?;
        }
        self.virtual_port = port;
        Ok(())
    }

    async fn forget(tx: &mut Tx, id: Uuid, now: Timestamp) -> Result<(), StoreError> {
        tx.release_port(id, now).await
    }
}

/// The port that is asked for, if it is free, or the lowest that is.
async fn free_port(
    with: &mut Completing<'_>,
    connector: Uuid,
    asked: Option<u16>,
) -> Result<Option<u16>, Fault> {
    let held = with.tx.held_ports(connector).await?;
    let (now, quarantine) = (unix_time(with.now), with.engine.policy().quarantine);
    let rests_until = |released: Timestamp| -> UnixTime { unix_time(released).saturating_add(quarantine) };
    let port = |held: &crate::store::ports::HeldPort| VirtualPort::new(held.port).ok();
    if let Some(asked) = asked {
        let found = held.iter().find(|held| held.port == asked);
        return match found.map(|held| held.released) {
            Some(None) => {
                with.note("virtual_port", format!("{asked} is in use at this connector"));
                Ok(None)
            }
            Some(Some(released)) if rests_until(released) > now => {
                let until = crate::store::timestamp(rests_until(released));
                with.note("virtual_port", format!("{asked} was another device's and rests until {until}"));
                Ok(None)
            }
            Some(Some(_)) | None => Ok(Some(asked)),
        };
    }
    let taken = held.iter().filter(|held| held.released.is_none()).filter_map(port);
    let resting = held
        .iter()
        .filter_map(|held| Some(Quarantined { port: port(held)?, until: rests_until(held.released?) }));
    match allocate(taken, resting, now) {
        Ok(port) => Ok(Some(port.number())),
        Err(exhausted) => {
            with.note("virtual_port", exhausted);
            Ok(None)
        }
    }
}

impl Managed for TargetSpec {
    fn tenant_mut(&mut self) -> Option<&mut Option<String>> {
        Some(&mut self.tenant)
    }

    /// It leads nowhere where none may lead (P20).
    async fn complete(&mut self, with: &mut Completing<'_>, _old: Option<&Self>) -> Result<(), Fault> {
        let target = target_of((with.id, with.tenant, 0), self, with.references)?;
        let control = with.tx.control_addresses().await?;
        if let Err(forbidden) = with.engine.forbidden(control).check(&target.destinations) {
            let place = Place::document().field("dst").index(forbidden.index);
            let place = match forbidden.part {
                router_core::access::ForbiddenPart::Selector => place.field("selector").field("ip"),
                router_core::access::ForbiddenPart::Nat => place.field("nat").field("addr"),
            };
            with.faults.note(&place, forbidden);
        }
        Ok(())
    }
}

impl Tx {
    /// The addresses of routers inside the tunnels.
    async fn control_addresses(&mut self) -> Result<Vec<IpNet>, StoreError> {
        let mut addresses = Vec::new();
        for record in self.all_objects(Kind::Router).await? {
            let spec: RouterSpec = world::read(&record)?;
            addresses.extend(spec.addresses.into_iter().map(IpNet::from));
        }
        Ok(addresses)
    }
}
