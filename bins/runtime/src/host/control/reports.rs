//! What an agent tells of itself now and then: its health, whom it has heard of, what sessions have carried.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use control_proto::{FlowReport, FromAgent, PeerReport, PeerSeen, RefusalReport};
use wg_proto::{Instant, PublicKey};

use super::led::LedNode;

// Our own choices.
/// Between reports. A client counts as lost after three minutes, so this is often enough.
const INTERVAL: Duration = Duration::from_secs(5);
/// Peers of one message.
const PEERS_PER_MESSAGE: usize = 2000;
/// Conversations of one message.
const FLOWS_PER_MESSAGE: usize = 2000;
/// Sides of one message that something was refused from.
const REFUSALS_PER_MESSAGE: usize = 2000;

/// Reports of one connection.
#[derive(Debug, Default)]
pub(super) struct Reports {
    next_at: Option<Instant>,
    waiting: VecDeque<FromAgent>,
    /// Bytes from peers, as told.
    told: HashMap<PublicKey, u64>,
}

impl Reports {
    /// When there is something to tell again.
    pub(super) fn next_at(&self, is_up: bool) -> Option<Instant> {
        self.next_at.filter(|_| is_up)
    }

    /// The next message, if one is due. Those of one time are made together: at most three, and one for each so many peers,
    /// conversations and refusals.
    pub(super) fn next(&mut self, now: Instant, led: &mut LedNode) -> Option<FromAgent> {
        if self.waiting.is_empty() && self.next_at.is_none_or(|at| now >= at) {
            self.next_at = Some(now.saturating_add(INTERVAL));
            self.make(now, led);
        }
        self.waiting.pop_front()
    }

    fn make(&mut self, now: Instant, led: &mut LedNode) {
        self.waiting.extend(led.health(now).map(FromAgent::Health));
        let mut peers = led.peers(now);
        peers.retain(|peer| self.is_news(peer));
        for some in peers.chunks(PEERS_PER_MESSAGE) {
            self.waiting.push_back(FromAgent::Peers(PeerReport { peers: some.to_vec() }));
        }
        self.waiting.extend(led.counters(now).map(FromAgent::Counters));
        let (flows, mut lost) = led.flows(now);
        for some in flows.chunks(FLOWS_PER_MESSAGE) {
            let lost = std::mem::take(&mut lost);
            self.waiting.push_back(FromAgent::Flows(FlowReport { flows: some.to_vec(), lost }));
        }
        if lost > 0 {
            self.waiting.push_back(FromAgent::Flows(FlowReport { flows: Vec::new(), lost }));
        }
        for some in led.refusals().chunks(REFUSALS_PER_MESSAGE) {
            self.waiting.push_back(FromAgent::Refusals(RefusalReport { refusals: some.to_vec() }));
        }
    }

    fn is_news(&mut self, peer: &PeerSeen) -> bool {
        let [from_it, _] = peer.bytes;
        self.told.insert(peer.key, from_it).unwrap_or(0) != from_it
    }
}
