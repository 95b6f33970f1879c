//! A worker: one thread, one pair of UDP sockets, one TUN queue, run to completion.
//! Read first: docs on the data path; wg-proto's three steps. Called by runtime.
//!
//! One turn: wait → UDP batch → TUN batch → what the stack sends → what is left over. Per batch the node's lock is taken once, for
//! bookkeeping; opening and sealing happen outside it.

mod boot_timer;
mod control;
mod counters;
mod deliver;
mod inbound;
mod keys;
mod link;
mod outbound;
mod plan;
mod poll;
mod seal;
mod shared;
mod stack;

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;
use std::thread;

use router_core::{Event, Ingress, Node, NodeTransmit};
use wg_proto::Instant;

pub use self::counters::WorkerStats;
pub(crate) use self::poll::Bell;
pub use self::shared::EventHandler;
pub(crate) use self::shared::{Poisoned, Shared, Surroundings, WorkerPost};

use self::boot_timer::BootTimer;
use self::control::ControlQueue;
use self::counters::WorkerCounters;
use self::inbound::Inbound;
use self::keys::KeyCache;
use self::link::LinkWatch;
use self::outbound::{Outbound, ReadCounters};
use self::plan::Plan;
use self::poll::{Patience, Ready, Sources};
use self::seal::Outlet;
use self::stack::StackSide;
use crate::clock;
use crate::offload::Coalescer;
use crate::tun::{TunOffloads, TunQueue};
use crate::udp::{SendQueue, SocketPair};

// Our own choices.
/// Datagrams and packets of the node's own that leave per locked section.
const TRANSMITS_MAX: usize = 64;
/// Room for the largest of them.
const TRANSMIT_BYTES_MAX: usize = 65_568;
/// Packets one plan holds without growing.
const PLAN_PACKETS: usize = 4096;

/// Why a worker ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("waiting failed: {0}")]
    Wait(#[source] io::Error),
    #[error("interface {0} is gone")]
    TunGone(String),
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
}

pub(crate) struct Worker {
    number: usize,
    shared: Arc<Shared>,
    sockets: Arc<SocketPair>,
    tun: Option<TunQueue>,
    stack: Option<StackSide>,
    link: Option<LinkWatch>,
    timer: BootTimer,
    inbound: Inbound,
    outbound: Outbound,
    plan: Plan,
    control: ControlQueue,
    /// The control plane's changes that were followed.
    changes_seen: u64,
    keys: KeyCache,
    outgoing: SendQueue,
    coalescer: Coalescer,
    /// Packets the node made itself, for the TUN and for the stack.
    own_for_tun: OwnPackets,
    own_for_stack: OwnPackets,
    events: Vec<Event>,
    /// Datagrams each socket had no room for, as last told.
    lost: [u32; 2],
    /// The interface's MTU as last seen.
    tun_mtu_bytes: u16,
    /// When the node wants to be called, as of the last locked section.
    deadline: Option<Instant>,
    /// The node has more to send than one turn takes, or was changed from outside.
    leftover: bool,
}

/// What a worker is made of.
pub(crate) struct WorkerParts {
    pub(crate) number: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) tun: Option<TunQueue>,
    pub(crate) tun_offloads: TunOffloads,
    pub(crate) udp_offload: bool,
}

/// Packets one behind the other.
#[derive(Default)]
struct OwnPackets {
    bytes: Vec<u8>,
    lengths: Vec<usize>,
}

impl OwnPackets {
    fn push(&mut self, packet: &[u8]) {
        self.bytes.extend_from_slice(packet);
        self.lengths.push(packet.len());
    }

    fn packets(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.lengths.iter().scan(0, |end, len| {
            *end += len;
            Some(*end)
        });
        ends.zip(&self.lengths).map(|(end, len)| &self.bytes[end - len..end])
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.lengths.clear();
    }
}

/// Reports a worker that panics.
struct Alarm<'a> {
    shared: &'a Shared,
    number: usize,
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.shared.failed(format!("worker {} panicked", self.number));
        }
    }
}

impl Worker {
    pub(crate) fn new(parts: WorkerParts) -> io::Result<Worker> {
        let sockets = parts.shared.workers[parts.number].sockets();
        let changes_seen = parts.shared.changes();
        let filter = parts.shared.lock_anyway().mac1_filter();
        let watches = parts.number == 0 && parts.tun.is_some();
        Ok(Worker {
            number: parts.number,
            sockets,
            link: if watches { Some(LinkWatch::open()?) } else { None },
            tun: parts.tun,
            stack: parts.shared.stack.clone().map(|stack| StackSide::new(stack, parts.number)),
            timer: BootTimer::new()?,
            inbound: Inbound::new(),
            outbound: Outbound::new(),
            plan: Plan::new(PLAN_PACKETS),
            changes_seen,
            control: ControlQueue::new(filter),
            keys: KeyCache::new(clock::now()),
            outgoing: SendQueue::new(parts.udp_offload),
            coalescer: Coalescer::new(parts.tun_offloads),
            own_for_tun: OwnPackets::default(),
            own_for_stack: OwnPackets::default(),
            events: Vec::with_capacity(TRANSMITS_MAX),
            tun_mtu_bytes: parts.shared.mtu_bytes.load(Ordering::Relaxed),
            lost: [0; 2],
            deadline: None,
            leftover: true,
            shared: parts.shared,
        })
    }

    /// Runs until told to stop. A failure is reported and ends this worker only.
    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let _alarm = Alarm { shared: &shared, number: self.number };
        while !shared.is_stopping() {
            if let Err(failure) = self.turn() {
                return shared.failed(failure.to_string());
            }
        }
    }

    fn turn(&mut self) -> Result<(), Failure> {
        let ready = self.wait()?;
        let now = clock::now();
        self.counters().wakes.add(1);
        self.keys.forget_old(now);
        if ready.timer {
            self.timer.silence();
        }
        if ready.bell {
            self.answer_bell();
        }
        if ready.link {
            self.follow_link()?;
        }
        let mut locked = false;
        for (position, ready) in [ready.udp_v4, ready.udp_v6].into_iter().enumerate() {
            locked |= ready && self.serve_udp(position, now)?;
        }
        if ready.tun {
            locked |= self.serve_tun(now)?;
        }
        if self.is_door_waiting() {
            locked |= self.serve_door(now)?;
        }
        if !locked && (ready.bell || self.leftover || self.is_due(now)) {
            self.housekeep(now)?;
        }
        self.end_turn_of_stack();
        self.publish_counts();
        Ok(())
    }

    fn wait(&mut self) -> Result<Ready, Failure> {
        let patience = self.patience().map_err(Failure::Wait)?;
        let sources = Sources {
            bell: &self.shared.workers[self.number].bell,
            udp: self.sockets.each(),
            tun: self.tun.as_ref().map(AsFd::as_fd),
            link: self.link.as_ref().map(AsFd::as_fd),
            timer: Some(self.timer.as_fd()),
        };
        sources.wait(patience).map_err(Failure::Wait)
    }

    /// None while there is something to do. Else the timer ends the wait at the next deadline.
    fn patience(&mut self) -> io::Result<Patience> {
        if self.leftover || !self.control.is_empty() || self.is_door_waiting() {
            return Ok(Patience::None);
        }
        if let Some(deadline) = [self.deadline, self.keys.deadline()].into_iter().flatten().min() {
            self.timer.arm(deadline)?;
        }
        Ok(Patience::Endless)
    }

    fn is_due(&self, now: Instant) -> bool {
        self.control.has_news() || self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// The control plane changed something: sockets, or the node.
    fn answer_bell(&mut self) {
        let post = &self.shared.workers[self.number];
        post.bell.silence();
        let sockets = post.sockets();
        if !Arc::ptr_eq(&sockets, &self.sockets) {
            self.sockets = sockets;
            self.lost = [0; 2];
        }
        self.leftover = true;
    }

    /// One UDP batch. Returns whether the node was locked.
    fn serve_udp(&mut self, position: usize, now: Instant) -> Result<bool, Failure> {
        let shared = Arc::clone(&self.shared);
        let counters = &shared.workers[self.number].counters;
        let sockets = Arc::clone(&self.sockets);
        let Some(socket) = sockets.each()[position] else { return Ok(false) };
        self.follow_changes();
        match self.inbound.read(socket, &mut self.control, counters) {
            Ok(lost) => self.count_lost(position, lost),
            // An error queued on the socket; reading has cleared it.
            Err(error) => tracing::debug!(%error, "receiving failed"),
        }
        if !self.inbound.has_data() {
            return Ok(false);
        }
        self.inbound.find_keys(&mut self.keys, || shared.lock_anyway());
        self.inbound.open(counters);
        self.plan.clear();
        let mut node = shared.lock()?;
        self.inbound.account(&mut node, now, &mut self.keys, &mut self.plan, counters);
        self.plan.reserve(&mut node, now, self.inbound.batch.storage(), counters);
        self.finish_locked(node, now);
        self.seal_inbound(now);
        self.write_inbound();
        self.hand_inbound_to_stack();
        self.hand_own_packets_to_stack();
        Ok(true)
    }

    /// Only the control plane changes the device's key.
    fn follow_changes(&mut self) {
        let changes = self.shared.changes();
        if changes != self.changes_seen {
            self.changes_seen = changes;
            self.control.set_filter(self.shared.lock_anyway().mac1_filter());
        }
    }

    /// The kernel tells how much a socket has lost since it was opened.
    fn count_lost(&mut self, position: usize, lost: Option<u32>) {
        if let Some(lost) = lost {
            let news = lost.wrapping_sub(self.lost[position]);
            self.lost[position] = lost;
            self.counters().dropped_receive_full.add(u64::from(news));
        }
    }

    /// One TUN batch. Returns whether the node was locked.
    fn serve_tun(&mut self, now: Instant) -> Result<bool, Failure> {
        let shared = Arc::clone(&self.shared);
        let counters = &shared.workers[self.number].counters;
        let Some(queue) = &self.tun else { return Ok(false) };
        let into = ReadCounters { reads: &counters.tun_reads, segments: &counters.tun_segments };
        self.outbound.read(queue, into, counters).map_err(|error| self.tun_failure(&error))?;
        if !self.outbound.has_data() {
            return Ok(false);
        }
        self.route_outbound(now, Ingress::Tun)
    }

    /// One batch of what the stack wants sent. Returns whether the node was locked.
    fn serve_door(&mut self, now: Instant) -> Result<bool, Failure> {
        let shared = Arc::clone(&self.shared);
        let counters = &shared.workers[self.number].counters;
        let Some(side) = &self.stack else { return Ok(false) };
        // A door does not fail.
        let into = ReadCounters { reads: &counters.stack_reads, segments: &counters.stack_segments };
        let _ = self.outbound.read(side.door(), into, counters);
        if !self.outbound.has_data() {
            return Ok(false);
        }
        self.route_outbound(now, Ingress::Sockets)
    }

    /// What was read unsealed: the locked part, and what follows from it.
    fn route_outbound(&mut self, now: Instant, ingress: Ingress) -> Result<bool, Failure> {
        let shared = Arc::clone(&self.shared);
        let counters = &shared.workers[self.number].counters;
        self.plan.clear();
        let mut node = shared.lock()?;
        self.outbound.account(&mut node, now, ingress, &mut self.plan, counters);
        self.plan.reserve(&mut node, now, &self.outbound.storage, counters);
        self.finish_locked(node, now);
        self.seal_outbound(now);
        self.write_back();
        self.hand_outbound_to_stack();
        self.hand_own_packets_to_stack();
        Ok(true)
    }

    /// A turn without data: control messages, timers, what the control plane wants sent.
    fn housekeep(&mut self, now: Instant) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        self.plan.clear();
        self.leftover = false;
        self.finish_locked(shared.lock()?, now);
        self.flush(now);
        self.write_own_packets();
        self.hand_own_packets_to_stack();
        Ok(())
    }

    /// The end of every locked section: control messages, timers, the node's own datagrams, events.
    fn finish_locked(&mut self, mut node: MutexGuard<'_, Node>, now: Instant) {
        self.forget_stale_sources(&mut node);
        self.handle_control(&mut node, now);
        if node.poll_timeout().is_some_and(|(deadline, _)| deadline <= now) {
            node.handle_timeout(now);
        }
        self.leftover = !self.drain_transmits(&mut node, now);
        self.deadline = node.poll_timeout().map(|(deadline, _)| deadline);
        while let Some(event) = node.poll_event() {
            self.events.push(event);
        }
        drop(node);
        for event in self.events.drain(..) {
            self.shared.tell(event);
        }
    }

    fn handle_control(&mut self, node: &mut Node, now: Instant) {
        if self.control.has_news() {
            let handled = self.control.handle_some(node, now, clock::unix_time());
            self.counters().control_handled.add(handled);
        }
    }

    /// Returns whether nothing is left.
    fn drain_transmits(&mut self, node: &mut Node, now: Instant) -> bool {
        let mut unix = None;
        for _ in 0..TRANSMITS_MAX {
            let unix = *unix.get_or_insert_with(clock::unix_time);
            let Some(room) = self.outgoing.reserve(TRANSMIT_BYTES_MAX) else { return false };
            match node.poll_transmit(now, unix, room) {
                None => return true,
                Some(NodeTransmit::Datagram { to, len, tos }) => self.outgoing.commit(len, to, tos),
                Some(NodeTransmit::Tun { len }) => self.own_for_tun.push(&room[..len]),
                Some(NodeTransmit::Sockets { len }) => self.own_for_stack.push(&room[..len]),
            }
        }
        false
    }

    fn forget_stale_sources(&mut self, node: &mut Node) {
        if self.outgoing.stale_sources().count() > 0 {
            node.device_mut().clear_endpoint_sources();
        }
    }

    fn seal_inbound(&mut self, now: Instant) {
        let shared = Arc::clone(&self.shared);
        let mut outlet = outlet(&mut self.outgoing, &self.sockets, &shared, self.number, now);
        outlet.seal(&mut self.plan, self.inbound.batch.storage());
    }

    fn seal_outbound(&mut self, now: Instant) {
        let shared = Arc::clone(&self.shared);
        let mut outlet = outlet(&mut self.outgoing, &self.sockets, &shared, self.number, now);
        outlet.seal(&mut self.plan, &self.outbound.storage);
    }

    fn flush(&mut self, now: Instant) {
        if !self.outgoing.is_empty() {
            self.outgoing.flush(now, &self.sockets);
        }
    }

    fn counters(&self) -> &WorkerCounters {
        &self.shared.workers[self.number].counters
    }

    fn publish_counts(&mut self) {
        let sent = self.outgoing.take_counts();
        let written = self.coalescer.take_counts();
        let counters = &self.shared.workers[self.number].counters;
        counters.sent_messages.add(sent.messages);
        counters.sent_datagrams.add(sent.datagrams);
        counters.sent_bytes.add(sent.bytes);
        counters.dropped_send_full.add(sent.dropped_full);
        counters.dropped_too_big.add(sent.dropped_too_big);
        counters.dropped_unreachable.add(sent.dropped_unreachable);
        counters.tun_writes.add(written.writes);
        counters.tun_packets.add(written.packets);
        counters.tun_merged.add(written.merged);
        counters.dropped_tun.add(written.dropped);
    }
}

fn outlet<'a>(
    queue: &'a mut SendQueue,
    sockets: &'a SocketPair,
    shared: &'a Shared,
    number: usize,
    now: Instant,
) -> Outlet<'a> {
    let mtu_bytes = shared.mtu_bytes.load(Ordering::Relaxed);
    Outlet { queue, sockets, counters: &shared.workers[number].counters, now, mtu_bytes }
}
