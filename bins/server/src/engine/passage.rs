//! What becomes of a packet, as far as policy knows: the session that lets it pass and what its rule does to it, or what keeps
//! the targets that lead there from being opened. What routers do with it, they say themselves.

use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use router_core::access::{self, FirstPacket, Passage, Refused, Session, User, Via};
use router_core::packet::Protocol;
use router_core::rules::{Dnat, SessionId};
use router_core::selector::{IpRange, Selector};
use sluice_api::{
    ConnectorSpec, ExplainPacket, FailedCheck, OpenSession, PacketExplanation, PacketRule, PacketVerdict,
    TargetOutlook, TargetSpec,
};
use uuid::Uuid;

use super::record::{self, session_of};
use super::sessions::{asking_user, client_ip_of, invalid};
use super::ways::Ways;
use super::world::{StoredTarget, read};
use super::{Actor, Engine, Fault};
use crate::documents::{addresses, words_of};
use crate::store::objects::{Filter, Kind};
use crate::store::{Tx, unix_time};

/// Targets that lead where a packet goes and are told; more are left out.
const OUTLOOKS_MAX: usize = 20;

impl Engine {
    /// What becomes of a packet. `user`: another than the actor, for those who may ask that.
    pub(crate) async fn explain_packet(
        &self,
        now: Timestamp,
        actor: &Actor,
        user: Option<&str>,
        asked: &ExplainPacket,
    ) -> Result<PacketExplanation, Fault> {
        let mut tx = self.store().read().await?;
        let asker = tx.asked_about(actor, user).await?;
        let policy = asking_user(&mut tx, &asker).await?;
        let packet = packet_of(&mut tx, &asker, asked).await?;
        // Whoever asks about others sees what they may not; about oneself one learns of what one has a role for.
        let targets = match user {
            Some(_) => tx.targets_to(actor, packet.destination).await?,
            None => leading_to(tx.targets_of(&policy).await?, packet.destination),
        };
        let explanation = self.explained(&mut tx, &asker, policy, &packet, &targets, now).await?;
        let explanation = if user.is_some() { explanation } else { explanation.disclosed() };
        let passage = tx.known_passage(actor, &asker, user.is_some(), explanation.passage).await?;
        let mut told = self.told(&mut tx, &packet, passage).await?;
        told.targets =
            explanation.outlooks.iter().filter_map(|outlook| outlook_of(outlook, &targets)).collect();
        Ok(told)
    }

    async fn explained(
        &self,
        tx: &mut Tx,
        asker: &Actor,
        policy: User,
        packet: &FirstPacket,
        targets: &[StoredTarget],
        now: Timestamp,
    ) -> Result<access::Explanation, Fault> {
        let mut approvals = Vec::new();
        for target in targets {
            let user = Uuid::from_u128(policy.id.0);
            approvals.extend(tx.approval_for(user, target.record.id).await?);
        }
        let mut read = self.read(tx, asker, policy, None, packet.client_ip).await?;
        // One query for each target: a database takes only so much in one.
        for target in targets {
            let ranges = record::ranges(target.policy.destinations.as_slice());
            for found in tx.sessions_in_the_way(packet.client_ip, &ranges).await? {
                if read.ongoing.iter().all(|known| known.id != SessionId(found.id.as_u128())) {
                    read.ongoing.push(session_of(&found)?);
                }
            }
        }
        let policies = targets.iter().map(|target| &target.policy);
        Ok(access::explain(packet, &read.facts(self), policies, &approvals, unix_time(now)))
    }

    /// Without the targets.
    async fn told(
        &self,
        tx: &mut Tx,
        packet: &FirstPacket,
        passage: Passage,
    ) -> Result<PacketExplanation, Fault> {
        let mut told = PacketExplanation {
            client_ip: packet.client_ip,
            verdict: PacketVerdict::NotAllowed,
            session: None,
            target: None,
            rule: None,
            ending: None,
            targets: Vec::new(),
        };
        let (verdict, session, destination) = match passage {
            Passage::Allowed { session, destination } => (PacketVerdict::Allowed, session, Some(destination)),
            Passage::Pending { session, destination } => (PacketVerdict::Pending, session, Some(destination)),
            Passage::Ending { session, why } => {
                told.ending = Some(why.to_string());
                (PacketVerdict::Ending, session, None)
            }
            Passage::NotAllowed => return Ok(told),
        };
        let id = Uuid::from_u128(session.0);
        let Some(record) = tx.session(id).await? else { return Ok(told) };
        told.verdict = verdict;
        told.session = Some(id);
        told.target = Some(record.target_name.clone());
        if let Some(destination) = destination {
            let view = tx.session_view(&record).await?;
            let session = session_of(&record)?;
            let mut rule = self.rule(tx, packet, &session, destination, &view.target).await?;
            rule.routers = view.routers.into_iter().map(|router| router.router).collect();
            told.rule = Some(rule);
        }
        Ok(told)
    }

    /// The rule of a session's destination, and what it does to a packet.
    async fn rule(
        &self,
        tx: &mut Tx,
        packet: &FirstPacket,
        session: &Session,
        destination: usize,
        target: &TargetSpec,
    ) -> Result<PacketRule, Fault> {
        let selector = target.dst.get(destination).map(words_of).unwrap_or_default();
        let mut rule = PacketRule {
            destination,
            selector,
            becomes: None,
            via: None,
            src_nat: target.src_nat,
            routers: Vec::new(),
        };
        // One that cannot be enforced any more does nothing; its session is about to end.
        let Ok(grant) = self.compile(tx, &mut Ways::default(), session).await? else { return Ok(rule) };
        let meant = session.target.destinations.as_slice().get(destination);
        let enforced = meant.and_then(|meant| {
            let selector = meant.selector();
            grant.destinations.iter().find(|enforced| enforced.selector == *selector)
        });
        let Some(enforced) = enforced else { return Ok(rule) };
        rule.becomes = enforced.dnat.map(|dnat| translated(packet, &enforced.selector, &dnat));
        if let Via::Connector(connector) = enforced.via {
            let record = tx.object(Kind::Connector, Uuid::from_u128(connector.0)).await?;
            rule.via = record.map(|record| read::<ConnectorSpec>(&record)).transpose()?.map(|spec| spec.name);
        }
        Ok(rule)
    }
}

impl Tx {
    /// What the actor may know of a passage: sessions of their own, and of those they may see.
    async fn known_passage(
        &mut self,
        actor: &Actor,
        asker: &Actor,
        is_about_others: bool,
        passage: Passage,
    ) -> Result<Passage, Fault> {
        let id = match passage {
            Passage::Allowed { session, .. }
            | Passage::Pending { session, .. }
            | Passage::Ending { session, .. } => session,
            Passage::NotAllowed => return Ok(passage),
        };
        let SessionId(number) = id;
        let record = self.session(Uuid::from_u128(number)).await?;
        let is_known = record.is_some_and(|record| {
            asker.user == Some(record.user) || (is_about_others && actor.sees(record.tenant))
        });
        Ok(if is_known { passage } else { Passage::NotAllowed })
    }

    /// All targets that exist for the actor and lead there.
    async fn targets_to(&mut self, actor: &Actor, destination: IpAddr) -> Result<Vec<StoredTarget>, Fault> {
        let filter = Filter { tenants: actor.tenants(), ..Filter::default() };
        let mut targets = Vec::new();
        for record in self.objects(Kind::Target, &filter, None, u32::MAX).await? {
            if leads_to(&read(&record)?, destination) && targets.len() < OUTLOOKS_MAX {
                targets.push(self.policy_target(record).await?);
            }
        }
        Ok(targets)
    }
}

/// A check that fails, as it is told.
pub(crate) fn failed_check(refused: &Refused) -> FailedCheck {
    FailedCheck { check: refused.check(), code: refused.code().to_owned(), text: refused.to_string() }
}

fn leading_to(mut targets: Vec<StoredTarget>, destination: IpAddr) -> Vec<StoredTarget> {
    targets.retain(|target| leads_to(&target.spec, destination));
    targets.truncate(OUTLOOKS_MAX);
    targets
}

fn leads_to(target: &TargetSpec, destination: IpAddr) -> bool {
    let mut ranges = target.dst.iter().filter_map(|entry| addresses(&entry.selector.ip).ok());
    ranges.any(|range| range.contains(destination))
}

fn outlook_of(outlook: &access::Outlook, targets: &[StoredTarget]) -> Option<TargetOutlook> {
    let target = targets.iter().find(|target| target.policy.id == outlook.target)?;
    Some(TargetOutlook {
        target: target.spec.name.clone(),
        destination: outlook.destination,
        selector: target.spec.dst.get(outlook.destination).map(words_of).unwrap_or_default(),
        failed: outlook.failures.iter().map(failed_check).collect(),
    })
}

async fn packet_of(tx: &mut Tx, asker: &Actor, asked: &ExplainPacket) -> Result<FirstPacket, Fault> {
    let protocol = protocol_of(&asked.proto, asked.destination)?;
    let has_ports = protocol == Protocol::TCP || protocol == Protocol::UDP;
    let port = match (has_ports, asked.port) {
        (true, Some(port)) => port,
        (true, None) => return Err(invalid("/port", "tcp and udp have ports: say which")),
        (false, None) => 0,
        (false, Some(_)) => return Err(invalid("/port", "this protocol has no ports")),
    };
    let from = OpenSession {
        target: String::new(),
        client_ip: asked.client_ip,
        device: asked.device.clone(),
        reason: None,
        duration: None,
    };
    let client_ip = client_ip_of(tx, asker, &from).await?;
    Ok(FirstPacket { client_ip, destination: asked.destination, protocol, port })
}

fn protocol_of(text: &str, destination: IpAddr) -> Result<Protocol, Fault> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::TCP),
        "udp" => Ok(Protocol::UDP),
        "icmp" if destination.is_ipv4() => Ok(Protocol::ICMP),
        "icmp" | "icmpv6" => Ok(Protocol::ICMPV6),
        other => other.parse().map(Protocol).map_err(|_| {
            invalid("/proto", format!("{text:?} is no protocol: write tcp, udp, icmp or a number"))
        }),
    }
}

/// Where a packet goes: one address takes all, a range takes offset by offset; the same for ports.
fn translated(packet: &FirstPacket, selected: &Selector, dnat: &Dnat) -> String {
    let address = offset_in(&selected.ip(), packet.destination, &dnat.addr);
    match dnat.ports {
        _ if packet.port == 0 => address.to_string(),
        None => SocketAddr::new(address, packet.port).to_string(),
        Some(to) => {
            let from = selected.ports().filter(|_| to.start() != to.end());
            let offset = from.map_or(0, |from| packet.port.saturating_sub(from.start()));
            SocketAddr::new(address, to.start().saturating_add(offset)).to_string()
        }
    }
}

fn offset_in(from: &IpRange, address: IpAddr, to: &IpRange) -> IpAddr {
    if to.start() == to.end() {
        return to.start();
    }
    match (from.start(), address, to.start()) {
        (IpAddr::V4(first), IpAddr::V4(address), IpAddr::V4(to)) => {
            let offset = u32::from(address).saturating_sub(u32::from(first));
            IpAddr::V4(u32::from(to).saturating_add(offset).into())
        }
        (IpAddr::V6(first), IpAddr::V6(address), IpAddr::V6(to)) => {
            let offset = u128::from(address).saturating_sub(u128::from(first));
            IpAddr::V6(u128::from(to).saturating_add(offset).into())
        }
        // Of mixed versions there is no rule.
        (IpAddr::V4(_) | IpAddr::V6(_), _, to) => to,
    }
}

#[cfg(test)]
mod tests {
    use router_core::selector::PortRange;

    use super::*;

    #[test]
    fn one_address_takes_all_and_a_range_takes_offset_by_offset() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let range = |first: &str, last: &str| IpRange::new(ip(first), ip(last)).unwrap();
        let selected = Selector::new(
            range("10.0.0.0", "10.0.0.9"),
            Some(Protocol::TCP),
            Some(PortRange::new(8000, 8009).unwrap()),
        );
        let packet = FirstPacket {
            client_ip: ip("10.77.0.2"),
            destination: ip("10.0.0.3"),
            protocol: Protocol::TCP,
            port: 8004,
        };
        for (addr, ports, expected) in [
            (range("10.9.0.1", "10.9.0.1"), None, "10.9.0.1:8004"),
            (range("10.9.0.10", "10.9.0.19"), None, "10.9.0.13:8004"),
            (range("10.9.0.1", "10.9.0.1"), Some((443, 443)), "10.9.0.1:443"),
            (range("10.9.0.10", "10.9.0.19"), Some((9000, 9009)), "10.9.0.13:9004"),
        ] {
            let ports = ports.map(|(first, last)| PortRange::new(first, last).unwrap());
            assert_eq!(translated(&packet, &selected.unwrap(), &Dnat { addr, ports }), expected);
        }
    }
}
