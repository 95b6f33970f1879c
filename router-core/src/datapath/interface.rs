//! The road of a plain WireGuard interface: cryptokey routing and nothing else. Read first: WireGuard whitepaper §2.

use wg_proto::{Device, InnerPacket};

use crate::verdict::{DropReason, Egress, Forward, Ingress};

/// Where a packet goes: to the peer that owns its destination, or, from a peer that owns its source, to `host`: the TUN or
/// what stands in its place.
#[inline]
pub(crate) fn route(
    device: &Device,
    host: Egress,
    ingress: Ingress,
    packet: &[u8],
) -> Result<Forward, DropReason> {
    let inner = InnerPacket::parse(packet).ok_or_else(|| malformed(packet))?;
    let egress = match ingress {
        Ingress::Peer(peer) if device.owner_of(inner.source) == Some(peer) => host,
        Ingress::Peer(_) => return Err(DropReason::SourceNotAssigned),
        Ingress::Tun | Ingress::Sockets => {
            device.owner_of(inner.destination).map(Egress::Peer).ok_or(DropReason::NoRoute)?
        }
    };
    Ok(Forward { egress, len: inner.len, fragment_to: None })
}

#[cold]
fn malformed(packet: &[u8]) -> DropReason {
    match packet.first().map(|first| first >> 4) {
        Some(4 | 6) | None => DropReason::TooShort,
        Some(_) => DropReason::UnknownVersion,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_packet_is_named_by_its_version_or_its_length() {
        for (bytes, reason) in [
            (&[][..], DropReason::TooShort),
            (&[0x45; 19], DropReason::TooShort),
            (&[0x60; 39], DropReason::TooShort),
            (&[0x50; 60], DropReason::UnknownVersion),
            (&[0x04; 60], DropReason::UnknownVersion),
        ] {
            assert_eq!(malformed(bytes), reason, "{bytes:?}");
        }
    }
}
