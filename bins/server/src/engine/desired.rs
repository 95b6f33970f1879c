//! What routers and connectors are to have: the store, seen from each of them.

use std::net::{IpAddr, SocketAddr};

use router_core::access::{
    CompileError, ConnectorId, Grant, Mapped, Reach, RouterId, Session, SessionState, VirtualPort, compile,
};
use router_core::packet::Protocol;
use sluice_api::{ConnectorSpec, DeviceSpec, Dial, MappingSpec, RouterSpec};
use uuid::Uuid;
use wg_proto::PublicKey;

use super::record::session_of;
use super::world::read;
use super::{Engine, Fault};
use crate::store::objects::{Filter, Kind, Record};
use crate::store::sessions::SessionRecord;
use crate::store::{StoreError, Tx};

/// What one agent is to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Desired {
    /// Its own addresses inside the tunnels.
    pub(crate) addresses: Vec<IpAddr>,
    /// Who may be at the other ends of its tunnels.
    pub(crate) peers: Vec<DesiredPeer>,
    /// Of a router: what it is to let pass.
    pub(crate) grants: Vec<NamedGrant>,
    /// Of a connector: which of its ports stand for whom.
    pub(crate) mappings: Vec<DesiredMapping>,
}

/// A router or a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AgentIdentity {
    pub(crate) kind: Kind,
    pub(crate) id: Uuid,
    /// `None`: it has not enrolled.
    pub(crate) key: Option<PublicKey>,
}

/// A grant, with the names that people know it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedGrant {
    pub(crate) grant: Grant,
    pub(crate) user: String,
    pub(crate) target: String,
}

/// The other end of a tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DesiredPeer {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) key: PublicKey,
    pub(crate) addresses: Vec<IpAddr>,
    /// Where it is dialled; `None`: it dials.
    pub(crate) endpoint: Option<SocketAddr>,
}

/// A device's service behind a connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DesiredMapping {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) virtual_port: VirtualPort,
    pub(crate) protocol: Protocol,
    pub(crate) device: SocketAddr,
}

impl Engine {
    /// What a router is to have; `None`: there is none of this identity.
    pub(crate) async fn desired_of_router(&self, router: Uuid) -> Result<Option<Desired>, Fault> {
        let mut tx = self.store().read().await?;
        let Some(record) = tx.object(Kind::Router, router).await? else { return Ok(None) };
        let spec: RouterSpec = read(&record)?;
        let mut desired = Desired { addresses: spec.addresses, ..Desired::default() };
        let devices = Filter { naming: Some(router), ..Filter::default() };
        for device in tx.objects(Kind::Device, &devices, None, u32::MAX).await? {
            desired.peers.extend(device_peer(&device)?);
        }
        for connector in tx.all_objects(Kind::Connector).await? {
            desired.peers.extend(connector_peer(&connector)?);
        }
        for record in tx.ongoing_sessions().await? {
            let session = session_of(&record)?;
            if session.is_open() && session.routers.contains(&RouterId(router.as_u128())) {
                // One that cannot be enforced any more is not enforced; recheck ends it.
                desired.grants.extend(self.named_grant(&mut tx, &record, &session).await?);
            }
        }
        Ok(Some(desired))
    }

    /// What a session means for its routers now; `None`: nothing, it is not open.
    pub(crate) async fn grant_of(&self, session: Uuid) -> Result<Option<(Vec<RouterId>, NamedGrant)>, Fault> {
        let mut tx = self.store().read().await?;
        let Some(record) = tx.session(session).await? else { return Ok(None) };
        let session = session_of(&record)?;
        if !session.is_open() {
            return Ok(None);
        }
        let grant = self.named_grant(&mut tx, &record, &session).await?;
        Ok(grant.map(|grant| (session.routers, grant)))
    }

    /// Sessions that routers are to open or to close, and have not all confirmed.
    pub(crate) async fn unconfirmed(&self) -> Result<Vec<(Uuid, Vec<RouterId>)>, Fault> {
        let mut tx = self.store().read().await?;
        let mut unconfirmed = Vec::new();
        for record in tx.ongoing_sessions().await? {
            let waiting = waiting(&session_of(&record)?);
            if !waiting.is_empty() {
                unconfirmed.push((record.id, waiting));
            }
        }
        Ok(unconfirmed)
    }

    /// Routers that have not confirmed what they are to do about a session.
    pub(crate) async fn waiting_for(&self, session: Uuid) -> Result<Vec<RouterId>, Fault> {
        let mut tx = self.store().read().await?;
        let record = tx.session(session).await?;
        Ok(record
            .map(|record| session_of(&record))
            .transpose()?
            .map(|session| waiting(&session))
            .unwrap_or_default())
    }

    /// Which routers and connectors there are.
    pub(crate) async fn agents(&self) -> Result<Vec<AgentIdentity>, Fault> {
        let mut tx = self.store().read().await?;
        let mut agents = Vec::new();
        for record in tx.all_objects(Kind::Router).await? {
            let key = read::<RouterSpec>(&record)?.public_key;
            agents.push(AgentIdentity { kind: Kind::Router, id: record.id, key: key_of(key) });
        }
        for record in tx.all_objects(Kind::Connector).await? {
            let key = read::<ConnectorSpec>(&record)?.public_key;
            agents.push(AgentIdentity { kind: Kind::Connector, id: record.id, key: key_of(key) });
        }
        Ok(agents)
    }

    async fn named_grant(
        &self,
        tx: &mut Tx,
        record: &SessionRecord,
        session: &Session,
    ) -> Result<Option<NamedGrant>, StoreError> {
        let user = super::record::body_of(record)?.user_name;
        let grant = self.compile(tx, session).await?.ok();
        Ok(grant.map(|grant| NamedGrant { grant, user, target: record.target_name.clone() }))
    }

    /// What a connector is to have; `None`: there is none of this identity.
    pub(crate) async fn desired_of_connector(&self, connector: Uuid) -> Result<Option<Desired>, Fault> {
        let mut tx = self.store().read().await?;
        let Some(record) = tx.object(Kind::Connector, connector).await? else { return Ok(None) };
        let spec: ConnectorSpec = read(&record)?;
        let mut desired = Desired { addresses: spec.addresses, ..Desired::default() };
        for router in tx.all_objects(Kind::Router).await? {
            desired.peers.extend(router_peer(&router, spec.dial)?);
        }
        let mappings = Filter { naming: Some(connector), ..Filter::default() };
        for mapping in tx.objects(Kind::Mapping, &mappings, None, u32::MAX).await? {
            desired.mappings.extend(mapping_of(&mapping)?);
        }
        Ok(Some(desired))
    }

    /// What a session means for a router. Its device mappings are looked up as they are now.
    pub(super) async fn compile(
        &self,
        tx: &mut Tx,
        session: &Session,
    ) -> Result<Result<Grant, CompileError>, StoreError> {
        let mut reaches: Vec<(Mapped, Reach)> = Vec::new();
        for destination in session.target.destinations.as_slice() {
            let Some((protocol, port)) = destination.service() else { continue };
            let Some(router_core::access::NatAddr::Mapped { connector, device }) =
                destination.nat().map(|nat| nat.addr)
            else {
                continue;
            };
            let mapped = Mapped { connector, device, protocol, port };
            if let Some(reach) = self.reach(tx, &mapped).await? {
                reaches.push((mapped, reach));
            }
        }
        let resolve =
            |mapped: &Mapped| reaches.iter().find(|(known, _)| known == mapped).map(|(_, reach)| *reach);
        Ok(compile(session, self.policy().caps, resolve))
    }

    /// How a device's service is reached: through the connector named while it is healthy, else through a healthy one of the
    /// same site and tenant that maps the same service.
    async fn reach(&self, tx: &mut Tx, mapped: &Mapped) -> Result<Option<Reach>, StoreError> {
        let id = Uuid::from_u128(mapped.connector.0);
        let Some(named) = tx.object(Kind::Connector, id).await? else { return Ok(None) };
        let spec: ConnectorSpec = read(&named)?;
        let first = reach_through(tx, &named, &spec, mapped).await?;
        if first.is_some() && !self.is_unhealthy(id) {
            return Ok(first);
        }
        for other in tx.all_objects(Kind::Connector).await? {
            let other_spec: ConnectorSpec = read(&other)?;
            let stands_in = other.id != id && other.tenant == named.tenant && other_spec.site == spec.site;
            if stands_in && !self.is_unhealthy(other.id) {
                let reach = reach_through(tx, &other, &other_spec, mapped).await?;
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

fn key_of(text: Option<String>) -> Option<PublicKey> {
    text.and_then(|text| text.parse().ok())
}

fn waiting(session: &Session) -> Vec<RouterId> {
    match &session.state {
        SessionState::Pending { waiting, .. } | SessionState::Closing { waiting, .. } => waiting.clone(),
        SessionState::Active { .. } | SessionState::Closed { .. } => Vec::new(),
    }
}

async fn reach_through(
    tx: &mut Tx,
    record: &Record,
    spec: &ConnectorSpec,
    mapped: &Mapped,
) -> Result<Option<Reach>, StoreError> {
    // One that has not enrolled has no tunnel.
    if spec.public_key.is_none() {
        return Ok(None);
    }
    let overlay = spec.addresses.iter().find(|address| address.is_ipv4() == mapped.device.is_ipv4());
    let Some(overlay) = overlay.or(spec.addresses.first()) else { return Ok(None) };
    let filter = Filter { naming: Some(record.id), ..Filter::default() };
    for mapping in tx.objects(Kind::Mapping, &filter, None, u32::MAX).await? {
        let Some(found) = mapping_of(&mapping)? else { continue };
        let is_it =
            found.device == SocketAddr::new(mapped.device, mapped.port) && found.protocol == mapped.protocol;
        if is_it {
            let via = ConnectorId(record.id.as_u128());
            return Ok(Some(Reach { via, overlay: *overlay, virtual_port: found.virtual_port }));
        }
    }
    Ok(None)
}

fn device_peer(record: &Record) -> Result<Option<DesiredPeer>, StoreError> {
    let spec: DeviceSpec = read(record)?;
    Ok(spec.public_key.parse().ok().map(|key| DesiredPeer {
        id: record.id,
        name: record.name.clone(),
        kind: Kind::Device,
        key,
        addresses: vec![spec.client_ip],
        endpoint: None,
    }))
}

/// One that has not enrolled has no key yet, so no tunnel.
fn connector_peer(record: &Record) -> Result<Option<DesiredPeer>, StoreError> {
    let spec: ConnectorSpec = read(record)?;
    let endpoint = spec.endpoint.filter(|_| spec.dial == Dial::Server);
    Ok(spec.public_key.and_then(|key| key.parse().ok()).map(|key| DesiredPeer {
        id: record.id,
        name: record.name.clone(),
        kind: Kind::Connector,
        key,
        addresses: spec.addresses,
        endpoint: endpoint.and_then(|endpoint| endpoint.parse().ok()),
    }))
}

fn router_peer(record: &Record, dial: Dial) -> Result<Option<DesiredPeer>, StoreError> {
    let spec: RouterSpec = read(record)?;
    let endpoint = spec.endpoint.filter(|_| dial == Dial::Connector);
    Ok(spec.public_key.and_then(|key| key.parse().ok()).map(|key| DesiredPeer {
        id: record.id,
        name: record.name.clone(),
        kind: Kind::Router,
        key,
        addresses: spec.addresses,
        endpoint: endpoint.and_then(|endpoint| endpoint.parse().ok()),
    }))
}

fn mapping_of(record: &Record) -> Result<Option<DesiredMapping>, StoreError> {
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
