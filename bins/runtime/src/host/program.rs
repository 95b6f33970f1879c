//! A configured node at work: what a router and a connector have in common. Started from a [`NodePlan`] and rules,
//! reloaded as a whole or not at all.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use router_core::rules::{Applied, ApplyError, RuleSnapshot};
use router_core::{Node, NodeConfig};
use thiserror::Error;
use wg_proto::AddPeerError;

use super::adjustment::Adjustment;
use super::admin::report::SocketsReport;
use super::background::{Background, StackPlan};
use super::config::node::NodeSettings;
use super::config::sockets::SocketsSettings;
use super::config::tun::TunSettings;
use super::egress::{self, Egress};
use super::failure::{Exit, Failure};
use super::moment::Moment;
use super::peers::{self, PeerNumbers, PeerPlan};
use super::status_page::{self, Page, PageMaker};
use crate::service::Waker;
use crate::stack::Stack;
use crate::{Runtime, RuntimeConfig, StartError, entropy, worker_count};

/// A node as the configuration wants it, but for its rules.
#[derive(Clone)]
pub struct NodePlan {
    /// `[node]`.
    pub node: NodeSettings,
    /// The interface to the host's network, if there is one.
    pub tun: Option<TunPlan>,
    /// The process's own stack, if it is used.
    pub stack: Option<StackPlan>,
    /// `[sockets]`: where packets for the stack go on, unless they are for an address of ours.
    pub sockets: Option<SocketsSettings>,
    /// Who may be at the other ends of tunnels.
    pub peers: Vec<PeerPlan>,
    /// How traffic of senders without any session is refused.
    pub refusal: router_core::Refusal,
}

/// The interface to the host's network.
#[derive(Clone, PartialEq, Eq)]
pub struct TunPlan {
    /// `[tun]`.
    pub settings: TunSettings,
    /// What the host is to route to it beside the egress addresses.
    pub routes: Vec<IpNet>,
    /// Clients that arrive on it, unencrypted.
    pub clients: Vec<IpNet>,
}

impl NodePlan {
    fn node_config(&self) -> NodeConfig {
        NodeConfig {
            overlay_addresses: self.node.addresses.clone(),
            tunnel_mtu_bytes: self.node.mtu_bytes,
            tun_mtu_bytes: self.tun.as_ref().map(|_| self.node.mtu_bytes),
            has_sockets: self.stack.is_some(),
            tun_clients: self.tun.as_ref().map(|tun| tun.clients.clone()).unwrap_or_default(),
            refusal: self.refusal,
            ..NodeConfig::default()
        }
    }
}

/// A node at work. [`Program::stop`] ends it; so does dropping it.
pub struct Program {
    runtime: Arc<Runtime>,
    plan: Mutex<NodePlan>,
    started: Moment,
    egress: Mutex<Option<Egress>>,
    background: Mutex<Option<Background>>,
}

/// Why a new configuration was not taken. The old one is still in force, all of it.
#[derive(Debug, Error)]
pub enum ReloadFault {
    /// Something that is fixed once the node runs.
    #[error("{0} cannot change while the node runs; restart it")]
    NeedsRestart(&'static str),
    /// A file in a directory, or a port, that the program may not use since it started.
    #[error(
        "it names a file in another directory, or a port below 1024, that was given up at the start; restart the program"
    )]
    GivenUp,
    /// A peer cannot be added.
    #[error("a peer cannot be added: {0}")]
    Peer(#[from] AddPeerError),
    /// The rules are refused.
    #[error("the rules are refused: {0}")]
    Rules(#[from] ApplyError),
    /// The new address for metrics cannot be had.
    #[error("cannot serve metrics at {address}: {error}")]
    Metrics {
        /// Which.
        address: SocketAddr,
        /// The system's reason.
        error: std::io::Error,
    },
    /// The new port cannot be had.
    #[error("cannot listen on UDP port {port}: {error}")]
    Port {
        /// Which.
        port: u16,
        /// The system's reason.
        error: std::io::Error,
    },
}

impl From<ReloadFault> for Failure {
    fn from(fault: ReloadFault) -> Self {
        Self::new(Exit::Configuration, "the node refuses its configuration").because(&fault)
    }
}

impl Program {
    /// Starts a node with its peers and the rules that `rules` makes, once the peers are there to be named.
    ///
    /// # Errors
    /// What the system denies, or why the rules are refused.
    pub fn start(
        plan: NodePlan,
        rules: impl FnOnce(&PeerNumbers, Moment) -> RuleSnapshot,
        waker: Waker,
    ) -> Result<Self, Failure> {
        let (tun, egress) = open_tun(&plan)?.unzip();
        let seed =
            entropy::seed().map_err(|error| Failure::of_system("the system gives no randomness", &error))?;
        let moment = Moment::now();
        let node = node(&plan, moment, seed, rules)?;
        let background = plan.stack.as_ref().map(|stack| start_stack(&plan, stack)).transpose()?;
        let config = RuntimeConfig {
            workers: plan.node.workers,
            listen_port: plan.node.listen_port,
            fwmark: 0,
            tun,
            udp_offload: true,
            tunnel_mtu_bytes: Some(plan.node.mtu_bytes),
            stack: background.as_ref().map(|background| background.stack().clone()),
            waker: Some(waker),
            on_event: None,
        };
        let runtime = Runtime::start(config, node).map_err(|error| start_failure(&error))?;
        Ok(Self {
            runtime: Arc::new(runtime),
            plan: Mutex::new(plan),
            started: moment,
            egress: Mutex::new(egress),
            background: Mutex::new(background),
        })
    }

    /// Stops the node and undoes its changes to the host's network, whoever else still holds this object: threads that
    /// answer administrators do so until the process ends.
    pub fn stop(&self) {
        if let Err(error) = self.runtime.stop() {
            tracing::error!(%error, "the node did not stop in time");
        }
        drop(self.background.lock().unwrap_or_else(PoisonError::into_inner).take());
        drop(self.egress.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Serves the page that `make` makes for whoever asks at any of our addresses, as long as the program runs; where the
    /// configuration wants none nothing happens. Rules say who may ask.
    ///
    /// # Errors
    /// If somebody listens there.
    pub fn serve_status_page(
        &self,
        make: impl Fn(IpAddr) -> Option<Page> + Send + Sync + 'static,
    ) -> Result<(), Failure> {
        let node = self.plan().node.clone();
        let background = self.background.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(background), true) = (background.as_ref(), node.status_page) else { return Ok(()) };
        let make: PageMaker = Arc::new(make);
        for address in node.addresses {
            let listener = background.stack().listen(SocketAddr::new(address, status_page::PORT));
            let listener = listener.map_err(|error| {
                Failure::new(Exit::Failed, "cannot serve the status page").because_text(error.to_string())
            })?;
            background.spawn(status_page::serve(listener, Arc::clone(&make)));
        }
        Ok(())
    }

    /// What goes through the host's sockets now; `None` if nothing ever does.
    pub fn sockets_report(&self) -> Option<SocketsReport> {
        let background = self.background.lock().unwrap_or_else(PoisonError::into_inner);
        background.as_ref().and_then(Background::sockets_report)
    }

    /// Changes peers and sessions one by one, at one moment between two batches of packets: do little at once.
    pub fn adjust<R>(&self, work: impl FnOnce(&mut Adjustment<'_>) -> R) -> R {
        let mut plan = self.plan();
        let peers = &mut plan.peers;
        self.runtime.with_node(|node, now| work(&mut Adjustment { node, now, peers }))
    }

    /// The process's own stack, if there is one and the program runs.
    pub fn stack(&self) -> Option<Stack> {
        let background = self.background.lock().unwrap_or_else(PoisonError::into_inner);
        background.as_ref().map(|background| background.stack().clone())
    }

    /// Runs a task beside the node until it ends, or the program; nothing happens without a stack.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let background = self.background.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(background) = background.as_ref() {
            background.spawn(task);
        }
    }

    /// The running node.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Whether the node's lock can be had: the watchdog hears of us only then, so a worker that hangs in it is noticed.
    pub fn is_healthy(&self) -> bool {
        self.runtime.with_node(|node, _| node.device().public_key().is_some())
    }

    /// When it started.
    pub fn started(&self) -> Moment {
        self.started
    }

    /// What the node was made from.
    pub fn node_config(&self) -> NodeConfig {
        self.plan().node_config()
    }

    /// What is in force now.
    pub fn plan(&self) -> MutexGuard<'_, NodePlan> {
        // The plan is replaced in one move, so it is whole whoever panicked.
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings `plan` and the rules that `rules` makes into force, at one moment between two batches of packets.
    ///
    /// # Errors
    /// Why not; then everything is as before.
    pub fn reload(
        &self,
        plan: NodePlan,
        rules: impl FnOnce(&PeerNumbers, Moment) -> RuleSnapshot,
    ) -> Result<Applied, ReloadFault> {
        let mut current = self.plan();
        if let Some(what) = fixed_difference(&current, &plan) {
            return Err(ReloadFault::NeedsRestart(what));
        }
        let port_before = self.runtime.listen_port();
        self.rebind(&current, &plan)?;
        let applied = self.change(&current, &plan, rules);
        if applied.is_err()
            && let Err(error) = self.runtime.rebind(port_before)
        {
            tracing::error!(port = port_before, %error, "cannot go back to the former port");
        }
        let applied = applied?;
        *current = plan;
        Ok(applied)
    }

    /// Peers that rules name are added first, without prefixes; rules are made without the node's lock; what was there
    /// is touched only once they are in.
    fn change(
        &self,
        current: &NodePlan,
        plan: &NodePlan,
        rules: impl FnOnce(&PeerNumbers, Moment) -> RuleSnapshot,
    ) -> Result<Applied, ReloadFault> {
        let moment = Moment::now();
        let (added, numbers) = self.runtime.with_node(|node, _| {
            let added = peers::add_new(node.device_mut(), moment.boot, &plan.peers)?;
            Ok::<_, ReloadFault>((added, PeerNumbers::of(node.device())))
        })?;
        let snapshot = rules(&numbers, moment);
        self.runtime.with_node(|node, now| match node.apply(now, &snapshot) {
            Ok(applied) => {
                peers::settle(node, now, &current.peers, &plan.peers);
                node.device_mut().set_private_key(now, Some(plan.node.private_key.clone()));
                Ok(applied)
            }
            Err(error) => {
                peers::take_back(node.device_mut(), &added);
                Err(error.into())
            }
        })
    }

    fn rebind(&self, current: &NodePlan, plan: &NodePlan) -> Result<(), ReloadFault> {
        let port = plan.node.listen_port;
        if port == current.node.listen_port {
            return Ok(());
        }
        self.runtime.rebind(port).map(drop).map_err(|error| ReloadFault::Port { port, error })
    }
}

/// A node with its identity, its peers and the rules that `rules` makes, not yet connected to anything.
///
/// # Errors
/// Why the node refuses its configuration.
pub fn node(
    plan: &NodePlan,
    moment: Moment,
    seed: [u8; 32],
    rules: impl FnOnce(&PeerNumbers, Moment) -> RuleSnapshot,
) -> Result<Node, ReloadFault> {
    let mut node = Node::new(plan.node_config(), seed);
    node.device_mut().set_private_key(moment.boot, Some(plan.node.private_key.clone()));
    fill(&mut node, moment, plan, rules)?;
    Ok(node)
}

/// A new node's peers and rules.
fn fill(
    node: &mut Node,
    moment: Moment,
    plan: &NodePlan,
    rules: impl FnOnce(&PeerNumbers, Moment) -> RuleSnapshot,
) -> Result<(), ReloadFault> {
    peers::add_new(node.device_mut(), moment.boot, &plan.peers)?;
    let snapshot = rules(&PeerNumbers::of(node.device()), moment);
    node.apply(moment.boot, &snapshot)?;
    peers::settle(node, moment.boot, &[], &plan.peers);
    Ok(())
}

fn fixed_difference(old: &NodePlan, new: &NodePlan) -> Option<&'static str> {
    let differs = [
        (old.node.addresses != new.node.addresses, "[node] addresses"),
        (old.node.mtu_bytes != new.node.mtu_bytes, "[node] mtu"),
        (old.node.workers != new.node.workers, "[node] workers"),
        (old.node.admin_socket != new.node.admin_socket, "[node] admin_socket"),
        (old.refusal != new.refusal, "[node] deny_signal"),
        (old.tun != new.tun, "[tun]"),
        (old.node.status_page != new.node.status_page, "[node] status_page"),
        (old.stack != new.stack || old.sockets != new.sockets, "[sockets]"),
    ];
    differs.iter().find(|(differs, _)| *differs).map(|(_, what)| *what)
}

fn open_tun(plan: &NodePlan) -> Result<Option<(crate::tun::Tun, Egress)>, Failure> {
    let Some(tun) = &plan.tun else { return Ok(None) };
    egress::open(&tun.settings, &tun.routes, plan.node.mtu_bytes, plan.node.workers).map(Some)
}

fn start_stack(plan: &NodePlan, stack: &StackPlan) -> Result<Background, Failure> {
    let (node, workers) = (&plan.node, usize::from(worker_count(plan.node.workers)));
    Background::start(stack, plan.sockets.as_ref(), &node.addresses, node.mtu_bytes, workers)
}

fn start_failure(error: &StartError) -> Failure {
    match error {
        StartError::Bind { port, source } => {
            Failure::of_system(format!("cannot listen on UDP port {port}"), source)
                .remedy("Choose another listen_port, or end the program that has it: ss -lunp")
        }
        StartError::TooManyQueues { .. } | StartError::System(_) => {
            Failure::new(Exit::Failed, "cannot start the node").because_text(error.to_string())
        }
    }
}
