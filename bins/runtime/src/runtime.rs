//! A running node: sockets, a TUN if there is one, and a worker per core around it. Called by the binaries.

use std::io;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant as StdInstant};

use router_core::Node;
use wg_proto::Instant;

use crate::clock;
use crate::service::Waker;
use crate::stack::Stack;
use crate::tun::{InterfaceName, Tun, TunOffloads, TunQueue, mtu_of};
use crate::udp::{self, Binding, Bound};
use crate::worker::{Bell, EventHandler, Shared, Surroundings, Worker, WorkerParts, WorkerPost, WorkerStats};

// Our own choices.
/// Workers at most; more than one per core never helps.
const WORKERS_MAX: u16 = 64;
/// How long [`Runtime::stop`] waits for the workers.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// How often it looks.
const STOP_STEP: Duration = Duration::from_millis(2);

/// How to run a node.
pub struct RuntimeConfig {
    /// Threads; 0 is one per core. [`worker_count`] says how many that is.
    pub workers: u16,
    /// The UDP port; 0 lets the kernel choose.
    pub listen_port: u16,
    /// `SO_MARK` on everything sent; 0 is none.
    pub fwmark: u32,
    /// An interface opened with as many queues as there are workers; fewer leave workers without one.
    pub tun: Option<Tun>,
    /// False forces UDP GSO and GRO off.
    pub udp_offload: bool,
    /// MTU inside the tunnel, which padding never exceeds. `None` follows the TUN's MTU as it changes (without
    /// a TUN, packets are padded freely).
    pub tunnel_mtu_bytes: Option<u16>,
    /// A stack in this process that takes the packets for the sockets. Its doors must be as many as there are workers.
    pub stack: Option<Stack>,
    /// Is told when the node cannot go on.
    pub waker: Option<Waker>,
    /// Is told about handshakes, roaming and the like, on a worker's thread: it must not block. Without it they
    /// are logged.
    pub on_event: Option<EventHandler>,
}

/// Why a node could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The UDP port cannot be had.
    #[error("cannot listen on UDP port {port}: {source}")]
    Bind {
        /// The port asked for.
        port: u16,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The TUN has more queues than there are workers to read them.
    #[error("the interface has {queues} queues, but there are {workers} workers")]
    TooManyQueues {
        /// Queues opened.
        queues: usize,
        /// Workers there would be.
        workers: usize,
    },
    /// Threads, event descriptors or the interface's state cannot be had.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// Workers did not end in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{workers} workers did not end within {STOP_LIMIT:?}")]
pub struct StopError {
    /// How many.
    pub workers: usize,
}

/// Counters of all workers at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// One entry per worker.
    pub workers: Vec<WorkerStats>,
}

/// A running node. Dropping it stops it.
pub struct Runtime {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    listen_port: AtomicU16,
    fwmark: AtomicU32,
    udp_offload: bool,
}

/// How many workers a configuration value means: 0 is one per core.
pub fn worker_count(workers: u16) -> u16 {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get().min(usize::from(WORKERS_MAX)));
    if workers == 0 { cores as u16 } else { workers.min(WORKERS_MAX) }
}

impl Runtime {
    /// Binds the sockets and starts the workers, in the network namespace of the calling thread.
    pub fn start(config: RuntimeConfig, node: Node) -> Result<Runtime, StartError> {
        let workers = usize::from(worker_count(config.workers));
        let queues = config.tun.as_ref().map_or(0, Tun::queue_count);
        if queues > workers {
            return Err(StartError::TooManyQueues { queues, workers });
        }
        let binding =
            Binding { port: config.listen_port, fwmark: config.fwmark, workers, offload: config.udp_offload };
        let bound =
            udp::bind(&binding).map_err(|source| StartError::Bind { port: config.listen_port, source })?;
        Runtime::spawn(config, node, bound)
    }

    fn spawn(config: RuntimeConfig, node: Node, bound: Bound) -> Result<Runtime, StartError> {
        let port = bound.port;
        let tun = config.tun;
        let mtu_bytes = match (config.tunnel_mtu_bytes, &tun) {
            (Some(mtu_bytes), _) => mtu_bytes,
            (None, Some(tun)) => mtu_of(&tun.name())?,
            (None, None) => 0,
        };
        let posts = bound.pairs.into_iter().map(|pair| Ok(WorkerPost::new(Bell::new()?, pair)));
        let around = Surroundings {
            mtu_bytes,
            waker: config.waker,
            on_event: config.on_event,
            tun: tun.as_ref().map(Tun::name),
            follow_mtu: config.tunnel_mtu_bytes.is_none(),
            stack: config.stack,
        };
        let shared = Arc::new(Shared::new(node, posts.collect::<io::Result<Vec<_>>>()?, around));
        let runtime = Runtime {
            shared,
            threads: Mutex::new(Vec::new()),
            listen_port: AtomicU16::new(port),
            fwmark: AtomicU32::new(config.fwmark),
            udp_offload: config.udp_offload,
        };
        runtime.hang_bells();
        runtime.spawn_workers(tun)?;
        Ok(runtime)
    }

    /// What the stack wants sent wakes the worker that sends it.
    fn hang_bells(&self) {
        let Some(stack) = &self.shared.stack else { return };
        for number in 0..self.shared.workers.len() {
            let shared = Arc::downgrade(&self.shared);
            stack.door(number).set_bell(Box::new(move || {
                if let Some(post) = shared.upgrade().as_ref().and_then(|shared| shared.workers.get(number)) {
                    post.bell.ring();
                }
            }));
        }
    }

    fn spawn_workers(&self, tun: Option<Tun>) -> io::Result<()> {
        let tun_offloads = tun.as_ref().map_or_else(TunOffloads::default, Tun::offloads);
        let mut queues: Vec<Option<TunQueue>> =
            tun.map(Tun::into_queues).unwrap_or_default().into_iter().map(Some).collect();
        queues.resize_with(self.shared.workers.len(), || None);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, tun) in queues.into_iter().enumerate() {
            let worker = Worker::new(WorkerParts {
                number,
                shared: Arc::clone(&self.shared),
                tun,
                tun_offloads,
                udp_offload: self.udp_offload,
            })?;
            let thread = thread::Builder::new().name(format!("worker-{number}"));
            threads.push(thread.spawn(move || worker.run())?);
        }
        Ok(())
    }

    /// Stops the workers and waits for them, at most five seconds. Stopping twice is the same as once.
    pub fn stop(&self) -> Result<(), StopError> {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.ring_all();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = StdInstant::now() + STOP_LIMIT;
        while threads.iter().any(|thread| !thread.is_finished()) && StdInstant::now() < limit {
            thread::sleep(STOP_STEP);
        }
        let (ended, running): (Vec<_>, Vec<_>) = threads.drain(..).partition(JoinHandle::is_finished);
        for thread in ended {
            // A panic was reported when it happened.
            let _ = thread.join();
        }
        *threads = running;
        if threads.is_empty() { Ok(()) } else { Err(StopError { workers: threads.len() }) }
    }

    /// Changes or reads the node from outside the workers. What it wants sent leaves right after.
    ///
    /// Data waits meanwhile: do not hold it longer than a batch takes (some hundred microseconds).
    pub fn with_node<R>(&self, work: impl FnOnce(&mut Node, Instant) -> R) -> R {
        let mut node = self.shared.lock_anyway();
        let result = work(&mut node, clock::now());
        self.shared.note_change();
        drop(node);
        if let Some(post) = self.shared.workers.first() {
            post.bell.ring();
        }
        result
    }

    /// Moves all workers to another port (0 lets the kernel choose) and returns the port. On an error
    /// nothing has changed.
    pub fn rebind(&self, port: u16) -> io::Result<u16> {
        if port != 0 && port == self.listen_port() {
            return Ok(port);
        }
        let binding = Binding {
            port,
            fwmark: self.fwmark(),
            workers: self.shared.workers.len(),
            offload: self.udp_offload,
        };
        let bound = udp::bind(&binding)?;
        for (post, pair) in self.shared.workers.iter().zip(bound.pairs) {
            post.replace_sockets(pair);
        }
        self.listen_port.store(bound.port, Ordering::Release);
        Ok(bound.port)
    }

    /// The UDP port in use.
    pub fn listen_port(&self) -> u16 {
        self.listen_port.load(Ordering::Acquire)
    }

    /// Changes the mark on outgoing datagrams; 0 takes it away.
    pub fn set_fwmark(&self, fwmark: u32) -> io::Result<()> {
        for post in &self.shared.workers {
            post.sockets().set_mark(fwmark)?;
        }
        self.fwmark.store(fwmark, Ordering::Release);
        Ok(())
    }

    /// The mark on outgoing datagrams; 0 is none.
    pub fn fwmark(&self) -> u32 {
        self.fwmark.load(Ordering::Acquire)
    }

    /// The interface as it was named when the node started.
    pub fn tun_name(&self) -> Option<InterfaceName> {
        self.shared.tun
    }

    /// What the workers counted.
    pub fn stats(&self) -> Stats {
        Stats { workers: self.shared.workers.iter().map(|post| post.counters.read()).collect() }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::error!(%error, "workers are left behind");
        }
    }
}

impl Stats {
    /// All workers added up.
    pub fn total(&self) -> WorkerStats {
        self.workers.iter().fold(WorkerStats::default(), |sum, worker| sum.plus(worker))
    }
}

#[cfg(test)]
mod tests;
