//! What a twin remembers: conversations that it has seen, and first pieces.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use wg_proto::Instant;

use super::talk::Talk;
use crate::packet::{Addresses, Datagram, Ends, Protocol};
use crate::{Egress, Ingress};

/// The most conversations and first pieces that are remembered; when full, the oldest is forgotten.
const MEMORY_MAX: usize = 8192;
/// For this long after a packet, no node has forgotten a conversation of any kind, unless for want of room.
const SURELY_KNOWN: Duration = Duration::from_secs(55);

/// A conversation.
#[derive(Debug, Clone, Copy)]
pub(super) struct TwinFlow {
    pub(super) protocol: Protocol,
    /// As the opening packet came in.
    pub(super) original: Ends,
    /// As answers come in.
    pub(super) reply: Ends,
    pub(super) ingress: Ingress,
    pub(super) egress: Egress,
    pub(super) generation: u64,
    pub(super) last_seen: Instant,
    /// `None`: not TCP, or not to be judged.
    pub(super) talk: Option<Talk>,
}

/// The first piece of a datagram that was forwarded.
#[derive(Debug, Clone, Copy)]
pub(super) struct TwinFirst {
    pub(super) ingress: Ingress,
    pub(super) datagram: Datagram,
    pub(super) after: Addresses,
    pub(super) egress: Egress,
    pub(super) generation: u64,
}

#[derive(Debug, Default)]
pub(super) struct Memory {
    flows: Vec<TwinFlow>,
    firsts: Vec<TwinFirst>,
}

/// A way through a conversation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) after: Ends,
    pub(super) egress: Egress,
    pub(super) generation: u64,
    pub(super) surely_known: bool,
    pub(super) is_original: bool,
    pub(super) flow: usize,
}

impl Way {
    /// Which end of a TCP conversation sends this way.
    pub(super) fn from(&self) -> usize {
        usize::from(!self.is_original)
    }
}

impl Memory {
    /// Ways that conversations give a packet.
    pub(super) fn ways(&self, now: Instant, ingress: Ingress, protocol: Protocol, ends: &Ends) -> Vec<Way> {
        let mut ways = Vec::new();
        for (number, flow) in self.flows.iter().enumerate().filter(|(_, flow)| flow.protocol == protocol) {
            let way = |after: Ends, egress, is_original| Way {
                after,
                egress,
                generation: flow.generation,
                surely_known: flow.is_surely_known(now),
                is_original,
                flow: number,
            };
            if flow.original == *ends && flow.ingress == ingress {
                ways.push(way(flow.reply.reversed(), flow.egress, true));
            }
            if flow.reply == *ends && leaves(flow.egress, ingress) {
                ways.push(way(flow.original.reversed(), side(flow.ingress), false));
            }
        }
        ways
    }

    pub(super) fn seen(&mut self, now: Instant, flow: usize) {
        self.flows[flow].last_seen = now;
    }

    pub(super) fn talk_mut(&mut self, flow: usize) -> &mut Option<Talk> {
        &mut self.flows[flow].talk
    }

    /// Remembers a new conversation, in the place of older ones with the same opening packet or the same answers. Says
    /// whether one with the same answers is surely alive.
    pub(super) fn add(&mut self, flow: TwinFlow, is_alive: impl Fn(u64) -> bool) -> bool {
        self.flows.retain(|known| (known.protocol, known.original) != (flow.protocol, flow.original));
        let collides = self.flows.iter().any(|known| {
            (known.protocol, known.reply) == (flow.protocol, flow.reply)
                && known.is_surely_known(flow.last_seen)
                && is_alive(known.generation)
        });
        self.flows.retain(|known| (known.protocol, known.reply) != (flow.protocol, flow.reply));
        if self.flows.len() == MEMORY_MAX {
            self.flows.remove(0);
        }
        self.flows.push(flow);
        collides
    }

    pub(super) fn flows(&self) -> &[TwinFlow] {
        &self.flows
    }

    pub(super) fn add_first(&mut self, first: TwinFirst) {
        if self.firsts.len() == MEMORY_MAX {
            self.firsts.remove(0);
        }
        self.firsts.push(first);
    }

    pub(super) fn firsts(&self) -> &[TwinFirst] {
        &self.firsts
    }

    /// Inside ends that have an external end.
    pub(super) fn insides(&self, protocol: Protocol, external: (IpAddr, u16)) -> Vec<(IpAddr, u16)> {
        let has = |flow: &&TwinFlow| {
            flow.protocol == protocol
                && (flow.reply.addresses.destination(), flow.reply.ports.destination) == external
        };
        let inside = |flow: &TwinFlow| (flow.original.addresses.source(), flow.original.ports.source);
        self.flows.iter().filter(has).map(inside).collect()
    }
}

impl TwinFlow {
    pub(super) fn is_surely_known(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_seen) < SURELY_KNOWN
    }
}

/// Whether what leaves here is answered from there.
pub(super) fn leaves(egress: Egress, ingress: Ingress) -> bool {
    side(ingress) == egress
}

/// The side that a packet came from, as a side to leave to.
pub(super) fn side(ingress: Ingress) -> Egress {
    match ingress {
        Ingress::Peer(peer) => Egress::Peer(peer),
        Ingress::Tun => Egress::Tun,
        Ingress::Sockets => Egress::Sockets,
    }
}
