//! A host: the applications at a client, a device, a server in a LAN. It remembers all that arrives, and answers as
//! hosts do.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use wg_proto::Instant;

use super::StationId;
use super::wire;
use crate::packet::{Echo, Ends, PacketMut, Protocol, Transport};

/// The most arrivals that are remembered; when full, the oldest is forgotten.
const INBOX_MAX: usize = 1 << 16;

/// A host in the simulator.
#[derive(Debug)]
pub struct Host {
    /// Behind whose TUN it is.
    pub station: StationId,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// All that arrived, oldest first.
    pub inbox: VecDeque<Arrival>,
    /// UDP ports that send everything back.
    pub udp_echo: BTreeSet<u16>,
    /// Whether it answers pings.
    pub answers_pings: bool,
    /// Whether it says "port unreachable" where nothing listens, and resets connections nobody has.
    pub answers_closed_ports: bool,
    /// Packets that arrived with a wrong checksum. They are not in the inbox.
    pub corrupt: u64,
}

/// A packet that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// When.
    pub at: Instant,
    /// The packet.
    pub packet: Vec<u8>,
}

impl Host {
    pub(super) fn new(station: StationId, addresses: &[IpAddr]) -> Host {
        Host {
            station,
            addresses: addresses.to_vec(),
            inbox: VecDeque::new(),
            udp_echo: BTreeSet::new(),
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

    /// ICMP messages that arrived: type, code, and who sent them, oldest first.
    pub fn icmp(&self) -> Vec<(u8, u8, IpAddr)> {
        let icmp = |arrival: &Arrival| {
            let mut bytes = arrival.packet.clone();
            let packet = PacketMut::parse(&mut bytes).ok()?;
            let is_icmp = matches!(packet.protocol(), Protocol::ICMP | Protocol::ICMPV6);
            let at = wire::header_len(&arrival.packet);
            let (kind, code) = (*arrival.packet.get(at)?, *arrival.packet.get(at + 1)?);
            is_icmp.then_some((kind, code, packet.addresses().source()))
        };
        self.inbox.iter().filter_map(icmp).collect()
    }

    /// Takes a packet; what comes back are the answers.
    pub(super) fn receive(&mut self, now: Instant, packet: Vec<u8>) -> Vec<Vec<u8>> {
        if !wire::checksums_are_right(&packet) {
            self.corrupt += 1;
            return Vec::new();
        }
        let answers = self.answer(&packet).into_iter().collect();
        if self.inbox.len() == INBOX_MAX {
            self.inbox.pop_front();
        }
        self.inbox.push_back(Arrival { at: now, packet });
        answers
    }

    fn answer(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = packet.to_vec();
        let parsed = PacketMut::parse(&mut bytes).ok()?;
        let ends = parsed.ends();
        if !self.addresses.contains(&ends.addresses.destination()) || parsed.piece().is_some() {
            return None;
        }
        match parsed.transport() {
            Transport::Udp => self.answer_udp(&ends, packet),
            Transport::IcmpEcho { echo: Echo::Request, .. } if self.answers_pings => {
                Some(pong(packet, &ends))
            }
            Transport::IcmpEcho { .. }
            | Transport::Tcp(_)
            | Transport::IcmpError(_)
            | Transport::IcmpOther { .. }
            | Transport::Other
            | Transport::LaterPiece => None,
        }
    }

    fn answer_udp(&self, ends: &Ends, packet: &[u8]) -> Option<Vec<u8>> {
        if self.udp_echo.contains(&ends.ports.destination) {
            let payload = &packet[wire::header_len(packet) + 8..];
            return Some(wire::udp(&ends.reversed(), payload));
        }
        self.answers_closed_ports.then(|| port_unreachable(packet, ends))
    }
}

/// Ends and payload of a whole UDP datagram.
fn udp_payload(packet: &[u8]) -> Option<(Ends, Vec<u8>)> {
    let mut bytes = packet.to_vec();
    let parsed = PacketMut::parse(&mut bytes).ok()?;
    let is_whole = parsed.transport() == Transport::Udp && parsed.piece().is_none();
    is_whole.then(|| (parsed.ends(), parsed.bytes()[parsed.headers_len()..].to_vec()))
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
