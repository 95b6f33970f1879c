//! The kinds of objects, in the order in which they may name each other.

use clap::ValueEnum;

/// A kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[allow(missing_docs, reason = "they are what they are called")]
pub(crate) enum Kind {
    #[value(alias = "tenants")]
    Tenant,
    #[value(alias = "roles")]
    Role,
    #[value(alias = "users")]
    User,
    #[value(alias = "routers")]
    Router,
    #[value(alias = "devices")]
    Device,
    #[value(alias = "connectors")]
    Connector,
    #[value(alias = "mappings")]
    Mapping,
    #[value(alias = "targets")]
    Target,
}

impl Kind {
    /// All of them: none names one that comes later.
    pub(super) const ALL: [Kind; 8] = [
        Kind::Tenant,
        Kind::Role,
        Kind::User,
        Kind::Router,
        Kind::Device,
        Kind::Connector,
        Kind::Mapping,
        Kind::Target,
    ];

    /// As the tables of a file are called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Tenant => "tenant",
            Kind::Role => "role",
            Kind::User => "user",
            Kind::Router => "router",
            Kind::Device => "device",
            Kind::Connector => "connector",
            Kind::Mapping => "mapping",
            Kind::Target => "target",
        }
    }

    /// Where the server has them.
    pub(super) fn path(self) -> String {
        format!("/api/v1/{}s", self.name())
    }

    /// Where the server says how they are.
    pub(super) fn state_path(self) -> Option<&'static str> {
        match self {
            Kind::Router => Some("/api/v1/state/routers"),
            Kind::Connector => Some("/api/v1/state/connectors"),
            Kind::Mapping => Some("/api/v1/state/mappings"),
            Kind::Tenant | Kind::Role | Kind::User | Kind::Device | Kind::Target => None,
        }
    }

    /// The kinds that may name it.
    pub(super) fn named_by(self) -> &'static [Kind] {
        match self {
            Kind::Role => &[Kind::User, Kind::Target],
            Kind::User | Kind::Router => &[Kind::Device],
            Kind::Connector => &[Kind::Mapping, Kind::Target],
            Kind::Tenant | Kind::Device | Kind::Mapping | Kind::Target => &[],
        }
    }

    /// Where it has this one.
    pub(super) fn item(self, name: &str) -> String {
        format!("{}/{}", self.path(), super::client::quoted(name))
    }
}
