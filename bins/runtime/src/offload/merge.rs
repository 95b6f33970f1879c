//! When one packet continues another. Read first: `tcp_gro_receive`, `udp_gro_receive` in the kernel (the
//! rules, not the code), RFC 9293, RFC 6864. Called by coalesce.
//!
//! The rules are chosen so that cutting the merged packet gives back the very packets that went in.

use super::checksum::Sum;
use super::header::{self, Layout, TCP, UDP, flag, u16_at, u32_at};

/// DF, the only flag a whole IPv4 packet may carry here.
const DONT_FRAGMENT: u16 = 0x4000;
const IPV4_PLAIN: u8 = 0x45;
/// Merged packets must fit the 16-bit length fields.
const IP_BYTES_MAX: usize = 65_535;

/// A TCP or UDP packet of a flow, whole and without IP options or extension headers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    packet: &'a [u8],
    layout: Layout,
}

/// What the packets merged so far ask of the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Continuation {
    /// Payload bytes of every packet but the last.
    pub(super) segment_bytes: usize,
    /// Headers and payloads so far.
    pub(super) total_bytes: usize,
    next_sequence: u32,
    next_id: u16,
    /// A short packet, PSH or FIN ended it.
    closed: bool,
}

impl<'a> Piece<'a> {
    /// `None` for everything that never merges and belongs to no flow that does.
    pub(super) fn parse(packet: &'a [u8]) -> Option<Piece<'a>> {
        let transport_at = header::plain_ip_header_bytes(packet)?;
        let layout = Layout::new(packet, header::protocol(packet)?, transport_at)?;
        Some(Piece { packet, layout })
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// Same version, protocol, addresses and ports.
    pub(super) fn same_flow(&self, other: &Piece<'_>) -> bool {
        let addresses = if self.layout.ipv6 { 8..40 } else { 12..20 };
        let (at, other_at) = (self.layout.transport_at, other.layout.transport_at);
        self.layout.ipv6 == other.layout.ipv6
            && self.layout.protocol == other.layout.protocol
            && self.packet[at..at + 4] == other.packet[other_at..other_at + 4]
            && self.packet[addresses.clone()] == other.packet[addresses]
    }

    /// What it asks of its successor, if it may have one.
    pub(super) fn start(&self) -> Option<Continuation> {
        if !self.is_mergeable() {
            return None;
        }
        let payload = self.payload_bytes();
        Some(Continuation {
            segment_bytes: payload,
            total_bytes: self.packet.len(),
            next_sequence: self.sequence().wrapping_add(payload as u32),
            next_id: self.id().wrapping_add(1),
            closed: self.ends_a_run(),
        })
    }

    /// The continuation behind `self`, if `self` continues the run that `first` began.
    pub(super) fn continues(&self, first: &Piece<'_>, run: &Continuation) -> Option<Continuation> {
        let payload = self.payload_bytes();
        let fits = !run.closed
            && self.is_mergeable()
            && payload <= run.segment_bytes
            && run.total_bytes + payload <= IP_BYTES_MAX
            && self.same_ip_fields(first, run)
            && self.same_transport_fields(first, run);
        fits.then(|| Continuation {
            segment_bytes: run.segment_bytes,
            total_bytes: run.total_bytes + payload,
            next_sequence: run.next_sequence.wrapping_add(payload as u32),
            next_id: run.next_id.wrapping_add(1),
            closed: payload < run.segment_bytes || self.ends_a_run(),
        })
    }

    /// Both checksums of the packet are right. Checked before merging: the kernel is told to trust them.
    pub(super) fn is_intact(&self) -> bool {
        let ip = self.layout.ipv6 || Sum::default().add(&self.packet[..self.layout.transport_at]).is_intact();
        let transport = &self.packet[self.layout.transport_at..];
        let sum = self.layout.pseudo_sum(self.packet).add_field(transport.len() as u16).add(transport);
        ip && sum.is_intact()
    }

    pub(super) fn tcp_flags(&self) -> u8 {
        if self.layout.protocol == TCP { self.transport()[13] } else { 0 }
    }

    /// Data, with lengths that agree, and nothing in the headers that has a meaning of its own.
    fn is_mergeable(&self) -> bool {
        self.payload_bytes() > 0
            && self.ip_length_is_exact()
            && (self.layout.ipv6 || self.packet[0] == IPV4_PLAIN)
            && match self.layout.protocol {
                TCP => self.tcp_flags() & !(flag::PSH | flag::FIN | ECE) == flag::ACK,
                UDP => self.udp_is_plain(),
                _ => false,
            }
    }

    fn ip_length_is_exact(&self) -> bool {
        if self.layout.ipv6 {
            usize::from(u16_at(self.packet, 4)) + header::IPV6_HEADER_BYTES == self.packet.len()
        } else {
            usize::from(u16_at(self.packet, 2)) == self.packet.len()
        }
    }

    /// A checksum of zero means there is none to verify or to rebuild.
    fn udp_is_plain(&self) -> bool {
        usize::from(u16_at(self.transport(), 4)) == self.transport().len() && u16_at(self.transport(), 6) != 0
    }

    /// TOS or class, flow label, TTL, DF; the ID counts on where it matters (without DF, RFC 6864).
    fn same_ip_fields(&self, first: &Piece<'_>, run: &Continuation) -> bool {
        let (a, b) = (self.packet, first.packet);
        if self.layout.ipv6 {
            return a[..4] == b[..4] && a[7] == b[7];
        }
        let flags = u16_at(a, 6);
        let id_is_next = flags & DONT_FRAGMENT != 0 || self.id() == run.next_id;
        a[1] == b[1] && flags == u16_at(b, 6) && a[8] == b[8] && id_is_next
    }

    /// TCP: next sequence number; same acknowledgement, window, urgent pointer, options and flags but PSH
    /// and FIN.
    fn same_transport_fields(&self, first: &Piece<'_>, run: &Continuation) -> bool {
        if self.layout.protocol == UDP {
            return true;
        }
        let (a, b) = (self.transport(), first.transport());
        let header_bytes = self.layout.payload_at - self.layout.transport_at;
        self.sequence() == run.next_sequence
            && self.layout == first.layout
            && a[8..13] == b[8..13]
            && (a[13] ^ b[13]) & !(flag::PSH | flag::FIN) == 0
            && a[14..16] == b[14..16]
            && a[18..header_bytes] == b[18..header_bytes]
    }

    fn ends_a_run(&self) -> bool {
        self.tcp_flags() & (flag::PSH | flag::FIN) != 0
    }

    fn sequence(&self) -> u32 {
        if self.layout.protocol == TCP { u32_at(self.transport(), 4) } else { 0 }
    }

    fn id(&self) -> u16 {
        if self.layout.ipv6 { 0 } else { u16_at(self.packet, 4) }
    }

    fn transport(&self) -> &'a [u8] {
        &self.packet[self.layout.transport_at..]
    }

    fn payload_bytes(&self) -> usize {
        self.packet.len() - self.layout.payload_at
    }
}

/// Congestion echo: may stand on every packet of a run alike.
const ECE: u8 = 0x40;
