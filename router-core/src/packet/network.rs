//! What the IP layer of either version says about a packet: the common result of `ipv4` and `ipv6`.
//! Small on purpose: it is part of every parsed packet, and copying it is on every packet's path.

use super::address::{Protocol, Version};
use super::error::{Layer, ParseError};
use super::field::{u16_at, u32_at};
use super::fragment::{Datagram, Span};
use super::{ipv4, ipv6};

/// Where things are in a packet and what its IP headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    pub(super) version: Version,
    /// The upper-layer protocol; for later pieces over IPv6 whatever their fragment header claims.
    pub(super) protocol: Protocol,
    /// Where the upper-layer header starts. Eight extension headers end below 17 KiB.
    pub(super) upper_at: u16,
    /// Set for a piece of a fragmented datagram.
    pub(super) fragment: Option<Fragment>,
}

/// The fragment fields of either version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fragment {
    /// Where the identification's field is.
    pub(super) identification_at: u16,
    pub(super) span: Span,
}

impl Version {
    /// The version that a packet claims to be of.
    #[inline(always)]
    pub(crate) fn of(packet: &[u8]) -> Result<Version, ParseError> {
        match packet.first().map(|first| first >> 4) {
            Some(4) => Ok(Version::V4),
            Some(6) => Ok(Version::V6),
            Some(version) => Err(ParseError::UnknownVersion(version)),
            None => Err(ParseError::TooShort { layer: Layer::Ipv4, need: ipv4::HEADER_BYTES, have: 0 }),
        }
    }
}

impl Network {
    /// Where the upper-layer header starts.
    #[inline]
    pub(super) fn upper_at(&self) -> usize {
        usize::from(self.upper_at)
    }

    /// Whether this is a piece without the upper-layer header.
    #[inline]
    pub(super) fn is_later_piece(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.span.offset() != 0)
    }
}

impl Fragment {
    /// What `packet`, which has these fragment fields, is a piece of.
    pub(super) fn datagram(&self, version: Version, packet: &[u8]) -> Datagram {
        let at = usize::from(self.identification_at);
        match version {
            Version::V4 => ipv4::datagram(packet, u16_at(packet, at)),
            Version::V6 => ipv6::datagram(packet, u32_at(packet, at)),
        }
    }
}
