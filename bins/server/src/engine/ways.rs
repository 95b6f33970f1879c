//! How devices behind connectors are reached now. Called by whatever compiles sessions; calls store.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};

use router_core::access::{
    CompileError, ConnectorId, Grant, Mapped, NatAddr, Reach, Session, VirtualPort, compile,
};
use router_core::packet::Protocol;
use sluice_api::{ConnectorSpec, MappingSpec};
use uuid::Uuid;

use super::Engine;
use super::desired::DesiredMapping;
use super::world::read;
use crate::store::objects::{Filter, Kind, Record};
use crate::store::{StoreError, Tx};

/// Connectors and their mappings, as one transaction sees them: each is read when it is first asked for.
#[derive(Default)]
pub(super) struct Ways {
    connectors: HashMap<Uuid, Option<Way>>,
    /// Which connectors there are; `None`: nobody had to know yet.
    all: Option<Vec<(Uuid, Option<Uuid>, String)>>,
}

/// A connector.
struct Way {
    tenant: Option<Uuid>,
    site: String,
    addresses: Vec<IpAddr>,
    /// One that has not enrolled has no tunnel.
    has_key: bool,
    mappings: Vec<(SocketAddr, Protocol, VirtualPort)>,
}

impl Engine {
    /// What a session means for a router. Its device mappings are looked up as they are now.
    pub(super) async fn compile(
        &self,
        tx: &mut Tx,
        ways: &mut Ways,
        session: &Session,
    ) -> Result<Result<Grant, CompileError>, StoreError> {
        let mut reaches: Vec<(Mapped, Reach)> = Vec::new();
        for destination in session.target.destinations.as_slice() {
            let Some((protocol, port)) = destination.service() else { continue };
            let Some(NatAddr::Mapped { connector, device }) = destination.nat().map(|nat| nat.addr) else {
                continue;
            };
            let mapped = Mapped { connector, device, protocol, port };
            if let Some(reach) = self.reach(tx, ways, &mapped).await? {
                reaches.push((mapped, reach));
            }
        }
        let resolve =
            |mapped: &Mapped| reaches.iter().find(|(known, _)| known == mapped).map(|(_, reach)| *reach);
        Ok(compile(session, self.policy().caps, resolve))
    }

    /// How a device's service is reached: through the connector named while it is healthy, else through a healthy one of the
    /// same site and tenant that maps the same service.
    async fn reach(
        &self,
        tx: &mut Tx,
        ways: &mut Ways,
        mapped: &Mapped,
    ) -> Result<Option<Reach>, StoreError> {
        let id = Uuid::from_u128(mapped.connector.0);
        let Some(named) = ways.get(tx, id).await? else { return Ok(None) };
        let (first, tenant, site) = (named.reach(id, mapped), named.tenant, named.site.clone());
        if first.is_some() && !self.is_unhealthy(id) {
            return Ok(first);
        }
        for other in ways.all(tx).await? {
            let (other, other_tenant, other_site) = other;
            let stands_in = other != id && other_tenant == tenant && other_site == site;
            if stands_in && !self.is_unhealthy(other) {
                let reach = ways.get(tx, other).await?.and_then(|way| way.reach(other, mapped));
                if reach.is_some() {
                    return Ok(reach);
                }
            }
        }
        Ok(first)
    }

    fn is_unhealthy(&self, connector: Uuid) -> bool {
        self.live().unhealthy.contains(&connector)
    }
}

impl Ways {
    async fn get(&mut self, tx: &mut Tx, connector: Uuid) -> Result<Option<&Way>, StoreError> {
        Ok(match self.connectors.entry(connector) {
            Entry::Occupied(known) => known.into_mut().as_ref(),
            Entry::Vacant(unknown) => {
                let way = match tx.object(Kind::Connector, connector).await? {
                    Some(record) => Some(way(tx, &record).await?),
                    None => None,
                };
                unknown.insert(way).as_ref()
            }
        })
    }

    async fn all(&mut self, tx: &mut Tx) -> Result<Vec<(Uuid, Option<Uuid>, String)>, StoreError> {
        if let Some(all) = &self.all {
            return Ok(all.clone());
        }
        let mut all = Vec::new();
        for record in tx.all_objects(Kind::Connector).await? {
            all.push((record.id, record.tenant, read::<ConnectorSpec>(&record)?.site));
        }
        Ok(self.all.insert(all).clone())
    }
}

impl Way {
    fn reach(&self, id: Uuid, mapped: &Mapped) -> Option<Reach> {
        let overlay = self.addresses.iter().find(|address| address.is_ipv4() == mapped.device.is_ipv4());
        let overlay = *overlay.or(self.addresses.first()).filter(|_| self.has_key)?;
        let service = (SocketAddr::new(mapped.device, mapped.port), mapped.protocol);
        let found = self.mappings.iter().find(|(device, protocol, _)| (*device, *protocol) == service);
        found.map(|(_, _, virtual_port)| Reach {
            via: ConnectorId(id.as_u128()),
            overlay,
            virtual_port: *virtual_port,
        })
    }
}

async fn way(tx: &mut Tx, record: &Record) -> Result<Way, StoreError> {
    let spec: ConnectorSpec = read(record)?;
    let filter = Filter { naming: Some(record.id), ..Filter::default() };
    let mut mappings = Vec::new();
    for mapping in tx.objects(Kind::Mapping, &filter, None, u32::MAX).await? {
        let found = mapping_of(&mapping)?;
        mappings.extend(found.map(|found| (found.device, found.protocol, found.virtual_port)));
    }
    let ConnectorSpec { site, addresses, public_key, .. } = spec;
    Ok(Way { tenant: record.tenant, site, addresses, has_key: public_key.is_some(), mappings })
}

/// A mapping, if it has its port.
pub(super) fn mapping_of(record: &Record) -> Result<Option<DesiredMapping>, StoreError> {
    let spec: MappingSpec = read(record)?;
    let protocol = if spec.proto.eq_ignore_ascii_case("udp") { Protocol::UDP } else { Protocol::TCP };
    let port = spec.virtual_port.and_then(|port| VirtualPort::new(port).ok());
    Ok(port.map(|virtual_port| DesiredMapping {
        id: record.id,
        name: record.name.clone(),
        virtual_port,
        protocol,
        device: SocketAddr::new(spec.device, spec.port),
    }))
}
