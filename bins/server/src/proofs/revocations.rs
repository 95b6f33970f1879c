//! From the moment a session is ended until its last packet: UDP a thousand times a second and TCP as much as goes, through an
//! embedded router that holds ten thousand rules (P15).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use control_proto::Terms;
use futures_util::future::join_all;
use jiff::Timestamp;
use router_core::{Node, NodeConfig};
use serde_json::json;
use sluice_api::{DeviceSpec, OpenSession, Right, RoleSpec, SessionState, TargetSpec, UserSpec};
use sluice_runtime::host::peers::{self, PeerKind, PeerPlan};
use sluice_runtime::service::Wakes;
use sluice_runtime::stack::{Stack, StackConfig, TcpStream};
use sluice_runtime::{Runtime, RuntimeConfig, clock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use uuid::Uuid;
use wg_proto::PrivateKey;

use super::plant::{key, put};
use super::{Spread, figure, in_full, unconfirmed, until};
use crate::config::ServerConfig;
use crate::control::Control;
use crate::embedded::Embedded;
use crate::engine::{Actor, Engine, Policy};
use crate::run::{policy, settle_embedded};
use crate::store::tests::sqlite_store;

const LIMIT: Duration = Duration::from_secs(60);
/// With no packet for so long, the one before was the last.
const QUIET: Duration = Duration::from_millis(150);

/// How much is done.
#[derive(Debug, Clone, Copy)]
struct Meter {
    /// Sessions of others that are open meanwhile.
    others: usize,
    /// Clients that are revoked at the same time.
    lanes: u8,
    /// Of each client.
    revocations: usize,
}

impl Meter {
    fn of_this_run() -> Meter {
        if in_full() {
            Meter { others: 9_990, lanes: 4, revocations: 250 }
        } else {
            Meter { others: 20, lanes: 1, revocations: 2 }
        }
    }
}

/// When something was last seen.
#[derive(Debug)]
struct Seen {
    began: Instant,
    nanos: AtomicU64,
}

impl Seen {
    fn new() -> Arc<Seen> {
        Arc::new(Seen { began: Instant::now(), nanos: AtomicU64::new(0) })
    }

    fn mark(&self) {
        self.nanos.store(self.began.elapsed().as_nanos() as u64, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.began + Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }
}

/// A device's service: takes TCP, and says UDP back.
struct Device {
    port: u16,
    tcp: Arc<Seen>,
    udp: Arc<Seen>,
}

impl Device {
    async fn start() -> Device {
        let (tcp, udp) = (Seen::new(), Seen::new());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let socket = tokio::net::UdpSocket::bind(("127.0.0.1", port)).await.unwrap();
        let seen = Arc::clone(&tcp);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    let mut room = vec![0; 64 * 1024];
                    while let Ok(1..) = stream.read(&mut room).await {
                        seen.mark();
                    }
                });
            }
        });
        let seen = Arc::clone(&udp);
        tokio::spawn(async move {
            let mut room = [0; 2048];
            while let Ok((bytes, from)) = socket.recv_from(&mut room).await {
                seen.mark();
                let _ = socket.send_to(&room[..bytes], from).await;
            }
        });
        Device { port, tcp, udp }
    }
}

/// A user with a machine, and the target that is opened and revoked.
struct Lane {
    actor: Actor,
    target: String,
    address: SocketAddr,
    device: Device,
    stack: Stack,
    _runtime: Runtime,
}

impl Lane {
    /// `number` is from 1.
    async fn new(
        engine: &Engine,
        role: Uuid,
        router: Uuid,
        embedded: &Embedded,
        server: &PrivateKey,
        number: u8,
    ) -> Lane {
        let device = Device::start().await;
        let private = PrivateKey::from_bytes([number; 32]);
        let ip = Ipv4Addr::new(10, 64, 255, number);
        let name = format!("lane-{number}");
        let mut tx = engine.store().write().await.unwrap();
        let user =
            put::<UserSpec>(&mut tx, json!({ "name": name, "roles": ["ops"] }), &[("/roles/0", role)]).await;
        let spec = json!({
            "name": "laptop", "user": name, "router": "embedded", "public_key": private.public_key().to_string(), "client_ip": ip,
        });
        put::<DeviceSpec>(&mut tx, spec, &[("/user", user), ("/router", router)]).await;
        let to = Ipv4Addr::new(10, 20, 0, number);
        let dst = ["tcp", "udp"].map(|proto| {
            json!({ "selector": { "ip": to, "proto": proto, "port": device.port }, "nat": { "addr": "127.0.0.1" } })
        });
        let target = json!({ "name": name, "roles": ["ops"], "dst": dst, "src_nat": true });
        put::<TargetSpec>(&mut tx, target, &[("/roles/0", role)]).await;
        tx.commit().await.unwrap();
        let actor = Actor { user: Some(user), name: name.clone(), right: Right::User, ..Actor::system() };
        let (stack, runtime) = machine(number, ip.into(), private, server, embedded.listen_port());
        Lane { actor, target: name, address: (to, device.port).into(), device, stack, _runtime: runtime }
    }

    /// Opens, lets packets flow, revokes: how long packets came after the request, and after its answer.
    async fn revoke(&self, engine: &Engine, root: &Actor) -> [Duration; 2] {
        let asked: OpenSession = serde_json::from_value(json!({ "target": self.target })).unwrap();
        let opened = engine.open_session(Timestamp::now(), &self.actor, &asked).await.unwrap();
        let state = async || engine.session(root, opened.id).await.unwrap().state;
        until("the session to be active", LIMIT, async || state().await == SessionState::Active).await;
        let began = Instant::now();
        let back = Seen::new();
        let traffic = [self.stream().await, self.datagrams(&back)];
        let seen = [&self.device.tcp, &self.device.udp, &back];
        until("packets both ways", LIMIT, async || seen.iter().all(|seen| seen.last() > began)).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let before = Instant::now();
        engine.end_session(Timestamp::now(), root, opened.id, None).await.unwrap();
        let after = Instant::now();
        let last = || seen.iter().map(|seen| seen.last()).max().unwrap_or(before);
        until("the last packet", LIMIT, async || last().max(after).elapsed() > QUIET).await;
        traffic.into_iter().for_each(|task| task.abort());
        until("the session to be closed", LIMIT, async || state().await == SessionState::Closed).await;
        [before, after].map(|from| last().saturating_duration_since(from))
    }

    /// As much as goes.
    async fn stream(&self) -> JoinHandle<()> {
        let mut stream = self.connect().await;
        tokio::spawn(async move { while stream.write_all(&[7; 16 * 1024]).await.is_ok() {} })
    }

    async fn connect(&self) -> TcpStream {
        let began = Instant::now();
        loop {
            match self.stack.connect(self.client_ip(), self.address).await {
                Ok(stream) => return stream,
                Err(why) => assert!(began.elapsed() < LIMIT, "{why}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A thousand in a second.
    fn datagrams(&self, back: &Arc<Seen>) -> JoinHandle<()> {
        let socket = self.stack.bind_udp_anywhere(self.client_ip()).unwrap();
        let (to, back) = (self.address, Arc::clone(back));
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(1));
            loop {
                tokio::select! {
                    _ = ticks.tick() => {
                        // What finds no room is lost, as anywhere.
                        let _ = socket.send_to(&[9; 100], to);
                    }
                    heard = socket.recv_from() => match heard {
                        Ok(_) => back.mark(),
                        Err(_) => return,
                    },
                }
            }
        })
    }

    fn client_ip(&self) -> IpAddr {
        let IpAddr::V4(to) = self.address.ip() else { unreachable!("a target of IPv4") };
        Ipv4Addr::new(10, 64, 255, to.octets()[3]).into()
    }
}

/// A machine with a tunnel to the server.
fn machine(
    number: u8,
    address: IpAddr,
    private: PrivateKey,
    server: &PrivateKey,
    port: u16,
) -> (Stack, Runtime) {
    let mut node = Node::new(NodeConfig { has_sockets: true, ..NodeConfig::interface() }, [number; 32]);
    node.device_mut().set_private_key(clock::now(), Some(private));
    let peer = [PeerPlan {
        name: "server".to_owned(),
        kind: PeerKind::Router,
        public_key: server.public_key(),
        preshared_key: None,
        endpoint: Some(([127, 0, 0, 1], port).into()),
        persistent_keepalive: None,
        allowed_ips: vec!["10.0.0.0/8".parse().unwrap()],
    }];
    peers::add_new(node.device_mut(), clock::now(), &peer).unwrap();
    peers::settle(&mut node, clock::now(), &[], &peer);
    let stack = StackConfig {
        addresses: vec![address],
        mtu_bytes: 1420,
        buffer_bytes_max: 16 << 20,
        flows_max: 256,
        seed: [number; 32],
        workers: 1,
    };
    let stack = Stack::new(stack, &tokio::runtime::Handle::current());
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
    (stack, Runtime::start(config, node).unwrap())
}

/// A configuration whose files are in `directory`.
fn configuration(directory: &std::path::Path, key: &PrivateKey) -> ServerConfig {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let mut file =
        options.write(true).create_new(true).mode(0o600).open(directory.join("server.key")).unwrap();
    writeln!(file, "{}", *key.to_base64()).unwrap();
    let text = "[server]\nclient_ip_pool = [\"10.64.0.0/16\"]\nallowed_addresses = [\"127.0.0.0/8\"]\n\
                [node]\nname = \"embedded\"\nprivate_key_file = \"server.key\"\nlisten_port = 0\naddresses = [\"10.99.0.1\"]\n\
                admin_socket = \"server.sock\"\n[sockets]\n";
    std::fs::write(directory.join("server.toml"), text).unwrap();
    ServerConfig::load(&directory.join("server.toml")).map_err(|problems| problems.to_string()).unwrap()
}

/// Others with an open session each.
async fn others(engine: &Engine, role: Uuid, router: Uuid, how_many: usize) {
    let mut tx = engine.store().write().await.unwrap();
    let dst = json!([{ "selector": { "ip": "10.21.0.1", "proto": "tcp", "port": 22 } }]);
    let target = json!({ "name": "common", "roles": ["ops"], "dst": dst });
    put::<TargetSpec>(&mut tx, target, &[("/roles/0", role)]).await;
    let mut actors = Vec::new();
    for number in 0..how_many {
        let name = format!("other-{number}");
        let user =
            put::<UserSpec>(&mut tx, json!({ "name": name, "roles": ["ops"] }), &[("/roles/0", role)]).await;
        let ip = Ipv4Addr::new(10, 64, (number / 250) as u8, (number % 250 + 1) as u8);
        let spec = json!({
            "name": "laptop", "user": name, "router": "embedded", "public_key": key(3, number), "client_ip": ip,
        });
        put::<DeviceSpec>(&mut tx, spec, &[("/user", user), ("/router", router)]).await;
        actors.push(Actor { user: Some(user), name, right: Right::User, ..Actor::system() });
    }
    tx.commit().await.unwrap();
    let asked: OpenSession = serde_json::from_value(json!({ "target": "common" })).unwrap();
    for actor in actors {
        engine.open_session(Timestamp::now(), &actor, &asked).await.unwrap();
    }
}

#[test]
fn p15_no_packet_of_a_session_passes_for_long_after_it_was_ended() {
    // Packets have threads of their own; what ends with the program must not end within a task of it.
    let tasks = tokio::runtime::Runtime::new().unwrap();
    let embedded = tasks.block_on(measure(Meter::of_this_run()));
    embedded.stop();
}

async fn measure(meter: Meter) -> Embedded {
    println!("{meter:?}");
    let (files, store) = sqlite_store().await;
    let server = PrivateKey::from_bytes([250; 32]);
    let config = configuration(files.path(), &server);
    // Nobody has ever heard the others.
    let policy = Policy { silence_max: Duration::from_secs(1_000_000), ..policy(&config) };
    let engine = Engine::new(Timestamp::now(), store, policy);
    let router = settle_embedded(&engine, &config).await.unwrap();
    let control = Control::start(engine.clone(), Terms::default(), router).await.unwrap();
    let embedded = Embedded::start(&config, &control, router, Wakes::without_signals().waker());
    let embedded = embedded.map_err(|failure| failure.to_string()).unwrap();
    until("the router to be ready", LIMIT, async || !engine.ready().is_empty()).await;
    let mut tx = engine.store().write().await.unwrap();
    let role = put::<RoleSpec>(&mut tx, json!({ "name": "ops" }), &[]).await;
    let root = put::<UserSpec>(&mut tx, json!({ "name": "root", "right": "admin" }), &[]).await;
    tx.commit().await.unwrap();
    others(&engine, role, router, meter.others).await;
    let mut lanes = Vec::new();
    for number in 1..=meter.lanes {
        lanes.push(Lane::new(&engine, role, router, &embedded, &server, number).await);
    }
    // What was put into the store without the engine is planned with everything else.
    control.plan_all().await.unwrap();
    until("all sessions to be active", Duration::from_secs(300), async || {
        unconfirmed(engine.store()).await == 0
    })
    .await;
    let root = Actor { user: Some(root), name: "root".to_owned(), ..Actor::system() };
    let revoking = lanes.iter().map(async |lane| {
        let mut took = Vec::new();
        for _ in 0..meter.revocations {
            took.push(lane.revoke(&engine, &root).await);
        }
        took
    });
    let took: Vec<_> = join_all(revoking).await.into_iter().flatten().collect();
    figure("rules meanwhile", meter.others + usize::from(meter.lanes));
    figure(
        "from the request to the last packet",
        Spread::of(took.iter().map(|[request, _]| *request).collect()),
    );
    figure(
        "from the commit to the last packet",
        Spread::of(took.iter().map(|[_, commit]| *commit).collect()),
    );
    assert_eq!(took.len(), usize::from(meter.lanes) * meter.revocations);
    drop(files);
    embedded
}
