//! Objects: made, changed, removed, each with its audit event and with what follows for sessions, in one transaction.

use jiff::Timestamp;
use sluice_api::{FieldProblem, Object, Page};
use uuid::Uuid;

use super::complete::{Completing, Managed};
use super::{Actor, Change, Engine, Fault, events, view, world};
use crate::documents::{Faults, Named};
use crate::store::objects::{After, Draft, Filter, Kind, Record, Reference};
use crate::store::{StoreError, Tx};

/// What went with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Removed {
    /// Sessions that end because of it.
    pub(crate) sessions: Vec<Uuid>,
}

impl Engine {
    /// Makes an object.
    pub(crate) async fn create<D: Managed>(
        &self,
        now: Timestamp,
        actor: &Actor,
        spec: D,
    ) -> Result<Object<D>, Fault> {
        let mut tx = self.store().write().await?;
        let id = Uuid::now_v7();
        let draft = self.draft(&mut tx, actor, id, spec, None, now).await?;
        let record = tx.insert_object(id, &draft, &actor.name, now).await?;
        let [created, _, _] = events::kinds_of(D::KIND);
        tx.record(events::of_object(created, actor, &record, None, Some(&record.body))?, now).await?;
        self.commit(tx, [Change::Object(D::KIND, id)]).await?;
        Ok(view::object(&record)?)
    }

    /// Replaces an object that is still at `version`. Sessions that lose their right by it end in the same transaction.
    pub(crate) async fn replace<D: Managed>(
        &self,
        now: Timestamp,
        actor: &Actor,
        which: &str,
        version: u64,
        spec: D,
    ) -> Result<Object<D>, Fault> {
        let mut tx = self.store().write().await?;
        let old = known(&mut tx, actor, D::KIND, which).await?;
        let draft = self.draft(&mut tx, actor, old.id, spec, Some(&old), now).await?;
        let record = tx.update_object(old.id, version, &draft, &actor.name, now).await?;
        let [_, modified, _] = events::kinds_of(D::KIND);
        let event = events::of_object(modified, actor, &record, Some(&old.body), Some(&record.body))?;
        tx.record(event, now).await?;
        let ended = self.recheck_after(&mut tx, D::KIND, old.id, now).await?;
        // What is revoked comes first.
        let sessions = ended.into_iter().map(Change::Session);
        self.commit(tx, sessions.chain([Change::Object(D::KIND, old.id)])).await?;
        Ok(view::object(&record)?)
    }

    /// Removes an object that nobody names; `version`: only at this one.
    pub(crate) async fn delete<D: Managed>(
        &self,
        now: Timestamp,
        actor: &Actor,
        which: &str,
        version: Option<u64>,
    ) -> Result<Removed, Fault> {
        let mut tx = self.store().write().await?;
        let old = known(&mut tx, actor, D::KIND, which).await?;
        world::read::<D>(&old)?.check_writer(actor)?;
        let record = tx.delete_object(D::KIND, old.id, version).await?;
        D::forget(&mut tx, old.id, now).await?;
        let [_, _, removed] = events::kinds_of(D::KIND);
        tx.record(events::of_object(removed, actor, &record, Some(&record.body), None)?, now).await?;
        let ended = self.recheck_after(&mut tx, D::KIND, old.id, now).await?;
        let sessions = ended.iter().copied().map(Change::Session);
        self.commit(tx, sessions.chain([Change::Object(D::KIND, old.id)])).await?;
        Ok(Removed { sessions: ended })
    }

    /// An object by its identity or name.
    pub(crate) async fn get<D: Managed>(&self, actor: &Actor, which: &str) -> Result<Object<D>, Fault> {
        let mut tx = self.store().read().await?;
        let record = known(&mut tx, actor, D::KIND, which).await?;
        Ok(view::object(&record)?)
    }

    /// Objects in the order of their names. `cursor` is what the page before ended with.
    pub(crate) async fn list<D: Managed>(
        &self,
        actor: &Actor,
        mut filter: Filter,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<Object<D>>, Fault> {
        filter.tenants = match (actor.tenants(), filter.tenants) {
            (Some(seen), _) => Some(seen),
            (None, asked) => asked,
        };
        let after = cursor.map(place_of).transpose()?;
        let mut tx = self.store().read().await?;
        let mut records = tx.objects(D::KIND, &filter, after.as_ref(), limit.saturating_add(1)).await?;
        let more = records.len() > limit as usize;
        records.truncate(limit as usize);
        let next = records.last().filter(|_| more).map(|last| format!("{}.{}", last.id, last.name));
        let items = records.iter().map(view::object).collect::<Result<_, _>>()?;
        Ok(Page { items, next })
    }

    /// A document, checked, completed, with whom it names.
    async fn draft<D: Managed>(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        id: Uuid,
        mut spec: D,
        old: Option<&Record>,
        now: Timestamp,
    ) -> Result<Draft, Fault> {
        own_tenant(tx, actor, &mut spec).await?;
        let mut faults = Faults::default();
        spec.check(&mut faults);
        fail_on(faults.into_problems())?;
        let tenant = tenant_of(tx, actor, spec.tenant()).await?;
        let references = resolve(tx, tenant, &spec.named()).await?;
        let before = old.map(world::read::<D>).transpose()?;
        spec.check_writer(actor)?;
        before.as_ref().map_or(Ok(()), |before| before.check_writer(actor))?;
        let mut with = Completing {
            tx,
            engine: self,
            actor,
            id,
            tenant,
            references: &references,
            now,
            faults: Faults::default(),
        };
        spec.complete(&mut with, before.as_ref()).await?;
        let tenant = with.tenant;
        fail_on(with.faults.into_problems())?;
        let body = serde_json::to_string(&spec).map_err(|why| StoreError::unreadable("a document", why))?;
        let (name, claims) = (spec.name(), spec.claims());
        Ok(Draft { kind: D::KIND, tenant, name, body, references, claims })
    }
}

/// The object that is meant, if it exists for the actor.
pub(super) async fn known(tx: &mut Tx, actor: &Actor, kind: Kind, which: &str) -> Result<Record, Fault> {
    let found = match which.parse::<Uuid>() {
        Ok(id) => tx.object(kind, id).await?,
        Err(_) => match tx.object_named(kind, actor.tenant, which).await? {
            Some(record) => Some(record),
            None if actor.tenant.is_some() => None,
            None => match tx.objects_named(kind, which).await? {
                named if named.len() == 1 => named.into_iter().next(),
                _ => None,
            },
        },
    };
    let found = found.filter(|record| actor.sees(record.tenant));
    found.ok_or_else(|| Fault::Unknown { kind, name: which.to_owned() })
}

/// What somebody of a tenant makes is their tenant's.
async fn own_tenant<D: Managed>(tx: &mut Tx, actor: &Actor, spec: &mut D) -> Result<(), Fault> {
    let Some(tenant) = actor.tenant else { return Ok(()) };
    match spec.tenant_mut() {
        Some(field @ None) => {
            let record = tx.object(Kind::Tenant, tenant).await?;
            *field = record.map(|record| record.name);
            Ok(())
        }
        Some(Some(_)) => Ok(()),
        // Kinds that belong to no tenant are the installation's, but for those that take it from whom they name.
        None if D::KIND == Kind::Device => Ok(()),
        None => Err(Fault::Forbidden("that belongs to the whole installation, and you to a tenant")),
    }
}

async fn tenant_of(tx: &mut Tx, actor: &Actor, name: Option<&str>) -> Result<Option<Uuid>, Fault> {
    let Some(name) = name else { return Ok(None) };
    let found = tx.object_named(Kind::Tenant, None, name).await?;
    match found.filter(|tenant| actor.sees(Some(tenant.id))) {
        Some(tenant) => Ok(Some(tenant.id)),
        None => Err(super::sessions::invalid("/tenant", format!("there is no tenant {name:?}"))),
    }
}

/// Those that a document names: of its tenant, else of the installation.
async fn resolve(tx: &mut Tx, tenant: Option<Uuid>, named: &[Named]) -> Result<Vec<Reference>, Fault> {
    let (mut references, mut problems) = (Vec::with_capacity(named.len()), Vec::new());
    for Named { place, kind, name } in named {
        let found = match tx.object_named(*kind, tenant, name).await? {
            None if tenant.is_some() => tx.object_named(*kind, None, name).await?,
            // A device takes its tenant from its user.
            None if *kind == Kind::User => {
                let named = tx.objects_named(*kind, name).await?;
                named.into_iter().next()
            }
            found => found,
        };
        match found {
            Some(record) => references.push(Reference { field: place.clone(), object: record.id }),
            None => problems.push(FieldProblem {
                pointer: place.clone(),
                detail: format!("there is no {} {name:?}", kind.name()),
            }),
        }
    }
    fail_on(problems)?;
    Ok(references)
}

fn fail_on(problems: Vec<FieldProblem>) -> Result<(), Fault> {
    if problems.is_empty() { Ok(()) } else { Err(Fault::Invalid(problems)) }
}

fn place_of(cursor: &str) -> Result<After, Fault> {
    let parsed = cursor
        .split_once('.')
        .and_then(|(id, name)| Some(After { id: id.parse().ok()?, name: name.to_owned() }));
    parsed.ok_or_else(|| super::sessions::invalid("/cursor", "it is no cursor of this list"))
}
