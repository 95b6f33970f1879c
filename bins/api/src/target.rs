//! Network targets, in PrivX's words.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Seconds;

/// A network target: where to, for whom, on what conditions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetSpec {
    /// Unique in its tenant; sessions are opened by it.
    pub name: String,
    /// Whose it is; absent: the installation's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// For administrators.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// For users: what to do once it is open.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user_instructions: String,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Any of these roles grants access.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Where to. No two may overlap.
    pub dst: Vec<DestinationSpec>,
    /// Whether devices see an address of ours instead of the client's.
    #[serde(default)]
    pub src_nat: bool,
    /// Whether only one session at a time may reach it.
    #[serde(default)]
    pub exclusive_access: bool,
    /// Whether it is switched off: nobody opens it, and open sessions end.
    #[serde(default)]
    pub disabled: bool,
    /// How long a session may last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Seconds>,
    /// Whether users must say why.
    #[serde(default)]
    pub require_reason: bool,
    /// Whether somebody else must agree first.
    #[serde(default)]
    pub require_approval: bool,
    /// When it may be open; absent: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleSpec>,
    /// How what is not allowed is refused: `silent`, `prohibited` or `reset`; absent: as the router does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny_signal: Option<String>,
}

/// A destination: what the client sends, and where it goes instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DestinationSpec {
    /// Which packets of the client.
    pub selector: SelectorSpec,
    /// Where they go; absent: where they were sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nat: Option<NatSpec>,
}

/// A traffic selector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SelectorSpec {
    /// The addresses.
    pub ip: AddressSpec,
    /// `tcp` or `udp`; absent: any protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proto: Option<String>,
    /// The ports; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortSpec>,
}

/// A translation of the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NatSpec {
    /// An address, a range as large as the selector's, or `connector-name/10.0.0.30`: a device behind a connector.
    pub addr: AddressSpec,
    /// A port, or a range as large as the selector's; absent: it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortSpec>,
}

/// Addresses: `10.0.0.1`, `10.0.0.0/24`, `10.0.0.1-10.0.0.9`, or first and last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "expected an address, a prefix, a range such as 10.0.0.1-10.0.0.9, or { start, end }"
)]
pub enum AddressSpec {
    /// As one text.
    Text(String),
    /// First and last.
    Range {
        /// The first.
        start: String,
        /// The last.
        end: String,
    },
}

/// Ports: a number, `8000-8009`, or first and last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a port, a range such as \"8000-8009\", or { start, end }")]
pub enum PortSpec {
    /// One.
    One(u16),
    /// As a text.
    Text(String),
    /// First and last.
    Range {
        /// The first.
        start: u16,
        /// The last.
        end: u16,
    },
}

impl fmt::Display for AddressSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressSpec::Text(text) => f.write_str(text),
            AddressSpec::Range { start, end } if start == end => f.write_str(start),
            AddressSpec::Range { start, end } => write!(f, "{start}-{end}"),
        }
    }
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PortSpec::One(port) => write!(f, "{port}"),
            PortSpec::Text(text) => f.write_str(text),
            PortSpec::Range { start, end } if start == end => write!(f, "{start}"),
            PortSpec::Range { start, end } => write!(f, "{start}-{end}"),
        }
    }
}

/// When a target may be open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSpec {
    /// Which clock: an offset from UTC, `+02:00`; absent: UTC. It does not change with the seasons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utc_offset: Option<String>,
    /// In any of these.
    pub windows: Vec<WindowSpec>,
}

/// A time of day on some days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowSpec {
    /// On which days; empty: on all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Weekday>,
    /// From when, `08:00`.
    pub from: String,
    /// Until when, `18:00`; earlier than `from`: on the next day.
    pub until: String,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "they are what they are called")]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}
