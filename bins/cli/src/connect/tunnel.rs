//! A tunnel without an interface: the node, and a stack of our own where the TUN would be. Called by `connect` and `demo`.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;

use router_core::{Event, Node, NodeConfig};
use sluice_runtime::host::failure::{Exit, Failure};
use sluice_runtime::host::moment::Moment;
use sluice_runtime::host::peers::{self, PeerKind, PeerPlan};
use sluice_runtime::service::Waker;
use sluice_runtime::stack::{Stack, StackConfig};
use sluice_runtime::{Runtime, RuntimeConfig, StartError, entropy, worker_count};
use tokio::net::lookup_host;
use tokio::sync::mpsc;
use wg_proto::{Event as DeviceEvent, PeerIndex, PublicKey};

use super::dialer::Dialer;
use super::names::Names;
use crate::target::{Host, Target};
use crate::wg_quick::{Peer, TunnelFile};

// Our own choices.
/// A client's packets keep no more threads busy.
const WORKERS_MAX: u16 = 2;
/// All buffers of TCP connections together.
const BUFFER_BYTES_MAX: usize = 128 << 20;
/// TCP connections and UDP flows together.
const FLOWS_MAX: usize = 8192;
/// Events that may wait to be told. More are lost.
const EVENTS_MAX: usize = 64;
/// Any interval makes a peer without persistent keepalives begin its handshake now.
const ANY_INTERVAL: NonZeroU16 = NonZeroU16::MIN;

/// A tunnel at work. Dropping it ends it.
pub(crate) struct Tunnel {
    runtime: Arc<Runtime>,
    stack: Stack,
    addresses: Vec<IpAddr>,
    dns: Vec<IpAddr>,
    peers: Vec<(PeerIndex, String)>,
    events: mpsc::Receiver<Event>,
}

/// What happens to a tunnel, as far as people want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// A handshake with this peer was completed, not always the first one.
    Up(String),
    /// This peer has not answered for a minute and a half.
    Silent(String),
}

impl Tunnel {
    /// Starts it. Its handshakes begin at once.
    ///
    /// # Errors
    /// What the system denies, or that an endpoint's name cannot be found.
    pub(crate) async fn start(file: &TunnelFile, waker: Waker) -> Result<Self, Failure> {
        let plans = plans(&file.peers).await?;
        let no_randomness = |error| Failure::of_system("the system gives no randomness", &error);
        let mut node = node(file, &plans, entropy::seed().map_err(no_randomness)?)?;
        let names = file.peers.iter().map(name);
        let indices = plans.iter().filter_map(|plan| node.device().peer_by_key(&plan.public_key));
        let peers: Vec<_> = indices.zip(names).collect();
        begin_handshakes(&mut node, &peers, &plans);
        let workers = worker_count(0).min(WORKERS_MAX);
        let stack = Stack::new(
            StackConfig {
                addresses: file.interface.addresses.clone(),
                mtu_bytes: file.interface.mtu_bytes,
                buffer_bytes_max: BUFFER_BYTES_MAX,
                flows_max: FLOWS_MAX,
                seed: entropy::seed().map_err(no_randomness)?,
                workers: usize::from(workers),
            },
            &tokio::runtime::Handle::current(),
        );
        let (tell, events) = mpsc::channel(EVENTS_MAX);
        let config = RuntimeConfig {
            workers,
            listen_port: file.interface.listen_port.unwrap_or(0),
            fwmark: 0,
            tun: None,
            udp_offload: true,
            tunnel_mtu_bytes: Some(file.interface.mtu_bytes),
            stack: Some(stack.clone()),
            waker: Some(waker),
            on_event: Some(Box::new(move |event| {
                // News that nobody has the time to hear is no news.
                let _ = tell.try_send(event);
            })),
        };
        let runtime = Runtime::start(config, node).map_err(|error| start_failure(&error))?;
        let (addresses, dns) = (file.interface.addresses.clone(), file.interface.dns.clone());
        Ok(Self { runtime: Arc::new(runtime), stack, addresses, dns, peers, events })
    }

    /// Connects through it.
    pub(crate) fn dialer(&self) -> Dialer {
        let names = Names::new(self.dns.clone(), self.addresses.clone(), self.stack.clone());
        Dialer::new(Arc::clone(&self.runtime), self.stack.clone(), self.addresses.clone(), names)
    }

    /// Its stack, which says what is still open.
    pub(crate) fn stack(&self) -> Stack {
        self.stack.clone()
    }

    /// Waits until a handshake with any peer is completed.
    pub(crate) async fn handshake(&mut self) -> String {
        loop {
            if let News::Up(peer) = self.news().await {
                return peer;
            }
        }
    }

    /// Waits for the next piece of news.
    pub(crate) async fn news(&mut self) -> News {
        loop {
            let Some(event) = self.events.recv().await else { return std::future::pending().await };
            if let Some(news) = self.news_of(event) {
                return news;
            }
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the list of events may grow; people want to know of these two"
    )]
    fn news_of(&self, event: Event) -> Option<News> {
        match event {
            Event::Device(DeviceEvent::HandshakeCompleted { peer }) => Some(News::Up(self.name_of(peer))),
            Event::Device(DeviceEvent::PeerUnreachable { peer }) => Some(News::Silent(self.name_of(peer))),
            _ => None,
        }
    }

    fn name_of(&self, peer: PeerIndex) -> String {
        let found = self.peers.iter().find(|(index, _)| *index == peer);
        found.map_or_else(|| "a peer".to_owned(), |(_, name)| name.clone())
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        if let Err(error) = self.runtime.stop() {
            tracing::error!(%error, "the tunnel did not stop in time");
        }
    }
}

/// What people call a peer: where it is, else the beginning of its key.
fn name(peer: &Peer) -> String {
    match &peer.endpoint {
        Some(endpoint) => endpoint.to_string(),
        None => format!("peer {:.8}…", peer.public_key.to_string()),
    }
}

async fn plans(peers: &[Peer]) -> Result<Vec<PeerPlan>, Failure> {
    let mut plans = Vec::with_capacity(peers.len());
    for peer in peers {
        let endpoint = match &peer.endpoint {
            Some(target) => Some(find(target).await?),
            None => None,
        };
        plans.push(PeerPlan {
            name: name(peer),
            kind: PeerKind::Router,
            public_key: peer.public_key,
            preshared_key: peer.preshared_key.clone(),
            endpoint,
            persistent_keepalive: peer.persistent_keepalive,
            allowed_ips: peer.allowed_ips.clone(),
        });
    }
    Ok(plans)
}

/// Endpoints are outside the tunnel: the system finds them.
async fn find(target: &Target) -> Result<SocketAddr, Failure> {
    let name = match &target.host {
        Host::Address(address) => return Ok(SocketAddr::new(*address, target.port)),
        Host::Name(name) => name,
    };
    let what = || Failure::new(Exit::Failed, format!("the endpoint {target} cannot be found"));
    let found = lookup_host((name.as_str(), target.port)).await;
    let mut found =
        found.map_err(|error| what().because(&error).remedy("Check the name, and this machine's DNS."))?;
    found.next().ok_or_else(|| what().because_text("the name has no address"))
}

fn node(file: &TunnelFile, plans: &[PeerPlan], seed: [u8; 32]) -> Result<Node, Failure> {
    let mut node = Node::new(NodeConfig { has_sockets: true, ..NodeConfig::interface() }, seed);
    let now = Moment::now().boot;
    node.device_mut().set_private_key(now, Some(file.interface.private_key.clone()));
    peers::add_new(node.device_mut(), now, plans)
        .map_err(|error| Failure::new(Exit::Configuration, "a peer cannot be added").because(&error))?;
    peers::settle(&mut node, now, &[], plans);
    Ok(node)
}

/// Persistent keepalives begin handshakes by themselves.
fn begin_handshakes(node: &mut Node, peers: &[(PeerIndex, String)], plans: &[PeerPlan]) {
    let now = Moment::now().boot;
    for ((index, _), plan) in peers.iter().zip(plans) {
        if plan.persistent_keepalive.is_none() && plan.endpoint.is_some() {
            for interval in [Some(ANY_INTERVAL), None] {
                // The peer was added a moment ago.
                let _ = node.device_mut().set_persistent_keepalive(now, *index, interval);
            }
        }
    }
}

fn start_failure(error: &StartError) -> Failure {
    match error {
        StartError::Bind { port, source } => {
            Failure::of_system(format!("cannot listen on UDP port {port}"), source)
                .remedy("Remove ListenPort, or end the program that has the port: ss -lunp")
        }
        StartError::TooManyQueues { .. } | StartError::System(_) => {
            Failure::new(Exit::Failed, "cannot start the tunnel").because_text(error.to_string())
        }
    }
}

/// For messages: whom the other side has to know.
pub(super) fn own_key(file: &TunnelFile) -> PublicKey {
    file.interface.private_key.public_key()
}
