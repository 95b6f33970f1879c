//! Tenants, roles, users and their devices.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Object;

/// A tenant: its administrators see only what is theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantSpec {
    /// Unique.
    pub name: String,
    /// For administrators.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

/// A role: users have it, targets ask for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleSpec {
    /// Unique in its tenant.
    pub name: String,
    /// Whose it is; absent: the installation's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// For administrators.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserSpec {
    /// What they log in with. Unique in the installation.
    pub name: String,
    /// Whose; absent: the installation's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// As people call them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub full_name: String,
    /// For administrators.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// What they may do here.
    #[serde(default)]
    pub right: Right,
    /// Their roles, which open targets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<RoleGrantSpec>,
    /// Whether they are locked out.
    #[serde(default)]
    pub disabled: bool,
}

/// What a user may do with the control plane. None of these opens a target; roles do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// See and open what their roles grant; manage their own devices.
    #[default]
    User,
    /// See everything, change nothing.
    Auditor,
    /// Everything within their tenant.
    TenantAdmin,
    /// Everything.
    Admin,
}

/// A role of a user: its name, or its name and when it is valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected the name of a role, or { role, from, until }")]
pub enum RoleGrantSpec {
    /// For good.
    Name(String),
    /// For a time.
    Limited {
        /// Its name.
        role: String,
        /// From when.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>, format = DateTime)]
        from: Option<Timestamp>,
        /// Until when.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>, format = DateTime)]
        until: Option<Timestamp>,
    },
}

impl RoleGrantSpec {
    /// The name of the role.
    pub fn role(&self) -> &str {
        match self {
            RoleGrantSpec::Name(role) | RoleGrantSpec::Limited { role, .. } => role,
        }
    }
}

/// A user's machine: a WireGuard key and an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceSpec {
    /// Unique among the user's devices.
    pub name: String,
    /// Whose.
    pub user: String,
    /// Which router ends its tunnel.
    pub router: String,
    /// Its WireGuard public key, base64.
    pub public_key: String,
    /// Its address inside the tunnel, of the router's pool.
    #[schema(value_type = String)]
    pub client_ip: IpAddr,
}

/// How a device is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceState {
    /// Which.
    pub name: String,
    /// Whose.
    pub user: String,
    /// Its address inside the tunnel.
    #[schema(value_type = String)]
    pub client_ip: IpAddr,
    /// When a router last had something authentic from it, since the server runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub heard: Option<Timestamp>,
}

/// A device that was just added, with what its configuration says of the router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AddedDevice {
    /// The device.
    #[serde(flatten)]
    pub device: Object<DeviceSpec>,
    /// The router's WireGuard public key, once it has enrolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router_public_key: Option<String>,
    /// Where the router is found, `gw.example.net:51820`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

/// A device that a user adds. What is absent, the server chooses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDevice {
    /// Unique among the user's devices.
    pub name: String,
    /// Whose; absent: of whoever asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Which router ends its tunnel; absent: the only one, or the embedded one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
    /// Its WireGuard public key. The private one stays where it was made.
    pub public_key: String,
    /// Its address; absent: the next free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub client_ip: Option<IpAddr>,
    /// Add it only if its router has a key and an endpoint, so that its configuration can be written.
    #[serde(default)]
    pub needs_endpoint: bool,
    /// As an idempotency key: a device of this identity is added once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
}
