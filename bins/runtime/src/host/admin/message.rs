//! What is said on the admin socket.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest line either side reads: a packet of 64 KiB in hexadecimal, with room to spare.
pub const LINE_BYTES_MAX: usize = 256 << 10;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Everything at a glance; answered by a [`super::report::Status`].
    Status,
    /// The flows, each as an item, at most `max` of them.
    Flows {
        /// How many at most.
        max: usize,
    },
    /// What would become of a packet.
    Explain {
        /// The packet from its IP header on, in hexadecimal.
        packet: String,
        /// The name of the peer it comes from, or `tun`. If absent: who owns its source.
        from: Option<String>,
    },
    /// Gives a client access to a target of the configuration, until the next reload.
    SessionOpen {
        /// The client's overlay address.
        client_ip: IpAddr,
        /// The target's name.
        target: String,
        /// For how long; without it, until closed.
        seconds: Option<u64>,
    },
    /// Ends a session.
    SessionClose {
        /// As `status` shows it.
        id: String,
    },
    /// Gives a client access to destinations that stand in no file, until that is taken back. Asked again, it changes nothing.
    AccessAdd(AccessRequest),
    /// Takes that back. Asked again, it changes nothing.
    AccessRemove {
        /// As it was asked for.
        id: String,
    },
}

/// Access that another control plane grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessRequest {
    /// What that control plane calls it.
    pub id: String,
    /// For people.
    pub name: String,
    /// The client's overlay address.
    pub client_ip: IpAddr,
    /// Whether devices see an address of the router's.
    pub src_nat: bool,
    /// Where to, as `dst` of a `[[target]]`.
    pub dst: Vec<Value>,
}

/// What the program answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// One of many things asked for.
    Item(Value),
    /// All is done; what there is to say of the whole.
    Done(Value),
    /// It is not done.
    Refused(Refusal),
}

/// Why something is not done, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl Refusal {
    /// A refusal in these words.
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_plain_to_write_by_hand_and_strict() {
        for (text, expected) in [
            (r#"{"ask":"status"}"#, Some(Request::Status)),
            (r#"{"ask":"flows","max":5}"#, Some(Request::Flows { max: 5 })),
            (r#"{"ask":"flows","max":-5}"#, None),
            (r#"{"ask":"session-close","id":"1"}"#, Some(Request::SessionClose { id: "1".into() })),
            (r#"{"ask":"session-close","id":"1","force":true}"#, None),
            (r#"{"ask":"access-remove","id":"1/2"}"#, Some(Request::AccessRemove { id: "1/2".into() })),
            (r#"{"ask":"access-add","id":"1/2","name":"db"}"#, None),
            (
                r#"{"ask":"access-add","id":"1","name":"db","client_ip":"10.77.0.2","src_nat":false,"dst":[]}"#,
                Some(Request::AccessAdd(AccessRequest {
                    id: "1".into(),
                    name: "db".into(),
                    client_ip: [10, 77, 0, 2].into(),
                    src_nat: false,
                    dst: Vec::new(),
                })),
            ),
            (r#"{"ask":"reboot"}"#, None),
            ("[]", None),
        ] {
            assert_eq!(serde_json::from_str(text).ok(), expected, "{text}");
        }
    }
}
