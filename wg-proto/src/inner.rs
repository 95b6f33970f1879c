//! As much of an IP header as cryptokey routing reads: source, destination, length.
//! Read first: RFC 791 §3.1, RFC 8200 §3. Called by device's one-thread verbs; router-core has its own parser.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses and the exact length of an IP packet, padding excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InnerPacket {
    /// Where it claims to come from.
    pub source: IpAddr,
    /// Where it goes.
    pub destination: IpAddr,
    /// Length in bytes by its own header; never more than was parsed.
    pub len: usize,
}

impl InnerPacket {
    /// Reads the header of `packet`, which may have padding behind it. `None` if it is no IPv4 or IPv6 packet, or is
    /// shorter than its header says.
    pub fn parse(packet: &[u8]) -> Option<InnerPacket> {
        let inner = match packet.first()? >> 4 {
            4 => InnerPacket::parse_v4(packet.first_chunk()?),
            6 => InnerPacket::parse_v6(packet.first_chunk()?),
            _ => None,
        }?;
        (inner.len <= packet.len()).then_some(inner)
    }

    fn parse_v4(header: &[u8; 20]) -> Option<InnerPacket> {
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let source = Ipv4Addr::from(*header[12..].first_chunk::<4>()?).into();
        let destination = Ipv4Addr::from(*header[16..].first_chunk::<4>()?).into();
        (len >= 20).then_some(InnerPacket { source, destination, len })
    }

    fn parse_v6(header: &[u8; 40]) -> Option<InnerPacket> {
        let len = 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
        let source = Ipv6Addr::from(*header[8..].first_chunk::<16>()?).into();
        let destination = Ipv6Addr::from(*header[24..].first_chunk::<16>()?).into();
        Some(InnerPacket { source, destination, len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_exact_length_are_read() {
        let mut v4 = [0u8; 48];
        v4[0] = 0x45;
        v4[3] = 33;
        v4[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        let inner = InnerPacket::parse(&v4).unwrap();
        assert_eq!(
            (inner.source, inner.destination),
            ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap())
        );
        assert_eq!(inner.len, 33);
        let mut v6 = [0u8; 64];
        (v6[0], v6[5], v6[23], v6[39]) = (0x60, 9, 1, 2);
        let inner = InnerPacket::parse(&v6).unwrap();
        assert_eq!((inner.source, inner.destination), ("::1".parse().unwrap(), "::2".parse().unwrap()));
        assert_eq!(inner.len, 49);
    }

    #[test]
    fn what_is_no_whole_ip_packet_is_refused() {
        let v4 = |len: u8, bytes: usize| {
            let mut packet = alloc::vec![0u8; bytes];
            (packet[0], packet[3]) = (0x45, len);
            InnerPacket::parse(&packet).is_some()
        };
        assert!(v4(20, 20) && v4(20, 32) && v4(32, 32));
        assert!(!v4(19, 32) && !v4(33, 32));
        for packet in [&[][..], &[0x45; 19], &[0x60; 39], &[0x60; 64], &[0x55; 64], &[0; 64]] {
            assert_eq!(InnerPacket::parse(packet), None);
        }
    }
}
