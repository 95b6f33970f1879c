//! The way out of a program without any privilege: what clients send ends at our own stack and goes on by sockets of
//! the host. Read first: `crate::stack`, then `connections` for TCP, `conversation` for UDP and echo.
//!
//! ```text
//! client ── tunnel ── node ── stack ──┬── dial ── pump ─────── a TCP socket for each connection
//!                                     ├── datagrams ──┬─────── a UDP socket for each flow
//!                                     └── ping ───────┴─────── a ping socket for each flow
//! ```
//! A device is dialled before its client is answered, so that refused is refused and unreachable is unreachable, at the
//! moment this host learns it. The dial begins on the thread of the worker that brings the SYN, and where the device has
//! answered by then so does that worker: no other thread need wake for it. Each flow is a task of its own; there are at most
//! `connections_max` of them, and one more is refused. `reactions` is the one table of errors.

mod connections;
mod conversation;
mod counters;
mod datagrams;
mod device_socket;
mod dial;
mod error_queue;
mod ping;
mod pump;
mod reactions;
mod seldom;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use router_core::packet::build::{Notice, Unreachable};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use self::counters::SocketsCounters;
use self::reactions::Reaction;
use self::seldom::Seldom;
use super::config::sockets::SocketsSettings;
use crate::stack::{Arrival, Taker};

/// What a program needs beside connections: its own files, its threads, those who administer it.
const OTHER_DESCRIPTORS: u64 = 256;

/// What all flows share.
pub(super) struct Office {
    pub(super) settings: SocketsSettings,
    pub(super) counters: Arc<SocketsCounters>,
    exhausted: Seldom,
    pings_forbidden: Seldom,
    turned_away: Seldom,
}

/// Serves what arrives, each flow in a task of its own.
pub fn taker(settings: SocketsSettings, counters: Arc<SocketsCounters>, tasks: Handle) -> Taker {
    allow_descriptors(&settings);
    let seats = Arc::new(Semaphore::new(settings.connections_max.min(Semaphore::MAX_PERMITS)));
    let office = Arc::new(Office {
        settings,
        counters,
        exhausted: Seldom::default(),
        pings_forbidden: Seldom::default(),
        turned_away: Seldom::default(),
    });
    Box::new(move |arrival| match Arc::clone(&seats).try_acquire_owned() {
        Ok(seat) => Arc::clone(&office).seat(&tasks, arrival, seat),
        Err(_) => office.turn_away(arrival),
    })
}

impl Office {
    fn seat(self: Arc<Self>, tasks: &Handle, arrival: Arrival, seat: OwnedSemaphorePermit) {
        // Dropping a task's handle leaves it alone.
        match arrival {
            Arrival::Tcp(client) => connections::begin(self, tasks, client, seat),
            Arrival::Udp(flow) => drop(tasks.spawn(async move {
                datagrams::serve(&self, flow).await;
                drop(seat);
            })),
            Arrival::Echo(flow) => drop(tasks.spawn(async move {
                ping::serve(&self, flow).await;
                drop(seat);
            })),
        }
    }

    /// A flow for which there is no seat: refused if that costs nothing, else forgotten.
    fn turn_away(&self, arrival: Arrival) {
        self.counters.turned_away.add(1);
        if let Some(times) = self.turned_away.due(Instant::now()) {
            let connections_max = self.settings.connections_max;
            tracing::warn!(connections_max, times, "too many connections: one more is refused");
        }
        if let Arrival::Tcp(client) = arrival {
            client.unreachable(Notice::Unreachable(Unreachable::AdminProhibited), None);
        }
    }

    /// Tells the operator, now and then, that the system has no means left.
    fn note_exhausted(&self, error: &io::Error) {
        if let Some(times) = self.exhausted.due(Instant::now()) {
            tracing::warn!(
                %error,
                times,
                "no socket for a device: raise the limit of open files (LimitNOFILE, ulimit -n), or free ports"
            );
        }
    }

    /// What a failed call means to the client; an operator's matter is told to the operator.
    fn judge(&self, error: &io::Error) -> Reaction {
        let reaction = reactions::of_dial(error);
        if reaction == Reaction::Exhausted {
            self.note_exhausted(error);
        }
        reaction
    }

    /// Tells the operator, now and then, that pings are not allowed here.
    fn note_pings_forbidden(&self, error: &io::Error) {
        self.counters.pings_forbidden.add(1);
        if let Some(times) = self.pings_forbidden.due(Instant::now()) {
            tracing::warn!(
                %error,
                times,
                "the system lets us send no pings: set the sysctl net.ipv4.ping_group_range = \"0 2147483647\""
            );
        }
    }
}

/// Each flow takes a descriptor, and shells allow few at first.
fn allow_descriptors(settings: &SocketsSettings) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    let wanted = settings.connections_max as u64 + OTHER_DESCRIPTORS;
    if let Some(allowed) = getrlimit(Resource::Nofile).current.filter(|allowed| *allowed < wanted) {
        tracing::warn!(
            allowed,
            wanted,
            "fewer files may be open than connections_max needs: raise LimitNOFILE, or lower connections_max"
        );
    }
}

#[cfg(test)]
mod tests;
