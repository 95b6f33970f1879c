//! Routers.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A router: enforces rules for clients of its pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RouterSpec {
    /// Unique.
    pub name: String,
    /// What it is.
    pub kind: RouterKind,
    /// For administrators.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// The addresses of its clients. Equal to another router's, or apart from them all.
    #[schema(value_type = Vec<String>)]
    pub client_ip_pool: Vec<IpNet>,
    /// Whether addresses of the pool that no device has are served by another VPN.
    #[serde(default)]
    pub external_clients: bool,
    /// Its own addresses inside the tunnels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpAddr>,
    /// Where clients find it, `gw.example.net:51820`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Its WireGuard public key; set by enrolment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
}

/// What a router is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RouterKind {
    /// In the server's own process.
    Embedded,
    /// `sluice-router`, enrolled.
    Sluice,
    /// Enforces nothing: writes down what it would enforce.
    Logger,
}

/// How a router is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouterState {
    /// Which.
    pub name: String,
    /// Whether it is connected now.
    pub connected: bool,
    /// The generation of rules it is to have.
    pub generation_wanted: u64,
    /// The one it has.
    pub generation_applied: Option<u64>,
    /// When it last said something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub heard: Option<Timestamp>,
    /// Its software.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software: Option<String>,
    /// Why it refused what it was to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}
