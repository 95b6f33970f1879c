//! What a decision is made from, and what is asked for.

use core::net::IpAddr;

use wg_proto::PublicKey;

use crate::access::approval::Approval;
use crate::access::id::{DeviceId, RouterId, UserId};
use crate::access::length::SessionLength;
use crate::access::name::{Name, Reason};
use crate::access::router::Router;
use crate::access::session::Session;
use crate::access::target::Target;
use crate::access::user::User;

/// All that a decision depends on, as it is at one moment. Whoever commits the decision reads them in the same transaction.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Who asks.
    pub user: &'a User,
    /// Whether they have shown that they are.
    pub authenticated: bool,
    /// Whose the client IP is.
    pub client: ClientOwner,
    /// Routers whose pool has the client IP; others may be among them.
    pub routers: &'a [Router],
    /// Those routers that are connected and hold their rules.
    pub ready: &'a [RouterId],
    /// The target of the name that is asked for; about a session, its target as it is now.
    pub target: Option<&'a Target>,
    /// Ongoing sessions: all on the client IP, and all that lead where the target leads. Others may be among them.
    pub ongoing: &'a [Session],
    /// An approval for this user and target.
    pub approval: Option<&'a Approval>,
    /// How many sessions there may be.
    pub quotas: &'a Quotas,
    /// How many there are.
    pub usage: Usage,
}

/// Whose a client IP is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientOwner {
    /// A device's of this user.
    Device(UserId, ClientDevice),
    /// A client of another VPN gateway has it, *and the request came from this very address*: nobody opens sessions for a
    /// machine that is not theirs.
    External,
    /// Nobody's that we know.
    Nobody,
}

/// A user's device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientDevice {
    /// Which.
    pub id: DeviceId,
    /// The key of its tunnel.
    pub public_key: PublicKey,
}

/// Where a session's packets come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Client {
    /// From a tunnel of the device's own.
    Device(ClientDevice),
    /// From another VPN gateway.
    External,
}

/// What a user asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Where they will send from.
    pub client_ip: IpAddr,
    /// The target's name.
    pub target: Name,
    /// Why.
    pub reason: Option<Reason>,
    /// For how long; `None`: as long as the target allows.
    pub duration: Option<SessionLength>,
}

/// How many sessions there may be at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Altogether.
    pub sessions_max: u32,
    /// Of one user.
    pub sessions_per_user_max: u32,
    /// At one router.
    pub sessions_per_router_max: u32,
}

/// How many sessions are ongoing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Altogether.
    pub sessions: u32,
    /// Of the user who asks.
    pub sessions_of_user: u32,
    /// At the fullest of the routers concerned.
    pub sessions_of_router: u32,
}

// Our own choice. A router promises to take 10 000 rules; a person works with a few targets at a time.

impl Default for Quotas {
    fn default() -> Quotas {
        Quotas { sessions_max: 100_000, sessions_per_user_max: 64, sessions_per_router_max: 10_000 }
    }
}
