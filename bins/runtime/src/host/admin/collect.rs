//! What a running node tells administrators. Each report takes the node's lock once, or once per page of flows.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use router_core::nat::Snat;
use router_core::packet::{Ends, PacketMut};
use router_core::rules::{IngressMatch, SessionId, SessionView};
use router_core::{Counters, Egress, Explanation, FlowView, Ingress, Node};
use wg_proto::{Device, Instant, PeerIndex};

use super::message::Refusal;
use super::report::{FlowReport, FlowTables, PacketReport, PeerReport, RuleReport, Status};
use super::words;
use crate::host::moment::Moment;
use crate::host::peers::PeerPlan;
use crate::host::program::Program;
use crate::host::status_page::Page;

/// What a rule is called and says, which the node does not know.
#[derive(Clone, Debug, Default)]
pub struct RuleText {
    /// The target's or mapping's name.
    pub target: String,
    /// Who may use it.
    pub source: String,
    /// What matches and what it becomes.
    pub destinations: Vec<String>,
    /// Whether sources are translated.
    pub src_nat: bool,
}

/// What all rules are called.
pub type RuleTexts = HashMap<SessionId, RuleText>;

/// Peers looked at under one lock.
const PEERS_PER_LOCK: usize = 256;

/// Rules a page shows at most.
const PAGE_RULES_MAX: usize = 1000;

/// Flows told at most: looking at them takes the node's lock, some ten nanoseconds each.
pub const FLOWS_MAX: usize = 65_536;

/// Everything at a glance. `kind` is `router` or `connector`.
pub fn status(program: &Program, kind: &str, texts: &RuleTexts) -> Status {
    let (plan, moment) = (program.plan().clone(), Moment::now());
    let runtime = program.runtime();
    let node = runtime.with_node(|node, _| NodeFacts::of(node));
    Status {
        name: plan.node.name.clone(),
        kind: kind.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_secs: moment.boot.saturating_duration_since(program.started().boot).as_secs(),
        public_key: plan.node.private_key.public_key().to_string(),
        listen_port: runtime.listen_port(),
        addresses: plan.node.addresses.iter().map(ToString::to_string).collect(),
        peers: peers(program, &plan.peers, moment.boot),
        rules: node.sessions.iter().map(|session| rule_report(session, texts, moment)).collect(),
        flows: flow_tables(node.flows_used, program),
        sockets: program.sockets_report(),
        drops: counted(node.path.drops().map(|(reason, count)| (reason.name().to_owned(), count))),
        counters: counters(&node, runtime.stats().total().iter()),
    }
}

/// What is open to whoever sends from `asker`. `kind` is `router` or `connector`.
pub fn page(program: &Program, kind: &str, texts: &RuleTexts, asker: IpAddr) -> Page {
    let (name, moment) = (program.plan().node.name.clone(), Moment::now());
    let mut open: Vec<SessionView> = program.runtime().with_node(|node, _| {
        let owner = node.device().owner_of(asker);
        let is_theirs = |session: &SessionView| {
            let comes_from_there = match session.subject.ingress {
                IngressMatch::Peer(peer) => owner == Some(peer),
                IngressMatch::Tun => owner.is_none(),
                IngressMatch::Any => true,
                IngressMatch::Sockets => false,
            };
            comes_from_there && session.subject.source.contains(&asker)
        };
        node.sessions().filter(is_theirs).take(PAGE_RULES_MAX).collect()
    });
    open.retain(|session| !has_lapsed(session, moment));
    Page {
        name,
        kind: kind.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_secs: moment.boot.saturating_duration_since(program.started().boot).as_secs(),
        you: asker.to_string(),
        open: open.iter().map(|session| rule_report(session, texts, moment)).collect(),
    }
}

/// The first `max` flows, [`FLOWS_MAX`] of them at most.
pub fn flows(program: &Program, max: usize) -> Vec<FlowReport> {
    let views: Vec<FlowView> =
        program.runtime().with_node(|node, now| node.flows(now).take(max.min(FLOWS_MAX)).collect());
    views.iter().map(flow_report).collect()
}

/// What would become of `packet`; `from` names a peer or `tun`, `None` is whoever owns its source.
///
/// # Errors
/// If nobody is called so.
pub fn explain(
    program: &Program,
    packet: &[u8],
    from: Option<&str>,
    texts: &RuleTexts,
) -> Result<PacketReport, Refusal> {
    let plan = program.plan().clone();
    program.runtime().with_node(|node, now| {
        let names = Names { device: node.device(), peers: &plan.peers };
        let ingress = match from {
            Some(name) => names.ingress_called(name)?,
            None => source_owner(node.device(), packet),
        };
        let explanation = node.explain(now, ingress, packet);
        Ok(packet_report(&names, ingress, &explanation, texts))
    })
}

fn has_lapsed(session: &SessionView, moment: Moment) -> bool {
    session.lease.is_some_and(|lease| lease <= moment.boot)
}

/// What is copied under one lock, to be put into words without it.
struct NodeFacts {
    sessions: Vec<SessionView>,
    flows_used: u32,
    path: Counters,
    device: Vec<(&'static str, u64)>,
}

impl NodeFacts {
    fn of(node: &Node) -> Self {
        Self {
            sessions: node.sessions().collect(),
            flows_used: node.flows_used().0,
            path: node.counters().clone(),
            device: node.device().counters().iter().collect(),
        }
    }
}

fn peers(program: &Program, plans: &[PeerPlan], now: Instant) -> Vec<PeerReport> {
    let looked = plans.chunks(PEERS_PER_LOCK).flat_map(|chunk| {
        let facts: Vec<_> = program
            .runtime()
            .with_node(|node, _| chunk.iter().map(|plan| PeerFacts::of(node.device(), plan)).collect());
        chunk.iter().zip(facts)
    });
    looked.filter_map(|(plan, facts)| Some(peer_report(plan, &facts?, now))).collect()
}

/// What is copied of a peer under the lock.
struct PeerFacts {
    endpoint: Option<SocketAddr>,
    last_handshake: Option<Instant>,
    rx_bytes: u64,
    tx_bytes: u64,
    allowed_ips: Vec<IpNet>,
}

impl PeerFacts {
    fn of(device: &Device, plan: &PeerPlan) -> Option<Self> {
        let peer = device.peer(device.peer_by_key(&plan.public_key)?)?;
        Some(Self {
            endpoint: peer.endpoint().map(|endpoint| endpoint.remote),
            last_handshake: peer.last_handshake(),
            rx_bytes: peer.rx_bytes(),
            tx_bytes: peer.tx_bytes(),
            allowed_ips: peer.allowed_ips().collect(),
        })
    }
}

fn peer_report(plan: &PeerPlan, facts: &PeerFacts, now: Instant) -> PeerReport {
    PeerReport {
        name: plan.name.clone(),
        kind: plan.kind.name().to_owned(),
        public_key: plan.public_key.to_string(),
        endpoint: facts.endpoint.map(|endpoint| endpoint.to_string()),
        handshake_age_secs: facts.last_handshake.map(|at| now.saturating_duration_since(at).as_secs()),
        rx_bytes: facts.rx_bytes,
        tx_bytes: facts.tx_bytes,
        allowed_ips: facts.allowed_ips.iter().map(ToString::to_string).collect(),
    }
}

fn rule_report(session: &SessionView, texts: &RuleTexts, moment: Moment) -> RuleReport {
    let text = texts.get(&session.id).cloned().unwrap_or_default();
    RuleReport {
        id: session.id.to_string(),
        target: text.target,
        source: text.source,
        destinations: text.destinations,
        src_nat: text.src_nat,
        expires_in_secs: session.lease.map(|lease| moment.secs_until(lease)),
        flows: session.flows.into(),
        packets: session.packets.iter().sum(),
        bytes: session.bytes.iter().sum(),
    }
}

fn flow_tables(used: u32, program: &Program) -> FlowTables {
    let config = program.node_config();
    FlowTables {
        used: used.into(),
        max_v4: config.flows_max_v4.into(),
        max_v6: config.flows_max_v6.into(),
        memory_bytes_max: config.flow_bytes_max() as u64,
    }
}

fn counters(node: &NodeFacts, workers: impl Iterator<Item = (&'static str, u64)>) -> BTreeMap<String, u64> {
    let ours = &node.path;
    let path = [
        ("forwarded_packets", ours.forwarded_packets),
        ("forwarded_bytes", ours.forwarded_bytes),
        ("answers", ours.answers),
        ("answers_withheld", ours.answers_withheld),
        ("fragments_released", ours.fragments_released),
        ("flows_opened", ours.flows_opened),
        ("flows_evicted", ours.flows_evicted),
        ("flows_reset", ours.flows_reset),
    ];
    let path = path.into_iter().map(|(name, count)| (name.to_owned(), count));
    let device = node.device.iter().map(|(name, count)| (format!("wireguard_{name}"), *count));
    let workers = workers.map(|(name, count)| (format!("worker_{name}"), count));
    counted(path.chain(device).chain(workers))
}

/// Zeros are left out.
fn counted(counts: impl Iterator<Item = (String, u64)>) -> BTreeMap<String, u64> {
    counts.filter(|(_, count)| *count > 0).collect()
}

fn flow_report(flow: &FlowView) -> FlowReport {
    let back = flow.reply.reversed();
    FlowReport {
        rule: flow.session.map_or("closed".to_owned(), |session| session.to_string()),
        protocol: flow.protocol.to_string(),
        client: both_ends(&flow.original),
        device: both_ends(&back),
        state: words::phase(flow.phase).to_owned(),
        bytes: (flow.bytes[0], flow.bytes[1]),
        idle_secs: flow.idle.as_secs(),
    }
}

/// Where a packet with this source may come from: its owner's tunnel, else the interface.
fn source_owner(device: &Device, packet: &[u8]) -> Ingress {
    let mut bytes = packet.to_vec();
    let source = PacketMut::parse(&mut bytes).ok().map(|packet| packet.addresses().source());
    source.and_then(|source| device.owner_of(source)).map_or(Ingress::Tun, Ingress::Peer)
}

/// Names for what the node knows by number.
struct Names<'a> {
    device: &'a Device,
    peers: &'a [PeerPlan],
}

impl Names<'_> {
    fn ingress_called(&self, name: &str) -> Result<Ingress, Refusal> {
        match name {
            "tun" => return Ok(Ingress::Tun),
            "sockets" => return Ok(Ingress::Sockets),
            _ => {}
        }
        let plan = self.peers.iter().find(|peer| peer.name == name);
        let index = plan.and_then(|plan| self.device.peer_by_key(&plan.public_key));
        index.map(Ingress::Peer).ok_or_else(|| {
            Refusal::new(
                format!("no peer is called \"{name}\""),
                "Use a name that status shows, or tun, or sockets.",
            )
        })
    }

    fn peer(&self, index: PeerIndex) -> String {
        let key = self.device.peer(index).map(|peer| peer.public_key());
        let plan = key.and_then(|key| self.peers.iter().find(|plan| plan.public_key == key));
        plan.map_or_else(|| "(gone)".to_owned(), |plan| plan.name.clone())
    }

    fn ingress(&self, ingress: Ingress) -> String {
        match ingress {
            Ingress::Peer(index) => self.peer(index),
            Ingress::Tun => "tun".to_owned(),
            Ingress::Sockets => "sockets".to_owned(),
        }
    }

    fn egress(&self, egress: Egress) -> String {
        match egress {
            Egress::Peer(index) => self.peer(index),
            Egress::Tun => "tun".to_owned(),
            Egress::Sockets => "sockets".to_owned(),
        }
    }
}

fn packet_report(
    names: &Names<'_>,
    ingress: Ingress,
    explanation: &Explanation,
    texts: &RuleTexts,
) -> PacketReport {
    let mut report = PacketReport { from: names.ingress(ingress), ..PacketReport::default() };
    let mut passes = |verdict: &str, session: Option<SessionId>, to: &Ends, egress: Egress| {
        report.verdict = verdict.to_owned();
        report.rule = session.map(|session| session.to_string());
        report.target = session.and_then(|session| texts.get(&session)).map(|text| text.target.clone());
        report.leaves_as = Some(both_ends(to));
        report.leaves_to = Some(names.egress(egress));
    };
    match explanation {
        Explanation::Refused { reason, heard } => {
            report.verdict = "refused".to_owned();
            report.reason = Some(reason.to_string());
            report.heard = Some(words::heard(heard));
        }
        Explanation::Flow { session, is_reply, to, egress } => {
            passes(if *is_reply { "answer in a flow" } else { "part of a flow" }, *session, to, *egress);
        }
        Explanation::Opens { session, destination, to, snat, egress } => {
            passes("opens a flow", *session, to, *egress);
            report.destination = Some(*destination);
            report.source_translated = *snat != Snat::Off;
        }
        Explanation::AnsweredHere => report.verdict = "answered by this node".to_owned(),
        Explanation::IcmpError => {
            report.verdict = "ICMP error: goes where the flow it quotes goes".to_owned()
        }
        Explanation::LaterPiece => {
            report.verdict = "later fragment: goes where its first one goes".to_owned()
        }
        _ => report.verdict = explanation.to_string(),
    }
    report
}

/// Source and destination, with ports where there are any.
fn both_ends(ends: &Ends) -> (String, String) {
    let end = |address, port| match port {
        0 => format!("{address}"),
        port => SocketAddr::new(address, port).to_string(),
    };
    (
        end(ends.addresses.source(), ends.ports.source),
        end(ends.addresses.destination(), ends.ports.destination),
    )
}
