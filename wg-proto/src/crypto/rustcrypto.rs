//! The pure-Rust back end: x25519-dalek and chacha20poly1305. Also XChaCha20-Poly1305 for cookies, which
//! the other back end does not have.

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Tag, XChaCha20Poly1305};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{ChaChaPoly, DiffieHellman, NotAuthentic, Plain, Secret, TAG_BYTES, nonce};

/// An X25519 secret.
#[cfg_attr(feature = "aws-lc-rs", allow(dead_code, reason = "oracle of the other back end's tests"))]
pub(crate) struct DhSecret(StaticSecret);

impl DiffieHellman for DhSecret {
    fn new(bytes: &[u8; 32]) -> DhSecret {
        DhSecret(StaticSecret::from(*bytes))
    }

    fn public(&self) -> [u8; 32] {
        PublicKey::from(&self.0).to_bytes()
    }

    fn agree(&self, theirs: &[u8; 32]) -> Option<Secret> {
        let shared = self.0.diffie_hellman(&PublicKey::from(*theirs));
        shared.was_contributory().then(|| Zeroizing::new(shared.to_bytes()))
    }
}

/// ChaCha20-Poly1305 under one key.
#[cfg_attr(feature = "aws-lc-rs", allow(dead_code, reason = "oracle of the other back end's tests"))]
pub(crate) struct Aead(ChaCha20Poly1305);

/// Neither is ever inlined: instructions are counted around them, as the cipher's depend on the processor.
#[cfg_attr(feature = "aws-lc-rs", allow(dead_code, reason = "oracle of the other back end's tests"))]
impl Aead {
    #[inline(never)]
    fn seal(&self, counter: u64, aad: &[u8], plain: Plain<'_>) {
        let buffer = InOutBuf::from(plain.payload);
        let tag = self.0.encrypt_inout_detached(&nonce(counter).into(), aad, buffer);
        *plain.tag = tag.expect("a packet is far below the cipher's 256 GiB").into();
    }

    #[inline(never)]
    fn open(&self, counter: u64, aad: &[u8], sealed: &mut [u8]) -> Result<(), NotAuthentic> {
        let (payload, tag) = sealed.split_last_chunk_mut::<TAG_BYTES>().ok_or(NotAuthentic)?;
        let (nonce, tag) = (nonce(counter).into(), Tag::from(*tag));
        self.0.decrypt_inout_detached(&nonce, aad, InOutBuf::from(payload), &tag).map_err(|_| NotAuthentic)
    }
}

impl ChaChaPoly for Aead {
    fn new(key: &[u8; 32]) -> Aead {
        Aead(ChaCha20Poly1305::new(key.into()))
    }

    fn seal_run<'a>(&self, first_counter: u64, run: impl IntoIterator<Item = Plain<'a>>) {
        for (counter, plain) in (first_counter..).zip(run) {
            self.seal(counter, &[], plain);
        }
    }

    fn open(&self, counter: u64, sealed: &mut [u8]) -> Result<(), NotAuthentic> {
        self.open(counter, &[], sealed)
    }

    fn seal_field(&self, transcript: &[u8; 32], field: Plain<'_>) {
        self.seal(0, transcript, field);
    }

    fn open_field(&self, transcript: &[u8; 32], sealed: &mut [u8]) -> Result<(), NotAuthentic> {
        self.open(0, transcript, sealed)
    }
}

/// Seals a cookie (whitepaper §5.4.7): XChaCha20-Poly1305 with a random nonce, the tag appended.
pub(crate) fn seal_cookie(key: &[u8; 32], nonce: &[u8; 24], aad: &[u8], cookie: &[u8; 16]) -> [u8; 32] {
    let mut sealed = [0; 32];
    let (text, tag) = sealed.split_at_mut(16);
    text.copy_from_slice(cookie);
    let cipher = XChaCha20Poly1305::new(key.into());
    let computed = cipher.encrypt_inout_detached(nonce.into(), aad, InOutBuf::from(text));
    tag.copy_from_slice(&computed.expect("16 bytes are below the cipher's limit"));
    sealed
}

/// Opens what [`seal_cookie`] sealed.
pub(crate) fn open_cookie(
    key: &[u8; 32],
    nonce: &[u8; 24],
    aad: &[u8],
    sealed: &[u8; 32],
) -> Option<[u8; 16]> {
    let (text, tag) = sealed.split_first_chunk::<16>()?;
    let (mut cookie, tag) = (*text, Tag::try_from(tag).ok()?);
    let cipher = XChaCha20Poly1305::new(key.into());
    let opened = cipher.decrypt_inout_detached(nonce.into(), aad, InOutBuf::from(&mut cookie[..]), &tag);
    opened.is_ok().then_some(cookie)
}
