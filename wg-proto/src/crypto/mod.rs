//! All cryptography of the protocol, behind two back ends with one shape.
//!
//! `rustcrypto` is pure Rust and always compiled: it hashes, opens cookies, and is the oracle the other
//! back end is tested against. `aws_lc` takes over the two expensive operations, X25519 and
//! ChaCha20-Poly1305, where the feature `aws-lc-rs` is on. The AEAD takes a *run* of segments, so that a back
//! end may one day work across packets.
//! Read first: WireGuard whitepaper §5.4, RFC 7748, RFC 8439. Called by noise, cookie, session, key.

#[cfg(feature = "aws-lc-rs")]
pub(crate) mod aws_lc;
pub(crate) mod hash;
pub(crate) mod rustcrypto;
#[cfg(test)]
pub(crate) mod vectors;

#[cfg(feature = "aws-lc-rs")]
pub(crate) use aws_lc::{Aead, DhSecret};
#[cfg(not(feature = "aws-lc-rs"))]
pub(crate) use rustcrypto::{Aead, DhSecret};

use zeroize::Zeroizing;

/// Length of a Poly1305 tag.
pub(crate) const TAG_BYTES: usize = 16;

/// A secret of 32 bytes, wiped on drop.
pub(crate) type Secret = Zeroizing<[u8; 32]>;

/// What a back end's X25519 offers. A key is constructed once and used many times.
pub(crate) trait DiffieHellman: Sized {
    /// The secret with these 32 bytes; clamping is the back end's business.
    fn new(bytes: &[u8; 32]) -> Self;
    /// The public point that belongs to the secret.
    fn public(&self) -> [u8; 32];
    /// The shared secret with `theirs`, or `None` when it is all zero: `theirs` is then a low-order point
    /// (RFC 7748 §6.1).
    fn agree(&self, theirs: &[u8; 32]) -> Option<Secret>;
}

/// What a back end's ChaCha20-Poly1305 offers, nonce = 32 zero bits then the counter
/// (whitepaper §5.4.6); transport packets have no associated data.
pub(crate) trait ChaChaPoly: Sized + Send + Sync {
    /// The cipher under `key`.
    fn new(key: &[u8; 32]) -> Self;

    /// Seals consecutive segments in place, the first under `first_counter`, each next under the next one.
    /// The caller has reserved the whole range of counters.
    fn seal_run<'a>(&self, first_counter: u64, run: impl IntoIterator<Item = Plain<'a>>);

    /// Opens one segment in place. On failure the bytes are garbage and must not be read.
    fn open(&self, counter: u64, sealed: &mut [u8]) -> Result<(), NotAuthentic>;

    /// Seals a field of a handshake message in place: counter 0, bound to the transcript hash.
    fn seal_field(&self, transcript: &[u8; 32], field: Plain<'_>);

    /// Opens a field of a handshake message in place: counter 0, bound to the transcript hash.
    fn open_field(&self, transcript: &[u8; 32], sealed: &mut [u8]) -> Result<(), NotAuthentic>;
}

/// A segment to seal: the payload, padded already, and the place its tag goes.
pub(crate) struct Plain<'a> {
    /// Becomes ciphertext.
    pub(crate) payload: &'a mut [u8],
    /// Receives the tag.
    pub(crate) tag: &'a mut [u8; TAG_BYTES],
}

/// A tag that does not belong to the ciphertext, or a ciphertext too short to have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAuthentic;

/// The 96-bit nonce of transport packets and of the handshake (always counter 0 there).
pub(crate) fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce
}
