//! Control messages beside a datagram: source address, traffic class, segment size. Safe code over bytes.
//! Read first: cmsg(3), ip(7), ipv6(7), udp(7). Called by udp::receive and udp::send.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wg_proto::Source;

/// `struct cmsghdr`: a length, a level, a type. The length counts the header.
const HEADER_BYTES: usize = size_of::<libc::cmsghdr>();
const ALIGN: usize = size_of::<usize>();
/// Room for everything we send or ask to receive: `in6_pktinfo`, traffic class, segment size.
const CONTROL_BYTES: usize = 128;

/// The control part of one message, in or out.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct ControlBuffer {
    bytes: [u8; CONTROL_BYTES],
    len: usize,
}

/// What a received datagram's control messages said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Arrival {
    /// Our address it was sent to, and the interface it came in by.
    pub(super) source: Option<Source>,
    /// The whole traffic-class byte.
    pub(super) tos: u8,
    /// GRO: bytes of each datagram in the buffer, the last may be shorter.
    pub(super) segment_bytes: Option<u16>,
    /// Datagrams the socket had no room for since it was opened; the kernel tells it once there are any.
    pub(super) lost: Option<u32>,
}

impl ControlBuffer {
    pub(super) const fn new() -> ControlBuffer {
        ControlBuffer { bytes: [0; CONTROL_BYTES], len: 0 }
    }

    /// The whole room, for the kernel to fill; [`ControlBuffer::set_len`] says how far it got.
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    pub(super) fn set_len(&mut self, len: usize) {
        self.len = len.min(CONTROL_BYTES);
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Asks for this source address and interface (sticky source).
    pub(super) fn push_source(&mut self, source: Source) {
        let interface = source.interface.to_ne_bytes();
        match source.addr {
            IpAddr::V4(addr) => {
                let mut info = [0; 12];
                info[..4].copy_from_slice(&interface);
                info[4..8].copy_from_slice(&addr.octets());
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            IpAddr::V6(addr) => {
                let mut info = [0; 20];
                info[..16].copy_from_slice(&addr.octets());
                info[16..].copy_from_slice(&interface);
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
        }
    }

    /// Asks for this traffic class.
    pub(super) fn push_tos(&mut self, ipv6: bool, tos: u8) {
        let (level, kind) =
            if ipv6 { (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) } else { (libc::IPPROTO_IP, libc::IP_TOS) };
        self.push(level, kind, &i32::from(tos).to_ne_bytes());
    }

    /// Asks for segmentation into datagrams of this many bytes.
    pub(super) fn push_segment(&mut self, segment_bytes: u16) {
        self.push(libc::SOL_UDP, libc::UDP_SEGMENT, &segment_bytes.to_ne_bytes());
    }

    fn push(&mut self, level: i32, kind: i32, data: &[u8]) {
        let at = self.len;
        let end = at + HEADER_BYTES + data.len();
        self.bytes[at..at + 8].copy_from_slice(&(HEADER_BYTES + data.len()).to_ne_bytes());
        self.bytes[at + 8..at + 12].copy_from_slice(&level.to_ne_bytes());
        self.bytes[at + 12..at + 16].copy_from_slice(&kind.to_ne_bytes());
        self.bytes[at + HEADER_BYTES..end].copy_from_slice(data);
        self.len = end.next_multiple_of(ALIGN);
    }

    /// Reads what the kernel wrote. Messages nobody asked for are passed over.
    pub(super) fn arrival(&self) -> Arrival {
        let mut arrival = Arrival::default();
        let mut rest = self.as_bytes();
        while let Some((level, kind, data, next)) = first_message(rest) {
            read_into(&mut arrival, level, kind, data);
            rest = next;
        }
        arrival
    }
}

fn first_message(bytes: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
    let len = usize::from_ne_bytes(bytes.get(..8)?.try_into().ok()?);
    let level = i32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?);
    let kind = i32::from_ne_bytes(bytes.get(12..16)?.try_into().ok()?);
    let data = bytes.get(HEADER_BYTES..len)?;
    let next = bytes.get(len.next_multiple_of(ALIGN)..).unwrap_or_default();
    Some((level, kind, data, next))
}

fn read_into(arrival: &mut Arrival, level: i32, kind: i32, data: &[u8]) {
    match (level, kind) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => arrival.source = source_v4(data),
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => arrival.source = source_v6(data),
        (libc::IPPROTO_IP, libc::IP_TOS) => arrival.tos = data.first().copied().unwrap_or(0),
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => arrival.tos = first_int(data).unwrap_or(0) as u8,
        (libc::SOL_UDP, libc::UDP_GRO) => {
            arrival.segment_bytes = first_int(data).and_then(|bytes| u16::try_from(bytes).ok());
        }
        (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => arrival.lost = first_int(data).map(|lost| lost as u32),
        _ => {}
    }
}

fn first_int(data: &[u8]) -> Option<i32> {
    Some(i32::from_ne_bytes(data.get(..4)?.try_into().ok()?))
}

/// `in_pktinfo`: interface, our address for answers, destination in the header.
fn source_v4(data: &[u8]) -> Option<Source> {
    let interface = u32::from_ne_bytes(data.get(..4)?.try_into().ok()?);
    let addr: [u8; 4] = data.get(4..8)?.try_into().ok()?;
    Some(Source { addr: IpAddr::V4(Ipv4Addr::from(addr)), interface })
}

/// `in6_pktinfo`: destination in the header, interface.
fn source_v6(data: &[u8]) -> Option<Source> {
    let addr: [u8; 16] = data.get(..16)?.try_into().ok()?;
    let interface = u32::from_ne_bytes(data.get(16..20)?.try_into().ok()?);
    Some(Source { addr: IpAddr::V6(Ipv6Addr::from(addr)), interface })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_is_read_back() {
        for addr in ["192.0.2.1", "2001:db8::1"] {
            let addr: IpAddr = addr.parse().expect("address");
            let source = Source { addr, interface: 7 };
            let mut control = ControlBuffer::new();
            control.push_source(source);
            control.push_tos(addr.is_ipv6(), 0x88);
            let arrival = control.arrival();
            assert_eq!(arrival, Arrival { source: Some(source), tos: 0x88, ..Arrival::default() });
        }
    }

    #[test]
    fn the_largest_set_of_messages_fits() {
        let mut control = ControlBuffer::new();
        control.push_source(Source { addr: IpAddr::V6(Ipv6Addr::LOCALHOST), interface: u32::MAX });
        control.push_tos(true, 0xff);
        control.push_segment(u16::MAX);
        assert!(control.as_bytes().len() <= CONTROL_BYTES);
    }

    #[test]
    fn a_gro_size_is_read_as_an_int() {
        let mut control = ControlBuffer::new();
        control.push(libc::SOL_UDP, libc::UDP_GRO, &1452_i32.to_ne_bytes());
        assert_eq!(control.arrival().segment_bytes, Some(1452));
    }

    #[test]
    fn cut_or_absurd_control_bytes_say_nothing_and_end() {
        let mut control = ControlBuffer::new();
        control.push_tos(false, 3);
        for len in 0..control.len {
            let mut cut = control;
            cut.set_len(len);
            let _ = cut.arrival();
        }
        let mut absurd = ControlBuffer::new();
        absurd.room().fill(0xff);
        absurd.set_len(CONTROL_BYTES);
        assert_eq!(absurd.arrival(), Arrival::default());
        absurd.room().fill(0);
        assert_eq!(absurd.arrival(), Arrival::default());
    }
}
