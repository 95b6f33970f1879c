//! What the workers and the control plane share. Called by worker, runtime.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use router_core::{Event, Node};

use super::counters::WorkerCounters;
use super::poll::Bell;
use crate::service::{Wake, Waker};
use crate::stack::Stack;
use crate::tun::InterfaceName;
use crate::udp::SocketPair;

/// A function that is told about events.
pub type EventHandler = Box<dyn Fn(Event) + Send + Sync>;

pub(crate) struct Shared {
    node: Mutex<Node>,
    /// How often the control plane has changed the node.
    changes: AtomicU64,
    pub(crate) stopping: AtomicBool,
    /// What padding must not exceed: the MTU inside the tunnel.
    pub(crate) mtu_bytes: AtomicU16,
    pub(crate) workers: Vec<WorkerPost>,
    pub(crate) waker: Option<Waker>,
    pub(crate) on_event: Option<EventHandler>,
    /// The interface as it was named at the start.
    pub(crate) tun: Option<InterfaceName>,
    /// `mtu_bytes` follows the interface's MTU.
    pub(crate) follow_mtu: bool,
    /// What takes packets in a TUN's place, or beside one.
    pub(crate) stack: Option<Stack>,
}

/// What a node works between.
pub(crate) struct Surroundings {
    pub(crate) mtu_bytes: u16,
    pub(crate) waker: Option<Waker>,
    pub(crate) on_event: Option<EventHandler>,
    pub(crate) tun: Option<InterfaceName>,
    pub(crate) follow_mtu: bool,
    pub(crate) stack: Option<Stack>,
}

/// How the others reach one worker.
pub(crate) struct WorkerPost {
    pub(crate) bell: Bell,
    pub(crate) counters: WorkerCounters,
    sockets: Mutex<Arc<SocketPair>>,
}

/// A worker panicked while it held the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another worker failed in the middle of a change")]
pub(crate) struct Poisoned;

impl Shared {
    pub(crate) fn new(node: Node, workers: Vec<WorkerPost>, around: Surroundings) -> Shared {
        let Surroundings { mtu_bytes, waker, on_event, tun, follow_mtu, stack } = around;
        Shared {
            node: Mutex::new(node),
            changes: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            mtu_bytes: AtomicU16::new(mtu_bytes),
            workers,
            waker,
            on_event,
            tun,
            follow_mtu,
            stack,
        }
    }

    /// For workers: after a panic nothing passes any more (fail closed).
    pub(crate) fn lock(&self) -> Result<MutexGuard<'_, Node>, Poisoned> {
        self.node.lock().map_err(|_| Poisoned)
    }

    /// For the control plane, which must still be able to read and to revoke.
    pub(crate) fn lock_anyway(&self) -> MutexGuard<'_, Node> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the control plane, which says so while it holds the node.
    pub(crate) fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(crate) fn ring_all(&self) {
        for post in &self.workers {
            post.bell.ring();
        }
    }

    pub(crate) fn failed(&self, why: String) {
        tracing::error!(%why, "the node cannot go on");
        if let Some(waker) = &self.waker {
            waker.wake(Wake::Failed(why));
        }
    }

    pub(crate) fn tell(&self, event: Event) {
        match &self.on_event {
            Some(handler) => handler(event),
            None => tracing::debug!(?event, "event"),
        }
    }
}

impl WorkerPost {
    pub(crate) fn new(bell: Bell, sockets: SocketPair) -> WorkerPost {
        WorkerPost { bell, counters: WorkerCounters::default(), sockets: Mutex::new(Arc::new(sockets)) }
    }

    pub(crate) fn sockets(&self) -> Arc<SocketPair> {
        Arc::clone(&self.sockets.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn replace_sockets(&self, sockets: SocketPair) {
        *self.sockets.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(sockets);
        self.bell.ring();
    }
}
