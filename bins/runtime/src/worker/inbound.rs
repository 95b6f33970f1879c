//! From UDP: open a batch outside the lock, account for it inside, pass it on outside again.
//! Read first: spec of the three steps in wg-proto. Called by worker.

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use router_core::{Ingress, Node, Offload, Verdict};
use wg_proto::{
    Endpoint, HEADER_BYTES, Instant, MessageKind, Opened, PeerIndex, RxKey, SessionIndex, classify, ecn,
};

use super::control::ControlQueue;
use super::counters::WorkerCounters;
use super::keys::KeyCache;
use super::plan::Plan;
use crate::tun::VirtioHeader;
use crate::udp::{ReceiveBatch, Received};

/// Packets in one batch: 64 messages of up to 64 datagrams each is the kernel's most.
const PACKETS_MAX: usize = 4096;

// Our own choice.
/// With fewer packets to come, looking ahead costs more than it saves.
const LOOK_AHEAD_MIN: usize = 4;

/// One batch and its bookkeeping, reused.
pub(super) struct Inbound {
    pub(super) batch: ReceiveBatch,
    runs: Vec<KeyRun>,
    datagrams: Vec<Range<usize>>,
    opened: Vec<Opened>,
    inner: Vec<Inner>,
}

/// Consecutive datagrams of one session from one sender.
struct KeyRun {
    receiver: SessionIndex,
    key: Option<RxKey>,
    from: Endpoint,
    tos: u8,
    datagrams: Range<usize>,
    opened: Range<usize>,
}

/// Where an opened packet lies, and whether it may be passed on.
struct Inner {
    range: Range<usize>,
    congested: bool,
}

impl Inbound {
    pub(super) fn new() -> Inbound {
        Inbound {
            batch: ReceiveBatch::new(),
            runs: Vec::with_capacity(PACKETS_MAX),
            datagrams: Vec::with_capacity(PACKETS_MAX),
            opened: Vec::with_capacity(PACKETS_MAX),
            inner: Vec::with_capacity(PACKETS_MAX),
        }
    }

    /// Reads one batch and sorts it: control messages into their queue, data into runs. Returns how many
    /// datagrams the socket had no room for so far, if the kernel says so.
    pub(super) fn read(
        &mut self,
        socket: BorrowedFd<'_>,
        control: &mut ControlQueue,
        counters: &WorkerCounters,
    ) -> io::Result<Option<u32>> {
        self.clear();
        let filled = self.batch.fill(socket)?;
        counters.udp_batches.add(1);
        counters.udp_messages.add(filled.messages as u64);
        counters.dropped_unreadable.add(filled.dropped as u64);
        for position in 0..filled.messages {
            self.sort(position, control, counters);
        }
        Ok(filled.lost)
    }

    /// Whether the batch holds data.
    pub(super) fn has_data(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Finds the runs' keys: in the cache, or with one short lock for all that are not there.
    pub(super) fn find_keys<'a, N>(&mut self, cache: &mut KeyCache, lock: impl FnOnce() -> N)
    where
        N: std::ops::Deref<Target = Node> + 'a,
    {
        for run in &mut self.runs {
            run.key = cache.get(run.receiver).cloned();
        }
        if self.runs.iter().all(|run| run.key.is_some()) {
            return;
        }
        let node = lock();
        for run in self.runs.iter_mut().filter(|run| run.key.is_none()) {
            run.key = node.rx_key(run.receiver);
            if let Some(key) = &run.key {
                cache.put(run.receiver, key.clone());
            }
        }
    }

    /// Opens every datagram in place. No lock is held.
    pub(super) fn open(&mut self, counters: &WorkerCounters) {
        for run in &mut self.runs {
            run.opened = self.opened.len()..self.opened.len();
            let Some(key) = &run.key else {
                counters.dropped_unknown_session.add(run.datagrams.len() as u64);
                continue;
            };
            for datagram in &self.datagrams[run.datagrams.clone()] {
                let bytes = self.batch.bytes_mut(datagram.clone());
                match key.open(bytes) {
                    Ok(opened) => {
                        let end = HEADER_BYTES + opened.len();
                        let congested = end > HEADER_BYTES
                            && ecn::combine(run.tos, &mut bytes[HEADER_BYTES..end]).is_err();
                        let range = datagram.start + HEADER_BYTES..datagram.start + end;
                        self.inner.push(Inner { range, congested });
                        self.opened.push(opened);
                    }
                    Err(_) => counters.dropped_unauthentic.add(1),
                }
            }
            run.opened.end = self.opened.len();
        }
    }

    /// The locked part: commits what was opened and asks the data path about every packet.
    pub(super) fn account(
        &mut self,
        node: &mut Node,
        now: Instant,
        cache: &mut KeyCache,
        plan: &mut Plan,
        counters: &WorkerCounters,
    ) {
        let mut runs = std::mem::take(&mut self.runs);
        for run in &mut runs {
            let Some(key) = &run.key else { continue };
            let opened = &mut self.opened[run.opened.clone()];
            if opened.is_empty() {
                continue;
            }
            match node.commit_received(now, key, run.from, opened) {
                Ok(peer) => self.route(node, now, peer, run.opened.clone(), plan, counters),
                Err(_) => {
                    cache.forget(run.receiver);
                    counters.dropped_session_gone.add(run.opened.len() as u64);
                }
            }
        }
        self.runs = runs;
    }

    fn route(
        &mut self,
        node: &mut Node,
        now: Instant,
        peer: PeerIndex,
        positions: Range<usize>,
        plan: &mut Plan,
        counters: &WorkerCounters,
    ) {
        let mut looked_ahead = 0;
        for position in positions.clone() {
            let (opened, inner) = (&self.opened[position], &self.inner[position]);
            if !opened.accepted() {
                counters.dropped_replayed.add(1);
                continue;
            }
            counters.opened.add(1);
            if opened.is_keepalive() {
                continue;
            }
            if inner.congested {
                counters.dropped_congestion.add(1);
                continue;
            }
            if looked_ahead == 0 {
                looked_ahead = self.look_ahead(node, position..positions.end);
            }
            looked_ahead -= 1;
            let packet = self.batch.bytes_mut(inner.range.clone());
            match node.handle_packet(now, Ingress::Peer(peer), packet, Offload::None) {
                Verdict::Forward(forward) => {
                    plan.forward(&forward, packet, inner.range.start, VirtioHeader::default(), counters);
                }
                Verdict::Reply | Verdict::Parked => {}
                Verdict::Drop(_) => counters.dropped_by_node.add(1),
            }
        }
    }

    /// Lets the node look for the flows of the packets that follow. Returns for how many, at least one.
    fn look_ahead(&self, node: &mut Node, positions: Range<usize>) -> usize {
        if positions.len() < LOOK_AHEAD_MIN {
            return positions.len();
        }
        let storage = self.batch.storage();
        let packets = self.opened[positions.clone()].iter().zip(&self.inner[positions]);
        let handed_in =
            packets.filter(|(opened, inner)| opened.accepted() && !opened.is_keepalive() && !inner.congested);
        node.look_ahead(handed_in.map(|(_, inner)| &storage[inner.range.clone()])).max(1)
    }

    fn clear(&mut self) {
        self.runs.clear();
        self.datagrams.clear();
        self.opened.clear();
        self.inner.clear();
    }

    fn sort(&mut self, position: usize, control: &mut ControlQueue, counters: &WorkerCounters) {
        let message = self.batch.messages()[position];
        counters.udp_bytes.add(message.len as u64);
        for datagram in message.datagrams() {
            counters.udp_datagrams.add(1);
            match classify(self.batch.bytes_mut(datagram.clone())) {
                Ok(MessageKind::Transport { receiver, .. }) => {
                    self.push(receiver, &message, datagram, counters)
                }
                Ok(MessageKind::Initiation | MessageKind::Response | MessageKind::CookieReply) => {
                    if control.push(self.batch.bytes_mut(datagram), message.from).is_err() {
                        counters.dropped_control_full.add(1);
                    }
                }
                Err(_) => counters.dropped_malformed.add(1),
            }
        }
    }

    fn push(
        &mut self,
        receiver: SessionIndex,
        message: &Received,
        datagram: Range<usize>,
        counters: &WorkerCounters,
    ) {
        let at = self.datagrams.len();
        if at == PACKETS_MAX {
            return counters.dropped_unreadable.add(1);
        }
        self.datagrams.push(datagram);
        let same = |run: &&mut KeyRun| {
            run.receiver == receiver && run.from == message.from && run.tos == message.tos
        };
        match self.runs.last_mut().filter(same) {
            Some(run) => run.datagrams.end = at + 1,
            None => self.runs.push(KeyRun {
                receiver,
                key: None,
                from: message.from,
                tos: message.tos,
                datagrams: at..at + 1,
                opened: 0..0,
            }),
        }
    }
}
