//! What a user may open, and what is in the way.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{OpenSession, Seconds, SessionView};

/// A target as its user sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccessTarget {
    /// Its name.
    pub name: String,
    /// What to do once it is open.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user_instructions: String,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// What to address, each a text such as `10.20.0.5 tcp 22`.
    pub destinations: Vec<String>,
    /// Whether a reason is asked for.
    pub require_reason: bool,
    /// Whether somebody must agree first.
    pub require_approval: bool,
    /// How long it may be open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Seconds>,
    /// What is in the way of opening it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<Blocked>,
    /// The user's session there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionView>,
}

impl AccessTarget {
    /// The prefixes of all addresses that targets have, each once: what goes into a device's tunnel.
    pub fn prefixes_of(targets: &[AccessTarget]) -> Vec<IpNet> {
        let texts = targets.iter().flat_map(|target| &target.destinations);
        let prefixes = texts.filter_map(|text| text.split_whitespace().next()).flat_map(prefixes).collect();
        IpNet::aggregate(&prefixes)
    }
}

/// Of `10.0.0.1`, `10.0.0.0/24`, `10.0.0.1-10.0.0.9`.
fn prefixes(text: &str) -> Vec<IpNet> {
    if let Ok(prefix) = text.parse::<IpNet>() {
        return vec![prefix];
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(IpAddr::V4(first)), Ok(IpAddr::V4(last))) => {
            Ipv4Subnets::new(first, last, 0).map(IpNet::V4).collect()
        }
        (Ok(IpAddr::V6(first)), Ok(IpAddr::V6(last))) => {
            Ipv6Subnets::new(first, last, 0).map(IpNet::V6).collect()
        }
        (Ok(_) | Err(_), Ok(_) | Err(_)) => Vec::new(),
    }
}

/// What is in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Blocked {
    /// A stable word.
    pub code: String,
    /// The same in a sentence, with what to do.
    pub text: String,
}

/// Asks why access would be granted or refused, without asking for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Explain {
    /// Whose access; absent: one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What would be asked for.
    pub request: OpenSession,
}

/// What a request would get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// Whether it would be granted now.
    pub granted: bool,
    /// If so, until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires: Option<Timestamp>,
    /// And what would end it then: `max-duration`, `schedule`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// If not, all checks that fail, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedCheck>,
}

/// A check that fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailedCheck {
    /// Which of the eight.
    pub check: u8,
    /// A stable word.
    pub code: String,
    /// The same in a sentence, with what to do.
    pub text: String,
}

/// Asks what becomes of a packet, the first of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainPacket {
    /// Whose; absent: one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// From which address; absent: that of the device, or of the user's only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub client_ip: Option<IpAddr>,
    /// From which of the user's devices, in place of its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Where it is sent, before any translation.
    #[schema(value_type = String)]
    pub destination: IpAddr,
    /// `tcp`, `udp`, `icmp` (also for IPv6), or a protocol's number.
    pub proto: String,
    /// To which port; for protocols that have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// What becomes of a packet, as far as the server knows. Routers say themselves what they do with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PacketExplanation {
    /// From which address.
    #[schema(value_type = String)]
    pub client_ip: IpAddr,
    /// Whether it passes.
    pub verdict: PacketVerdict,
    /// The session that means it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Uuid>,
    /// That session's target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The rule that lets it pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<PacketRule>,
    /// Why the session ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<String>,
    /// The targets that lead there, with what keeps each from being opened.
    pub targets: Vec<TargetOutlook>,
}

/// Whether a packet passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PacketVerdict {
    /// It passes.
    Allowed,
    /// It will, once all routers have confirmed the session.
    Pending,
    /// It passes no longer, or for moments only: the session ends.
    Ending,
    /// No session means it.
    NotAllowed,
}

/// The rule that lets a packet pass, and what it does to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PacketRule {
    /// Which destination of the target, from 0.
    pub destination: usize,
    /// What that selects: `10.20.0.5 tcp 22`.
    pub selector: String,
    /// Where the packet goes instead: `10.99.0.2:40000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub becomes: Option<String>,
    /// Through which connector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// Whether the device sees an address of the router's instead of the client's.
    pub src_nat: bool,
    /// Where the rule is.
    pub routers: Vec<String>,
}

/// A target that leads where a packet goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TargetOutlook {
    /// Its name.
    pub target: String,
    /// Which of its destinations means the packet, from 0.
    pub destination: usize,
    /// What that selects.
    pub selector: String,
    /// What keeps it from being opened now; empty: nothing.
    pub failed: Vec<FailedCheck>,
}

/// Asks somebody to agree to access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskApproval {
    /// To which target.
    pub target: String,
    /// Why.
    pub reason: String,
}

/// Agrees, or does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecideApproval {
    /// Which.
    pub granted: bool,
    /// How long it may be used from now; absent: 24 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Seconds>,
}

/// A request that waits for somebody to agree, or that was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApprovalView {
    /// Its identity.
    pub id: Uuid,
    /// Who asks.
    pub user: String,
    /// For what.
    pub target: String,
    /// Why.
    pub reason: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub asked: Timestamp,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approver: Option<String>,
    /// How.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<bool>,
    /// Until when it may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub valid_until: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_targets_have_becomes_prefixes() {
        for (text, expected) in [
            ("10.0.0.1", "10.0.0.1/32"),
            ("10.0.0.0/24", "10.0.0.0/24"),
            ("10.0.0.2-10.0.0.5", "10.0.0.2/31 10.0.0.4/31"),
            ("fd20::5", "fd20::5/128"),
            ("x", ""),
        ] {
            let found: Vec<_> = prefixes(text).iter().map(ToString::to_string).collect();
            assert_eq!(found.join(" "), expected, "{text}");
        }
    }
}
