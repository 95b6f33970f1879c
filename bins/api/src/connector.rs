//! Connectors and the devices behind them.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A connector: reaches devices in a tenant's network for the routers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectorSpec {
    /// Unique in its tenant.
    pub name: String,
    /// Whose network; absent: the installation's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Where; connectors of one site stand in for each other.
    pub site: String,
    /// For administrators.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Who dials.
    #[serde(default)]
    pub dial: Dial,
    /// Where it is found, if the server dials: `203.0.113.9:51820`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Its addresses inside the tunnels; absent: the server chooses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpAddr>,
    /// Its WireGuard public key; set by enrolment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
}

/// Who dials: the connector (inbound, for a server that can be reached) or the server (outbound).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dial {
    /// The connector dials the server.
    #[default]
    Connector,
    /// The server dials the connector.
    Server,
}

/// A device mapping: a virtual port of a connector stands for a service of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MappingSpec {
    /// Unique in its tenant.
    pub name: String,
    /// Whose; absent: as its connector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The connector.
    pub connector: String,
    /// The device's address in the connector's network.
    #[schema(value_type = String)]
    pub device: IpAddr,
    /// The service's port.
    pub port: u16,
    /// `tcp` or `udp`.
    pub proto: String,
    /// The virtual port, 40000 to 65535; absent: the lowest free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_port: Option<u16>,
    /// For administrators.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

/// How a connector is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConnectorState {
    /// Which.
    pub name: String,
    /// Whether it has enrolled.
    pub enrolled: bool,
    /// Whether it is connected now.
    pub connected: bool,
    /// Seconds since the last handshake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handshake_age: Option<u64>,
    /// When it last said something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub heard: Option<Timestamp>,
    /// Its software.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software: Option<String>,
}

/// How a mapping is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MappingState {
    /// Which.
    pub name: String,
    /// Its virtual port.
    pub virtual_port: u16,
    /// When it last carried something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used: Option<Timestamp>,
}
