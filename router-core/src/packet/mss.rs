//! Clamping TCP's maximum segment size to what the path carries (MTU-4). Read first: RFC 9293 section 3.7.1, RFC 6691.

use super::checksum::Delta;
use super::field::{put_u16, u16_at, update_u16};
use super::transport::Transport;
use super::{PacketMut, Version, tcp};

/// IPv4 and TCP headers without options; RFC 6691 has the MSS leave options out of account.
const HEADERS_V4_BYTES: u16 = 40;
/// IPv6 and TCP headers without options.
const HEADERS_V6_BYTES: u16 = 60;

/// The largest segment that fits a path of `mtu_bytes` without fragmentation.
pub fn mss_for_mtu(version: Version, mtu_bytes: u16) -> u16 {
    mtu_bytes.saturating_sub(match version {
        Version::V4 => HEADERS_V4_BYTES,
        Version::V6 => HEADERS_V6_BYTES,
    })
}

impl PacketMut<'_> {
    /// Lowers the MSS option of a SYN or SYN-ACK to `mss_max`; never raises it, never adds one. Returns whether the
    /// packet changed.
    #[inline]
    pub fn clamp_mss(&mut self, mss_max: u16) -> bool {
        let Transport::Tcp(segment) = self.transport() else { return false };
        let is_above = segment.options.mss.is_some_and(|mss| mss > mss_max);
        if is_above {
            self.put_mss(mss_max);
        }
        is_above
    }

    fn put_mss(&mut self, mss: u16) {
        let tcp = self.upper_bytes_mut();
        let at = tcp::mss_at(tcp).expect("the parser found an MSS option");
        let delta = replaced(at, u16_at(tcp, at), mss);
        put_u16(tcp, at, mss);
        update_u16(tcp, tcp::CHECKSUM_AT, |sum| delta.apply(sum));
    }
}

/// A value at an odd place lies across two words, which sums like its bytes swapped. RFC 1071 section 2(B).
fn replaced(at: usize, old: u16, new: u16) -> Delta {
    let mut delta = Delta::default();
    match at % 2 {
        0 => delta.replace_u16(old, new),
        _ => delta.replace_u16(old.swap_bytes(), new.swap_bytes()),
    }
    delta
}
