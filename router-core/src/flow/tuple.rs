//! What a packet says about the conversation it belongs to.

use core::fmt::Debug;
use core::hash::Hash;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::packet::Protocol;

/// Addresses, protocol and ports of one direction of a conversation, as they stand in a packet.
///
/// An ICMP echo *request* carries its identifier as `src_port` and 0 as `dst_port`, an echo *reply* the other way
/// round: a reply then equals its request's [`inverse`](Tuple::inverse), and two hosts pinging each other with the
/// same identifier stay two conversations. Protocols without ports carry 0 twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple<A> {
    /// Source address.
    pub src: A,
    /// Destination address.
    pub dst: A,
    /// Source port, or the identifier of an echo request, or 0.
    pub src_port: u16,
    /// Destination port, or the identifier of an echo reply, or 0.
    pub dst_port: u16,
    /// The protocol above IP.
    pub protocol: Protocol,
}

impl<A: Address> Tuple<A> {
    /// A conversation of a protocol that has ports.
    pub const fn ports(protocol: Protocol, src: (A, u16), dst: (A, u16)) -> Tuple<A> {
        Tuple { src: src.0, dst: dst.0, src_port: src.1, dst_port: dst.1, protocol }
    }

    /// An echo request with this identifier. RFC 5508 REQ-1: the identifier stands where others have a port.
    pub const fn echo_request(src: A, dst: A, id: u16) -> Tuple<A> {
        Tuple { src, dst, src_port: id, dst_port: 0, protocol: A::ICMP }
    }

    /// An echo reply with this identifier.
    pub const fn echo_reply(src: A, dst: A, id: u16) -> Tuple<A> {
        Tuple { src, dst, src_port: 0, dst_port: id, protocol: A::ICMP }
    }

    /// A conversation of a protocol without ports, known by its addresses alone.
    pub const fn portless(protocol: Protocol, src: A, dst: A) -> Tuple<A> {
        Tuple { src, dst, src_port: 0, dst_port: 0, protocol }
    }

    /// The tuple of a packet that answers this one.
    #[must_use]
    pub const fn inverse(&self) -> Tuple<A> {
        Tuple {
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
            protocol: self.protocol,
        }
    }
}

/// Which way through a flow a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// As the packet that opened the flow.
    Original,
    /// Back.
    Reply,
}

impl Direction {
    /// Both, the original one first.
    pub const BOTH: [Direction; 2] = [Direction::Original, Direction::Reply];

    /// The other way.
    #[must_use]
    pub const fn reversed(self) -> Direction {
        match self {
            Direction::Original => Direction::Reply,
            Direction::Reply => Direction::Original,
        }
    }

    /// 0 for the original direction, 1 for the reply.
    pub(crate) const fn index(self) -> usize {
        match self {
            Direction::Original => 0,
            Direction::Reply => 1,
        }
    }
}

/// An address of one IP version. Tables are generic over it, so a v4 flow pays nothing for the v6 ones.
pub trait Address: Copy + Ord + Hash + Debug + sealed::Sealed + 'static {
    /// The ICMP of this version.
    const ICMP: Protocol;

    /// The address as a number, for arithmetic over ranges.
    fn to_number(self) -> u128;

    /// The address of this number, or the last address if there is none so high.
    fn from_number(number: u128) -> Self;

    /// Hands the tuple's bytes to `hash` in one piece, as few as say it.
    #[doc(hidden)]
    fn with_key<R>(tuple: &Tuple<Self>, hash: impl FnOnce(&[u8]) -> R) -> R;
}

impl Address for Ipv4Addr {
    const ICMP: Protocol = Protocol::ICMP;

    #[inline]
    fn to_number(self) -> u128 {
        u128::from(self.to_bits())
    }

    fn from_number(number: u128) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX))
    }

    #[inline(always)]
    fn with_key<R>(tuple: &Tuple<Ipv4Addr>, hash: impl FnOnce(&[u8]) -> R) -> R {
        let mut key = [0; 13];
        key[0..4].copy_from_slice(&tuple.src.octets());
        key[4..8].copy_from_slice(&tuple.dst.octets());
        key[8..10].copy_from_slice(&tuple.src_port.to_ne_bytes());
        key[10..12].copy_from_slice(&tuple.dst_port.to_ne_bytes());
        key[12] = tuple.protocol.0;
        hash(&key)
    }
}

impl Address for Ipv6Addr {
    const ICMP: Protocol = Protocol::ICMPV6;

    #[inline]
    fn to_number(self) -> u128 {
        self.to_bits()
    }

    fn from_number(number: u128) -> Ipv6Addr {
        Ipv6Addr::from_bits(number)
    }

    #[inline(always)]
    fn with_key<R>(tuple: &Tuple<Ipv6Addr>, hash: impl FnOnce(&[u8]) -> R) -> R {
        let mut key = [0; 37];
        key[0..16].copy_from_slice(&tuple.src.octets());
        key[16..32].copy_from_slice(&tuple.dst.octets());
        key[32..34].copy_from_slice(&tuple.src_port.to_ne_bytes());
        key[34..36].copy_from_slice(&tuple.dst_port.to_ne_bytes());
        key[36] = tuple.protocol.0;
        hash(&key)
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for core::net::Ipv4Addr {}
    impl Sealed for core::net::Ipv6Addr {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    #[test]
    fn icq_1_the_echo_identifier_is_the_port_in_both_versions() {
        assert_eq!(Tuple::echo_request(A, B, 7).inverse(), Tuple::echo_reply(B, A, 7));
        let (a, b) = (A.to_ipv6_mapped(), B.to_ipv6_mapped());
        assert_eq!(Tuple::echo_request(a, b, 7).inverse(), Tuple::echo_reply(b, a, 7));
        assert_eq!(Tuple::echo_request(a, b, 7).protocol, Protocol::ICMPV6);
    }

    #[test]
    fn icq_1_hosts_pinging_each_other_with_one_identifier_are_two_conversations() {
        assert_ne!(Tuple::echo_request(A, B, 7).inverse(), Tuple::echo_request(B, A, 7));
    }

    #[test]
    fn inverse_of_inverse_is_the_tuple_itself() {
        let tuple = Tuple::ports(Protocol::TCP, (A, 1), (B, 2));
        assert_eq!(tuple.inverse().inverse(), tuple);
    }
}
