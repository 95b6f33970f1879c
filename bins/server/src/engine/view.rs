//! What the API shows of what is stored.

use router_core::access::EndReason;
use router_core::access::UserId;
use serde::de::DeserializeOwned;
use sluice_api::{Object, RouterProgress, SessionState, SessionView, Traffic};

use super::world;
use crate::store::objects::{Kind, Record};
use crate::store::sessions::SessionRecord;
use crate::store::{StoreError, Tx};

/// An object with its document.
pub(super) fn object<D: DeserializeOwned>(record: &Record) -> Result<Object<D>, StoreError> {
    Ok(Object {
        id: record.id,
        version: record.version,
        created: record.created,
        author: record.author.clone(),
        updated: record.updated,
        updated_by: record.updated_by.clone(),
        spec: world::read(record)?,
    })
}

impl Tx {
    /// A session as the API shows it.
    pub(super) async fn session_view(&mut self, record: &SessionRecord) -> Result<SessionView, StoreError> {
        let body = &record.body;
        let mut routers = Vec::new();
        for id in &body.routers {
            let name =
                self.object(Kind::Router, *id).await?.map_or_else(|| id.to_string(), |record| record.name);
            routers.push(RouterProgress { router: name, confirmed: !body.waiting.contains(id) });
        }
        view(record, routers)
    }
}

fn view(record: &SessionRecord, routers: Vec<RouterProgress>) -> Result<SessionView, StoreError> {
    let body = record.body.clone();
    let state = match record.state.as_str() {
        "pending" => SessionState::Pending,
        "active" => SessionState::Active,
        "closing" => SessionState::Closing,
        "closed" => SessionState::Closed,
        other => {
            return Err(StoreError::unreadable(format!("session {}", record.id), format!("it is {other:?}")));
        }
    };
    // Who ended it makes no difference to the words.
    let why = record.ending.as_deref().and_then(|code| EndReason::from_code(code, Some(UserId(0))));
    Ok(SessionView {
        id: record.id,
        state,
        user: body.user_name,
        client_ip: record.client_ip,
        target: body.target,
        roles: body.roles,
        reason: body.reason,
        opened: record.opened,
        expires: record.expires,
        closed: record.closed,
        ending: record.ending.clone(),
        ending_text: why.map(|why| why.to_string()),
        ending_reason: body.said,
        routers,
        traffic: Traffic {
            bytes_out: record.bytes[0],
            bytes_in: record.bytes[1],
            packets_out: body.packets[0],
            packets_in: body.packets[1],
            flows: 0,
            last_packet: body.last_packet,
        },
    })
}
