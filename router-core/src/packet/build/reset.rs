//! TCP resets: towards a sender without a connection, and towards both ends of a closed session (FLT-4, FLT-7).
//! Read first: RFC 9293 sections 3.5.2 and 3.10.7.1, RFC 5961 section 3.

use crate::packet::PacketMut;
use crate::packet::address::{Ends, Protocol};
use crate::packet::field::{put_u16, put_u32};
use crate::packet::tcp::{self, TcpFlags};
use crate::packet::transport::Transport;

use super::{BuildError, header};

/// Data offset of a header without options, as it stands in the header.
const DATA_OFFSET: u8 = (tcp::HEADER_BYTES as u8 / 4) << 4;

/// Writes the reset that a host without a connection sends in answer to `packet`. [`BuildError::Unanswerable`] for
/// anything but a whole TCP segment, and for a reset: those are never answered.
///
/// The segment's checksum is not looked at: segments from a TUN with offloads have none yet.
pub fn reset_answering(packet: &PacketMut<'_>, out: &mut [u8]) -> Result<usize, BuildError> {
    let Transport::Tcp(segment) = packet.transport() else { return Err(BuildError::Unanswerable) };
    if segment.flags.rst() || packet.piece().is_some() {
        return Err(BuildError::Unanswerable);
    }
    let ends = packet.ends().reversed();
    if segment.flags.ack() {
        write(&ends, TcpFlags::RST, segment.acknowledgment, 0, out)
    } else {
        let acknowledgment = segment.sequence.wrapping_add(segment.sequence_len());
        write(&ends, TcpFlags::RST.with(TcpFlags::ACK), 0, acknowledgment, out)
    }
}

/// Writes a reset that ends an established connection: `ends` as its receiver knows them, `sequence` exactly the next
/// number the receiver expects (RFC 5961), `acknowledgment` what it has sent so far.
pub fn reset(ends: &Ends, sequence: u32, acknowledgment: u32, out: &mut [u8]) -> Result<usize, BuildError> {
    write(ends, TcpFlags::RST.with(TcpFlags::ACK), sequence, acknowledgment, out)
}

fn write(
    ends: &Ends,
    flags: TcpFlags,
    sequence: u32,
    acknowledgment: u32,
    out: &mut [u8],
) -> Result<usize, BuildError> {
    let built = header::write(&ends.addresses, Protocol::TCP, 0, tcp::HEADER_BYTES, out)?;
    let len = built.len();
    let segment = &mut built[len - tcp::HEADER_BYTES..];
    segment.fill(0);
    put_u16(segment, 0, ends.ports.source);
    put_u16(segment, 2, ends.ports.destination);
    put_u32(segment, 4, sequence);
    put_u32(segment, 8, acknowledgment);
    (segment[12], segment[13]) = (DATA_OFFSET, flags.0);
    header::finish(&ends.addresses, Protocol::TCP, tcp::CHECKSUM_AT, segment);
    Ok(len)
}
