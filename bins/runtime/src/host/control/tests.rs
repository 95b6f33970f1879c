//! Led programs on loopback, without any privilege: a server, a router or connector, a client and a device.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant};

use control_proto::{
    AgentKind, BootId, Change, Epoch, Grant, GrantDestination, GrantSubject, Identity, Item, ItemKey, Leader,
    Mapping, MappingId, MappingProtocol, Name, News, Peer, PeerKind, Standing, Terms, Translation, Via,
};
use router_core::flow::Caps;
use router_core::packet::Protocol;
use router_core::rules::SessionId;
use router_core::selector::{IpRange, PortRange, Selector};
use router_core::{Node, NodeConfig, Refusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use wg_proto::PrivateKey;

use super::*;
use crate::host::background::StackPlan;
use crate::host::config::node::NodeSettings;
use crate::host::config::sockets::{SocketsSettings, Sources};
use crate::host::peers::{self, PeerPlan};
use crate::host::program::{NodePlan, Program};
use crate::service::Wakes;
use crate::stack::{Stack, StackConfig, TcpStream};
use crate::{Runtime, RuntimeConfig, clock};

/// Nothing here takes this long.
const LIMIT: Duration = Duration::from_secs(30);
const SERVER: u8 = 254;
const ROUTER: u8 = 1;
const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 77, 0, 2));
const TARGET: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 20, 0, 5));
/// So that a test of it takes seconds.
const TERMS: Terms = Terms { lease: Duration::from_secs(2), heartbeat: Duration::from_millis(200) };

fn overlay(last: u8) -> IpAddr {
    IpAddr::from([10, 99, 0, last])
}

fn key(number: u8) -> PrivateKey {
    PrivateKey::from_bytes([number; 32])
}

fn peer_plan(number: u8, address: IpAddr, port: Option<u16>) -> PeerPlan {
    PeerPlan {
        name: format!("peer-{number}"),
        kind: peers::PeerKind::Router,
        public_key: key(number).public_key(),
        preshared_key: None,
        endpoint: port.map(|port| SocketAddr::from(([127, 0, 0, 1], port))),
        persistent_keepalive: port.and(NonZeroU16::new(1)),
        allowed_ips: vec![address.into()],
    }
}

fn plan(number: u8, peers: Vec<PeerPlan>) -> NodePlan {
    NodePlan {
        node: NodeSettings {
            name: format!("node-{number}"),
            private_key: key(number),
            listen_port: 0,
            addresses: vec![overlay(number)],
            mtu_bytes: 1420,
            workers: 1,
            admin_socket: "/nonexistent".into(),
            status_page: false,
        },
        tun: None,
        stack: Some(StackPlan::FOR_SERVICES),
        sockets: Some(SocketsSettings {
            sources: Sources::default(),
            connect_timeout: Duration::from_secs(5),
            udp_idle_timeout: Duration::from_secs(60),
            buffer_bytes_max: 16 << 20,
            connections_max: 256,
        }),
        peers,
        refusal: Refusal::Prohibited,
    }
}

/// A program that may be led, and what it has of its own.
fn start(number: u8, kind: LedKind, server: Option<u16>) -> (Arc<Program>, Own) {
    let mut own = Own { kind, peers: Vec::new(), rules: Vec::new() };
    if let Some(port) = server {
        own.peers.push(peer_plan(SERVER, overlay(SERVER), Some(port)));
        let to = SocketAddr::new(overlay(SERVER), PORT);
        own.rules.extend(rule_to_server(overlay(number), to));
    }
    let plan = plan(number, own.peers.clone());
    let program = Program::start(plan.clone(), |_, _| own.snapshot(&plan), Wakes::without_signals().waker());
    (Arc::new(program.map_err(|failure| failure.to_string()).expect("starts")), own)
}

/// A leader and what its agent tells.
fn leader_of(number: u8, kind: AgentKind, terms: Terms) -> (Leadership, mpsc::Receiver<AgentNews>) {
    let (tell, news) = mpsc::channel(1024);
    let leader = Leader::new(clock::now(), kind, Epoch(u128::from(number)), terms);
    (Leadership::new(key(number).public_key(), leader, tell), news)
}

fn agent(kind: AgentKind) -> Agent {
    Agent { kind, software: Name::cut("test"), boot_id: BootId(7) }
}

/// A server that listens for the router's connection inside its tunnel.
fn serve(leadership: &Leadership) -> Arc<Program> {
    let mut plan = plan(SERVER, vec![peer_plan(ROUTER, overlay(ROUTER), None)]);
    plan.sockets = None;
    let rules = door_rules(&plan.node.addresses, &["10.99.0.0/24".parse().unwrap()]);
    let rules = rules.into_iter().map(|(rule, _)| rule).collect();
    let snapshot = router_core::rules::RuleSnapshot { pools: Vec::new(), rules };
    let program = Program::start(plan, |_, _| snapshot, Wakes::without_signals().waker());
    let program = program.map_err(|failure| failure.to_string()).expect("starts");
    let listener = program.stack().unwrap().listen(SocketAddr::new(overlay(SERVER), PORT)).unwrap();
    let leadership = leadership.clone();
    program.spawn(accept(listener, move |from| (from == overlay(ROUTER)).then(|| leadership.clone())));
    Arc::new(program)
}

/// Leads a program from within the process.
fn lead_within(program: &Arc<Program>, own: Own, kind: AgentKind, leadership: &Leadership) {
    let leadership = leadership.clone();
    let dial = move || {
        let leadership = leadership.clone();
        async move { Ok(leadership.connect()) }
    };
    program.spawn(follow(LedNode::new(program, own), agent(kind), dial));
}

/// Leads a program through its tunnel to the server.
fn lead_through_tunnel(program: &Arc<Program>, own: Own, number: u8) {
    let stack = program.stack().unwrap();
    let dial = move || {
        let stack = stack.clone();
        async move { stack.connect(overlay(number), SocketAddr::new(overlay(SERVER), PORT)).await }
    };
    program.spawn(follow(LedNode::new(program, own), agent(AgentKind::Router), dial));
}

/// A machine with a tunnel and a stack of its own.
struct Client {
    _runtime: Runtime,
    stack: Stack,
    address: IpAddr,
}

impl Client {
    fn new(number: u8, address: IpAddr, to: u8, port: u16, tasks: &tokio::runtime::Handle) -> Client {
        let config = NodeConfig { has_sockets: true, ..NodeConfig::interface() };
        let mut node = Node::new(config, [number; 32]);
        node.device_mut().set_private_key(clock::now(), Some(key(number)));
        let mut router = peer_plan(to, TARGET, Some(port));
        router.allowed_ips = vec!["10.0.0.0/8".parse().unwrap()];
        let router = [router];
        peers::add_new(node.device_mut(), clock::now(), &router).unwrap();
        peers::settle(&mut node, clock::now(), &[], &router);
        let stack = StackConfig {
            addresses: vec![address],
            mtu_bytes: 1420,
            buffer_bytes_max: 16 << 20,
            flows_max: 64,
            seed: [number; 32],
            workers: 1,
        };
        let stack = Stack::new(stack, tasks);
        let config = RuntimeConfig {
            workers: 1,
            listen_port: 0,
            fwmark: 0,
            tun: None,
            udp_offload: true,
            tunnel_mtu_bytes: Some(1420),
            stack: Some(stack.clone()),
            waker: None,
            on_event: None,
        };
        Client { _runtime: Runtime::start(config, node).unwrap(), stack, address }
    }

    async fn connect(&self, to: SocketAddr) -> std::io::Result<TcpStream> {
        tokio::time::timeout(LIMIT, self.stack.connect(self.address, to)).await.expect("too slow")
    }

    /// Says something that comes back, or finds that the connection is over.
    async fn echo(stream: &mut TcpStream) -> std::io::Result<()> {
        stream.write_all(b"hello").await?;
        let mut heard = [0; 5];
        tokio::time::timeout(LIMIT, stream.read_exact(&mut heard)).await.expect("too slow")?;
        assert_eq!(&heard, b"hello");
        Ok(())
    }
}

/// A device that says everything back.
async fn device() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    address
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = StdInstant::now();
    while !holds() {
        assert!(start.elapsed() < LIMIT, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn identity(number: u8) -> Change {
    Change::put(Item::Identity(Identity { addresses: vec![overlay(number)] }))
}

fn peer(number: u8, kind: PeerKind, address: IpAddr) -> Change {
    Change::put(Item::Peer(Peer {
        key: key(number).public_key(),
        kind,
        name: Name::cut(format_args!("peer-{number}")),
        allowed_ips: vec![address.into()],
        endpoint: None,
        keepalive_secs: None,
    }))
}

fn session(number: u32) -> SessionId {
    SessionId(u128::from(number) + 1)
}

/// Lets the client of key 2 reach `device` at a port of the target's.
fn grant(number: u32, port: u16, device: SocketAddr) -> Change {
    let ports = Some(PortRange::single(port));
    let selector = Selector::new(IpRange::single(TARGET), Some(Protocol::TCP), ports).unwrap();
    let dnat =
        Translation { addr: IpRange::single(device.ip()), ports: Some(PortRange::single(device.port())) };
    Change::put(Item::Grant(Grant {
        session: session(number),
        user: Name::cut("alice"),
        target: Name::cut("db"),
        source: CLIENT,
        subject: GrantSubject::Device(key(2).public_key()),
        destinations: vec![GrantDestination { selector, dnat: Some(dnat), via: Via::Route }],
        src_nat: true,
        deny: None,
        expires: None,
        caps: Caps::default(),
    }))
}

fn close(number: u32) -> Change {
    Change::Remove(ItemKey::Grant(session(number)))
}

fn tasks() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn p15_p16_what_a_server_grants_through_the_tunnel_passes_until_it_revokes_or_is_gone() {
    let tasks = tasks();
    let (leadership, mut news) = leader_of(ROUTER, AgentKind::Router, TERMS);
    let server = serve(&leadership);
    let (router, own) = start(ROUTER, LedKind::Router, Some(server.runtime().listen_port()));
    lead_through_tunnel(&router, own, ROUTER);
    let client = Client::new(2, CLIENT, ROUTER, router.runtime().listen_port(), tasks.handle());
    let to = SocketAddr::new(TARGET, 7);
    tasks.block_on(async {
        let device = device().await;
        let standing = |number| leadership.with(|leader, now| leader.standing(now, session(number)));
        let changes = [identity(ROUTER), peer(2, PeerKind::Client, CLIENT), grant(0, 7, device)];
        leadership.with(|leader, _| leader.change(changes)).unwrap();
        until("the grant is in force", || standing(0) == Standing::Open).await;
        until("the agent has a lease", || leadership.with(|leader, now| leader.lapses_at() > now)).await;
        let mut stream = connect_soon(&client, to).await;
        Client::echo(&mut stream).await.unwrap();

        leadership.with(|leader, _| leader.change([close(0)])).unwrap();
        until("the grant is gone", || standing(0) == Standing::Closed).await;
        let broken = Client::echo(&mut stream).await.unwrap_err();
        assert_eq!(broken.kind(), ErrorKind::ConnectionReset);
        assert_eq!(
            client.connect(to).await.err().map(|error| error.kind()),
            Some(ErrorKind::PermissionDenied)
        );

        leadership.with(|leader, _| leader.change([grant(1, 7, device)])).unwrap();
        until("the new grant is in force", || standing(1) == Standing::Open).await;
        let mut stream = connect_soon(&client, to).await;
        Client::echo(&mut stream).await.unwrap();
    });
    server.stop();
    tasks.block_on(async {
        until("the last lease is over", || leadership.with(|leader, now| leader.lapses_at() <= now)).await;
        assert!(client.connect(to).await.is_err());
        let mut told = Vec::new();
        while let Ok(news) = news.try_recv() {
            assert_eq!(news.agent, key(ROUTER).public_key());
            told.push(news.news);
        }
        let has = |is_it: fn(&News) -> bool| told.iter().any(is_it);
        assert!(has(|news| matches!(news, News::Arrived { resumes: false, .. })), "{told:?}");
        assert!(has(|news| matches!(news, News::Health(health) if health.flows_max > 0)), "{told:?}");
        assert!(has(|news| matches!(news, News::Peers(report) if !report.peers.is_empty())), "{told:?}");
        assert!(!has(|news| matches!(news, News::Refused { .. })), "{told:?}");
    });
    router.stop();
}

/// Grants become known before the first lease does.
async fn connect_soon(client: &Client, to: SocketAddr) -> TcpStream {
    let start = StdInstant::now();
    loop {
        match client.connect(to).await {
            Ok(stream) => return stream,
            Err(error) => assert!(start.elapsed() < LIMIT, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn ten_thousand_grants_are_told_at_once_and_one_more_alone() {
    const MANY: u32 = 10_000;
    let tasks = tasks();
    let (leadership, mut news) = leader_of(ROUTER, AgentKind::Router, Terms::default());
    let (router, own) = start(ROUTER, LedKind::Router, None);
    tasks.block_on(async {
        let device = SocketAddr::from(([127, 0, 0, 1], 9));
        let grants = (0..MANY).map(|number| grant(number, number as u16 + 1, device));
        let changes = [identity(ROUTER), peer(2, PeerKind::Client, CLIENT)];
        leadership.with(|leader, _| leader.change(changes.into_iter().chain(grants))).unwrap();
        lead_within(&router, own, AgentKind::Router, &leadership);
        let ack = acknowledged(&mut news).await;
        assert_eq!((ack.added, ack.removed, ack.kept), (MANY, 0, 0));
        println!("a snapshot of {MANY} rules: {} us", ack.took_us);
        for (changes, added, removed) in [
            (vec![grant(MANY, 1, device)], 1, 0),
            (vec![close(5)], 0, 1),
            (vec![grant(6, 60_001, device)], 1, 1),
            (vec![grant(5, 6, device), close(7), close(8)], 1, 2),
        ] {
            leadership.with(|leader, _| leader.change(changes)).unwrap();
            let ack = acknowledged(&mut news).await;
            assert_eq!((ack.added, ack.removed), (added, removed));
            println!("changes: {} us", ack.took_us);
        }
        // Without its peer nothing is left of the client's sessions, and with it everything is back.
        leadership
            .with(|leader, _| leader.change([Change::Remove(ItemKey::Peer(key(2).public_key()))]))
            .unwrap();
        assert_eq!(acknowledged(&mut news).await.removed, MANY - 1);
        leadership.with(|leader, _| leader.change([peer(2, PeerKind::Client, CLIENT)])).unwrap();
        assert_eq!(acknowledged(&mut news).await.added, MANY - 1);
    });
    router.stop();
}

/// What the next answer says was done.
async fn acknowledged(news: &mut mpsc::Receiver<AgentNews>) -> control_proto::Applied {
    loop {
        let news = tokio::time::timeout(LIMIT, news.recv()).await.expect("too slow").expect("led");
        match news.news {
            News::Acknowledged(ack) => return ack.applied,
            News::Refused { problem, .. } => panic!("{problem}"),
            News::Arrived { .. }
            | News::Health(_)
            | News::Counters(_)
            | News::Peers(_)
            | News::Flows(_)
            | News::Refusals(_)
            | News::Left(_) => {}
        }
    }
}

#[test]
fn p17_counters_of_a_session_outlive_its_rules_and_end_with_it() {
    let tasks = tasks();
    let (leadership, mut news) = leader_of(ROUTER, AgentKind::Router, TERMS);
    let (router, own) = start(ROUTER, LedKind::Router, None);
    let client = Client::new(2, CLIENT, ROUTER, router.runtime().listen_port(), tasks.handle());
    let to = SocketAddr::new(TARGET, 7);
    tasks.block_on(async {
        let device = device().await;
        let changes = [identity(ROUTER), peer(2, PeerKind::Client, CLIENT), grant(0, 7, device)];
        leadership.with(|leader, _| leader.change(changes)).unwrap();
        lead_within(&router, own, AgentKind::Router, &leadership);
        acknowledged(&mut news).await;
        let mut stream = connect_soon(&client, to).await;
        Client::echo(&mut stream).await.unwrap();
        let first = counters(&leadership, &mut news, |counters| counters.bytes[1] > 0).await;
        assert!(!first.closed && first.bytes[0] > 0, "{first:?}");
        leadership.with(|leader, _| leader.change([close(0)])).unwrap();
        let last = counters(&leadership, &mut news, |counters| counters.closed).await;
        assert!(last.packets[0] >= first.packets[0] && last.bytes[1] >= first.bytes[1], "{first:?} {last:?}");

        let flow = heard(&mut news, |news| {
            let News::Flows(report) = news else { return None };
            report.flows.into_iter().find(|flow| flow.destination == to)
        });
        let flow = flow.await;
        assert_eq!((flow.session, flow.protocol), (session(0), 6));
        assert!(flow.bytes[0] > 0 && flow.bytes[1] > 0, "{flow:?}");
        assert!(client.connect(to).await.is_err());
        let refusal = heard(&mut news, |news| {
            let News::Refusals(report) = news else { return None };
            report.refusals.into_iter().find(|refusal| refusal.destination == to)
        });
        let refusal = refusal.await;
        assert_eq!(refusal.from, Some(key(2).public_key()));
        assert!(refusal.packets > 0 && refusal.reason.to_string() == "not_allowed", "{refusal:?}");
    });
    router.stop();
}

/// The first that is found in what is told.
async fn heard<T>(news: &mut mpsc::Receiver<AgentNews>, find: impl Fn(News) -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = find(news.recv().await.expect("led").news) {
                return found;
            }
        }
    };
    tokio::time::timeout(LIMIT, wait).await.expect("too slow")
}

/// The first counters of session 0 that are so.
async fn counters(
    leadership: &Leadership,
    news: &mut mpsc::Receiver<AgentNews>,
    are_so: fn(&control_proto::SessionCounters) -> bool,
) -> control_proto::SessionCounters {
    let wait = async {
        loop {
            if let News::Counters(report) = news.recv().await.expect("led").news {
                leadership.with(|leader, _| leader.counted(report.report));
                let of_it = report.sessions.into_iter().find(|counters| counters.session == session(0));
                if let Some(counters) = of_it.filter(are_so) {
                    return counters;
                }
            }
        }
    };
    tokio::time::timeout(LIMIT, wait).await.expect("too slow")
}

#[test]
fn a_device_is_reached_through_a_connector_as_long_as_its_mapping_is_wanted() {
    const CONNECTOR: u8 = 3;
    let tasks = tasks();
    let (leadership, mut news) = leader_of(CONNECTOR, AgentKind::Connector, TERMS);
    let (connector, own) = start(CONNECTOR, LedKind::Connector { snat: true }, None);
    // The router, as far as a connector can tell.
    let router = Client::new(4, overlay(4), CONNECTOR, connector.runtime().listen_port(), tasks.handle());
    let to = SocketAddr::new(overlay(CONNECTOR), 40_000);
    tasks.block_on(async {
        let device = device().await;
        let mapping = Change::put(Item::Mapping(Mapping {
            id: MappingId(9),
            name: Name::cut("printer"),
            protocol: MappingProtocol::Tcp,
            virtual_port: NonZeroU16::new(40_000).unwrap(),
            device: device.ip(),
            port: NonZeroU16::new(device.port()).unwrap(),
        }));
        let changes = [identity(CONNECTOR), peer(4, PeerKind::Router, overlay(4)), mapping];
        leadership.with(|leader, _| leader.change(changes)).unwrap();
        lead_within(&connector, own, AgentKind::Connector, &leadership);
        assert_eq!(acknowledged(&mut news).await.added, 1);
        let mut stream = connect_soon(&router, to).await;
        Client::echo(&mut stream).await.unwrap();
        leadership.with(|leader, _| leader.change([Change::Remove(ItemKey::Mapping(MappingId(9)))])).unwrap();
        assert_eq!(acknowledged(&mut news).await.removed, 1);
        assert_eq!(Client::echo(&mut stream).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        // Nobody answers at an address of the connector's own.
        let again = tokio::time::timeout(Duration::from_secs(2), router.stack.connect(router.address, to));
        assert!(!matches!(again.await, Ok(Ok(_))));
    });
    connector.stop();
}

#[test]
fn a_state_for_somebody_else_is_refused_whole() {
    let tasks = tasks();
    let (leadership, mut news) = leader_of(ROUTER, AgentKind::Router, TERMS);
    let (router, own) = start(ROUTER, LedKind::Router, Some(9));
    tasks.block_on(async {
        lead_within(&router, own, AgentKind::Router, &leadership);
        for (change, reason) in [
            (identity(77), "the addresses here are [10.99.0.1]"),
            (peer(SERVER, PeerKind::Client, CLIENT), "the own peer peer-254"),
            (peer(5, PeerKind::Client, overlay(SERVER)), "the own peer peer-254"),
        ] {
            let key = change.key();
            leadership.with(|leader, _| leader.change([change])).unwrap();
            refused(&mut news, reason).await;
            leadership.with(|leader, _| leader.change([Change::Remove(key)])).unwrap();
            until("it is in step again", || leadership.with(|leader, _| leader.is_synced())).await;
        }
    });
    assert_eq!(router.plan().peers.len(), 1);
    router.stop();
}

/// Until something is refused for this reason.
async fn refused(news: &mut mpsc::Receiver<AgentNews>, reason: &str) {
    let is_it = |news: &News| match news {
        News::Refused { problem, .. } => problem.what.as_str().contains(reason),
        News::Arrived { .. }
        | News::Acknowledged(_)
        | News::Health(_)
        | News::Counters(_)
        | News::Peers(_)
        | News::Flows(_)
        | News::Refusals(_)
        | News::Left(_) => false,
    };
    let wait = async { while !is_it(&news.recv().await.expect("led").news) {} };
    tokio::time::timeout(LIMIT, wait).await.expect(reason);
}
