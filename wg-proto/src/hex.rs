//! Hexadecimal without tables and without branches on the digits, because private keys pass through it.

use alloc::string::String;

use zeroize::Zeroizing;

/// The bytes as lower-case digits.
pub(crate) fn encode(bytes: &[u8; 32]) -> String {
    let mut text = String::with_capacity(64);
    for byte in bytes {
        text.push(char::from(digit(byte >> 4)));
        text.push(char::from(digit(byte & 15)));
    }
    text
}

/// 32 bytes from 64 digits of either case; `None` for anything else. All digits are read before the answer.
pub(crate) fn decode(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut bytes = Zeroizing::new([0u8; 32]);
    let mut wrong = 0;
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        let (high, low) = (value(pair[0]), value(pair[1]));
        wrong |= (high | low) & 0x100;
        *byte = ((high << 4) + (low & 15)) as u8;
    }
    (wrong == 0).then_some(bytes)
}

/// `0..=15` as a digit: the mask is all ones exactly for ten and more.
const fn digit(nibble: u8) -> u8 {
    let letter = (9i16 - nibble as i16) >> 8;
    (nibble as i16 + b'0' as i16 + (letter & 39)) as u8
}

/// A digit's value, or bit 8 set for a byte that is no digit.
const fn value(digit: u8) -> u16 {
    let lower = digit as i16 | 0x20;
    let number = in_range(digit as i16, b'0' as i16, b'9' as i16);
    let letter = in_range(lower, b'a' as i16, b'f' as i16);
    let value = (number & (digit as i16 - b'0' as i16)) | (letter & (lower - b'a' as i16 + 10));
    (value | (!(number | letter) & 0x100)) as u16
}

/// All ones when `low <= x <= high`, else zero.
const fn in_range(x: i16, low: i16, high: i16) -> i16 {
    !((x - low) >> 15) & !((high - x) >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_classified_as_the_standard_library_does() {
        for byte in 0..=255u8 {
            let expected = char::from(byte).to_digit(16).filter(|_| byte.is_ascii());
            let got = value(byte);
            assert_eq!(expected, (got & 0x100 == 0).then_some(u32::from(got)), "{byte}");
        }
    }

    #[test]
    fn every_nibble_has_its_digit() {
        let digits: alloc::vec::Vec<u8> = (0..16).map(digit).collect();
        assert_eq!(digits, b"0123456789abcdef");
    }

    #[test]
    fn text_with_any_wrong_digit_is_refused_two_in_one_byte_included() {
        let right = "0123456789abcdefABCDEF9876543210".repeat(2);
        assert!(decode(&right).is_some());
        for at in [0, 1, 30, 62, 63] {
            for wrong in ["g", "gg"] {
                let mut text = right.clone();
                let end = (at + wrong.len()).min(64);
                text.replace_range(at..end, &wrong[..end - at]);
                assert!(decode(&text).is_none(), "{text}");
            }
        }
    }
}
