//! The slow twin of a router's decision: linear scans over sessions, selectors, prefixes and flows, in the words of the
//! specification. It watches each packet that its node decides about and notes what it would not have said: what was
//! forwarded and must not be (safety), and what was refused and must pass (liveness).
//!
//! Where the node has a choice (which external port, which of several rules) any choice is right. What depends on how
//! full the node is is not judged; other tests look at that. TCP windows are, as long as they are plain.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use wg_proto::{Device, Instant, IpNet, PeerIndex};

use super::station::Passage;
use crate::nat::Snat;
use crate::packet::Protocol;
use crate::rules::{EgressChoice, IngressMatch, Rule, RuleSnapshot, SessionId, SnatPool};
use crate::{Egress, Ingress, NodeConfig, Verdict};

mod flows;
mod judge;
mod talk;
#[cfg(test)]
mod tests;
mod translate;

use flows::Memory;

/// The most verdicts that are remembered as wrong; a run that has one has failed anyway.
const WRONG_MAX: usize = 32;

/// The slow twin of one node.
#[derive(Debug)]
pub struct Twin {
    config: NodeConfig,
    pools: Vec<SnatPool>,
    sessions: Vec<TwinSession>,
    node_lease: Option<Instant>,
    generations: u64,
    memory: Memory,
    /// What was forwarded and must not be.
    pub wrongly_forwarded: Vec<String>,
    /// What was refused and must pass.
    pub wrongly_refused: Vec<String>,
    /// How many packets were judged: forwarded rightly, refused rightly, and without an opinion.
    pub judged: [u64; 3],
}

#[derive(Debug)]
struct TwinSession {
    rule: Rule,
    generation: u64,
}

/// Where an opening packet may go, by one rule.
#[derive(Debug, Clone)]
struct Opening {
    generation: u64,
    /// `None`: the source keeps its address.
    sources: Option<Vec<IpAddr>>,
    destination: (IpAddr, u16),
    egress: Egress,
}

impl Twin {
    pub(super) fn new(config: NodeConfig) -> Twin {
        Twin {
            config,
            pools: Vec::new(),
            sessions: Vec::new(),
            node_lease: None,
            generations: 0,
            memory: Memory::default(),
            wrongly_forwarded: Vec::new(),
            wrongly_refused: Vec::new(),
            judged: [0; 3],
        }
    }

    /// The node was given a snapshot and took it.
    pub(super) fn apply(&mut self, now: Instant, snapshot: &RuleSnapshot) {
        self.pools.clone_from(&snapshot.pools);
        self.sessions.retain(|session| snapshot.rules.iter().any(|rule| is_like(rule, &session.rule)));
        for rule in &snapshot.rules {
            match self.sessions.iter().any(|session| session.rule.id == rule.id) {
                true => self.renew(now, rule.id, rule.lease),
                false => self.open(rule),
            }
        }
    }

    pub(super) fn open(&mut self, rule: &Rule) {
        self.generations += 1;
        self.sessions.push(TwinSession { rule: rule.clone(), generation: self.generations });
    }

    pub(super) fn close(&mut self, id: SessionId) {
        self.sessions.retain(|session| session.rule.id != id);
    }

    pub(super) fn renew(&mut self, now: Instant, id: SessionId, lease: Option<Instant>) {
        for session in self.sessions.iter_mut().filter(|session| session.rule.id == id) {
            if has_lapsed(now, session.rule.lease) {
                self.generations += 1;
                session.generation = self.generations;
            }
            session.rule.lease = lease;
        }
    }

    pub(super) fn set_node_lease(&mut self, now: Instant, lease: Option<Instant>) {
        if has_lapsed(now, self.node_lease) {
            for session in self.sessions.iter_mut().filter(|session| !is_exempt(&session.rule)) {
                self.generations += 1;
                session.generation = self.generations;
            }
        }
        self.node_lease = lease;
    }

    /// What the node said about a packet. `is_excused` says that it refused for want of room.
    pub(super) fn judge(&mut self, device: &Device, passage: &Passage, is_excused: bool) {
        let opinion = self.opinion(device, passage);
        let place = match (&opinion, passage.verdict) {
            (judge::Opinion::Wrong(_) | judge::Opinion::MustPass(_), _) => None,
            (_, Verdict::Forward(_)) => Some(0),
            (judge::Opinion::Right, _) => Some(1),
            (judge::Opinion::None, _) => Some(2),
        };
        place.into_iter().for_each(|place| self.judged[place] += 1);
        match opinion {
            judge::Opinion::Wrong(why) => note(&mut self.wrongly_forwarded, why, passage),
            judge::Opinion::MustPass(why) if !is_excused => note(&mut self.wrongly_refused, why, passage),
            judge::Opinion::MustPass(_) | judge::Opinion::Right | judge::Opinion::None => {}
        }
    }

    /// Whether a session is alive in this generation.
    fn is_alive(&self, now: Instant, generation: u64) -> bool {
        let session = self.sessions.iter().find(|session| session.generation == generation);
        session.is_some_and(|session| self.has_leases(now, &session.rule))
    }

    /// Whether neither the session's lease has lapsed nor the node's, if that matters to it.
    fn has_leases(&self, now: Instant, rule: &Rule) -> bool {
        !has_lapsed(now, rule.lease) && (is_exempt(rule) || !has_lapsed(now, self.node_lease))
    }

    /// All ways that some rule gives a packet that opens a flow.
    fn openings(
        &self,
        device: &Device,
        now: Instant,
        ingress: Ingress,
        source: IpAddr,
        (destination, port): (IpAddr, u16),
        protocol: Protocol,
    ) -> Vec<Opening> {
        let mut openings = Vec::new();
        for session in &self.sessions {
            let subject = session.rule.subject;
            let is_subject = subject.source.contains(&source) && comes_in(subject.ingress, ingress);
            if !is_subject || !self.is_alive(now, session.generation) {
                continue;
            }
            for choice in &session.rule.destinations {
                if !choice.selector.matches(destination, protocol, port) {
                    continue;
                }
                let to = translate::destination(choice, protocol, (destination, port));
                let is_for_the_stack = choice.egress == EgressChoice::Sockets;
                let insides =
                    if is_for_the_stack { Vec::from([to]) } else { self.through_ours(protocol, to) };
                for to in insides {
                    let egress = self.egress(device, choice.egress, to.0);
                    openings.extend(egress.map(|egress| Opening {
                        generation: session.generation,
                        sources: self.sources(session.rule.snat),
                        destination: to,
                        egress,
                    }));
                }
            }
        }
        openings
    }

    /// A destination that is an address of our own leads to the inside hosts that have the mapping there (MAP-9).
    fn through_ours(&self, protocol: Protocol, to: (IpAddr, u16)) -> Vec<(IpAddr, u16)> {
        if self.is_ours(to.0) { self.memory.insides(protocol, to) } else { Vec::from([to]) }
    }

    fn egress(&self, device: &Device, choice: EgressChoice, destination: IpAddr) -> Option<Egress> {
        let tun = self.config.tun_mtu_bytes.map(|_| Egress::Tun);
        let sockets = self.config.has_sockets.then_some(Egress::Sockets);
        match choice {
            EgressChoice::Peer(peer) => device.peer(peer).map(|_| Egress::Peer(peer)),
            EgressChoice::Tun => tun,
            EgressChoice::Sockets => sockets,
            EgressChoice::Route => owner(device, destination).map(Egress::Peer).or(tun).or(sockets),
        }
    }

    fn sources(&self, snat: Snat) -> Option<Vec<IpAddr>> {
        match snat {
            Snat::Off => None,
            Snat::Pool(id) => {
                let pool = self.pools.iter().find(|pool| pool.id == id);
                Some(pool.map(|pool| pool.addresses.clone()).unwrap_or_default())
            }
        }
    }

    /// Whether it is an address inside the tunnels or of a pool.
    fn is_ours(&self, address: IpAddr) -> bool {
        self.config.overlay_addresses.contains(&address)
            || self.pools.iter().any(|pool| pool.addresses.contains(&address))
    }
}

/// The peer with the longest prefix that has this address, by looking at all.
fn owner(device: &Device, address: IpAddr) -> Option<PeerIndex> {
    let prefixes = device.peers().filter_map(|index| device.peer(index)).flat_map(|view| {
        view.allowed_ips().map(move |prefix: IpNet| (prefix.prefix_len(), view.index(), prefix))
    });
    let owners = prefixes.filter(|(_, _, prefix)| prefix.contains(&address));
    owners.max_by_key(|(len, ..)| *len).map(|(_, index, _)| index)
}

fn comes_in(wanted: IngressMatch, ingress: Ingress) -> bool {
    match wanted {
        IngressMatch::Peer(peer) => ingress == Ingress::Peer(peer),
        IngressMatch::Tun => ingress == Ingress::Tun,
        IngressMatch::Sockets => ingress == Ingress::Sockets,
        IngressMatch::Any => true,
    }
}

fn has_lapsed(now: Instant, lease: Option<Instant>) -> bool {
    lease.is_some_and(|lease| lease <= now)
}

/// Whether the node's lease is none of its business: what the node's own process opens.
fn is_exempt(rule: &Rule) -> bool {
    rule.subject.ingress == IngressMatch::Sockets && rule.lease.is_none()
}

/// Whether two rules differ at most in their lease.
fn is_like(one: &Rule, other: &Rule) -> bool {
    Rule { lease: None, ..one.clone() } == Rule { lease: None, ..other.clone() }
}

fn note(wrong: &mut Vec<String>, why: &'static str, passage: &Passage) {
    if wrong.len() < WRONG_MAX {
        wrong.push(alloc::format!(
            "{why}: at {:?} from {:?}: {:?}\n  before {:02x?}\n  after  {:02x?}",
            passage.at,
            passage.ingress,
            passage.verdict,
            passage.before,
            passage.after,
        ));
    }
}
