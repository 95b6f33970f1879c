//! The part of a TCP header that tracking needs.

use crate::packet::{TcpFlags, TcpSegment};

/// One TCP segment, or a run of them that one offloaded super-packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The flag bits.
    pub flags: TcpFlags,
    /// Sequence number of the first byte, or of the SYN.
    pub seq: u32,
    /// Acknowledgement number; no meaning without [`TcpFlags::ACK`].
    pub ack: u32,
    /// The window field as it stands in the header, not scaled.
    pub window: u16,
    /// Bytes of payload; up to 64 KiB for a super-packet.
    pub payload_len: u32,
    /// The window scale option, looked at in a SYN only. RFC 7323 §2.
    pub window_scale: Option<u8>,
    /// Whether the SACK-permitted option is there, looked at in a SYN only. RFC 2018.
    pub sack_permitted: bool,
    /// The highest right edge among the SACK blocks. `None` also if the caller does not read them.
    pub sack_edge: Option<u32>,
}

/// A segment by the flag that decides what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Syn,
    SynAck,
    Ack,
    Fin,
    Rst,
}

impl From<&TcpSegment> for Segment {
    fn from(tcp: &TcpSegment) -> Segment {
        Segment {
            flags: tcp.flags,
            seq: tcp.sequence,
            ack: tcp.acknowledgment,
            window: tcp.window,
            payload_len: u32::from(tcp.payload_len),
            window_scale: tcp.options.window_scale,
            sack_permitted: tcp.options.sack_permitted,
            sack_edge: None,
        }
    }
}

impl Segment {
    /// `None` for combinations that no legal sender sends: SYN with FIN or RST, RST with FIN, FIN without ACK, nothing.
    pub(super) fn kind(&self) -> Option<Kind> {
        match (self.flags.syn(), self.flags.ack(), self.flags.fin(), self.flags.rst()) {
            (true, false, false, false) => Some(Kind::Syn),
            (true, true, false, false) => Some(Kind::SynAck),
            (false, true, false, false) => Some(Kind::Ack),
            (false, true, true, false) => Some(Kind::Fin),
            (false, _, false, true) => Some(Kind::Rst),
            (_, _, _, _) => None,
        }
    }

    pub(super) fn has_ack(&self) -> bool {
        self.flags.ack()
    }

    pub(super) fn has_syn(&self) -> bool {
        self.flags.syn()
    }

    /// The sequence number after this segment: SYN and FIN count as one byte each.
    pub(super) fn end(&self) -> u32 {
        let signs = u32::from(self.flags.syn()) + u32::from(self.flags.fin());
        self.seq.wrapping_add(self.payload_len).wrapping_add(signs)
    }
}
