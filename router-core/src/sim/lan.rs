//! The network behind a station's TUN: hops one after another, then hosts.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::wire;
use crate::packet::{PacketMut, Transport, Version};

/// A network.
#[derive(Debug, Clone, Default)]
pub struct Lan {
    /// Routers between the TUN and the hosts, nearest first.
    pub hops: Vec<Hop>,
    /// The address that says "host unreachable" for destinations nobody has; `None`: nobody does.
    pub gateway: Option<IpAddr>,
}

/// An ordinary router: it counts down hop limits, knows its next link's MTU, and says so when it drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// Its address for IPv4 errors.
    pub v4: IpAddr,
    /// Its address for IPv6 errors.
    pub v6: IpAddr,
    /// The longest packet it passes on, in either direction.
    pub mtu_bytes: u16,
    /// How much of a packet it quotes in errors, counted from the start of the packet.
    pub quote_bytes: usize,
    /// Whether it answers with "administratively prohibited" instead of passing packets outwards.
    pub closed: bool,
    /// What RFC 4884 extension it puts behind its quotes; empty: none.
    pub extension: &'static [u8],
}

/// What a hop does with a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Passing {
    On(Vec<u8>),
    Answered(Vec<u8>),
    Gone,
}

/// An error, by its type and code in both versions.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    HopLimit,
    TooBig(u16),
    Prohibited,
    Host,
}

impl Hop {
    /// A hop that lets everything of up to 1500 bytes pass and quotes the eight bytes that RFC 792 asks for.
    pub fn new(v4: IpAddr, v6: IpAddr) -> Hop {
        Hop { v4, v6, mtu_bytes: 1500, quote_bytes: 28, closed: false, extension: &[] }
    }

    pub(super) fn pass(&self, packet: &[u8], is_outward: bool) -> Passing {
        let mut bytes = packet.to_vec();
        let Ok(parsed) = PacketMut::parse(&mut bytes) else { return Passing::Gone };
        let (limit, len, keep_whole) = (parsed.hop_limit(), parsed.total_len(), parsed.dont_fragment());
        let trouble = if limit <= 1 {
            Trouble::HopLimit
        } else if len > usize::from(self.mtu_bytes) && keep_whole {
            Trouble::TooBig(self.mtu_bytes)
        } else if self.closed && is_outward {
            Trouble::Prohibited
        } else if len > usize::from(self.mtu_bytes) {
            // These hops do not fragment; tests of fragmentation look at what we do.
            return Passing::Gone;
        } else {
            return Passing::On(wire::with_hop_limit(packet, limit - 1));
        };
        self.complain(packet, trouble)
    }

    fn complain(&self, packet: &[u8], trouble: Trouble) -> Passing {
        let from = if packet[0] >> 4 == 4 { self.v4 } else { self.v6 };
        error(packet, from, trouble, self.quote_bytes, self.extension)
            .map_or(Passing::Gone, Passing::Answered)
    }
}

/// "Host unreachable" about a packet, from this address.
pub(super) fn host_unreachable(packet: &[u8], from: IpAddr) -> Option<Vec<u8>> {
    error(packet, from, Trouble::Host, 28, &[])
}

fn error(
    packet: &[u8],
    from: IpAddr,
    trouble: Trouble,
    quote_bytes: usize,
    extension: &[u8],
) -> Option<Vec<u8>> {
    let mut bytes = packet.to_vec();
    let parsed = PacketMut::parse(&mut bytes).ok()?;
    // No errors about errors, nor about later pieces.
    if matches!(parsed.transport(), Transport::IcmpError(_) | Transport::LaterPiece) {
        return None;
    }
    let to = parsed.addresses().source();
    let version = parsed.version();
    let upper_min = wire::header_len(packet) + 8;
    let mut quote = packet[..packet.len().min(quote_bytes.max(upper_min))].to_vec();
    let (kind, code, mut word) = trouble.encode(version);
    if !extension.is_empty() {
        // RFC 4884: the quote is padded to a whole number of words, at least 128 bytes.
        let words = if version == Version::V4 { 4 } else { 8 };
        let len = quote.len().max(128).next_multiple_of(words);
        quote.resize(len, 0);
        word[if version == Version::V4 { 1 } else { 0 }] = (len / words) as u8;
        quote.extend_from_slice(extension);
    }
    Some(wire::icmp(&wire::addresses(from, to), kind, code, word, &quote))
}

impl Trouble {
    fn encode(self, version: Version) -> (u8, u8, [u8; 4]) {
        match (self, version) {
            (Trouble::HopLimit, Version::V4) => (11, 0, [0; 4]),
            (Trouble::HopLimit, Version::V6) => (3, 0, [0; 4]),
            (Trouble::TooBig(mtu), Version::V4) => (3, 4, u32::from(mtu).to_be_bytes()),
            (Trouble::TooBig(mtu), Version::V6) => (2, 0, u32::from(mtu).to_be_bytes()),
            (Trouble::Prohibited, Version::V4) => (3, 13, [0; 4]),
            (Trouble::Prohibited, Version::V6) => (1, 1, [0; 4]),
            (Trouble::Host, Version::V4) => (3, 1, [0; 4]),
            (Trouble::Host, Version::V6) => (1, 3, [0; 4]),
        }
    }
}
