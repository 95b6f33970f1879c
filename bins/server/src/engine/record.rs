//! Sessions between policy and store.

use std::collections::BTreeMap;

use router_core::access::{
    ApprovalId, Client, ClientDevice, DeviceId, EndReason, Expiry, Limit, Reason, RoleId, RouterId, Session,
    SessionState, UserId,
};
use router_core::rules::SessionId;
use uuid::Uuid;

use super::world::StoredTarget;
use crate::documents::target_of;
use crate::store::objects::Reference;
use crate::store::session_body::{ClientBody, SessionBody};
use crate::store::sessions::{Range, SessionRecord};
use crate::store::{StoreError, timestamp, unix_time};

/// The record of a session that was just opened.
pub(crate) fn new_record(
    session: &Session,
    user_name: &str,
    target: &StoredTarget,
    references: &[Reference],
) -> SessionRecord {
    let roles = session.roles.iter().filter_map(|role| role_name(role, target, references)).collect();
    let body = SessionBody {
        user_name: user_name.to_owned(),
        target: target.spec.clone(),
        target_version: target.record.version,
        target_tenant: target.record.tenant,
        references: references.iter().map(|reference| (reference.field.clone(), reference.object)).collect(),
        client: match session.client {
            Client::Device(device) => ClientBody::Device {
                id: Uuid::from_u128(device.id.0),
                public_key: device.public_key.to_string(),
            },
            Client::External => ClientBody::External,
        },
        roles,
        role_ids: session.roles.iter().map(|role| Uuid::from_u128(role.0)).collect(),
        reason: session.reason.as_ref().map(|reason| reason.as_str().to_owned()),
        approval: None,
        limit: None,
        routers: Vec::new(),
        waiting: Vec::new(),
        acknowledged: false,
        since: None,
        ended_by: None,
        said: None,
        packets: [0; 2],
        last_packet: None,
        told: BTreeMap::new(),
    };
    let mut record = SessionRecord {
        id: Uuid::from_u128(session.id.0),
        state: String::new(),
        tenant: target.record.tenant,
        user: Uuid::from_u128(session.user.0),
        client_ip: session.client_ip,
        target: target.record.id,
        target_name: target.record.name.clone(),
        exclusive: session.target.exclusive_access,
        router: session.routers.first().map_or(Uuid::nil(), |router| Uuid::from_u128(router.0)),
        opened: timestamp(session.opened),
        expires: None,
        closed: None,
        ending: None,
        bytes: [0, 0],
        body,
    };
    update_record(&mut record, session, None);
    record
}

/// Where a session reaches, for finding those that overlap.
pub(crate) fn ranges_of(session: &Session) -> Vec<Range> {
    ranges(session.target.destinations.as_slice())
}

/// Where destinations reach.
pub(crate) fn ranges(destinations: &[router_core::access::Destination]) -> Vec<Range> {
    let ip = destinations.iter().map(|destination| destination.selector().ip());
    ip.map(|ip| Range { first: ip.start(), last: ip.end() }).collect()
}

/// The session of a record.
pub(crate) fn session_of(record: &SessionRecord) -> Result<Session, StoreError> {
    let body = &record.body;
    let references: Vec<_> = body
        .references
        .iter()
        .map(|(field, object)| Reference { field: field.clone(), object: *object })
        .collect();
    let target =
        target_of((record.target, body.target_tenant, body.target_version), &body.target, &references)?;
    Ok(Session {
        id: SessionId(record.id.as_u128()),
        user: UserId(record.user.as_u128()),
        client_ip: record.client_ip,
        client: client(record, &body.client)?,
        target,
        roles: body.role_ids.iter().map(|role| RoleId(role.as_u128())).collect(),
        reason: body
            .reason
            .as_deref()
            .map(Reason::new)
            .transpose()
            .map_err(|why| unreadable(record, &why))?,
        approval: body.approval.map(|approval| ApprovalId(approval.as_u128())),
        opened: unix_time(record.opened),
        expires: expiry(record, body),
        routers: routers(&body.routers),
        state: state(record, body)?,
    })
}

/// Puts a session's changes into its record.
pub(crate) fn update_record(record: &mut SessionRecord, session: &Session, said: Option<&str>) {
    let body = &mut record.body;
    if let Some(said) = said {
        body.said = Some(said.to_owned());
    }
    record.expires = session.expires.map(|expiry| timestamp(expiry.at));
    body.limit = session.expires.map(|expiry| expiry.limit.code().to_owned());
    body.approval = session.approval.map(|approval| Uuid::from_u128(approval.0));
    body.routers = uuids(&session.routers);
    (body.waiting, body.acknowledged, body.since) = (Vec::new(), false, None);
    let why = match &session.state {
        SessionState::Pending { waiting, acknowledged } => {
            record.state = "pending".to_owned();
            (body.waiting, body.acknowledged) = (uuids(waiting), *acknowledged);
            None
        }
        SessionState::Active { since } => {
            record.state = "active".to_owned();
            body.since = Some(timestamp(*since).as_microsecond());
            None
        }
        SessionState::Closing { why, since, waiting } => {
            record.state = "closing".to_owned();
            (body.waiting, body.since) = (uuids(waiting), Some(timestamp(*since).as_microsecond()));
            Some(*why)
        }
        SessionState::Closed { why, at } => {
            record.state = "closed".to_owned();
            record.closed = Some(timestamp(*at));
            Some(*why)
        }
    };
    record.ending = why.map(|why| why.code().to_owned());
    if let Some(EndReason::AdminTerminated { by, .. }) = why {
        body.ended_by = Some(Uuid::from_u128(by.0));
    }
}

/// Routers that have not confirmed what they are to do about a session.
pub(crate) fn waiting_for(session: &Session) -> &[RouterId] {
    match &session.state {
        SessionState::Pending { waiting, .. } | SessionState::Closing { waiting, .. } => waiting,
        SessionState::Active { .. } | SessionState::Closed { .. } => &[],
    }
}

fn state(record: &SessionRecord, body: &SessionBody) -> Result<SessionState, StoreError> {
    let since = body.since.and_then(|since| jiff::Timestamp::from_microsecond(since).ok()).map(unix_time);
    let since = since.unwrap_or(unix_time(record.opened));
    let why = || {
        let by = body.ended_by.map(|by| UserId(by.as_u128()));
        let code = record.ending.as_deref().unwrap_or_default();
        EndReason::from_code(code, by).ok_or_else(|| unreadable(record, &format!("{code:?} ended it")))
    };
    match (record.state.as_str(), record.closed) {
        ("pending", None) => {
            Ok(SessionState::Pending { waiting: routers(&body.waiting), acknowledged: body.acknowledged })
        }
        ("active", None) => Ok(SessionState::Active { since }),
        ("closing", None) => {
            Ok(SessionState::Closing { why: why()?, since, waiting: routers(&body.waiting) })
        }
        ("closed", Some(closed)) => Ok(SessionState::Closed { why: why()?, at: unix_time(closed) }),
        (state, _) => Err(unreadable(record, &format!("it is {state:?}"))),
    }
}

fn expiry(record: &SessionRecord, body: &SessionBody) -> Option<Expiry> {
    let limit = body.limit.as_deref().and_then(Limit::from_code).unwrap_or(Limit::Requested);
    record.expires.map(|at| Expiry { at: unix_time(at), limit })
}

fn client(record: &SessionRecord, body: &ClientBody) -> Result<Client, StoreError> {
    match body {
        ClientBody::External => Ok(Client::External),
        ClientBody::Device { id, public_key } => {
            let public_key =
                public_key.parse().map_err(|_| unreadable(record, &"its device's key is none"))?;
            Ok(Client::Device(ClientDevice { id: DeviceId(id.as_u128()), public_key }))
        }
    }
}

/// The name that the target's document had for a role.
fn role_name(role: &RoleId, target: &StoredTarget, references: &[Reference]) -> Option<String> {
    let named = references.iter().filter(|reference| reference.object.as_u128() == role.0);
    let index =
        named.filter_map(|named| named.field.strip_prefix("/roles/")?.parse::<usize>().ok()).next()?;
    target.spec.roles.get(index).cloned()
}

fn routers(ids: &[Uuid]) -> Vec<RouterId> {
    ids.iter().map(|id| RouterId(id.as_u128())).collect()
}

fn uuids(routers: &[RouterId]) -> Vec<Uuid> {
    routers.iter().map(|router| Uuid::from_u128(router.0)).collect()
}

fn unreadable(record: &SessionRecord, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::unreadable(format!("session {}", record.id), why)
}
