//! What the control plane says: the rule of one session, and the set of all of them.

use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use wg_proto::{Instant, IpNet, PeerIndex};

use crate::flow::Caps;
use crate::nat::{DnatError, Mapping, PoolId, Snat};
use crate::selector::{IpRange, PortRange, Selector};
use crate::verdict::Refusal;

/// Names a session, or a device mapping, everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u128);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What a node enforces for one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Which session.
    pub id: SessionId,
    /// Who may send.
    pub subject: Subject,
    /// Where to. Those of the other IP version than the subject's are ignored: nothing it sends goes there.
    pub destinations: Vec<Destination>,
    /// Whether the source is translated.
    pub snat: Snat,
    /// How what the subject sends elsewhere is refused.
    pub deny: Refusal,
    /// When the session ends by itself; `None`: it does not.
    pub lease: Option<Instant>,
    /// What it may hold at once.
    pub caps: Caps,
}

/// Who may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// Where its packets come in.
    pub ingress: IngressMatch,
    /// Its source: one address of a client, a wider prefix for everything that a router may pass to a connector.
    pub source: IpNet,
}

/// Where a subject's packets come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IngressMatch {
    /// From this peer.
    Peer(PeerIndex),
    /// From the TUN.
    Tun,
    /// From our own stack: what this process opens itself.
    Sockets,
    /// From whoever the source belongs to.
    Any,
}

/// One destination of a session's target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// What the client sends.
    pub selector: Selector,
    /// Where it goes instead.
    pub dnat: Option<Dnat>,
    /// Where it leaves.
    pub egress: EgressChoice,
}

/// Where selected packets go instead: one address takes all, a range of equal size takes them offset by offset; the same
/// for ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dnat {
    /// The new destination.
    pub addr: IpRange,
    /// The new ports; `None`: they stay.
    pub ports: Option<PortRange>,
}

/// Where a session's packets leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EgressChoice {
    /// To the peer that owns the translated destination, else to the TUN, else to the sockets.
    Route,
    /// To this peer.
    Peer(PeerIndex),
    /// To the TUN.
    Tun,
    /// To our own stack: services at an address of ours, and devices reached by the host's sockets.
    Sockets,
}

/// External addresses for source translation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnatPool {
    /// What rules call it.
    pub id: PoolId,
    /// Its addresses, of either version.
    pub addresses: Vec<IpAddr>,
    /// How ports are given out.
    pub mapping: Mapping,
}

/// All rules of a node, and the pools they name. What is not in it is deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleSnapshot {
    /// Pools for source translation.
    pub pools: Vec<SnatPool>,
    /// One rule per session.
    pub rules: Vec<Rule>,
}

/// What applying a snapshot changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    /// Sessions opened, those included whose rule changed.
    pub added: u32,
    /// Sessions closed, those included whose rule changed.
    pub removed: u32,
    /// Sessions that stayed as they were; a lease may have been renewed.
    pub kept: u32,
}

/// Why a rule is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// No destination of the subject's IP version.
    #[error("no destination of the source's IP version")]
    NoDestination,
    /// A destination is translated into the other IP version.
    #[error("a destination is translated into another IP version")]
    DnatVersion,
    /// A destination is translated into something that does not fit it.
    #[error("destination translation: {0}")]
    Dnat(#[from] DnatError),
    /// A destination's ports are translated, but its selector does not say tcp or udp.
    #[error("ports are translated without the protocol tcp or udp")]
    DnatPortsWithoutProtocol,
    /// There is no such pool.
    #[error("no pool of this number")]
    UnknownPool,
    /// There is no such peer.
    #[error("no such peer")]
    UnknownPeer,
    /// Another session has this number.
    #[error("the session is open already")]
    Duplicate,
    /// The node holds as many sessions as it was made for.
    #[error("the node holds as many sessions as it can")]
    TooManySessions,
}

/// Why a snapshot is refused, whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// A rule is wrong.
    #[error("session {session}: {error}")]
    Rule {
        /// Whose rule.
        session: SessionId,
        /// What is wrong with it.
        error: RuleError,
    },
    /// A pool is wrong.
    #[error("pool {}: {error}", pool.0)]
    Pool {
        /// Which.
        pool: PoolId,
        /// What is wrong with it.
        error: crate::nat::PoolError,
    },
    /// Two pools have one number.
    #[error("two pools have the number {}", .0.0)]
    DuplicatePool(PoolId),
}
