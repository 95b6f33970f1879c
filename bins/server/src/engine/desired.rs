//! What routers and connectors are to have: the store, seen from each of them.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use router_core::access::{Grant, RouterId, VirtualPort};
use router_core::packet::Protocol;
use sluice_api::{ConnectorSpec, DeviceSpec, Dial, RouterSpec};
use uuid::Uuid;
use wg_proto::PublicKey;

use super::record::{session_of, waiting_for};
use super::ways::{Ways, mapping_of};
use super::world::read;
use super::{Engine, Fault};
use crate::store::objects::{Filter, Kind, Record};
use crate::store::sessions::{Ongoing, SessionRecord};
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

/// What everybody is to have, as it was at one moment.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Routers and connectors; one without a key has not enrolled.
    pub(crate) agents: Vec<(AgentIdentity, Desired)>,
    /// Sessions that routers are to open or to close, and who has not confirmed.
    pub(crate) unconfirmed: Vec<(Uuid, Vec<RouterId>)>,
}

/// What one session means for routers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedSession {
    pub(crate) session: Uuid,
    /// Where it is to be in force; `None`: nowhere.
    pub(crate) grant: Option<(Vec<RouterId>, NamedGrant)>,
    /// Who has not confirmed that it is, or is no more.
    pub(crate) waiting: Vec<RouterId>,
}

impl Engine {
    /// What everybody is to have. Reads each session once, however many routers there are.
    pub(crate) async fn plan(&self) -> Result<Plan, Fault> {
        let mut tx = self.store().read().await?;
        let (routers, connectors) =
            (tx.all_objects(Kind::Router).await?, tx.all_objects(Kind::Connector).await?);
        let mut plan = Plan::default();
        let connector_peers = connectors.iter().map(connector_peer).collect::<Result<Vec<_>, _>>()?;
        for record in &routers {
            let spec: RouterSpec = read(record)?;
            let mut desired = Desired { addresses: spec.addresses, ..Desired::default() };
            for device in tx.objects(Kind::Device, &naming(record.id), None, u32::MAX).await? {
                desired.peers.extend(device_peer(&device)?);
            }
            desired.peers.extend(connector_peers.iter().flatten().cloned());
            let key = key_of(spec.public_key);
            plan.agents.push((AgentIdentity { kind: Kind::Router, id: record.id, key }, desired));
        }
        let mut ways = Ways::default();
        let place: HashMap<u128, usize> =
            plan.agents.iter().enumerate().map(|(place, (agent, _))| (agent.id.as_u128(), place)).collect();
        for record in tx.ongoing(Ongoing::All).await? {
            let planned = self.planned(&mut tx, &mut ways, &record).await?;
            if !planned.waiting.is_empty() {
                plan.unconfirmed.push((planned.session, planned.waiting));
            }
            let Some((routers, grant)) = planned.grant else { continue };
            for router in routers {
                if let Some(place) = place.get(&router.0) {
                    plan.agents[*place].1.grants.push(grant.clone());
                }
            }
        }
        for record in &connectors {
            let spec: ConnectorSpec = read(record)?;
            let mut desired = Desired { addresses: spec.addresses, ..Desired::default() };
            for router in &routers {
                desired.peers.extend(router_peer(router, spec.dial)?);
            }
            for mapping in tx.objects(Kind::Mapping, &naming(record.id), None, u32::MAX).await? {
                desired.mappings.extend(mapping_of(&mapping)?);
            }
            let key = key_of(spec.public_key);
            plan.agents.push((AgentIdentity { kind: Kind::Connector, id: record.id, key }, desired));
        }
        Ok(plan)
    }

    /// What these sessions mean for their routers now. One that is gone means nothing.
    pub(crate) async fn plan_sessions(&self, sessions: &[Uuid]) -> Result<Vec<PlannedSession>, Fault> {
        let mut tx = self.store().read().await?;
        let (mut ways, mut planned) = (Ways::default(), Vec::with_capacity(sessions.len()));
        for record in tx.sessions_of(sessions).await? {
            planned.push(self.planned(&mut tx, &mut ways, &record).await?);
        }
        Ok(planned)
    }

    /// A device's tunnel, and the router that it ends at; `None`: there is no such device.
    pub(crate) async fn plan_device(&self, device: Uuid) -> Result<Option<(Uuid, DesiredPeer)>, Fault> {
        let mut tx = self.store().read().await?;
        let Some(record) = tx.object(Kind::Device, device).await? else { return Ok(None) };
        let references = tx.references_of(device).await?;
        let router = references.iter().find(|reference| reference.field == "/router");
        Ok(router.map(|router| router.object).zip(device_peer(&record)?))
    }

    async fn planned(
        &self,
        tx: &mut Tx,
        ways: &mut Ways,
        record: &SessionRecord,
    ) -> Result<PlannedSession, StoreError> {
        let session = session_of(record)?;
        let waiting = waiting_for(&session).to_vec();
        // One that cannot be enforced any more is not enforced; recheck ends it.
        let grant = match session.is_open() && !self.has_ended_unstored(record.id) {
            true => self.compile(tx, ways, &session).await?.ok(),
            false => None,
        };
        let named = |grant| NamedGrant {
            grant,
            user: record.body.user_name.clone(),
            target: record.target_name.clone(),
        };
        let grant = grant.map(|grant| (session.routers.clone(), named(grant)));
        Ok(PlannedSession { session: record.id, grant, waiting })
    }
}

fn naming(object: Uuid) -> Filter {
    Filter { naming: Some(object), ..Filter::default() }
}

fn key_of(text: Option<String>) -> Option<PublicKey> {
    text.and_then(|text| text.parse().ok())
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
