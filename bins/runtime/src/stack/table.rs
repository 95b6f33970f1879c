//! All flows of the stack, found by what their packets say. The hasher is keyed: clients choose ports, and addresses behind
//! them. Called by stack.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use router_core::packet::Protocol;

use super::datagrams::DatagramDoor;
use super::flow::TcpFlow;

// Our own choice.
/// Parts of the table, each with a lock of its own, held for one lookup.
const SHARDS: usize = 64;

/// What all packets of a flow say: who they come from and where they go. Echo has its identifier as the remote port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) protocol: Protocol,
    pub(super) remote: SocketAddr,
    pub(super) local: SocketAddr,
}

/// A flow.
#[derive(Clone)]
pub(super) enum Flow {
    Tcp(Arc<TcpFlow>),
    /// UDP or echo.
    Datagrams(DatagramDoor),
}

/// At most so many flows.
pub(super) struct Table {
    shards: Vec<Mutex<HashMap<Key, Flow>>>,
    hasher: RandomState,
    used: AtomicUsize,
    max: usize,
}

/// Why a flow is not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotTaken {
    Full,
    /// There is one.
    Exists,
}

impl Table {
    pub(super) fn new(max: usize) -> Table {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Table { shards, hasher: RandomState::new(), used: AtomicUsize::new(0), max }
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn is_full(&self) -> bool {
        self.used() >= self.max
    }

    pub(super) fn get(&self, key: &Key) -> Option<Flow> {
        self.shard(key).get(key).cloned()
    }

    /// Takes the flow that `make` makes, unless there is one already or there are too many.
    pub(super) fn insert<T>(&self, key: Key, make: impl FnOnce() -> (Flow, T)) -> Result<T, NotTaken> {
        let mut shard = self.shard(&key);
        let Entry::Vacant(vacant) = shard.entry(key) else { return Err(NotTaken::Exists) };
        if self.used.fetch_add(1, Ordering::Relaxed) >= self.max {
            self.used.fetch_sub(1, Ordering::Relaxed);
            return Err(NotTaken::Full);
        }
        let (flow, made) = make();
        vacant.insert(flow);
        Ok(made)
    }

    /// Removes this very flow.
    pub(super) fn remove_tcp(&self, key: &Key, flow: &TcpFlow) {
        self.remove_if(key, |found| match found {
            Flow::Tcp(found) => std::ptr::eq(Arc::as_ptr(found), flow),
            Flow::Datagrams(_) => false,
        });
    }

    /// Removes this very flow.
    pub(super) fn remove_datagrams(&self, key: &Key, door: &DatagramDoor) {
        self.remove_if(key, |found| match found {
            Flow::Datagrams(found) => found.is(door),
            Flow::Tcp(_) => false,
        });
    }

    fn remove_if(&self, key: &Key, is_it: impl FnOnce(&Flow) -> bool) {
        let mut shard = self.shard(key);
        if shard.get(key).is_some_and(is_it) {
            let flow = shard.remove(key);
            self.used.fetch_sub(1, Ordering::Relaxed);
            drop(shard);
            // What hangs on it may look into the table.
            drop(flow);
        }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, Flow>> {
        let shard = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
