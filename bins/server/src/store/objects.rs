//! Objects that administrators write, all kinds alike: named, versioned, aware of who names them.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use uuid::Uuid;

use super::query::{AT_ONCE, Query, tenant_text};
use super::sql::{Row, Tx, values};
use super::{StoreError, moment_of, uuid_of};

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// A customer whose administrators see only their own objects.
    Tenant,
    /// What targets ask for and users have.
    Role,
    /// A person.
    User,
    /// A user's machine: a key and an address.
    Device,
    /// A node that enforces rules.
    Router,
    /// A network target.
    Target,
    /// A node in a tenant's network.
    Connector,
    /// A virtual port of a connector.
    Mapping,
}

impl Kind {
    /// Each of them.
    pub(crate) const ALL: [Kind; 8] = [
        Kind::Tenant,
        Kind::Role,
        Kind::User,
        Kind::Device,
        Kind::Router,
        Kind::Target,
        Kind::Connector,
        Kind::Mapping,
    ];

    /// As in the store, in the API's paths and in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Tenant => "tenant",
            Kind::Role => "role",
            Kind::User => "user",
            Kind::Device => "device",
            Kind::Router => "router",
            Kind::Target => "target",
            Kind::Connector => "connector",
            Kind::Mapping => "mapping",
        }
    }
}

/// An object as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) id: Uuid,
    pub(crate) kind: Kind,
    /// `None`: it belongs to the whole installation.
    pub(crate) tenant: Option<Uuid>,
    /// Unique in its kind and tenant.
    pub(crate) name: String,
    /// One more with each change: the ETag.
    pub(crate) version: u64,
    pub(crate) created: Timestamp,
    pub(crate) author: String,
    pub(crate) updated: Timestamp,
    pub(crate) updated_by: String,
    /// The document, as JSON.
    pub(crate) body: String,
}

/// What an object is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) kind: Kind,
    pub(crate) tenant: Option<Uuid>,
    pub(crate) name: String,
    pub(crate) body: String,
    pub(crate) references: Vec<Reference>,
    pub(crate) claims: Vec<Claim>,
}

/// A field that names another object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    /// As a JSON pointer, `/roles/0`.
    pub(crate) field: String,
    /// Whom.
    pub(crate) object: Uuid,
}

/// A value that only one object may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The kind of value: `address` or `key`.
    pub(crate) what: &'static str,
    /// In its one canonical form.
    pub(crate) value: String,
}

/// Why an object was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObjectFault {
    /// Another has the name.
    #[error("there is a {} named {name:?} already", kind.name())]
    NameTaken { kind: Kind, name: String },
    /// Another has what only one may have.
    #[error("the {what} {value} belongs to {owner} already")]
    ClaimTaken { what: &'static str, value: String, owner: String },
    /// Somebody changed it since it was read.
    #[error("it was changed meanwhile: version {now} is current, {expected} was meant")]
    Stale { expected: u64, now: u64 },
    /// There is none.
    #[error("there is no such {}", kind.name())]
    Gone { kind: Kind },
    /// Others name it.
    #[error("it is in use by {}", by.join(", "))]
    InUse { by: Vec<String> },
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which objects of a kind to list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// Only those of these tenants (`Some(vec![None])`: only those of the installation).
    pub(crate) tenants: Option<Vec<Option<Uuid>>>,
    /// Only those whose name contains this, in either case.
    pub(crate) text: Option<String>,
    /// Only those that name this object.
    pub(crate) naming: Option<Uuid>,
}

/// Where a page ended: the name and identity of its last object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct After {
    pub(crate) name: String,
    pub(crate) id: Uuid,
}

const COLUMNS: &str = "id, tenant, name, version, created_at, author, updated_at, updated_by, body";
/// Names shown of those that keep an object from being deleted.
const USERS_SHOWN: usize = 5;

impl Tx {
    /// Stores a new object.
    pub(crate) async fn insert_object(
        &mut self,
        id: Uuid,
        draft: &Draft,
        author: &str,
        now: Timestamp,
    ) -> Result<Record, ObjectFault> {
        self.check_name(draft, None).await?;
        let at = now.as_microsecond();
        self.execute(
            "INSERT INTO object (id, kind, tenant, name, version, created_at, author, updated_at, updated_by, body) \
             VALUES ($1, $2, $3, $4, 1, $5, $6, $5, $6, $7)",
            values![
                id.to_string(),
                draft.kind.name(),
                tenant_text(draft.tenant),
                draft.name.as_str(),
                at,
                author,
                draft.body.as_str()
            ],
        )
        .await?;
        self.set_ties(id, draft).await?;
        self.object(draft.kind, id).await?.ok_or(ObjectFault::Gone { kind: draft.kind })
    }

    /// Replaces an object that is still at version `expected`.
    pub(crate) async fn update_object(
        &mut self,
        id: Uuid,
        expected: u64,
        draft: &Draft,
        author: &str,
        now: Timestamp,
    ) -> Result<Record, ObjectFault> {
        let old = self.object(draft.kind, id).await?.ok_or(ObjectFault::Gone { kind: draft.kind })?;
        if old.version != expected {
            return Err(ObjectFault::Stale { expected, now: old.version });
        }
        if old.name != draft.name || old.tenant != draft.tenant {
            self.check_unused(id).await?;
            self.check_name(draft, Some(id)).await?;
        }
        self.execute(
            "UPDATE object SET tenant = $2, name = $3, version = version + 1, updated_at = $4, updated_by = $5, \
             body = $6 WHERE id = $1",
            values![
                id.to_string(),
                tenant_text(draft.tenant),
                draft.name.as_str(),
                now.as_microsecond(),
                author,
                draft.body.as_str()
            ],
        )
        .await?;
        self.set_ties(id, draft).await?;
        self.object(draft.kind, id).await?.ok_or(ObjectFault::Gone { kind: draft.kind })
    }

    /// Deletes an object that nobody names; `expected`: only at this version.
    pub(crate) async fn delete_object(
        &mut self,
        kind: Kind,
        id: Uuid,
        expected: Option<u64>,
    ) -> Result<Record, ObjectFault> {
        let old = self.object(kind, id).await?.ok_or(ObjectFault::Gone { kind })?;
        if let Some(expected) = expected.filter(|expected| *expected != old.version) {
            return Err(ObjectFault::Stale { expected, now: old.version });
        }
        self.check_unused(id).await?;
        for sql in [
            "DELETE FROM reference WHERE source = $1",
            "DELETE FROM claim WHERE owner = $1",
            "DELETE FROM object WHERE id = $1",
        ] {
            self.execute(sql, values![id.to_string()]).await?;
        }
        Ok(old)
    }

    /// The object of this identity.
    pub(crate) async fn object(&mut self, kind: Kind, id: Uuid) -> Result<Option<Record>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM object WHERE kind = $1 AND id = $2");
        let rows = self.rows_of(sql, values![kind.name(), id.to_string()]).await?;
        rows.first().map(|row| record(kind, row)).transpose()
    }

    /// The object of this name in a tenant, or in the installation.
    pub(crate) async fn object_named(
        &mut self,
        kind: Kind,
        tenant: Option<Uuid>,
        name: &str,
    ) -> Result<Option<Record>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM object WHERE kind = $1 AND tenant = $2 AND name = $3");
        let rows = self.rows_of(sql, values![kind.name(), tenant_text(tenant), name]).await?;
        rows.first().map(|row| record(kind, row)).transpose()
    }

    /// Objects of this name in whichever tenant; at most two are of interest, for then it is not clear who is meant.
    pub(crate) async fn objects_named(&mut self, kind: Kind, name: &str) -> Result<Vec<Record>, StoreError> {
        let sql =
            format!("SELECT {COLUMNS} FROM object WHERE kind = $1 AND name = $2 ORDER BY tenant LIMIT 2");
        let rows = self.rows_of(sql, values![kind.name(), name]).await?;
        rows.iter().map(|row| record(kind, row)).collect()
    }

    /// At most `limit` objects in the order of their names, behind `after`.
    pub(crate) async fn objects(
        &mut self,
        kind: Kind,
        filter: &Filter,
        after: Option<&After>,
        limit: u32,
    ) -> Result<Vec<Record>, StoreError> {
        let mut query = Query::new(format!("SELECT {COLUMNS} FROM object"))
            .and("kind = ?", [kind.name().into()])
            .and_tenants(filter.tenants.as_deref())
            .and_if("LOWER(name) LIKE ? ESCAPE '!'", filter.text.as_deref().map(pattern));
        if let Some(object) = filter.naming {
            let naming = "id IN (SELECT source FROM reference WHERE object = ?)";
            query = query.and(naming, [object.to_string().into()]);
        }
        if let Some(After { name, id }) = after {
            let place = values![name.as_str(), name.as_str(), id.to_string()];
            query = query.and("name >= ?", [name.as_str().into()]);
            query = query.and("(name > ? OR (name = ? AND id > ?))", place);
        }
        query.rows(self, "name, id", limit).await?.iter().map(|row| record(kind, row)).collect()
    }

    /// Objects of a kind by their identities; those that are gone are left out.
    pub(crate) async fn objects_of(&mut self, kind: Kind, ids: &[Uuid]) -> Result<Vec<Record>, StoreError> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(AT_ONCE) {
            let query = Query::new(format!("SELECT {COLUMNS} FROM object"))
                .and("kind = ?", [kind.name().into()])
                .and_among("id", ids.iter().map(Uuid::to_string));
            for row in query.rows(self, "id", u32::MAX).await? {
                found.push(record(kind, &row)?);
            }
        }
        Ok(found)
    }

    /// Whom several objects name, field by field.
    pub(crate) async fn references_of_all(
        &mut self,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, Vec<Reference>>, StoreError> {
        let mut found: HashMap<Uuid, Vec<Reference>> = HashMap::with_capacity(ids.len());
        for ids in ids.chunks(AT_ONCE) {
            let query = Query::new("SELECT source, field, object FROM reference".to_owned())
                .and_among("source", ids.iter().map(Uuid::to_string));
            for row in query.rows(self, "source, field", u32::MAX).await? {
                let reference = Reference { field: row.text(1)?, object: uuid_of(&row, 2)? };
                found.entry(uuid_of(&row, 0)?).or_default().push(reference);
            }
        }
        Ok(found)
    }

    /// Who has each of several values; those that nobody has are left out.
    pub(crate) async fn claimants(
        &mut self,
        what: &'static str,
        values: &[String],
    ) -> Result<HashMap<String, Uuid>, StoreError> {
        let mut found = HashMap::with_capacity(values.len());
        for values in values.chunks(AT_ONCE) {
            let query = Query::new("SELECT value, owner FROM claim".to_owned())
                .and("what = ?", [what.into()])
                .and_among("value", values.iter().cloned());
            for row in query.rows(self, "value", u32::MAX).await? {
                found.insert(row.text(0)?, uuid_of(&row, 1)?);
            }
        }
        Ok(found)
    }

    /// All values of a kind that somebody has.
    pub(crate) async fn claimed(&mut self, what: &'static str) -> Result<HashSet<String>, StoreError> {
        let rows = self.rows("SELECT value FROM claim WHERE what = $1", values![what]).await?;
        rows.iter().map(|row| row.text(0)).collect()
    }

    /// The identities of all objects of a kind.
    pub(crate) async fn ids_of(&mut self, kind: Kind) -> Result<Vec<Uuid>, StoreError> {
        let rows = self.rows("SELECT id FROM object WHERE kind = $1", values![kind.name()]).await?;
        rows.iter().map(|row| uuid_of(row, 0)).collect()
    }

    /// Whom an object names, field by field.
    pub(crate) async fn references_of(&mut self, id: Uuid) -> Result<Vec<Reference>, StoreError> {
        let rows = self
            .rows(
                "SELECT field, object FROM reference WHERE source = $1 ORDER BY field",
                values![id.to_string()],
            )
            .await?;
        rows.iter().map(|row| Ok(Reference { field: row.text(0)?, object: uuid_of(row, 1)? })).collect()
    }

    /// Who has a value that only one may have.
    pub(crate) async fn claimant(
        &mut self,
        what: &'static str,
        value: &str,
    ) -> Result<Option<Uuid>, StoreError> {
        let found =
            self.row("SELECT owner FROM claim WHERE what = $1 AND value = $2", values![what, value]).await?;
        found.map(|row| uuid_of(&row, 0)).transpose()
    }

    async fn check_name(&mut self, draft: &Draft, itself: Option<Uuid>) -> Result<(), ObjectFault> {
        match self.object_named(draft.kind, draft.tenant, &draft.name).await? {
            Some(other) if Some(other.id) != itself => {
                Err(ObjectFault::NameTaken { kind: draft.kind, name: draft.name.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn check_unused(&mut self, id: Uuid) -> Result<(), ObjectFault> {
        let users = self
            .rows(
                "SELECT object.kind, object.name FROM reference JOIN object ON object.id = reference.source \
                 WHERE reference.object = $1 ORDER BY object.kind, object.name LIMIT $2",
                values![id.to_string(), USERS_SHOWN as i64 + 1],
            )
            .await?;
        let name = |row: &Row| Ok::<_, StoreError>(format!("{} {:?}", row.text(0)?, row.text(1)?));
        let mut by = users.iter().map(name).collect::<Result<Vec<_>, _>>()?;
        if by.len() > USERS_SHOWN {
            by[USERS_SHOWN] = "others".to_owned();
        }
        if by.is_empty() { Ok(()) } else { Err(ObjectFault::InUse { by }) }
    }

    /// Whom it names and what it alone may have, in place of what was.
    async fn set_ties(&mut self, id: Uuid, draft: &Draft) -> Result<(), ObjectFault> {
        self.execute("DELETE FROM reference WHERE source = $1", values![id.to_string()]).await?;
        self.execute("DELETE FROM claim WHERE owner = $1", values![id.to_string()]).await?;
        for Reference { field, object } in &draft.references {
            self.execute(
                "INSERT INTO reference (source, field, object) VALUES ($1, $2, $3)",
                values![id.to_string(), field.as_str(), object.to_string()],
            )
            .await?;
        }
        for Claim { what, value } in &draft.claims {
            if let Some(owner) = self.claimant(what, value).await? {
                let owner = self.name_of(owner).await?;
                return Err(ObjectFault::ClaimTaken { what, value: value.clone(), owner });
            }
            self.execute(
                "INSERT INTO claim (what, value, owner) VALUES ($1, $2, $3)",
                values![*what, value.as_str(), id.to_string()],
            )
            .await?;
        }
        Ok(())
    }

    async fn name_of(&mut self, id: Uuid) -> Result<String, StoreError> {
        let found = self.row("SELECT kind, name FROM object WHERE id = $1", values![id.to_string()]).await?;
        let name = |row: Row| Ok(format!("{} {:?}", row.text(0)?, row.text(1)?));
        found.map_or_else(|| Ok("this installation".to_owned()), name)
    }
}

fn pattern(text: &str) -> String {
    let escaped: String = text
        .to_lowercase()
        .chars()
        .flat_map(|c| {
            let escape = matches!(c, '%' | '_' | '!').then_some('!');
            escape.into_iter().chain([c])
        })
        .collect();
    format!("%{escaped}%")
}

fn record(kind: Kind, row: &Row) -> Result<Record, StoreError> {
    let tenant = row.text(1)?;
    let tenant = (!tenant.is_empty()).then(|| uuid_of(row, 1)).transpose()?;
    let version = row.int(3)?;
    Ok(Record {
        id: uuid_of(row, 0)?,
        kind,
        tenant,
        name: row.text(2)?,
        version: u64::try_from(version).map_err(|why| StoreError::unreadable("a version", why))?,
        created: moment_of(row.int(4)?)?,
        author: row.text(5)?,
        updated: moment_of(row.int(6)?)?,
        updated_by: row.text(7)?,
        body: row.text(8)?,
    })
}
