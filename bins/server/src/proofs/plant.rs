//! An installation of any size, put into a store in one transaction.
//!
//! Router `r` serves the clients 10.x.y.0/24; user `u` has one device at router `u % routers`, and the role `u % roles`; target `t`
//! is one address, and asks for the role `t % roles`.

use std::net::{IpAddr, Ipv4Addr};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use sluice_api::{DeviceSpec, Right, RoleSpec, RouterSpec, TargetSpec, UserSpec};
use uuid::Uuid;

use crate::documents::Document;
use crate::engine::Actor;
use crate::store::objects::{Draft, Kind, Reference};
use crate::store::{Store, Tx};

/// How much there is of everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) users: usize,
    pub(crate) targets: usize,
    pub(crate) routers: usize,
    pub(crate) roles: usize,
}

/// What is in the store.
pub(crate) struct Plant {
    pub(crate) size: Size,
    pub(crate) routers: Vec<Uuid>,
    pub(crate) users: Vec<Uuid>,
    root: Uuid,
}

/// Clients of a router.
const CLIENTS_MAX: usize = 250;

impl Plant {
    pub(crate) async fn build(store: &Store, size: Size) -> Plant {
        assert!(size.users <= size.routers * CLIENTS_MAX);
        let mut tx = store.write().await.unwrap();
        let root = put::<UserSpec>(&mut tx, json!({ "name": "root", "right": "admin" }), &[]).await;
        let mut roles = Vec::new();
        for role in 0..size.roles {
            roles.push(put::<RoleSpec>(&mut tx, json!({ "name": role_name(role) }), &[]).await);
        }
        let mut routers = Vec::new();
        for router in 0..size.routers {
            let spec = json!({
                "name": format!("router-{router:03}"), "kind": "sluice", "public_key": key(1, router),
                "client_ip_pool": [format!("10.{}.{}.0/24", 64 + router / 256, router % 256)],
                "addresses": [format!("10.63.{}.{}", router / 250, router % 250 + 1)],
            });
            routers.push(put::<RouterSpec>(&mut tx, spec, &[]).await);
        }
        let mut users = Vec::new();
        for user in 0..size.users {
            let (name, role) = (user_name(user), user % size.roles);
            let spec = json!({ "name": name, "roles": [role_name(role)] });
            let id = put::<UserSpec>(&mut tx, spec, &[("/roles/0", roles[role])]).await;
            let router = user % size.routers;
            let spec = json!({
                "name": "laptop", "user": name, "router": format!("router-{router:03}"), "public_key": key(2, user),
                "client_ip": client_ip(size, user),
            });
            put::<DeviceSpec>(&mut tx, spec, &[("/user", id), ("/router", routers[router])]).await;
            users.push(id);
        }
        for target in 0..size.targets {
            let role = target % size.roles;
            let spec = json!({
                "name": target_name(target), "roles": [role_name(role)],
                "dst": [{ "selector": { "ip": target_ip(target), "proto": "tcp", "port": 22 } }],
            });
            put::<TargetSpec>(&mut tx, spec, &[("/roles/0", roles[role])]).await;
        }
        tx.commit().await.unwrap();
        Plant { size, routers, users, root }
    }

    pub(crate) fn user(&self, number: usize) -> Actor {
        let user = Some(self.users[number]);
        Actor { user, name: user_name(number), tenant: None, right: Right::User, source: None }
    }

    pub(crate) fn root(&self) -> Actor {
        Actor { user: Some(self.root), name: "root".to_owned(), ..Actor::system() }
    }

    /// A target that a user may open: another for each `turn`.
    pub(crate) fn target_of(&self, user: usize, turn: usize) -> String {
        let Size { targets, roles, users, .. } = self.size;
        let per_role = targets / roles;
        let place = (user / roles + turn * (users / roles + 1)) % per_role;
        target_name(place * roles + user % roles)
    }
}

fn user_name(number: usize) -> String {
    format!("user-{number:05}")
}

pub(crate) fn target_name(number: usize) -> String {
    format!("target-{number:06}")
}

fn role_name(number: usize) -> String {
    format!("role-{number:03}")
}

fn client_ip(size: Size, user: usize) -> IpAddr {
    let router = user % size.routers;
    let host = user / size.routers + 2;
    Ipv4Addr::new(10, (64 + router / 256) as u8, (router % 256) as u8, host as u8).into()
}

fn target_ip(number: usize) -> IpAddr {
    Ipv4Addr::from_bits(Ipv4Addr::new(172, 16, 0, 0).to_bits() + number as u32).into()
}

/// A public key of nobody's.
pub(crate) fn key(kind: u8, number: usize) -> String {
    let mut bytes = [kind; 32];
    bytes[8..16].copy_from_slice(&(number as u64).to_be_bytes());
    wg_proto::PublicKey::from_bytes(bytes).to_string()
}

pub(crate) async fn put<D: Document + Serialize>(
    tx: &mut Tx,
    document: Value,
    named: &[(&str, Uuid)],
) -> Uuid {
    let spec: D = serde_json::from_value(document).unwrap();
    let (id, kind): (Uuid, Kind) = (Uuid::now_v7(), D::KIND);
    let references = named
        .iter()
        .map(|(field, object)| Reference { field: (*field).to_owned(), object: *object })
        .collect();
    let draft = Draft {
        kind,
        tenant: None,
        name: spec.name(),
        body: serde_json::to_string(&spec).unwrap(),
        references,
        claims: spec.claims(),
    };
    tx.insert_object(id, &draft, "test", Timestamp::now()).await.unwrap();
    id
}
