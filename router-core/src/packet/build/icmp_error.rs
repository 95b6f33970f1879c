//! ICMP errors that we send about packets we do not forward. Read first: RFC 792, RFC 1812 sections 4.3.2 and 5.2.7,
//! RFC 4443 sections 2.4 and 3. Rate limits are the caller's (GEN-1, `limits`).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::packet::PacketMut;
use crate::packet::address::{Addresses, Protocol, Version};
use crate::packet::field::put_u16;
use crate::packet::icmp::{self, v4, v6};
use crate::packet::transport::Transport;

use super::{BuildError, header};

/// Longest error over IPv4. RFC 1812 section 4.3.2.3.
const LEN_MAX_V4: usize = 576;
/// Longest error over IPv6: the minimum MTU. RFC 4443 section 2.4 (c).
const LEN_MAX_V6: usize = 1280;
/// Precedence of errors over IPv4: internetwork control. RFC 1812 section 4.3.2.5.
const TRAFFIC_CLASS_V4: u8 = 0xc0;

/// What we tell a packet's sender, whatever the IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Notice {
    /// The packet would have had to live longer (TTL-1).
    HopLimitExceeded,
    /// The packet does not reach its destination.
    Unreachable(Unreachable),
    /// The packet is longer than the next hop takes and must not be fragmented (MTU-1).
    TooBig {
        /// What the next hop takes.
        mtu_bytes: u16,
    },
}

/// Why a packet does not reach its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unreachable {
    /// No route to the destination.
    NoRoute,
    /// A route, but no way to reach the host now: a peer without a session, for one.
    Host,
    /// Nothing listens there.
    Port,
    /// No rule allows it (FLT-4).
    AdminProhibited,
}

impl Notice {
    /// Type and code, and the 32 bits behind the checksum.
    fn encode(self, version: Version) -> (u8, u8, u32) {
        match (self, version) {
            (Notice::HopLimitExceeded, Version::V4) => (v4::TIME_EXCEEDED, 0, 0),
            (Notice::HopLimitExceeded, Version::V6) => (v6::TIME_EXCEEDED, 0, 0),
            (Notice::Unreachable(reason), Version::V4) => (v4::UNREACHABLE, reason.code_v4(), 0),
            (Notice::Unreachable(reason), Version::V6) => (v6::UNREACHABLE, reason.code_v6(), 0),
            (Notice::TooBig { mtu_bytes }, Version::V4) => {
                (v4::UNREACHABLE, v4::FRAGMENTATION_NEEDED, u32::from(mtu_bytes))
            }
            (Notice::TooBig { mtu_bytes }, Version::V6) => (v6::PACKET_TOO_BIG, 0, u32::from(mtu_bytes)),
        }
    }
}

impl Unreachable {
    /// RFC 792; RFC 1812 section 5.2.7.1 for 13.
    fn code_v4(self) -> u8 {
        match self {
            Unreachable::NoRoute => 0,
            Unreachable::Host => 1,
            Unreachable::Port => 3,
            Unreachable::AdminProhibited => 13,
        }
    }

    /// RFC 4443 section 3.1.
    fn code_v6(self) -> u8 {
        match self {
            Unreachable::NoRoute => 0,
            Unreachable::AdminProhibited => 1,
            Unreachable::Host => 3,
            Unreachable::Port => 4,
        }
    }
}

/// Whether an ICMP error may be sent about `packet` (FLT-5, RFC 1812 section 4.3.2.7, RFC 4443 section 2.4 (e)): never
/// about an ICMP error or redirect, a later fragment, a multicast or broadcast, or a source that is no single host.
pub fn may_answer(packet: &PacketMut<'_>) -> bool {
    let upper_layer_allows = match packet.transport() {
        Transport::Tcp(_)
        | Transport::Udp
        | Transport::IcmpEcho { .. }
        | Transport::IcmpOther { .. }
        | Transport::Other => true,
        Transport::IcmpError(_) | Transport::LaterPiece => false,
    };
    let addresses = packet.addresses();
    upper_layer_allows && is_single_host(addresses.source()) && is_unicast(addresses.destination())
}

/// Writes the ICMP error `notice` about `packet`, as received, to the start of `out`. `from` is the address of ours that
/// the sender may know. [`BuildError::Unanswerable`] where [`may_answer`] says no.
pub fn icmp_error(
    packet: &PacketMut<'_>,
    from: IpAddr,
    notice: Notice,
    out: &mut [u8],
) -> Result<usize, BuildError> {
    let addresses = Addresses::new(from, packet.addresses().source())?;
    if !may_answer(packet) {
        return Err(BuildError::Unanswerable);
    }
    let quote = quote_of(packet);
    let (protocol, traffic_class) = match packet.version() {
        Version::V4 => (Protocol::ICMP, TRAFFIC_CLASS_V4),
        Version::V6 => (Protocol::ICMPV6, 0),
    };
    let message_len = icmp::HEADER_BYTES + quote.len();
    let built = header::write(&addresses, protocol, traffic_class, message_len, out)?;
    let len = built.len();
    let message = &mut built[len - message_len..];
    let (kind, code, word) = notice.encode(packet.version());
    (message[0], message[1]) = (kind, code);
    put_u16(message, icmp::CHECKSUM_AT, 0);
    message[4..icmp::HEADER_BYTES].copy_from_slice(&word.to_be_bytes());
    message[icmp::HEADER_BYTES..].copy_from_slice(quote);
    header::finish(&addresses, protocol, icmp::CHECKSUM_AT, message);
    Ok(len)
}

/// As much of `packet` as an error may quote (GEN-1).
fn quote_of<'p>(packet: &'p PacketMut<'_>) -> &'p [u8] {
    let len_max = match packet.version() {
        Version::V4 => LEN_MAX_V4,
        Version::V6 => LEN_MAX_V6,
    };
    let room = len_max - header::len(packet.version()) - icmp::HEADER_BYTES;
    &packet.bytes()[..packet.total_len().min(room)]
}

/// Whether a source address is one host's.
fn is_single_host(source: IpAddr) -> bool {
    match source {
        IpAddr::V4(source) => !source.is_unspecified() && !source.is_loopback() && is_unicast_v4(source),
        IpAddr::V6(source) => !source.is_unspecified() && !source.is_loopback() && is_unicast_v6(source),
    }
}

fn is_unicast(destination: IpAddr) -> bool {
    match destination {
        IpAddr::V4(destination) => is_unicast_v4(destination),
        IpAddr::V6(destination) => is_unicast_v6(destination),
    }
}

/// Neither multicast nor the limited broadcast nor anything else of 240/4.
fn is_unicast_v4(address: Ipv4Addr) -> bool {
    address.octets()[0] < 224
}

fn is_unicast_v6(address: Ipv6Addr) -> bool {
    !address.is_multicast()
}
