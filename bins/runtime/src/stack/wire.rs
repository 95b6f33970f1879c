//! The cable of one connection: a packet goes in, packets come out with what is left to do for their checksums and
//! segments. Read first: smoltcp::phy. Called by connection.

use std::num::NonZeroUsize;
use std::ops::Range;

use smoltcp::phy::{self, Checksum, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

use super::segment::{Header, distance, limit_offer};
use super::sender::Sender;
use crate::offload;
use crate::tun::VirtioHeader;

/// The longest super-packet: IP lengths are 16 bits, and a door must have room for it.
const SUPER_PACKET_BYTES_MAX: usize = 60_000;

/// Packets on their way out, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    packets: Vec<(Range<usize>, VirtioHeader)>,
    /// A door has so many bytes of room; what is more must wait.
    room: Option<usize>,
    /// Something had to wait.
    held_back: bool,
}

impl Outgoing {
    /// Nothing in it, and room for so many bytes.
    pub(super) fn reset(&mut self, room: usize) {
        self.bytes.clear();
        self.packets.clear();
        self.room = Some(room);
        self.held_back = false;
    }

    /// The packets, in the order they are to leave.
    pub(super) fn packets(&self) -> impl Iterator<Item = (&[u8], VirtioHeader)> {
        self.packets.iter().map(|(range, header)| (&self.bytes[range.clone()], *header))
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// The last of them, with nothing left to do for its checksum.
    pub(super) fn last_completed(&self) -> Option<Box<[u8]>> {
        let (range, header) = self.packets.last()?;
        let mut packet: Box<[u8]> = self.bytes[range.clone()].into();
        offload::complete_checksum(&mut packet, header.checksum?).ok()?;
        Some(packet)
    }

    /// Whether something waits for room.
    pub(super) fn was_held_back(&self) -> bool {
        self.held_back
    }

    fn has_room(&self) -> bool {
        self.room.is_none_or(|room| self.bytes.len() < room)
    }

    /// What lies from `start` on is a packet.
    fn finish(&mut self, start: usize, segment_bytes: u16) {
        match offload::leave_checksum(&mut self.bytes[start..], Some(segment_bytes)) {
            Some(header) => self.packets.push((start..self.bytes.len(), header)),
            // Not TCP: smoltcp answers a stray packet with an ICMP error, for which the node has builders of its own.
            None => self.bytes.truncate(start),
        }
    }
}

/// How a connection's packets are made, and how far they have come.
#[derive(Debug)]
pub(super) struct Outlet {
    /// What our SYN announces: what fits into the tunnel.
    pub(super) mss: u16,
    /// No segment carries more: what both ends announced, and what the path has been found to take.
    pub(super) segment_bytes: u16,
    /// The sequence number behind all that was sent.
    pub(super) sent: u32,
    /// What was acknowledged last: where the other end goes on.
    pub(super) expected: u32,
    /// All headers of a segment without options.
    pub(super) header_bytes: u16,
    /// What of it may leave, and what leaves again.
    pub(super) sender: Sender,
    /// Acknowledgment number and window that the other end was told last.
    told: (u32, u16),
}

/// For one call of smoltcp. smoltcp believes in an MTU that is never reached: it neither sends IPv6 super-packets beyond the
/// MTU nor learns of a narrower path. Segments are cut here.
pub(super) struct Wire<'a> {
    packet: Option<&'a [u8]>,
    outlet: &'a mut Outlet,
    out: &'a mut Outgoing,
}

pub(super) struct Receive<'a>(&'a [u8]);

pub(super) struct Send<'a> {
    outlet: &'a mut Outlet,
    out: &'a mut Outgoing,
}

impl<'a> Wire<'a> {
    pub(super) fn new(packet: Option<&'a [u8]>, outlet: &'a mut Outlet, out: &'a mut Outgoing) -> Wire<'a> {
        Wire { packet, outlet, out }
    }
}

impl Device for Wire<'_> {
    type RxToken<'t>
        = Receive<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Send<'t>
    where
        Self: 't;

    /// An answer to a packet always has room: there is one at most.
    fn receive(&mut self, _: Instant) -> Option<(Receive<'_>, Send<'_>)> {
        let packet = self.packet.take()?;
        Some((Receive(packet), Send { outlet: self.outlet, out: self.out }))
    }

    fn transmit(&mut self, _: Instant) -> Option<Send<'_>> {
        if !self.out.has_room() {
            self.out.held_back = true;
            return None;
        }
        Some(Send { outlet: self.outlet, out: self.out })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = usize::from(u16::MAX);
        // Received ones were verified, sent ones are completed by whoever cuts the packet into segments.
        capabilities.checksum.tcp = Checksum::None;
        capabilities.checksum.ipv4 = Checksum::Tx;
        let (headers, segment) = (usize::from(self.outlet.header_bytes), usize::from(self.outlet.mss.max(1)));
        let whole_segments = (SUPER_PACKET_BYTES_MAX - headers) / segment * segment;
        let longest = NonZeroUsize::new(headers + whole_segments);
        capabilities.segmentation.tcpv4 = longest;
        capabilities.segmentation.tcpv6 = longest;
        capabilities
    }
}

impl phy::RxToken for Receive<'_> {
    fn consume<R, F>(self, work: F) -> R
    where
        F: FnOnce(&[u8]) -> R,
    {
        work(self.0)
    }
}

impl phy::TxToken for Send<'_> {
    fn consume<R, F>(self, len: usize, work: F) -> R
    where
        F: FnOnce(&mut [u8]) -> R,
    {
        let start = self.out.bytes.len();
        self.out.bytes.resize(start + len, 0);
        let packet = &mut self.out.bytes[start..];
        let result = work(packet);
        match self.outlet.note(packet) {
            None => self.out.finish(start, self.outlet.segment_bytes),
            Some(parts) => {
                self.out.bytes.truncate(start);
                for part in parts {
                    let start = self.out.bytes.len();
                    self.out.bytes.extend_from_slice(&part);
                    self.out.finish(start, self.outlet.segment_bytes);
                }
            }
        }
        result
    }
}

impl Outlet {
    /// For packets that carry so much, and have so long headers.
    pub(super) fn new(mss: u16, header_bytes: u16) -> Outlet {
        let sender = Sender::new(mss);
        Outlet { mss, segment_bytes: mss, sent: 0, expected: 0, header_bytes, sender, told: (0, 0) }
    }

    /// A SYN announces our own MSS; what is sent for the first time is noted. An acknowledgement begins behind all that was
    /// sent: smoltcp has it begin where it retransmits, before the other end's window, and so the other end must not take it
    /// (RFC 9293 section 3.10.7.4). Two ends that retransmit at one time would never hear each other again.
    /// Says what leaves in its place, if it does not leave as it is.
    fn note(&mut self, packet: &mut [u8]) -> Option<Vec<Vec<u8>>> {
        let header = Header::read(packet)?;
        let told = self.told;
        if header.flags.ack() {
            self.expected = header.acknowledgment;
            self.told = (header.acknowledgment, header.window);
        }
        if header.flags.syn() {
            limit_offer(packet, self.mss);
            self.sent = header.end();
            self.sender.begin(self.sent);
            return None;
        }
        if header.is_bare_acknowledgment() {
            header.put_sequence(packet, self.sent);
        }
        if header.flags.rst() || header.end() == header.sequence {
            return None;
        }
        if distance(header.end(), self.sent) > 0 {
            self.sent = header.end();
        }
        let parts = self.sender.leave(header.sequence, header.end())?;
        let mut packets: Vec<_> = parts.into_iter().filter_map(|part| header.part(packet, part)).collect();
        if packets.is_empty() && told != self.told {
            // The acknowledgment that it carries is new all the same.
            packets.extend(header.part(packet, header.sequence..header.sequence));
            packets.iter_mut().for_each(|packet| header.put_sequence(packet, self.sent));
        }
        Some(packets)
    }
}
