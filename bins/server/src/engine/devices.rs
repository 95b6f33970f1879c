//! A device that a user adds: what they left out, the server chooses.

use std::collections::HashSet;
use std::net::IpAddr;

use jiff::Timestamp;
use sluice_api::{DeviceSpec, NewDevice, Object, RouterKind, RouterSpec};

use super::{Actor, Engine, Fault, sessions, world};
use crate::store::Tx;
use crate::store::objects::{Kind, ObjectFault, Record};

/// Addresses of a pool that are looked at for one that is free.
const ADDRESSES_MAX: usize = 65_536;
/// How often an address is chosen anew because somebody was faster.
const TRIES: usize = 8;

impl Engine {
    /// Adds a device. With it comes its router: its user may not read routers, and needs its key and endpoint.
    pub(crate) async fn add_device(
        &self,
        now: Timestamp,
        actor: &Actor,
        device: NewDevice,
    ) -> Result<(Object<DeviceSpec>, RouterSpec), Fault> {
        let mut tried = HashSet::new();
        loop {
            let (spec, router) = self.complete_device(actor, &device, &tried).await?;
            let chosen = spec.client_ip;
            match self.create(now, actor, spec).await {
                Err(Fault::Object(ObjectFault::ClaimTaken { what: "address", .. }))
                    if device.client_ip.is_none() && tried.len() < TRIES =>
                {
                    tried.insert(chosen);
                }
                done => return done.map(|device| (device, router)),
            }
        }
    }

    async fn complete_device(
        &self,
        actor: &Actor,
        device: &NewDevice,
        tried: &HashSet<IpAddr>,
    ) -> Result<(DeviceSpec, RouterSpec), Fault> {
        let mut tx = self.store().read().await?;
        let router = router(&mut tx, device.router.as_deref()).await?;
        let router: RouterSpec = world::read(&router)?;
        if device.needs_endpoint {
            can_be_dialled(&router)?;
        }
        let client_ip = match device.client_ip {
            Some(address) => address,
            None => free_address(&mut tx, &router, tried).await?,
        };
        let spec = DeviceSpec {
            name: device.name.clone(),
            user: device.user.clone().unwrap_or_else(|| actor.name.clone()),
            router: router.name.clone(),
            public_key: device.public_key.clone(),
            client_ip,
        };
        Ok((spec, router))
    }
}

/// Whether a client's configuration could say where the router is, and who.
fn can_be_dialled(router: &RouterSpec) -> Result<(), Fault> {
    let lacking = match (&router.public_key, &router.endpoint) {
        (Some(_), Some(_)) => return Ok(()),
        (None, _) => "public key: it has not enrolled",
        (Some(_), None) => "endpoint: an administrator must say where clients find it",
    };
    Err(sessions::invalid("/router", format!("router {:?} has no {lacking}", router.name)))
}

/// The router that is named, else the only one, else the embedded one.
async fn router(tx: &mut Tx, name: Option<&str>) -> Result<Record, Fault> {
    let wrong = |why: String| sessions::invalid("/router", why);
    if let Some(name) = name {
        let found = tx.object_named(Kind::Router, None, name).await?;
        return found.ok_or_else(|| wrong(format!("there is no router {name:?}")));
    }
    let mut all = tx.all_objects(Kind::Router).await?;
    if all.len() > 1 {
        let mut embedded = Vec::new();
        for record in all {
            if world::read::<RouterSpec>(&record)?.kind == RouterKind::Embedded {
                embedded.push(record);
            }
        }
        all = embedded;
    }
    match all.len() {
        1 => Ok(all.remove(0)),
        _ => Err(wrong("say which router: there is not just one".to_owned())),
    }
}

/// The lowest address of the router's pool that nobody has. A prefix's first address is its network's, its last may be
/// for all hosts, and the router's own are claimed.
async fn free_address(tx: &mut Tx, router: &RouterSpec, tried: &HashSet<IpAddr>) -> Result<IpAddr, Fault> {
    let claimed = tx.claimed("address").await?;
    let mut addresses = router.client_ip_pool.iter().flat_map(ipnet::IpNet::hosts).take(ADDRESSES_MAX);
    let is_free = |address: &IpAddr| !tried.contains(address) && !claimed.contains(&address.to_string());
    if let Some(address) = addresses.find(is_free) {
        return Ok(address);
    }
    Err(sessions::invalid("/client_ip", format!("the pool of router {:?} has no free address", router.name)))
}
