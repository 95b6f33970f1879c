//! The Internet checksum, whole and incremental. Read first: RFC 1071, RFC 1624 (equation 3), RFC 768.
//! Called by everything in `packet`; calls nothing.

use super::address::{Addresses, Protocol};

/// A one's complement sum of big-endian 16-bit words, not folded yet.
///
/// Words are added in the processor's byte order, and the folded sum is brought into the packet's: RFC 1071 section 2 (B).
/// Holds 2^32 words before it could overflow, which is more than any packet has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// Adds `bytes`, which start at an even place of the summed message; an odd last byte is padded with zero.
    #[must_use]
    #[inline]
    pub fn bytes(mut self, bytes: &[u8]) -> Sum {
        let (words, rest) = bytes.as_chunks::<4>();
        for word in words {
            self.0 += u64::from(u32::from_ne_bytes(*word));
        }
        self.0 += match *rest {
            [] => 0,
            [a] => u64::from(u32::from_ne_bytes([a, 0, 0, 0])),
            [a, b] => u64::from(u32::from_ne_bytes([a, b, 0, 0])),
            [a, b, c] => u64::from(u32::from_ne_bytes([a, b, c, 0])),
            _ => unreachable!("fewer bytes are left than a word has"),
        };
        self
    }

    /// Adds one number of up to 32 bits, such as a length or protocol of a pseudo-header.
    #[must_use]
    pub fn number(mut self, number: u32) -> Sum {
        self.0 += u64::from(number.to_be());
        self
    }

    /// The pseudo-header of a message of `len` bytes. RFC 9293 section 3.1, RFC 8200 section 8.1.
    pub fn pseudo_header(addresses: &Addresses, protocol: Protocol, len: usize) -> Sum {
        let sum = match addresses {
            Addresses::V4 { source, destination } => {
                Sum::default().bytes(&source.octets()).bytes(&destination.octets())
            }
            Addresses::V6 { source, destination } => {
                Sum::default().bytes(&source.octets()).bytes(&destination.octets())
            }
        };
        sum.number(u32::from(protocol.0)).number(len as u32)
    }

    /// The folded sum: 0xFFFF over a message that holds its own correct checksum.
    #[inline]
    pub fn folded(self) -> u16 {
        u16::from_be(fold(self.0))
    }

    /// The checksum to store: the complement of the folded sum.
    pub fn checksum(self) -> u16 {
        !self.folded()
    }

    /// Whether the sum is that of a message with its own correct checksum in it.
    #[inline]
    pub fn is_valid(self) -> bool {
        self.folded() == 0xffff
    }
}

/// What a set of rewritten words does to a checksum that covers them: RFC 1624 equation 3,
/// `HC' = ~(~HC + ~m + m')`. The old checksum's correctness is kept, and so is its incorrectness (CSM-1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Delta(u64);

impl Delta {
    /// Accounts for a 16-bit word changed from `old` to `new`.
    #[inline]
    pub(super) fn replace_u16(&mut self, old: u16, new: u16) {
        self.0 += u64::from(!old) + u64::from(new);
    }

    /// Accounts for two adjacent words changed together.
    #[inline]
    pub(super) fn replace_u32(&mut self, old: u32, new: u32) {
        self.0 += u64::from(!old) + u64::from(new);
    }

    /// Accounts for an IPv6 address changed from `old` to `new`.
    #[inline]
    pub(super) fn replace_u128(&mut self, old: u128, new: u128) {
        self.0 += quarters(!old) + quarters(new);
    }

    /// Accounts for everything `other` accounts for.
    #[inline]
    pub(super) fn and(mut self, other: Delta) -> Delta {
        self.0 += other.0;
        self
    }

    /// The new checksum for an old one.
    #[inline]
    pub(super) fn apply(self, checksum: u16) -> u16 {
        !fold(self.0 + u64::from(!checksum))
    }

    /// The new UDP checksum: 0 means "none was computed" and stays 0, a computed 0 becomes 0xFFFF (CSM-2).
    #[inline]
    pub(super) fn apply_udp(self, checksum: u16) -> u16 {
        match (checksum, self.apply(checksum)) {
            (0, _) => 0,
            (_, 0) => 0xffff,
            (_, updated) => updated,
        }
    }
}

/// Adds the halves with end-around carry until 16 bits are left. Adding a number to itself with its halves swapped
/// leaves that sum, carry included, in the upper half.
#[inline]
fn fold(sum: u64) -> u16 {
    let sum = (sum.wrapping_add(sum.rotate_left(32)) >> 32) as u32;
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

/// The sum of the four 32-bit quarters; equal to the sum of the eight words, modulo 0xFFFF.
#[inline]
fn quarters(value: u128) -> u64 {
    let (high, low) = ((value >> 64) as u64, value as u64);
    (high >> 32) + (high & 0xffff_ffff) + (low >> 32) + (low & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The checksum as RFC 1071 writes it: one word at a time, folding at once.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn the_example_of_rfc_1071_sums_to_its_result() {
        assert_eq!(Sum::default().bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]).folded(), 0xddf2);
    }

    #[test]
    fn csm1_the_example_of_rfc_1624_takes_equation_three() {
        let mut delta = Delta::default();
        delta.replace_u16(0x5555, 0x3285);
        assert_eq!(delta.apply(0xdd2f), 0x0000);
    }

    #[test]
    fn csm2_udp_zero_stays_and_a_computed_zero_becomes_all_ones() {
        let mut delta = Delta::default();
        delta.replace_u16(0x5555, 0x3285);
        assert_eq!(delta.apply_udp(0), 0);
        assert_eq!(delta.apply_udp(0xdd2f), 0xffff);
    }

    proptest! {
        #[test]
        fn the_fast_sum_equals_the_slow_one(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
            prop_assert_eq!(Sum::default().bytes(&bytes).checksum(), naive(&bytes));
        }

        #[test]
        fn csm1_incremental_equals_recomputed(
            mut bytes in proptest::collection::vec(any::<u8>(), 26..64),
            word: u16, two: u32, address: u128,
        ) {
            bytes[0] |= 1; // a message of zeros only has two zero sums
            let before = naive(&bytes);
            let mut delta = Delta::default();
            delta.replace_u16(u16::from_be_bytes([bytes[2], bytes[3]]), word);
            delta.replace_u32(u32::from_be_bytes(bytes[4..8].try_into().unwrap()), two);
            delta.replace_u128(u128::from_be_bytes(bytes[8..24].try_into().unwrap()), address);
            bytes[2..4].copy_from_slice(&word.to_be_bytes());
            bytes[4..8].copy_from_slice(&two.to_be_bytes());
            bytes[8..24].copy_from_slice(&address.to_be_bytes());
            prop_assert_eq!(delta.apply(before), naive(&bytes));
        }
    }
}
