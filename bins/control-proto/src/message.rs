//! Messages, version 1. Golden files under `golden/v1` hold one or more of each; docs/protocol.md says when which is sent.

use std::net::SocketAddr;
use std::sync::Arc;

use router_core::rules::SessionId;
use serde::{Deserialize, Serialize};
use wg_proto::PublicKey;

use crate::item::{Change, Item};
use crate::list;
use crate::position::{BootId, Epoch, Generation, Position};
use crate::text::{Name, Reason};
use crate::version::{Version, Versions};
use crate::written::as_text;

/// Items of one part of a snapshot, changes of one delta, entries of one report at most.
pub(crate) const ENTRIES_MAX: usize = 8192;

/// From a router or connector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromAgent {
    /// First.
    Hello(Hello),
    /// A generation is in force.
    Ack(Ack),
    /// A generation is not, and will not be.
    Refused(Refused),
    /// The agent is there, and asks for a lease.
    Heartbeat(Heartbeat),
    /// How it is.
    Health(Health),
    /// What sessions have carried.
    Counters(CounterReport),
    /// Who was heard of.
    Peers(PeerReport),
    /// Conversations that are over.
    Flows(FlowReport),
    /// What was refused.
    Refusals(RefusalReport),
    /// Last.
    Bye(Bye),
}

/// From the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromServer {
    /// First.
    Welcome(Welcome),
    /// All that there is to be, or a part of it.
    Snapshot(Snapshot),
    /// What is to be another way than before.
    Delta(Delta),
    /// The agent may forward.
    Lease(Lease),
    /// A heartbeat has come, but there is no lease for it, perhaps not yet.
    Heard(Heard),
    /// A report has been taken.
    Counted(Counted),
    /// Last.
    Bye(Bye),
}

/// Who dials, and what it has. The same in every version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The first and the last version it speaks.
    pub versions: Versions,
    /// What it is.
    pub kind: AgentKind,
    /// Its program and version.
    pub software: Name,
    /// Its life.
    pub boot_id: BootId,
    /// What it has applied, to go on from there; without it, it needs a snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Position>,
}

/// What is led.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentKind {
    /// A router.
    Router,
    /// A connector.
    Connector,
}

/// The server's answer to `hello`. The same in every version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Welcome {
    /// The version that all further messages have.
    pub version: Version,
    /// The leader's life.
    pub epoch: Epoch,
    /// The server's clock: seconds of Unix time. Expiries are told by it.
    pub now: u64,
    /// How long leases are.
    pub lease_ms: u32,
    /// How often heartbeats are expected.
    pub heartbeat_ms: u32,
}

/// A part of all that there is to be. What is in none of the parts is deleted. Nothing of it is in force before all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// What it brings the agent to.
    pub generation: Generation,
    /// Which part, from 0.
    pub part: u32,
    /// How many there are.
    pub parts: u32,
    /// What there is to be.
    #[serde(deserialize_with = "list::at_most::<_, _, ENTRIES_MAX>")]
    pub items: Vec<Arc<Item>>,
}

/// Changes, one for each generation after `base`, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delta {
    /// What the agent must have applied.
    pub base: Generation,
    /// What it brings the agent to.
    pub generation: Generation,
    /// The steps from one to the other.
    #[serde(deserialize_with = "list::at_most::<_, _, ENTRIES_MAX>")]
    pub changes: Vec<Change>,
}

/// The agent may forward for `ttl_ms` after it *sent* the heartbeat, so that no delay makes a lease longer than the server
/// thinks it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// What the agent has applied, at least.
    pub generation: Generation,
    /// How long it is.
    pub ttl_ms: u32,
    /// The heartbeat it is for.
    pub heartbeat: u64,
}

/// A heartbeat was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heard {
    /// Which.
    pub heartbeat: u64,
}

/// A report was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    /// Which.
    pub report: u64,
}

/// A generation is in force, and all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ack {
    /// Which.
    pub generation: Generation,
    /// What came and went since the last one.
    pub applied: Applied,
}

/// What came of a snapshot or of changes, in rules.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Applied {
    /// Rules that are new, or another way than before.
    pub added: u32,
    /// Rules that are gone, or another way than before.
    pub removed: u32,
    /// Rules that a snapshot found as they are to be.
    pub kept: u32,
    /// How long it took.
    pub took_us: u64,
}

/// A generation is not in force. What was before stays, until the lease ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// Which.
    pub generation: Generation,
    /// Why.
    pub problem: Problem,
}

/// Why a generation is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(deny_unknown_fields)]
#[error("{what}")]
pub struct Problem {
    /// In words.
    pub what: Reason,
    /// The session whose grant is to blame, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::written::as_optional_text")]
    pub session: Option<SessionId>,
}

/// The agent is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Counts from 1 in each connection.
    pub seq: u64,
}

/// How an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Since it was started.
    pub uptime_secs: u64,
    /// Rules in force.
    pub rules: u32,
    /// Flows now.
    pub flows: u32,
    /// Flows there can be.
    pub flows_max: u32,
    /// Packets that went on since it was started.
    pub forwarded_packets: u64,
    /// Bytes in them.
    pub forwarded_bytes: u64,
    /// Packets that did not.
    pub dropped_packets: u64,
}

/// What sessions have carried, all told since the agent was started: telling it twice does no harm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CounterReport {
    /// Counts from 1 in each life of the agent.
    pub report: u64,
    /// Those that changed since the last report that was taken.
    #[serde(deserialize_with = "list::at_most::<_, _, ENTRIES_MAX>")]
    pub sessions: Vec<SessionCounters>,
}

/// What one session has carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionCounters {
    /// Which.
    #[serde(with = "as_text")]
    pub session: SessionId,
    /// Packets from the client and to it.
    pub packets: [u64; 2],
    /// Bytes in them.
    pub bytes: [u64; 2],
    /// Flows now.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub flows: u32,
    /// How long ago the last of them passed, when the report was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u64>,
    /// Whether it is closed here: then these are the last ones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
}

/// Whom the agent has heard of since its last report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerReport {
    /// Those.
    #[serde(deserialize_with = "list::at_most::<_, _, ENTRIES_MAX>")]
    pub peers: Vec<PeerSeen>,
}

/// A peer that was heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerSeen {
    /// Who.
    #[serde(with = "as_text")]
    pub key: PublicKey,
    /// Where it was last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<SocketAddr>,
    /// How long ago a handshake was completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handshake_ms: Option<u64>,
    /// Bytes of authenticated datagrams from it and to it.
    pub bytes: [u64; 2],
}

/// Conversations that are over since the last report. Told once: what is under way when a connection breaks is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowReport {
    /// Those.
    #[serde(deserialize_with = "list::at_most::<_, _, ENTRIES_MAX>")]
    pub flows: Vec<FlowRecord>,
    /// How many more there were that could not be kept.
    pub lost: u64,
}

/// A conversation that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowRecord {
    /// The session that let it pass.
    #[serde(with = "as_text")]
    pub session: SessionId,
    /// The protocol above IP, by its number.
    pub protocol: u8,
    /// The client. Where there are no ports, the port is 0, or the identifier of pings.
    pub client: SocketAddr,
    /// Where the client sent to.
    pub destination: SocketAddr,
    /// Where that went.
    pub reached: SocketAddr,
    /// Bytes from the client and to it.
    pub bytes: [u64; 2],
    /// How long ago the last packet passed, when the report was made.
    pub idle_ms: u64,
}

/// What was refused since the last report, by whom it came from. Told once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusalReport {
    /// Those.
    #[serde(deserialize_with = "list::at_most::<_, _, ENTRIES_MAX>")]
    pub refusals: Vec<Refusal>,
}

/// Packets that were refused, all from one side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// Through whose tunnel they came; without it, through none.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::written::as_optional_text")]
    pub from: Option<PublicKey>,
    /// How many.
    pub packets: u64,
    /// Why the last of them was.
    pub reason: Name,
    /// Its protocol above IP, by its number.
    pub protocol: u8,
    /// Where it came from.
    pub source: SocketAddr,
    /// Where it was sent to.
    pub destination: SocketAddr,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The end, and why. The same in every version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bye {
    /// In words.
    pub reason: Reason,
}

impl Problem {
    /// That of no session.
    pub fn new(what: impl std::fmt::Display) -> Problem {
        Problem { what: Reason::cut(what), session: None }
    }

    /// That of a session's grant.
    pub fn with(session: SessionId, what: impl std::fmt::Display) -> Problem {
        Problem { what: Reason::cut(what), session: Some(session) }
    }
}

impl Applied {
    /// Both together.
    pub fn and(self, later: Applied) -> Applied {
        Applied {
            added: self.added.saturating_add(later.added),
            removed: self.removed.saturating_add(later.removed),
            kept: later.kept,
            took_us: self.took_us.saturating_add(later.took_us),
        }
    }
}

impl Bye {
    /// For this reason.
    pub fn because(reason: impl std::fmt::Display) -> Bye {
        Bye { reason: Reason::cut(reason) }
    }
}

impl FromAgent {
    /// Its word.
    pub fn word(&self) -> &'static str {
        match self {
            FromAgent::Hello(_) => "hello",
            FromAgent::Ack(_) => "ack",
            FromAgent::Refused(_) => "refused",
            FromAgent::Heartbeat(_) => "heartbeat",
            FromAgent::Health(_) => "health",
            FromAgent::Counters(_) => "counters",
            FromAgent::Peers(_) => "peers",
            FromAgent::Flows(_) => "flows",
            FromAgent::Refusals(_) => "refusals",
            FromAgent::Bye(_) => "bye",
        }
    }
}

impl FromServer {
    /// Its word.
    pub fn word(&self) -> &'static str {
        match self {
            FromServer::Welcome(_) => "welcome",
            FromServer::Snapshot(_) => "snapshot",
            FromServer::Delta(_) => "delta",
            FromServer::Lease(_) => "lease",
            FromServer::Heard(_) => "heard",
            FromServer::Counted(_) => "counted",
            FromServer::Bye(_) => "bye",
        }
    }
}
