//! Big-endian fields at fixed places of a header. Callers have checked the length: the parser made sure of it.

/// Why a field is where it is looked for.
pub(super) const PARSED: &str = "the parser checked that the header is whole";

/// The 16-bit number at `at`.
#[inline]
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array_at(bytes, at))
}

/// The 32-bit number at `at`.
#[inline]
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array_at(bytes, at))
}

/// The 128-bit number at `at`.
#[inline]
pub(super) fn u128_at(bytes: &[u8], at: usize) -> u128 {
    u128::from_be_bytes(array_at(bytes, at))
}

/// `N` bytes at `at`.
#[inline]
pub(super) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect(PARSED)
}

/// Writes a 16-bit number at `at`.
#[inline]
pub(super) fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    put(bytes, at, value.to_be_bytes());
}

/// Replaces the 16-bit number at `at` by what `update` makes of it.
#[inline]
pub(super) fn update_u16(bytes: &mut [u8], at: usize, update: impl FnOnce(u16) -> u16) {
    let old = u16_at(bytes, at);
    put_u16(bytes, at, update(old));
}

/// Writes a 32-bit number at `at`.
#[inline]
pub(super) fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    put(bytes, at, value.to_be_bytes());
}

/// Writes `N` bytes at `at`.
#[inline]
pub(super) fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    *bytes[at..].first_chunk_mut().expect(PARSED) = value;
}
