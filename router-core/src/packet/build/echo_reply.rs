//! Answers to pings of our own addresses. Read first: RFC 1122 section 3.2.2.6, RFC 4443 section 4.2.

use crate::packet::PacketMut;
use crate::packet::address::{Protocol, Version};
use crate::packet::field::put_u16;
use crate::packet::icmp::{self, Echo, v4, v6};
use crate::packet::transport::Transport;

use super::{BuildError, header};

/// The ECN bits of a traffic class: a reply says nothing about congestion on the request's way.
const ECN_MASK: u8 = 0x03;

/// Writes the reply to the echo request `packet`, from the address it was sent to, to the start of `out`.
/// IPv4 options are not reflected. [`BuildError::Unanswerable`] for anything but a whole echo request with a right
/// checksum.
pub fn echo_reply(packet: &PacketMut<'_>, out: &mut [u8]) -> Result<usize, BuildError> {
    let Transport::IcmpEcho { echo: Echo::Request, .. } = packet.transport() else {
        return Err(BuildError::Unanswerable);
    };
    if packet.piece().is_some() || !packet.icmp_checksum_is_valid() {
        return Err(BuildError::Unanswerable);
    }
    let addresses = packet.addresses().reversed();
    let (protocol, reply) = match packet.version() {
        Version::V4 => (Protocol::ICMP, v4::ECHO_REPLY),
        Version::V6 => (Protocol::ICMPV6, v6::ECHO_REPLY),
    };
    let request = packet.upper_bytes();
    let built = header::write(&addresses, protocol, packet.traffic_class() & !ECN_MASK, request.len(), out)?;
    let len = built.len();
    let message = &mut built[len - request.len()..];
    message.copy_from_slice(request);
    message[0] = reply;
    put_u16(message, icmp::CHECKSUM_AT, 0);
    header::finish(&addresses, protocol, icmp::CHECKSUM_AT, message);
    Ok(len)
}
