//! A session's life. Read first: spec access, "Keeping and ending it".
//!
//! ```text
//! Session::open -> Pending --all routers that are there have acknowledged--> Active
//!                     |                                                        |
//!                     '----------------- end(why) -----------------------------'--> Closing --all have removed it--> Closed
//! ```
//!
//! Each change gives one event, and what changes nothing gives none. A closing session is still *ongoing*: as long as a router
//! may let a packet of it pass, nobody else gets its address or its exclusive target.

mod event;
mod notice;
mod recheck;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::net::IpAddr;

use wg_proto::UnixTime;

pub use event::{Happened, SessionEvent};
pub use notice::Notice;
pub use recheck::ClientSeen;

use super::decide::{Client, Expiry, Extension, Granted};
use super::end::EndReason;
use super::id::{ApprovalId, RoleId, RouterId, UserId};
use super::name::Reason;
use super::target::Target;
use crate::rules::SessionId;

/// A user's access to one target from one client IP. Made by [`Session::open`]; a store may put it back together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Which.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// Where its packets come from.
    pub client_ip: IpAddr,
    /// Through which tunnel.
    pub client: Client,
    /// The target as it was when the session was opened.
    pub target: Target,
    /// The roles that granted it.
    pub roles: Vec<RoleId>,
    /// Why it was asked for.
    pub reason: Option<Reason>,
    /// The approval it is based on.
    pub approval: Option<ApprovalId>,
    /// When it was granted.
    pub opened: UnixTime,
    /// When it ends by itself; `None`: never.
    pub expires: Option<Expiry>,
    /// The routers of its group, sorted.
    pub routers: Vec<RouterId>,
    /// How far it has come.
    pub state: SessionState,
}

/// How far a session has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionState {
    /// Committed, and on its way to the routers. Entered by `open`.
    Pending {
        /// Routers that are there and have not acknowledged it, sorted.
        waiting: Vec<RouterId>,
        /// Whether a router has.
        acknowledged: bool,
    },
    /// Packets pass. Entered from `Pending` when no router is waited for and one has acknowledged.
    Active {
        /// Since when.
        since: UnixTime,
    },
    /// Being taken from the routers. Entered from `Pending` and `Active` by `end`.
    Closing {
        /// Why.
        why: EndReason,
        /// Since when.
        since: UnixTime,
        /// Routers that may still let packets pass, sorted.
        waiting: Vec<RouterId>,
    },
    /// Over. Entered from `Closing` when all routers have removed it, or their leases have lapsed.
    Closed {
        /// Why.
        why: EndReason,
        /// When.
        at: UnixTime,
    },
}

impl Session {
    /// The session of a granted request. Commit it, its event and the facts it was granted by in one transaction.
    pub fn open(id: SessionId, granted: Granted) -> (Session, SessionEvent) {
        let event = SessionEvent { session: id, at: granted.at, happened: Happened::Opened };
        let session = Session {
            id,
            user: granted.user,
            client_ip: granted.client_ip,
            client: granted.client,
            target: granted.target,
            roles: granted.roles,
            reason: granted.reason,
            approval: granted.approval,
            opened: granted.at,
            expires: granted.expires,
            routers: granted.routers,
            state: SessionState::Pending { waiting: granted.ready, acknowledged: false },
        };
        (session, event)
    }

    /// Whether it counts for overlap, exclusivity and quotas.
    pub fn is_ongoing(&self) -> bool {
        match self.state {
            SessionState::Pending { .. } | SessionState::Active { .. } | SessionState::Closing { .. } => true,
            SessionState::Closed { .. } => false,
        }
    }

    /// Whether routers should let its packets pass: it is part of what they should have.
    pub fn is_open(&self) -> bool {
        match self.state {
            SessionState::Pending { .. } | SessionState::Active { .. } => true,
            SessionState::Closing { .. } | SessionState::Closed { .. } => false,
        }
    }

    /// A router has it in force.
    pub fn acknowledged(&mut self, router: RouterId, at: UnixTime) -> Option<SessionEvent> {
        if self.routers.contains(&router)
            && let SessionState::Pending { waiting, acknowledged } = &mut self.state
        {
            *acknowledged = true;
            waiting.retain(|other| *other != router);
        }
        self.activate(at)
    }

    /// A router is not there any more. A session does not wait for it to become active: when the router comes back, it gets
    /// everything before it forwards anything.
    pub fn absent(&mut self, router: RouterId, at: UnixTime) -> Option<SessionEvent> {
        if let SessionState::Pending { waiting, .. } = &mut self.state {
            waiting.retain(|other| *other != router);
        }
        self.activate(at)
    }

    /// A router has joined the group. It gets the session as it gets everything, before it forwards anything. Says whether
    /// that is new.
    pub fn joined(&mut self, router: RouterId) -> bool {
        match self.routers.binary_search(&router) {
            Err(place) if self.is_open() => {
                self.routers.insert(place, router);
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    /// Begins to end it. `None` if it is ending already: the first reason stays.
    pub fn end(&mut self, why: EndReason, at: UnixTime) -> Option<SessionEvent> {
        if !self.is_open() {
            return None;
        }
        // Also routers that have not acknowledged it: what was pushed to them may be on its way.
        self.state = SessionState::Closing { why, since: at, waiting: self.routers.clone() };
        Some(self.event(at, Happened::Ending { why }))
    }

    /// A router lets nothing of it pass any more: it has said so, or its lease has lapsed. A router that is not there, or was
    /// taken out of the group, counts when its lease has lapsed.
    pub fn removed(&mut self, router: RouterId, at: UnixTime) -> Option<SessionEvent> {
        let SessionState::Closing { why, waiting, .. } = &mut self.state else { return None };
        waiting.retain(|other| *other != router);
        if !waiting.is_empty() {
            return None;
        }
        let why = *why;
        self.state = SessionState::Closed { why, at };
        Some(self.event(at, Happened::Closed { why }))
    }

    /// Gives it the time that [`extend`](super::extend) has granted. `None` if it is not open any more, or not the one meant.
    pub fn prolong(&mut self, extension: &Extension, at: UnixTime) -> Option<SessionEvent> {
        if !self.is_open() || extension.session != self.id {
            return None;
        }
        let from = core::mem::replace(&mut self.expires, extension.expires);
        self.approval = extension.approval;
        Some(self.event(at, Happened::Extended { from, to: extension.expires }))
    }

    fn activate(&mut self, at: UnixTime) -> Option<SessionEvent> {
        match &self.state {
            SessionState::Pending { waiting, acknowledged: true } if waiting.is_empty() => {
                self.state = SessionState::Active { since: at };
                Some(self.event(at, Happened::Activated))
            }
            SessionState::Pending { .. }
            | SessionState::Active { .. }
            | SessionState::Closing { .. }
            | SessionState::Closed { .. } => None,
        }
    }

    fn event(&self, at: UnixTime, happened: Happened) -> SessionEvent {
        SessionEvent { session: self.id, at, happened }
    }
}
