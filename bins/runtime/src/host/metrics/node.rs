//! A running node's counters as metrics. They are copied under the node's lock and put into words without it.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::WorkerStats;
use crate::host::admin::report::SocketsReport;
use crate::host::control::LinkState;
use crate::host::moment::Moment;
use crate::host::program::Program;

/// A peer whose last handshake is older has no session (REJECT_AFTER_TIME).
const SESSION_LIFE: Duration = Duration::from_secs(180);
/// The last of `wg_proto`'s counters that counts no drop.
const LAST_NO_DROP: &str = "handshakes_completed";

/// A running node at one moment.
pub struct NodeNumbers {
    uptime: Duration,
    peers: usize,
    peers_connected: usize,
    rules: usize,
    flows: u32,
    flows_max: [u32; 2],
    path: router_core::Counters,
    device: Vec<(&'static str, u64)>,
    workers: WorkerStats,
    sockets: Option<SocketsReport>,
    link: Option<LinkState>,
}

impl NodeNumbers {
    /// Of a running program; `link` is how it stands with its server, if it has one.
    pub fn of(program: &Program, link: Option<LinkState>) -> NodeNumbers {
        let (moment, config) = (Moment::now(), program.node_config());
        let mut numbers = program.runtime().with_node(|node, now| {
            let device = node.device();
            let peers = device.peers().filter_map(|index| device.peer(index));
            let (mut all, mut connected) = (0, 0);
            for peer in peers {
                all += 1;
                let age = peer.last_handshake().map(|at| now.saturating_duration_since(at));
                connected += usize::from(age.is_some_and(|age| age < SESSION_LIFE));
            }
            NodeNumbers {
                uptime: Duration::ZERO,
                peers: all,
                peers_connected: connected,
                rules: node.sessions().count(),
                flows: node.flows_used().0,
                flows_max: [config.flows_max_v4, config.flows_max_v6],
                path: node.counters().clone(),
                device: device.counters().iter().collect(),
                workers: WorkerStats::default(),
                sockets: None,
                link,
            }
        });
        numbers.uptime = moment.boot.saturating_duration_since(program.started().boot);
        numbers.workers = program.runtime().stats().total();
        numbers.sockets = program.sockets_report();
        numbers
    }
}

/// Tells a node's numbers at each scrape; nothing once the node is gone.
pub struct NodeCollector(Box<dyn Fn() -> Option<NodeNumbers> + Send + Sync>);

impl NodeCollector {
    /// Of the node that `look` looks at.
    pub fn new(look: impl Fn() -> Option<NodeNumbers> + Send + Sync + 'static) -> NodeCollector {
        NodeCollector(Box::new(look))
    }
}

impl fmt::Debug for NodeCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeCollector").finish_non_exhaustive()
    }
}

impl Collector for NodeCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        match (self.0)() {
            Some(numbers) => tell(&numbers, &mut Page(encoder)),
            None => Ok(()),
        }
    }
}

fn tell(numbers: &NodeNumbers, page: &mut Page<'_>) -> fmt::Result {
    page.labelled(
        "build_info",
        "The program's version",
        MetricType::Gauge,
        "version",
        [(env!("CARGO_PKG_VERSION"), 1)],
    )?;
    page.gauge("uptime_seconds", "Since the node started", numbers.uptime.as_secs())?;
    page.gauge("peers", "Peers known to the tunnel device", numbers.peers as u64)?;
    page.gauge(
        "peers_connected",
        "Peers with a handshake in the last three minutes",
        numbers.peers_connected as u64,
    )?;
    page.gauge(
        "rules",
        "Rules in force: sessions of a router, mappings of a connector",
        numbers.rules as u64,
    )?;
    page.gauge("flows", "Tracked flows", numbers.flows.into())?;
    let [v4, v6] = numbers.flows_max;
    page.labelled(
        "flows_max",
        "Room for flows",
        MetricType::Gauge,
        "version",
        [("4", v4.into()), ("6", v6.into())],
    )?;
    tell_path(numbers, page)?;
    tell_device(numbers, page)?;
    tell_workers(&numbers.workers, page)?;
    if let Some(sockets) = &numbers.sockets {
        tell_sockets(sockets, page)?;
    }
    if let Some(link) = &numbers.link {
        page.gauge(
            "control_connected",
            "Whether the control connection to the server is up",
            link.connected.into(),
        )?;
        page.gauge(
            "control_lease_seconds",
            "Until the lease lapses and nothing passes",
            link.lease.as_secs(),
        )?;
        page.counter("control_connections", "Control connections that were made", link.connections)?;
    }
    Ok(())
}

fn tell_path(numbers: &NodeNumbers, page: &mut Page<'_>) -> fmt::Result {
    let path = &numbers.path;
    for (name, help, count) in [
        ("forwarded_packets", "Packets forwarded", path.forwarded_packets),
        ("forwarded_bytes", "Bytes in them", path.forwarded_bytes),
        ("answers", "Packets answered by the node itself: ICMP errors, resets", path.answers),
        ("answers_withheld", "Answers not sent for their rate", path.answers_withheld),
        ("flows_opened", "Flows opened", path.flows_opened),
        ("flows_evicted", "Flows that made room for others", path.flows_evicted),
        ("flows_reset", "Flows ended with their session, both ends told", path.flows_reset),
    ] {
        page.counter(name, help, count)?;
    }
    let drops = path.drops().map(|(reason, count)| (reason.name(), count));
    page.labelled("dropped_packets", "Packets dropped by the data path", MetricType::Counter, "reason", drops)
}

fn tell_device(numbers: &NodeNumbers, page: &mut Page<'_>) -> fmt::Result {
    let drops_from =
        numbers.device.iter().position(|(name, _)| *name == LAST_NO_DROP).map_or(0, |last| last + 1);
    let (counts, drops) = numbers.device.split_at(drops_from);
    for (name, count) in counts {
        page.counter(
            &format!("wireguard_{name}"),
            &format!("WireGuard: {}", name.replace('_', " ")),
            *count,
        )?;
    }
    page.labelled(
        "wireguard_dropped_messages",
        "WireGuard messages dropped",
        MetricType::Counter,
        "reason",
        drops.iter().copied(),
    )
}

fn tell_workers(workers: &WorkerStats, page: &mut Page<'_>) -> fmt::Result {
    let is_drop = |name: &str| name.starts_with("dropped_");
    for (name, count) in workers.iter().filter(|(name, _)| !is_drop(name)) {
        let words = format!("Threads that carry packets: {}", name.replace('_', " "));
        page.counter(&format!("worker_{name}"), &words, count)?;
    }
    let drops = workers.iter().filter_map(|(name, count)| Some((name.strip_prefix("dropped_")?, count)));
    page.labelled(
        "worker_dropped_packets",
        "Packets dropped between sockets, interface and data path",
        MetricType::Counter,
        "reason",
        drops,
    )
}

fn tell_sockets(sockets: &SocketsReport, page: &mut Page<'_>) -> fmt::Result {
    let open = [("tcp", sockets.tcp), ("udp", sockets.udp), ("echo", sockets.echo)];
    page.labelled("sockets_open", "Flows that use sockets of the host", MetricType::Gauge, "protocol", open)?;
    page.gauge("sockets_max", "How many there may be", sockets.connections_max)?;
    let bytes = [("device", sockets.bytes_to_devices), ("client", sockets.bytes_to_clients)];
    page.labelled("sockets_payload_bytes", "Payload carried", MetricType::Counter, "towards", bytes)?;
    page.gauge("sockets_buffer_bytes", "What buffers of connections take", sockets.buffer_bytes)?;
    page.gauge("sockets_buffer_bytes_max", "What they may take", sockets.buffer_bytes_max)
}

/// One metric after the other.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        gauge.encode(self.0.encode_descriptor(name, help, None, MetricType::Gauge)?)
    }

    /// The format adds `_total`.
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        ConstCounter::new(value).encode(self.0.encode_descriptor(name, help, None, MetricType::Counter)?)
    }

    fn labelled<'v>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        label: &str,
        values: impl IntoIterator<Item = (&'v str, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (value, count) in values {
            let labels = [(label, value)];
            let metric = family.encode_family(&labels)?;
            if matches!(kind, MetricType::Counter) {
                ConstCounter::new(count).encode(metric)?;
            } else {
                ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX)).encode(metric)?;
            }
        }
        Ok(())
    }
}
