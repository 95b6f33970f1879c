//! A host: the applications at a client, a device, a server in a LAN. It remembers all that arrives, and answers as
//! hosts do.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use wg_proto::Instant;

use super::StationId;
use super::wire;
use crate::packet::build::reset_answering;
use crate::packet::{Echo, Ends, IcmpError, PacketMut, Protocol, TcpSegment, Transport};

mod tcp;

pub use tcp::{Connection, TcpEnd, TcpStage};

/// The most arrivals that are remembered; when full, the oldest is forgotten.
const INBOX_MAX: usize = 1 << 16;
/// The most connections a host keeps; it answers no more.
const CONNECTIONS_MAX: usize = 1 << 12;

/// A host in the simulator.
#[derive(Debug)]
pub struct Host {
    /// Behind whose TUN it is.
    pub station: StationId,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// What its own interface takes: TCP derives its maximum segment size from it.
    pub mtu_bytes: u16,
    /// All that arrived, oldest first.
    pub inbox: VecDeque<Arrival>,
    /// UDP ports that send everything back.
    pub udp_echo: BTreeSet<u16>,
    /// TCP ports, and what answers there.
    pub tcp_services: BTreeMap<u16, TcpService>,
    /// Connections, in the order they were opened.
    pub connections: Vec<Connection>,
    /// Whether it answers pings.
    pub answers_pings: bool,
    /// Whether it says "port unreachable" where nothing listens, and resets connections nobody has.
    pub answers_closed_ports: bool,
    /// Packets that arrived with a wrong checksum. They are not in the inbox.
    pub corrupt: u64,
}

/// What a TCP server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpService {
    /// Sends everything back, and finishes when the client does.
    Echo,
    /// Sends this many bytes, and finishes.
    Serve(usize),
}

/// A packet that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// When.
    pub at: Instant,
    /// The packet.
    pub packet: Vec<u8>,
}

/// An ICMP error that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeardError {
    /// Who sent it, as far as the host can see.
    pub from: IpAddr,
    /// Its type.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// The path MTU that it names, if it is of that kind.
    pub mtu_bytes: Option<u32>,
    /// Ends of the packet it quotes.
    pub about: Ends,
}

impl Host {
    pub(super) fn new(station: StationId, addresses: &[IpAddr], mtu_bytes: u16) -> Host {
        Host {
            station,
            addresses: addresses.to_vec(),
            mtu_bytes,
            inbox: VecDeque::new(),
            udp_echo: BTreeSet::new(),
            tcp_services: BTreeMap::new(),
            connections: Vec::new(),
            answers_pings: true,
            answers_closed_ports: true,
            corrupt: 0,
        }
    }

    /// Its address of the same IP version as `other`. Panics if it has none: that is a mistake in a test.
    pub fn address_like(&self, other: IpAddr) -> IpAddr {
        let alike = |mine: &&IpAddr| mine.is_ipv4() == other.is_ipv4();
        *self.addresses.iter().find(alike).expect("the host has an address of this IP version")
    }

    /// UDP payloads that arrived at this port, with who sent them, oldest first.
    pub fn datagrams(&self, port: u16) -> Vec<(SocketAddr, Vec<u8>)> {
        let at_port = |arrival: &Arrival| {
            let (ends, payload) = udp_payload(&arrival.packet)?;
            let from = SocketAddr::new(ends.addresses.source(), ends.ports.source);
            (ends.ports.destination == port).then_some((from, payload))
        };
        self.inbox.iter().filter_map(at_port).collect()
    }

    /// Echo replies that arrived: who answered, and the identifier.
    pub fn pongs(&self) -> Vec<(IpAddr, u16)> {
        let pong = |arrival: &Arrival| {
            let mut bytes = arrival.packet.clone();
            let packet = PacketMut::parse(&mut bytes).ok()?;
            let is_pong = matches!(packet.transport(), Transport::IcmpEcho { echo: Echo::Reply, .. });
            is_pong.then(|| (packet.addresses().source(), packet.ports().destination))
        };
        self.inbox.iter().filter_map(pong).collect()
    }

    /// ICMP errors that arrived, oldest first.
    pub fn errors(&self) -> Vec<HeardError> {
        self.inbox.iter().filter_map(|arrival| heard_error(&arrival.packet)).collect()
    }

    /// Takes a packet; what comes back are the answers. `first` is the number of a SYN, should one be due.
    pub(super) fn receive(&mut self, now: Instant, packet: Vec<u8>, first: u32) -> Vec<Vec<u8>> {
        if !wire::checksums_are_right(&packet) {
            self.corrupt += 1;
            return Vec::new();
        }
        let mut answers = Vec::new();
        self.answer(now, &packet, first, &mut answers);
        if self.inbox.len() == INBOX_MAX {
            self.inbox.pop_front();
        }
        self.inbox.push_back(Arrival { at: now, packet });
        answers
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        self.connections.iter().filter_map(Connection::timeout).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        self.connections.iter_mut().for_each(|connection| connection.handle_timeout(now, &mut out));
        out
    }

    fn answer(&mut self, now: Instant, packet: &[u8], first: u32, out: &mut Vec<Vec<u8>>) {
        let mut bytes = packet.to_vec();
        let Ok(parsed) = PacketMut::parse(&mut bytes) else { return };
        let ends = parsed.ends();
        if !self.addresses.contains(&ends.addresses.destination()) || parsed.piece().is_some() {
            return;
        }
        match parsed.transport() {
            Transport::Udp => out.extend(self.answer_udp(&ends, packet)),
            Transport::Tcp(segment) => self.answer_tcp(now, &parsed, &segment, first, out),
            Transport::IcmpEcho { echo: Echo::Request, .. } if self.answers_pings => {
                out.push(pong(packet, &ends));
            }
            Transport::IcmpError(_) => self.hear_error(now, packet, out),
            Transport::IcmpEcho { .. }
            | Transport::IcmpOther { .. }
            | Transport::Other
            | Transport::LaterPiece => {}
        }
    }

    fn answer_udp(&self, ends: &Ends, packet: &[u8]) -> Option<Vec<u8>> {
        if self.udp_echo.contains(&ends.ports.destination) {
            let payload = &packet[wire::header_len(packet) + 8..];
            return Some(wire::udp(&ends.reversed(), payload));
        }
        // Whoever has sent from this port listens there.
        let is_closed = self.answers_closed_ports && ends.ports.destination < 1024;
        is_closed.then(|| port_unreachable(packet, ends))
    }

    fn answer_tcp(
        &mut self,
        now: Instant,
        packet: &PacketMut<'_>,
        segment: &TcpSegment,
        first: u32,
        out: &mut Vec<Vec<u8>>,
    ) {
        let ends = packet.ends().reversed();
        let is_opening = segment.flags.syn() && !segment.flags.ack();
        let service = self.tcp_services.get(&ends.ports.source).copied();
        let known = self.connections.iter_mut().rev().find(|connection| {
            connection.ends == ends && !(is_opening && connection.end().is_some() && service.is_some())
        });
        if let Some(connection) = known {
            connection.hear(now, segment, &packet.bytes()[packet.headers_len()..], out);
            serve(now, connection, service, out);
        } else if is_opening && service.is_some() && self.connections.len() < CONNECTIONS_MAX {
            let mut connection = Connection::answering(ends, first, self.mtu_bytes, segment);
            connection.pump(now, out);
            self.connections.push(connection);
        } else if self.answers_closed_ports {
            let mut reset = [0; 64];
            out.extend(reset_answering(packet, &mut reset).ok().map(|len| reset[..len].to_vec()));
        }
    }

    fn hear_error(&mut self, now: Instant, packet: &[u8], out: &mut Vec<Vec<u8>>) {
        let Some(error) = heard_error(packet) else { return };
        let concerned = self.connections.iter_mut().filter(|connection| connection.ends == error.about);
        for connection in concerned {
            match error.mtu_bytes {
                Some(mtu_bytes) => connection.hear_mtu(now, mtu_bytes as u16, out),
                None => connection.hear_error(error.kind, error.code),
            }
        }
    }
}

/// What a server does after each segment.
fn serve(now: Instant, connection: &mut Connection, service: Option<TcpService>, out: &mut Vec<Vec<u8>>) {
    if connection.stage != TcpStage::Open {
        return;
    }
    match service {
        Some(TcpService::Echo) => {
            let sent = connection.queued();
            let news = connection.received[sent..].to_vec();
            connection.queue(&news);
            if connection.peer_has_finished {
                connection.finish();
            }
        }
        Some(TcpService::Serve(len)) if connection.queued() == 0 => {
            let pattern: Vec<u8> = (0..len).map(|at| at as u8).collect();
            connection.queue(&pattern);
            connection.finish();
        }
        Some(TcpService::Serve(_)) | None => {}
    }
    connection.pump(now, out);
}

/// Ends and payload of a whole UDP datagram.
fn udp_payload(packet: &[u8]) -> Option<(Ends, Vec<u8>)> {
    let mut bytes = packet.to_vec();
    let parsed = PacketMut::parse(&mut bytes).ok()?;
    let is_whole = parsed.transport() == Transport::Udp && parsed.piece().is_none();
    is_whole.then(|| (parsed.ends(), parsed.bytes()[parsed.headers_len()..].to_vec()))
}

fn heard_error(packet: &[u8]) -> Option<HeardError> {
    let mut bytes = packet.to_vec();
    let mut parsed = PacketMut::parse(&mut bytes).ok()?;
    let Transport::IcmpError(error) = parsed.transport() else { return None };
    let from = parsed.addresses().source();
    let at = wire::header_len(packet);
    let mtu_bytes = match error {
        IcmpError::TooBig { mtu_bytes } => Some(mtu_bytes),
        IcmpError::Unreachable { .. }
        | IcmpError::TimeExceeded { .. }
        | IcmpError::ParameterProblem { .. }
        | IcmpError::SourceQuench
        | IcmpError::Redirect
        | IcmpError::Unassigned { .. } => None,
    };
    let about = parsed.quote().ok()?.ends();
    Some(HeardError { from, kind: packet[at], code: packet[at + 1], mtu_bytes, about })
}

fn pong(packet: &[u8], ends: &Ends) -> Vec<u8> {
    let at = wire::header_len(packet);
    let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    wire::pong(&ends.addresses.reversed(), word(at + 4), word(at + 6), &packet[at + 8..])
}

fn port_unreachable(packet: &[u8], ends: &Ends) -> Vec<u8> {
    let quote = &packet[..packet.len().min(548)];
    let (kind, code) = if packet[0] >> 4 == 4 { (3, 3) } else { (1, 4) };
    wire::icmp(&ends.addresses.reversed(), kind, code, [0; 4], quote)
}

/// Whether the packet is of this protocol; for tests that look into inboxes.
pub fn is_of(packet: &[u8], protocol: Protocol) -> bool {
    let mut bytes = packet.to_vec();
    PacketMut::parse(&mut bytes).is_ok_and(|parsed| parsed.protocol() == protocol)
}
