//! The virtio-net header in front of each packet on a TUN queue opened with `IFF_VNET_HDR`.
//! Read first: virtio 1.2 §5.1.6, `linux/virtio_net.h`. Called by tun, offload.

/// Bytes of the header (`struct virtio_net_hdr`, without `num_buffers`).
pub const VIRTIO_HEADER_BYTES: usize = 10;

// Linux ABI: `flags` and `gso_type`.
const NEEDS_CSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
/// The super-packet carries CWR in its first segment; set beside a TCP type.
const GSO_ECN: u8 = 0x80;

/// What a super-packet is cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segmentation {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP datagrams over either version (`UDP_SEGMENT`, `USO`).
    Udp,
}

/// A checksum the sender left to the device: one's complement sum from `start` to the end of the packet,
/// stored at `start + offset`, where the pseudo-header's part already stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialChecksum {
    /// Where the transport header begins.
    pub start: u16,
    /// Where in the transport header the checksum field is.
    pub offset: u16,
}

/// A super-packet's segmentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gso {
    /// Kind of the segments.
    pub kind: Segmentation,
    /// Payload bytes per segment; only the last may be shorter.
    pub segment_bytes: u16,
    /// All headers together, a hint of the sender.
    pub header_bytes: u16,
}

/// What stands before a packet on the TUN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VirtioHeader {
    /// The checksum to complete, if any.
    pub checksum: Option<PartialChecksum>,
    /// The segmentation to do, if any.
    pub gso: Option<Gso>,
}

/// The kernel handed over a header this code does not understand (an offload that was never asked for).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("virtio header with unknown segmentation type {gso_type}")]
pub struct UnknownSegmentation {
    /// The type byte as read.
    pub gso_type: u8,
}

impl VirtioHeader {
    /// Reads a header written by the kernel on this machine (native byte order).
    pub fn decode(bytes: &[u8; VIRTIO_HEADER_BYTES]) -> Result<VirtioHeader, UnknownSegmentation> {
        let [flags, gso_type, h0, h1, g0, g1, s0, s1, o0, o1] = *bytes;
        let checksum = (flags & NEEDS_CSUM != 0).then_some(PartialChecksum {
            start: u16::from_ne_bytes([s0, s1]),
            offset: u16::from_ne_bytes([o0, o1]),
        });
        let gso = segmentation(gso_type)?.map(|kind| Gso {
            kind,
            segment_bytes: u16::from_ne_bytes([g0, g1]),
            header_bytes: u16::from_ne_bytes([h0, h1]),
        });
        Ok(VirtioHeader { checksum, gso })
    }

    /// Writes the header for the kernel on this machine.
    pub fn encode(&self) -> [u8; VIRTIO_HEADER_BYTES] {
        let mut bytes = [0; VIRTIO_HEADER_BYTES];
        if let Some(checksum) = self.checksum {
            bytes[0] = NEEDS_CSUM;
            bytes[6..8].copy_from_slice(&checksum.start.to_ne_bytes());
            bytes[8..10].copy_from_slice(&checksum.offset.to_ne_bytes());
        }
        if let Some(gso) = self.gso {
            bytes[1] = match gso.kind {
                Segmentation::Tcp4 => GSO_TCPV4,
                Segmentation::Tcp6 => GSO_TCPV6,
                Segmentation::Udp => GSO_UDP_L4,
            };
            bytes[2..4].copy_from_slice(&gso.header_bytes.to_ne_bytes());
            bytes[4..6].copy_from_slice(&gso.segment_bytes.to_ne_bytes());
        }
        bytes
    }
}

fn segmentation(gso_type: u8) -> Result<Option<Segmentation>, UnknownSegmentation> {
    match gso_type & !GSO_ECN {
        GSO_NONE => Ok(None),
        GSO_TCPV4 => Ok(Some(Segmentation::Tcp4)),
        GSO_TCPV6 => Ok(Some(Segmentation::Tcp6)),
        GSO_UDP_L4 => Ok(Some(Segmentation::Udp)),
        _ => Err(UnknownSegmentation { gso_type }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_header_survives_encode_and_decode() {
        let checksum = Some(PartialChecksum { start: 20, offset: 16 });
        for kind in [Segmentation::Tcp4, Segmentation::Tcp6, Segmentation::Udp] {
            let header =
                VirtioHeader { checksum, gso: Some(Gso { kind, segment_bytes: 1380, header_bytes: 40 }) };
            assert_eq!(VirtioHeader::decode(&header.encode()), Ok(header));
        }
        let plain = VirtioHeader::default();
        assert_eq!(plain.encode(), [0; VIRTIO_HEADER_BYTES]);
        assert_eq!(VirtioHeader::decode(&plain.encode()), Ok(plain));
    }

    #[test]
    fn fragmentation_offload_that_nobody_asked_for_is_refused() {
        let mut bytes = [0; VIRTIO_HEADER_BYTES];
        bytes[1] = 3;
        assert_eq!(VirtioHeader::decode(&bytes), Err(UnknownSegmentation { gso_type: 3 }));
    }

    #[test]
    fn the_ecn_bit_does_not_change_the_kind() {
        let mut bytes = [0; VIRTIO_HEADER_BYTES];
        bytes[1] = GSO_ECN | GSO_TCPV6;
        let header = VirtioHeader::decode(&bytes).expect("known");
        assert_eq!(header.gso.map(|gso| gso.kind), Some(Segmentation::Tcp6));
    }
}
