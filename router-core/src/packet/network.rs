//! What the IP layer of either version says about a packet: the common result of `ipv4` and `ipv6`.

use super::address::{Protocol, Version};
use super::fragment::{Datagram, Span};

/// Where things are in a packet and what its IP headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    pub(super) version: Version,
    /// The upper-layer protocol; for later pieces over IPv6 whatever their fragment header claims.
    pub(super) protocol: Protocol,
    /// Exact length of the packet in bytes; what lies behind is not part of it (LEN).
    pub(super) len: usize,
    /// Where the upper-layer header starts.
    pub(super) transport_at: usize,
    /// Set for a piece of a fragmented datagram.
    pub(super) fragment: Option<Fragment>,
}

impl Network {
    /// Whether this is a piece without the upper-layer header.
    #[inline]
    pub(super) fn is_later_piece(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.span.offset() != 0)
    }
}

/// The fragment fields of either version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fragment {
    /// Where the identification's field is.
    pub(super) identification_at: usize,
    pub(super) datagram: Datagram,
    pub(super) span: Span,
}
