//! UDP header. Read first: RFC 768, RFC 8200 section 8.1, RFC 9868 section 5.

use super::address::Version;
use super::error::{Layer, ParseError};
use super::field::u16_at;

/// Length of the UDP header.
pub(super) const HEADER_BYTES: usize = 8;
/// Where the checksum is.
pub(super) const CHECKSUM_AT: usize = 6;

/// Checks the header at the start of `udp`, which runs to the end of the packet.
///
/// Bytes behind the UDP length but inside the IP length are UDP options (RFC 9868): payload to us, forwarded as
/// they are. The length of a first fragment covers pieces that are not here, so only its lower bound is checked.
#[inline]
pub(super) fn check(version: Version, udp: &[u8], is_fragment: bool) -> Result<(), ParseError> {
    if udp.len() < HEADER_BYTES {
        return Err(ParseError::TooShort { layer: Layer::Udp, need: HEADER_BYTES, have: udp.len() });
    }
    let claimed = u16_at(udp, 4);
    let len = usize::from(claimed);
    if len < HEADER_BYTES || (len > udp.len() && !is_fragment) {
        return Err(ParseError::UdpLength { claimed, have: udp.len() });
    }
    if version == Version::V6 && u16_at(udp, CHECKSUM_AT) == 0 {
        return Err(ParseError::UdpChecksumMissing);
    }
    Ok(())
}
