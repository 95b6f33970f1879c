//! Changes of sessions and objects as they happen (server-sent events), for live lists. An event says what changed, never
//! how: whoever wants to know reads it, and is shown what they may see.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt as _};
use sluice_api::{Change, SessionState};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;
use uuid::Uuid;

use super::App;
use super::objects::actor;
use super::problem::{ApiError, ProblemKind};
use crate::auth::permission::{Permit, Reach};
use crate::engine::{self, Fault};
use crate::store::objects::Kind;

/// How often it is looked at whether somebody may still listen: a token may be revoked meanwhile.
const CHECK_EVERY: Duration = Duration::from_secs(10);

/// Somebody who listens for as long as they may.
pub(super) struct Follower {
    app: App,
    permit: Permit,
    checked: Instant,
    /// One of as many as there can be.
    _place: OwnedSemaphorePermit,
}

impl Follower {
    pub(super) fn new(app: &App, permit: Permit) -> Result<Follower, ApiError> {
        let place = std::sync::Arc::clone(app.followers()).try_acquire_owned();
        let full = |_| {
            let said = "as many lists are being followed as can be";
            ApiError::new(ProblemKind::Unavailable, said).after(Duration::from_secs(10))
        };
        Ok(Follower { app: app.clone(), permit, checked: Instant::now(), _place: place.map_err(full)? })
    }

    pub(super) fn app(&self) -> &App {
        &self.app
    }

    pub(super) fn permit(&self) -> &Permit {
        &self.permit
    }

    /// Whether the credential is still good; asks the store from time to time.
    pub(super) async fn may_go_on(&mut self) -> bool {
        if self.checked.elapsed() < CHECK_EVERY {
            return true;
        }
        self.checked = Instant::now();
        self.app.auth().is_still_good(&self.permit, self.app.now()).await.unwrap_or(false)
    }
}

pub(super) async fn follow(State(app): State<App>, permit: Permit) -> Result<Response, ApiError> {
    let changes = app.engine().changes();
    let follower = Follower::new(&app, permit)?;
    let events = events(follower, changes).take_until(Box::pin(app.stopped()));
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

/// First `ready`: whoever reads their lists after it misses nothing. `missed`: read them anew.
fn events(
    follower: Follower,
    changes: Receiver<engine::Change>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let hello = stream::once(async { Ok(Event::default().event("ready").data("{}")) });
    let rest = stream::unfold((follower, changes), |(mut follower, mut changes)| async move {
        loop {
            if !follower.may_go_on().await {
                return None;
            }
            let event = match timeout(CHECK_EVERY, changes.recv()).await {
                Err(_) => continue,
                Ok(Ok(engine::Change::Missed)) => Event::default().event("missed").data("{}"),
                Ok(Ok(change)) => match shown(&follower, change).await {
                    Ok(Some(change)) => {
                        Event::default().event("change").json_data(change).unwrap_or_default()
                    }
                    Ok(None) => continue,
                    Err(_) => Event::default().event("missed").data("{}"),
                },
                Ok(Err(RecvError::Lagged(_))) => Event::default().event("missed").data("{}"),
                Ok(Err(RecvError::Closed)) => return None,
            };
            return Some((Ok(event), (follower, changes)));
        }
    });
    hello.chain(rest)
}

/// What this follower is told of a change; `None`: it does not concern them.
async fn shown(follower: &Follower, change: engine::Change) -> Result<Option<Change>, Fault> {
    match change {
        engine::Change::Session(id) => session(follower, id, None).await,
        engine::Change::Expiring(id, seconds) => session(follower, id, Some(seconds)).await,
        engine::Change::Object(kind, id) => object(follower, kind, id).await,
        engine::Change::Missed => Ok(None),
    }
}

async fn session(follower: &Follower, id: Uuid, expiring: Option<u64>) -> Result<Option<Change>, Fault> {
    let view = match follower.app.engine().session(&actor(&follower.permit), id).await {
        Ok(view) => view,
        Err(Fault::UnknownSession(_)) => return Ok(None),
        Err(fault) => return Err(fault),
    };
    if !follower.permit.reaches(&view.user) {
        return Ok(None);
    }
    let what = match (expiring, view.state) {
        (Some(seconds), _) => return Ok(Some(change("session", id, format!("expires in {seconds} s")))),
        (None, SessionState::Pending) => "pending",
        (None, SessionState::Active) => "active",
        (None, SessionState::Closing) => "closing",
        (None, SessionState::Closed) => "closed",
    };
    Ok(Some(change("session", id, what)))
}

async fn object(follower: &Follower, kind: Kind, id: Uuid) -> Result<Option<Change>, Fault> {
    // Whose a device is stands in its document; users look at theirs when they need to.
    if follower.permit.reach() == Reach::Own {
        return Ok(None);
    }
    let mut tx = follower.app.engine().store().read().await?;
    let what = match (tx.object(kind, id).await?, follower.permit.tenant) {
        (Some(record), tenant) if tenant.is_some() && record.tenant != tenant => return Ok(None),
        (Some(record), _) if record.version == 1 => "created",
        (Some(_), _) => "updated",
        // Whose it was cannot be told any more.
        (None, Some(_)) => return Ok(None),
        (None, None) => "deleted",
    };
    Ok(Some(change(kind.name(), id, what)))
}

fn change(kind: &str, id: Uuid, what: impl Into<String>) -> Change {
    Change { kind: kind.to_owned(), id, what: what.into() }
}
