//! What `status` and `flows` tell, as JSON and as the tables drawn from it. Field names are an interface: scripts
//! read them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The node's name.
    pub name: String,
    /// `router` or `connector`.
    pub kind: String,
    /// Of this program.
    pub version: String,
    /// Since it started.
    pub uptime_secs: u64,
    /// Public key in base64.
    pub public_key: String,
    /// UDP port in use.
    pub listen_port: u16,
    /// Own overlay addresses.
    pub addresses: Vec<String>,
    /// Nodes and clients at the other ends of tunnels.
    pub peers: Vec<PeerReport>,
    /// What may pass.
    pub rules: Vec<RuleReport>,
    /// How full the flow tables are.
    pub flows: FlowTables,
    /// What goes through the host's sockets; absent where nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sockets: Option<SocketsReport>,
    /// Packets dropped, by reason; reasons that never occurred are left out.
    pub drops: BTreeMap<String, u64>,
    /// Other counters that are not zero.
    pub counters: BTreeMap<String, u64>,
}

/// A peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerReport {
    /// From the configuration.
    pub name: String,
    /// `client`, `connector` or `router`.
    pub kind: String,
    /// Public key in base64.
    pub public_key: String,
    /// Where it was last heard from.
    pub endpoint: Option<String>,
    /// Since the last handshake.
    pub handshake_age_secs: Option<u64>,
    /// Received, overhead included.
    pub rx_bytes: u64,
    /// Sent, overhead included.
    pub tx_bytes: u64,
    /// What it may send from.
    pub allowed_ips: Vec<String>,
}

/// A rule: a session on a router, a mapping on a connector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleReport {
    /// 32 hexadecimal digits.
    pub id: String,
    /// The target's or mapping's name.
    pub target: String,
    /// Who may use it: a client's address or a router's name.
    pub source: String,
    /// What matches and what it becomes, in words.
    pub destinations: Vec<String>,
    /// Whether sources are translated.
    pub src_nat: bool,
    /// Seconds until it ends by itself.
    pub expires_in_secs: Option<u64>,
    /// Live flows.
    pub flows: u64,
    /// Packets forwarded, both directions.
    pub packets: u64,
    /// Bytes forwarded, both directions.
    pub bytes: u64,
}

/// How full the flow tables are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowTables {
    /// Live flows, v4 and v6.
    pub used: u64,
    /// Room for v4 flows.
    pub max_v4: u64,
    /// Room for v6 flows.
    pub max_v6: u64,
    /// Bytes of memory for them when all are in use.
    pub memory_bytes_max: u64,
}

/// What goes through the host's sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketsReport {
    /// TCP connections that are open or being opened.
    pub tcp: u64,
    /// UDP flows.
    pub udp: u64,
    /// Ping flows.
    pub echo: u64,
    /// All of them together at most.
    pub connections_max: u64,
    /// Payload, TCP and datagrams.
    pub bytes_to_devices: u64,
    /// Payload, TCP and datagrams.
    pub bytes_to_clients: u64,
    /// What the buffers of TCP connections take now.
    pub buffer_bytes: u64,
    /// What they take at most.
    pub buffer_bytes_max: u64,
    /// Dials by their end, and other counts that are not zero.
    pub counters: BTreeMap<String, u64>,
}

/// A flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowReport {
    /// The rule it belongs to.
    pub rule: String,
    /// `tcp`, `udp`, `icmp`, or a number.
    pub protocol: String,
    /// What the client sends: source and destination.
    pub client: (String, String),
    /// What leaves: source and destination.
    pub device: (String, String),
    /// How far it has come.
    pub state: String,
    /// Bytes from the client, and to it.
    pub bytes: (u64, u64),
    /// Since the last packet that counts.
    pub idle_secs: u64,
}

/// What would become of a packet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PacketReport {
    /// Where it comes from: a peer's name or `tun`.
    pub from: String,
    /// `refused`, `opens a flow`, `part of a flow`, `answer in a flow`, or what else it is.
    pub verdict: String,
    /// Why it is refused.
    pub reason: Option<String>,
    /// What the sender hears of a refusal.
    pub heard: Option<String>,
    /// The rule that lets it pass.
    pub rule: Option<String>,
    /// The rule's target or mapping.
    pub target: Option<String>,
    /// Which of its destinations, from 0.
    pub destination: Option<u16>,
    /// What it leaves as: source and destination.
    pub leaves_as: Option<(String, String)>,
    /// Whether its source is translated, to an address chosen when it opens the flow.
    pub source_translated: bool,
    /// Where it leaves: a peer's name or `tun`.
    pub leaves_to: Option<String>,
}
