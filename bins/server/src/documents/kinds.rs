//! All kinds of documents but targets.

use std::str::FromStr;

use ipnet::IpNet;
use router_core::access::{Name, Pool, RoleGrant, RoleId, TenantId, User, UserId, Validity, VirtualPort};
use sluice_api::{
    ConnectorSpec, DeviceSpec, Dial, MappingSpec, RoleGrantSpec, RoleSpec, RouterSpec, TenantSpec, UserSpec,
};
use uuid::Uuid;
use wg_proto::UnixTime;

use super::fault::{Faults, Place};
use super::value::{self, wrong};
use super::{Document, Named};
use crate::store::objects::{Claim, Kind, Reference};
use crate::store::{StoreError, unix_time};

/// Bytes of a comment or an instruction.
pub(super) const COMMENT_MAX: usize = 4096;
/// Roles of a user.
const ROLES_MAX: usize = 256;

impl Document for TenantSpec {
    const KIND: Kind = Kind::Tenant;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn check(&self, faults: &mut Faults) {
        check_texts(&self.name, &self.comment, faults);
    }
}

impl Document for RoleSpec {
    const KIND: Kind = Kind::Role;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    fn check(&self, faults: &mut Faults) {
        check_texts(&self.name, &self.comment, faults);
    }
}

impl Document for UserSpec {
    const KIND: Kind = Kind::User;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    fn named(&self) -> Vec<Named> {
        let roles = Place::document().field("roles");
        self.roles
            .iter()
            .enumerate()
            .map(|(index, grant)| Named::at(&roles.index(index), Kind::Role, grant.role()))
            .collect()
    }

    /// Users log in by name alone, whatever their tenant.
    fn claims(&self) -> Vec<Claim> {
        vec![Claim { what: "user name", value: self.name.clone() }]
    }

    fn check(&self, faults: &mut Faults) {
        let document = Place::document();
        check_texts(&self.name, &self.comment, faults);
        faults.take(&document.field("full_name"), value::text(&self.full_name, 200));
        let roles = document.field("roles");
        if self.roles.len() > ROLES_MAX {
            faults.note(&roles, format!("a user has at most {ROLES_MAX} roles"));
        }
        for (index, grant) in self.roles.iter().enumerate() {
            faults.take(&roles.index(index), validity(grant));
        }
    }
}

impl Document for DeviceSpec {
    const KIND: Kind = Kind::Device;

    /// Two users may both have a laptop.
    fn name(&self) -> String {
        format!("{}/{}", self.user, self.name)
    }

    fn named(&self) -> Vec<Named> {
        let document = Place::document();
        vec![
            Named::at(&document.field("user"), Kind::User, &self.user),
            Named::at(&document.field("router"), Kind::Router, &self.router),
        ]
    }

    fn claims(&self) -> Vec<Claim> {
        vec![address_claim(self.client_ip), key_claim(&self.public_key)]
    }

    fn check(&self, faults: &mut Faults) {
        let document = Place::document();
        check_name(&self.name, faults);
        faults.take(&document.field("public_key"), value::public_key(&self.public_key));
        faults.take(&document.field("client_ip"), value::host(self.client_ip));
    }
}

impl Document for RouterSpec {
    const KIND: Kind = Kind::Router;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn claims(&self) -> Vec<Claim> {
        let key = self.public_key.iter().map(|key| key_claim(key));
        self.addresses.iter().copied().map(address_claim).chain(key).collect()
    }

    fn check(&self, faults: &mut Faults) {
        let document = Place::document();
        check_texts(&self.name, &self.comment, faults);
        faults.take(&document.field("client_ip_pool"), pool_of(&self.client_ip_pool));
        for (index, address) in self.addresses.iter().enumerate() {
            faults.take(&document.field("addresses").index(index), value::host(*address));
        }
        if let Some(key) = &self.public_key {
            faults.take(&document.field("public_key"), value::public_key(key));
        }
        if let Some(endpoint) = &self.endpoint {
            faults.take(&document.field("endpoint"), endpoint_of(endpoint));
        }
    }
}

impl Document for ConnectorSpec {
    const KIND: Kind = Kind::Connector;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    fn claims(&self) -> Vec<Claim> {
        let key = self.public_key.iter().map(|key| key_claim(key));
        self.addresses.iter().copied().map(address_claim).chain(key).collect()
    }

    fn check(&self, faults: &mut Faults) {
        let document = Place::document();
        check_texts(&self.name, &self.comment, faults);
        faults.take(&document.field("site"), Name::new(&self.site));
        for (index, address) in self.addresses.iter().enumerate() {
            faults.take(&document.field("addresses").index(index), value::host(*address));
        }
        if let Some(key) = &self.public_key {
            faults.take(&document.field("public_key"), value::public_key(key));
        }
        let endpoint = document.field("endpoint");
        match (self.dial, &self.endpoint) {
            (Dial::Server, None) => {
                faults.note(&endpoint, "the server dials this connector: say where, 203.0.113.9:51820");
            }
            (_, Some(text)) => {
                faults.take(&endpoint, endpoint_of(text));
            }
            (Dial::Connector, None) => {}
        }
    }
}

impl Document for MappingSpec {
    const KIND: Kind = Kind::Mapping;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    fn named(&self) -> Vec<Named> {
        vec![Named::at(&Place::document().field("connector"), Kind::Connector, &self.connector)]
    }

    fn check(&self, faults: &mut Faults) {
        let document = Place::document();
        check_texts(&self.name, &self.comment, faults);
        faults.take(&document.field("proto"), value::protocol(&self.proto));
        if self.device.is_unspecified() || self.device.is_multicast() {
            faults.note(
                &document.field("device"),
                format!("{} is no address that a device can have", self.device),
            );
        }
        if self.port == 0 {
            faults.note(&document.field("port"), "port 0 is no service's");
        }
        if let Some(port) = self.virtual_port {
            faults.take(&document.field("virtual_port"), VirtualPort::new(port));
        }
    }
}

/// The addresses of a router's clients.
pub(crate) fn pool_of(prefixes: &[IpNet]) -> Result<Pool, router_core::access::PoolError> {
    Pool::new(prefixes.to_vec())
}

/// A user, for decisions. `references` are those of its document.
pub(crate) fn user_of(
    (id, tenant): (Uuid, Option<Uuid>),
    spec: &UserSpec,
    references: &[Reference],
) -> Result<User, StoreError> {
    let unreadable = |why: String| StoreError::unreadable(format!("user {:?}", spec.name), why);
    let roles = spec.roles.iter().enumerate().map(|(index, grant)| {
        let place = Place::document().field("roles").index(index);
        let named = references.iter().find(|reference| reference.field == place.pointer());
        let named = named.ok_or_else(|| unreadable(format!("{} names nobody", place.pointer())))?;
        let valid = validity(grant).map_err(|why| unreadable(why.to_string()))?;
        Ok::<_, StoreError>(RoleGrant { role: RoleId(named.object.as_u128()), valid })
    });
    Ok(User {
        id: UserId(id.as_u128()),
        tenant: tenant.map(|tenant| TenantId(tenant.as_u128())),
        name: Name::new(&spec.name).map_err(|why| unreadable(why.to_string()))?,
        roles: roles.collect::<Result<_, _>>()?,
        disabled: spec.disabled,
    })
}

fn validity(grant: &RoleGrantSpec) -> Result<Validity, router_core::access::NeverValid> {
    let (from, until): (Option<UnixTime>, Option<UnixTime>) = match grant {
        RoleGrantSpec::Name(_) => (None, None),
        RoleGrantSpec::Limited { from, until, .. } => (from.map(unix_time), until.map(unix_time)),
    };
    Validity::new(from, until)
}

fn check_name(name: &str, faults: &mut Faults) {
    faults.take(&Place::document().field("name"), Name::new(name));
}

fn check_texts(name: &str, comment: &str, faults: &mut Faults) {
    check_name(name, faults);
    faults.take(&Place::document().field("comment"), value::text(comment, COMMENT_MAX));
}

/// Addresses inside the tunnels belong to one: a second owner could answer for the first.
fn address_claim(address: std::net::IpAddr) -> Claim {
    Claim { what: "address", value: address.to_string() }
}

/// In its one spelling: base64 has more for some keys.
fn key_claim(text: &str) -> Claim {
    let key = value::public_key(text).map_or_else(|_| text.to_owned(), |key| key.to_string());
    Claim { what: "key", value: key }
}

/// `address:port`, or `name:port`.
fn endpoint_of(text: &str) -> Result<(), value::Wrong> {
    let good = text.rsplit_once(':').is_some_and(|(host, port)| {
        let is_v6 = host.starts_with('[')
            && host.ends_with(']')
            && host[1..host.len() - 1].parse::<std::net::Ipv6Addr>().is_ok();
        let is_name = !host.is_empty()
            && host.len() <= 253
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
        u16::from_str(port).is_ok_and(|port| port > 0) && (is_v6 || is_name)
    });
    good.then_some(()).ok_or_else(|| {
        wrong(format!(
            "{text:?} is no endpoint: write 203.0.113.9:51820, [2001:db8::9]:51820 or gw.example.net:51820"
        ))
    })
}
