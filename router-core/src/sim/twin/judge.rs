//! What the twin thinks of a verdict.

use core::net::IpAddr;

use wg_proto::{Device, Instant};

use super::super::station::Passage;
use super::super::wire;
use super::flows::{TwinFirst, TwinFlow, Way, leaves, side};
use super::talk::Talk;
use super::{Opening, Twin, owner};
use crate::packet::{Echo, Ends, IcmpError, PacketMut, Ports, Protocol, TcpFlags, Transport};
use crate::{Forward, Ingress, Verdict};

/// What the twin thinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opinion {
    /// It would have said the same.
    Right,
    /// It was forwarded, and must not be, or not like this.
    Wrong(&'static str),
    /// It was not forwarded, and must be.
    MustPass(&'static str),
    /// It cannot say.
    None,
}

/// A packet as the twin sees it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    ends: Ends,
    protocol: Protocol,
    transport: Transport,
    hop_limit: u8,
    len: usize,
    headers_len: usize,
    piece: Option<crate::packet::Piece>,
}

impl Twin {
    pub(super) fn opinion(&mut self, device: &Device, passage: &Passage) -> Opinion {
        let forward = match passage.verdict {
            Verdict::Forward(forward) => Some(forward),
            Verdict::Reply | Verdict::Parked | Verdict::Drop(_) => None,
        };
        let (Some(before), after) = (see(&passage.before), see(&passage.after)) else {
            return wrong_if(forward.is_some(), "does not parse");
        };
        if let Some(after) = forward.and(after)
            && let Some(why) = changed_wrongly(passage, &before, &after)
        {
            return Opinion::Wrong(why);
        }
        if !self.source_is_right(device, passage.ingress, &before) {
            return wrong_if(forward.is_some(), "source does not belong there");
        }
        match before.transport {
            Transport::IcmpError(error) => self.error(passage, forward, &before, error),
            Transport::LaterPiece => self.later(passage, forward, &before),
            Transport::IcmpOther { .. } => wrong_if(forward.is_some(), "is not tracked"),
            Transport::Tcp(_) | Transport::Udp | Transport::IcmpEcho { .. } | Transport::Other => {
                self.conversation(device, passage, forward, &before)
            }
        }
    }

    /// FLT-2, FLT-3, P1, P33.
    fn source_is_right(&self, device: &Device, ingress: Ingress, packet: &Seen) -> bool {
        let (source, destination) = (packet.ends.addresses.source(), packet.ends.addresses.destination());
        let belongs = match ingress {
            Ingress::Peer(peer) => owner(device, source) == Some(peer),
            Ingress::Tun => {
                owner(device, source).is_none() && !self.config.overlay_addresses.contains(&destination)
            }
            Ingress::Sockets => return true,
        };
        belongs && !self.is_ours(source) && !is_martian(source)
    }

    fn conversation(
        &mut self,
        device: &Device,
        passage: &Passage,
        forward: Option<Forward>,
        packet: &Seen,
    ) -> Opinion {
        let (now, ingress) = (passage.at, passage.ingress);
        let mut ways = self.memory.ways(now, ingress, packet.protocol, &packet.ends);
        let turns = ways.iter().any(|way| !packet.may_go(way));
        ways.retain(|way| self.is_alive(now, way.generation) && !turns);
        let openings = if self.may_open(ingress, packet) && !turns {
            let destination = (packet.ends.addresses.destination(), packet.ends.ports.destination);
            let source = packet.ends.addresses.source();
            self.openings(device, now, ingress, source, destination, packet.protocol)
        } else {
            alloc::vec::Vec::new()
        };
        match forward {
            Some(forward) => self.forwarded(passage, forward, packet, &ways, &openings),
            None => self.refused(packet, &ways, &openings),
        }
    }

    fn forwarded(
        &mut self,
        passage: &Passage,
        forward: Forward,
        packet: &Seen,
        ways: &[Way],
        openings: &[Opening],
    ) -> Opinion {
        let Some(after) = see(&passage.after) else { return Opinion::Wrong("does not parse any more") };
        let known = ways.iter().find(|way| way.after == after.ends && way.egress == forward.egress);
        let generation = if let Some(way) = known {
            if let Some(why) = self.hear(way, packet) {
                return Opinion::Wrong(why);
            }
            self.memory.seen(passage.at, way.flow);
            way.generation
        } else {
            let opening = openings.iter().find(|opening| opening.fits(packet, &after, forward));
            let Some(opening) = opening else {
                return Opinion::Wrong("no rule and no conversation allows it");
            };
            if ways.iter().any(|way| way.is_original && way.surely_known) {
                return Opinion::Wrong("its conversation had another translation");
            }
            if self.add_flow(passage, forward, packet, &after, opening.generation) {
                return Opinion::Wrong("its answers belong to another conversation, too");
            }
            opening.generation
        };
        if let Some(piece) = packet.piece {
            self.memory.add_first(TwinFirst {
                ingress: passage.ingress,
                datagram: piece.datagram,
                after: after.ends.addresses,
                egress: forward.egress,
                generation,
            });
        }
        Opinion::Right
    }

    /// Takes a TCP segment that was forwarded. Says what is wrong with that.
    fn hear(&mut self, way: &Way, packet: &Seen) -> Option<&'static str> {
        let Transport::Tcp(segment) = packet.transport else { return None };
        let talk = self.memory.talk_mut(way.flow);
        let known = talk.take()?;
        let wrong = known.forbids(way.from(), &segment);
        *talk = known.after(way.from(), &segment).filter(|_| packet.piece.is_none());
        wrong
    }

    /// Whether a TCP segment that was refused is the next one in its window.
    fn is_demanded(&self, way: &Way, packet: &Seen) -> bool {
        let Transport::Tcp(segment) = packet.transport else { return false };
        let talk = self.memory.flows()[way.flow].talk;
        way.surely_known && talk.is_some_and(|talk| talk.demands(way.from(), &segment))
    }

    fn add_flow(
        &mut self,
        passage: &Passage,
        forward: Forward,
        packet: &Seen,
        after: &Seen,
        generation: u64,
    ) -> bool {
        let flow = TwinFlow {
            protocol: packet.protocol,
            original: packet.ends,
            reply: after.ends.reversed(),
            ingress: passage.ingress,
            egress: forward.egress,
            generation,
            last_seen: passage.at,
            talk: packet.talk(),
        };
        let now = passage.at;
        let under_lease = |session: &&super::TwinSession| {
            super::is_exempt(&session.rule) || !super::has_lapsed(now, self.node_lease)
        };
        let alive: alloc::collections::BTreeSet<u64> =
            self.sessions.iter().filter(under_lease).map(|session| session.generation).collect();
        let is_alive = |generation| alive.contains(&generation);
        self.memory.add(flow, is_alive)
    }

    /// Whether what was refused had to pass.
    fn refused(&self, packet: &Seen, ways: &[Way], openings: &[Opening]) -> Opinion {
        let is_simple = packet.piece.is_none() && packet.hop_limit > 1 && packet.len <= self.least_mtu();
        if !is_simple {
            return Opinion::None;
        }
        let is_tcp = packet.protocol == Protocol::TCP;
        match (ways.iter().any(|way| way.surely_known), openings.is_empty()) {
            (true, _) if !is_tcp => Opinion::MustPass("its conversation is alive"),
            (true, _) if ways.iter().any(|way| self.is_demanded(way, packet)) => {
                Opinion::MustPass("it is the next segment in its window")
            }
            (false, false) if ways.is_empty() => Opinion::MustPass("a rule allows it"),
            (true, _) | (false, false) => Opinion::None,
            (false, true) => Opinion::Right,
        }
    }

    /// Whether it is a packet that can open a conversation at all.
    fn may_open(&self, ingress: Ingress, packet: &Seen) -> bool {
        let source = packet.ends.addresses.source();
        let from_client = match ingress {
            Ingress::Peer(_) => true,
            Ingress::Tun => self.config.tun_clients.iter().any(|prefix| prefix.contains(&source)),
            Ingress::Sockets => self.config.overlay_addresses.contains(&source),
        };
        let opens = match packet.transport {
            Transport::Tcp(tcp) => {
                let flags = [TcpFlags::SYN, TcpFlags::ACK, TcpFlags::FIN, TcpFlags::RST];
                flags.map(|flag| tcp.flags.contains(flag)) == [true, false, false, false]
            }
            Transport::IcmpEcho { echo, .. } => echo == Echo::Request,
            Transport::Udp | Transport::Other => true,
            Transport::IcmpError(_) | Transport::IcmpOther { .. } | Transport::LaterPiece => false,
        };
        from_client && opens
    }

    /// ICE-5, ICE-7: an error follows the conversation that it quotes, backwards.
    fn error(&self, passage: &Passage, forward: Option<Forward>, before: &Seen, error: IcmpError) -> Opinion {
        let Some((quoted, protocol)) = quoted(&passage.before) else {
            return wrong_if(forward.is_some(), "an error without a quote");
        };
        let is_addressed = before.ends.addresses.destination() == quoted.addresses.source();
        let mut is_due = false;
        for flow in self.memory.flows().iter().filter(|flow| flow.protocol == protocol) {
            let Some((sent, to)) = about(flow, passage.ingress, &quoted) else { continue };
            if !is_addressed || !self.is_alive(passage.at, flow.generation) {
                continue;
            }
            if let Some(forward) = forward {
                let is_right = forward.egress == to && is_translated_error(passage, before, &sent);
                return if is_right { Opinion::Right } else { Opinion::Wrong("error translated wrongly") };
            }
            is_due |= flow.is_surely_known(passage.at);
        }
        let is_plain = protocol != Protocol::TCP
            && matches!(error, IcmpError::Unreachable { .. } | IcmpError::TimeExceeded { .. })
            && before.hop_limit > 1
            && wire::checksums_are_right(&passage.before);
        match forward {
            Some(_) => Opinion::Wrong("an error about no conversation"),
            None if is_due && is_plain => Opinion::MustPass("an error about a live conversation"),
            None if is_due => Opinion::None,
            None => Opinion::Right,
        }
    }

    /// FRG-1: later pieces follow their first one.
    fn later(&self, passage: &Passage, forward: Option<Forward>, before: &Seen) -> Opinion {
        let (Some(forward), Some(piece)) = (forward, before.piece) else { return Opinion::None };
        let after = see(&passage.after).map(|after| after.ends.addresses);
        let follows = |first: &TwinFirst| {
            first.ingress == passage.ingress
                && first.datagram == piece.datagram
                && first.egress == forward.egress
                && Some(first.after) == after
                && self.is_alive(passage.at, first.generation)
        };
        let firsts = self.memory.firsts();
        wrong_if(!firsts.iter().any(follows), "a piece without its first")
    }

    fn least_mtu(&self) -> usize {
        usize::from(self.config.tunnel_mtu_bytes.min(self.config.tun_mtu_bytes.unwrap_or(u16::MAX)))
    }

    /// Whether a packet for the TUN that the node made itself, or held back, is its to send.
    pub(in crate::sim) fn emitted(&mut self, now: Instant, packet: &[u8]) {
        let Some(seen) = see(packet) else { return };
        let addresses = seen.ends.addresses;
        let is_answer = self.is_ours(addresses.source()) || matches!(seen.transport, Transport::Tcp(_));
        let is_released = self
            .memory
            .firsts()
            .iter()
            .any(|first| first.after == addresses && self.is_alive(now, first.generation));
        let is_notice = matches!(seen.transport, Transport::IcmpError(_));
        if !is_answer && !is_released && !is_notice && self.wrongly_forwarded.len() < super::WRONG_MAX {
            self.wrongly_forwarded.push(alloc::format!("made up, at {now:?}: {packet:02x?}"));
        }
    }
}

impl Seen {
    /// Requests go through a conversation as its first packet went, replies come back (ICQ-1). Where the identifier is 0
    /// their ends are the same.
    fn may_go(&self, way: &Way) -> bool {
        let Transport::IcmpEcho { echo, .. } = self.transport else { return true };
        way.is_original == (echo == Echo::Request)
    }

    /// The TCP conversation that it opens, if it is to be judged.
    fn talk(&self) -> Option<Talk> {
        let Transport::Tcp(syn) = self.transport else { return None };
        Talk::opened_by(&syn).filter(|_| self.piece.is_none())
    }
}

impl Opening {
    fn fits(&self, before: &Seen, after: &Seen, forward: Forward) -> bool {
        let source = after.ends.addresses.source();
        let source_fits = match &self.sources {
            None => source == before.ends.addresses.source(),
            Some(sources) => sources.contains(&source),
        };
        let destination = (after.ends.addresses.destination(), after.ends.ports.destination);
        source_fits && destination == self.destination && forward.egress == self.egress
    }
}

/// The packet as its sender sent it, and the side it came from, if a conversation has a packet that left with these ends.
fn about(flow: &TwinFlow, ingress: Ingress, quoted: &Ends) -> Option<(Ends, crate::Egress)> {
    if flow.reply.reversed() == *quoted && leaves(flow.egress, ingress) {
        return Some((flow.original, side(flow.ingress)));
    }
    if flow.original.reversed() == *quoted && flow.ingress == ingress {
        return Some((flow.reply, flow.egress));
    }
    None
}

fn is_translated_error(passage: &Passage, before: &Seen, sent: &Ends) -> bool {
    let Some(after) = see(&passage.after) else { return false };
    let at = wire::header_len(&passage.before);
    let same_kind = passage.before[at..at + 2] == passage.after[at..at + 2];
    let (source, hidden) = (after.ends.addresses.source(), sent.addresses.destination());
    let quote_is_right = quoted(&passage.after).is_some_and(|(ends, _)| ends == *sent);
    let source_is_right = source == hidden || source == before.ends.addresses.source();
    let to_sender = after.ends.addresses.destination() == sent.addresses.source();
    same_kind && quote_is_right && source_is_right && to_sender && wire::checksums_are_right(&passage.after)
}

fn quoted(packet: &[u8]) -> Option<(Ends, Protocol)> {
    let mut bytes = packet.to_vec();
    let mut parsed = PacketMut::parse(&mut bytes).ok()?;
    let quote = parsed.quote().ok()?;
    Some((quote.ends(), quote.protocol()))
}

/// What no forwarding may do to a packet.
fn changed_wrongly(passage: &Passage, before: &Seen, after: &Seen) -> Option<&'static str> {
    let (old, new) = (&passage.before[..before.len], &passage.after[..]);
    if before.hop_limit <= 1 || after.hop_limit != before.hop_limit - 1 {
        return Some("hop limit");
    }
    if new.len() != old.len() {
        return Some("length");
    }
    let (was_right, is_right) = (wire::checksums_are_right(old), wire::checksums_are_right(new));
    if was_right && !is_right || is_right && !was_right && !is_all_zeros(old) {
        return Some("checksum");
    }
    let is_error = matches!(before.transport, Transport::IcmpError(_));
    if !is_error && old[before.headers_len..] != new[after.headers_len..] {
        return Some("payload");
    }
    None
}

/// An ICMP message of nothing but zeros is not right, although its checksum is, modulo 0xFFFF: what is written in it next
/// makes it right.
fn is_all_zeros(packet: &[u8]) -> bool {
    packet[wire::header_len(packet)..].iter().all(|byte| *byte == 0)
}

fn see(packet: &[u8]) -> Option<Seen> {
    let mut bytes = packet.to_vec();
    let parsed = PacketMut::parse(&mut bytes).ok()?;
    let is_later = parsed.transport() == Transport::LaterPiece;
    let ports = if is_later { Ports::NONE } else { parsed.ports() };
    Some(Seen {
        ends: Ends { addresses: parsed.addresses(), ports },
        protocol: parsed.protocol(),
        transport: parsed.transport(),
        hop_limit: parsed.hop_limit(),
        len: parsed.total_len(),
        headers_len: parsed.headers_len(),
        piece: parsed.piece(),
    })
}

fn is_martian(source: IpAddr) -> bool {
    match source {
        IpAddr::V4(source) => {
            let [first, second, ..] = source.octets();
            matches!(first, 0 | 127 | 224..) || (first, second) == (169, 254)
        }
        IpAddr::V6(source) => {
            let first = source.segments()[0];
            source.is_unspecified()
                || source.is_loopback()
                || source.to_ipv4_mapped().is_some()
                || first & 0xffc0 == 0xfe80
                || first & 0xff00 == 0xff00
        }
    }
}

fn wrong_if(is_wrong: bool, why: &'static str) -> Opinion {
    if is_wrong { Opinion::Wrong(why) } else { Opinion::Right }
}
