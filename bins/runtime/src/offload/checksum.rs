//! The Internet checksum over long runs of bytes. Read first: RFC 1071. Called by split, coalesce.
//!
//! Sums are kept in the machine's byte order and wide; the one's complement sum does not care (RFC 1071 §2 B).

/// A running one's complement sum.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum(u64);

impl Sum {
    /// Adds bytes that start at an even offset of the summed data. An odd end is padded with a zero.
    pub(super) fn add(self, bytes: &[u8]) -> Sum {
        let (blocks, rest) = bytes.as_chunks::<32>();
        let mut lanes = [0_u64; 8];
        for block in blocks {
            for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<4>().0) {
                *lane += u64::from(u32::from_ne_bytes(*word));
            }
        }
        let sum = lanes.iter().fold(self.0, |sum, lane| add_carry(sum, *lane));
        let (words, tail) = rest.as_chunks::<4>();
        let sum = words.iter().fold(sum, |sum, word| add_carry(sum, u64::from(u32::from_ne_bytes(*word))));
        Sum(add_carry(sum, u64::from(u32::from_ne_bytes(padded(tail)))))
    }

    /// Adds one 16-bit field by value.
    pub(super) fn add_field(self, value: u16) -> Sum {
        Sum(add_carry(self.0, u64::from(value.to_be())))
    }

    /// The sum as it stands in a header, not complemented.
    pub(super) fn folded(self) -> [u8; 2] {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (sum as u16).to_ne_bytes()
    }

    /// The checksum as it stands in a header.
    pub(super) fn checksum(self) -> [u8; 2] {
        self.folded().map(|byte| !byte)
    }

    /// The same for UDP, where zero means "none" (RFC 768).
    pub(super) fn checksum_not_zero(self) -> [u8; 2] {
        match self.checksum() {
            [0, 0] => [0xff, 0xff],
            other => other,
        }
    }

    /// Whether data that includes its checksum is intact.
    pub(super) fn is_intact(self) -> bool {
        self.folded() == [0xff, 0xff]
    }
}

fn add_carry(a: u64, b: u64) -> u64 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u64::from(carry)
}

fn padded(tail: &[u8]) -> [u8; 4] {
    let mut word = [0; 4];
    word[..tail.len()].copy_from_slice(tail);
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071 §4.1, word by word.
    fn slow(bytes: &[u8]) -> [u8; 2] {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (sum as u16).to_be_bytes()
    }

    #[test]
    fn the_example_of_rfc_1071_sums_to_ddf2() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::default().add(&bytes).folded(), [0xdd, 0xf2]);
    }

    #[test]
    fn a_field_is_added_in_network_order() {
        assert_eq!(Sum::default().add_field(0x1234).folded(), [0x12, 0x34]);
    }

    proptest! {
        #[test]
        fn fast_and_slow_sums_agree(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert_eq!(Sum::default().add(&bytes).folded(), slow(&bytes));
        }

        #[test]
        fn a_sum_may_be_taken_in_even_pieces(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0_usize..150) {
            let at = (at * 2).min(bytes.len() & !1);
            let pieces = Sum::default().add(&bytes[..at]).add(&bytes[at..]);
            prop_assert_eq!(pieces.folded(), slow(&bytes));
        }
    }
}
