//! The cable of one connection: a packet goes in, packets come out with what is left to do for their checksums and
//! segments. Read first: smoltcp::phy. Called by connection.

use std::num::NonZeroUsize;
use std::ops::Range;

use smoltcp::phy::{self, Checksum, Device, DeviceCapabilities, Medium, PacketMeta};
use smoltcp::time::Instant;

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

    /// The last of them.
    pub(super) fn last(&self) -> Option<&[u8]> {
        self.packets.last().map(|(range, _)| &self.bytes[range.clone()])
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether something waits for room.
    pub(super) fn was_held_back(&self) -> bool {
        self.held_back
    }

    fn has_room(&self) -> bool {
        self.room.is_none_or(|room| self.bytes.len() < room)
    }
}

/// For one call of smoltcp.
pub(super) struct Wire<'a> {
    packet: Option<&'a [u8]>,
    mtu_bytes: u16,
    out: &'a mut Outgoing,
}

pub(super) struct Receive<'a>(&'a [u8]);

pub(super) struct Send<'a> {
    out: &'a mut Outgoing,
    segment_bytes: Option<u16>,
}

impl<'a> Wire<'a> {
    pub(super) fn new(packet: Option<&'a [u8]>, mtu_bytes: u16, out: &'a mut Outgoing) -> Wire<'a> {
        Wire { packet, mtu_bytes, out }
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
        Some((Receive(packet), Send { out: self.out, segment_bytes: None }))
    }

    fn transmit(&mut self, _: Instant) -> Option<Send<'_>> {
        if !self.out.has_room() {
            self.out.held_back = true;
            return None;
        }
        Some(Send { out: self.out, segment_bytes: None })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = usize::from(self.mtu_bytes);
        // Received ones were verified, sent ones are completed by whoever cuts the packet into segments.
        capabilities.checksum.tcp = Checksum::None;
        capabilities.checksum.ipv4 = Checksum::Tx;
        // Over IPv6 smoltcp 0.14 makes super-packets and then drops them for their length.
        capabilities.segmentation.tcpv4 = NonZeroUsize::new(SUPER_PACKET_BYTES_MAX);
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
        let Outgoing { bytes, packets, .. } = self.out;
        let range = bytes.len()..bytes.len() + len;
        bytes.resize(range.end, 0);
        let result = work(&mut bytes[range.clone()]);
        match offload::leave_checksum(&mut bytes[range.clone()], self.segment_bytes) {
            Some(header) => packets.push((range, header)),
            // Not TCP: smoltcp answers a stray packet with an ICMP error, for which the node has builders of its own.
            None => bytes.truncate(range.start),
        }
        result
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.segment_bytes = meta.segmentation_offload_size.map(|bytes| bytes.get());
    }
}
