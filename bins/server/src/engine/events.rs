//! What the audit is told.

use router_core::access::{AuditKind, Refused, SessionEvent};
use serde_json::{Value, json};
use uuid::Uuid;

use super::actor::Actor;
use crate::store::StoreError;
use crate::store::audit::{Event, ObjectRef, Outcome};
use crate::store::objects::{Kind, Record};
use crate::store::sessions::SessionRecord;

/// An event of this kind, by this actor.
pub(super) fn event(kind: AuditKind, actor: &Actor) -> Event {
    Event {
        number: kind.number(),
        action: kind.name().to_owned(),
        actor: actor.name.clone(),
        tenant: actor.tenant,
        object: None,
        source: actor.source,
        outcome: Outcome::Success,
        reason: None,
        details: Value::Null,
    }
}

/// An object was made, changed or removed. `before` and `after` are its documents.
pub(super) fn of_object(
    kind: AuditKind,
    actor: &Actor,
    record: &Record,
    before: Option<&str>,
    after: Option<&str>,
) -> Result<Event, StoreError> {
    let document = |text: Option<&str>| -> Result<Value, StoreError> {
        let read = text.map(serde_json::from_str).transpose();
        read.map(Option::unwrap_or_default).map_err(|why| StoreError::unreadable("a document", why))
    };
    Ok(Event {
        tenant: record.tenant,
        object: Some(object_ref(record)),
        details: json!({ "version": record.version, "before": document(before)?, "after": document(after)? }),
        ..event(kind, actor)
    })
}

/// A request was refused. The audit learns which session was in the way, the user does not.
pub(super) fn of_refusal(actor: &Actor, refused: &Refused, asked: Value) -> Event {
    let in_the_way = refused.session().map(|session| Uuid::from_u128(session.0));
    Event {
        outcome: Outcome::Refused,
        reason: Some(refused.to_string()),
        details: json!({ "check": refused.check(), "code": refused.code(), "in_the_way": in_the_way, "asked": asked }),
        ..event(AuditKind::RequestRefused, actor)
    }
}

/// A session changed.
pub(super) fn of_session(
    happened: &SessionEvent,
    actor: &Actor,
    record: &SessionRecord,
    reason: Option<&str>,
) -> Event {
    let body = &record.body;
    Event {
        tenant: record.tenant,
        object: Some(ObjectRef {
            kind: "session".to_owned(),
            id: record.id,
            name: record.target_name.clone(),
        }),
        reason: reason.map(str::to_owned).or_else(|| record.ending.clone()).or_else(|| body.reason.clone()),
        details: json!({
            "user": body.user_name,
            "client_ip": record.client_ip,
            "target": record.target,
            "expires": record.expires,
            "ending": record.ending,
            "bytes_out": record.bytes[0],
            "bytes_in": record.bytes[1],
            "packets_out": body.packets[0],
            "packets_in": body.packets[1],
        }),
        ..event(happened.kind(), actor)
    }
}

/// What an object is called in the audit.
pub(super) fn object_ref(record: &Record) -> ObjectRef {
    ObjectRef { kind: record.kind.name().to_owned(), id: record.id, name: record.name.clone() }
}

/// The kinds of events of a kind of objects: made, changed, removed.
pub(super) fn kinds_of(kind: Kind) -> [AuditKind; 3] {
    match kind {
        Kind::Tenant => [AuditKind::TenantCreated, AuditKind::TenantModified, AuditKind::TenantRemoved],
        Kind::Role => [AuditKind::RoleCreated, AuditKind::RoleModified, AuditKind::RoleRemoved],
        Kind::User => [AuditKind::UserCreated, AuditKind::UserModified, AuditKind::UserRemoved],
        Kind::Device => [AuditKind::DeviceAdded, AuditKind::DeviceModified, AuditKind::DeviceRemoved],
        Kind::Router => [AuditKind::RouterCreated, AuditKind::RouterModified, AuditKind::RouterRemoved],
        Kind::Target => [AuditKind::TargetCreated, AuditKind::TargetModified, AuditKind::TargetRemoved],
        Kind::Connector => {
            [AuditKind::ConnectorCreated, AuditKind::ConnectorModified, AuditKind::ConnectorRemoved]
        }
        Kind::Mapping => [AuditKind::MappingAdded, AuditKind::MappingModified, AuditKind::MappingRemoved],
    }
}
