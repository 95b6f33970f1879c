//! Long random secrets: tokens, cookies, one-time links. The store has their SHA-256 only: 256 bits need no slow hash,
//! and whoever reads the store cannot log in with what is there.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use base64ct::{Base64UrlUnpadded, Encoding};
use zeroize::Zeroizing;

use crate::store::audit::hex;

/// What secrets begin with, so that scanners of source code find those that leaked.
const PREFIX: &str = "slu_";
const BYTES: usize = 32;

/// A secret. Shown once, to whoever it is for; `Debug` shows nothing, dropping it wipes it.
#[derive(Clone)]
pub(crate) struct Secret(Zeroizing<[u8; BYTES]>);

/// The operating system gave no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no randomness")]
pub(crate) struct NoRandomness;

impl Secret {
    /// A new one.
    pub(crate) fn random() -> Result<Secret, NoRandomness> {
        let mut bytes = Zeroizing::new([0; BYTES]);
        rand::fill(bytes.as_mut_slice()).map_err(|_| NoRandomness)?;
        Ok(Secret(bytes))
    }

    /// As it is shown: `slu_` and 43 characters.
    pub(crate) fn text(&self) -> String {
        format!("{PREFIX}{}", Base64UrlUnpadded::encode_string(self.0.as_slice()))
    }

    /// The other way round. `None`: it is none, whatever else it may be.
    pub(crate) fn parse(text: &str) -> Option<Secret> {
        let mut bytes = Zeroizing::new([0; BYTES]);
        let encoded = text.strip_prefix(PREFIX)?;
        let decoded = Base64UrlUnpadded::decode(encoded, bytes.as_mut_slice()).ok()?;
        (decoded.len() == BYTES).then_some(())?;
        Some(Secret(bytes))
    }

    /// What the store knows it by. Looking it up by this needs no comparison in constant time: what an attacker could
    /// learn bit by bit is a hash that he cannot steer.
    pub(crate) fn hash(&self) -> String {
        hex(digest(&SHA256, self.0.as_slice()).as_ref())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_back_from_its_text_and_debug_does_not_show_it() {
        let secret = Secret::random().unwrap();
        let text = secret.text();
        assert_eq!(text.len(), 47);
        assert_eq!(Secret::parse(&text).unwrap().hash(), secret.hash());
        assert_ne!(Secret::random().unwrap().hash(), secret.hash());
        assert_eq!(format!("{secret:?}"), "Secret { .. }");
    }

    #[test]
    fn what_is_no_secret_is_not_taken_for_one() {
        let text = Secret::random().unwrap().text();
        let (short, long) = (&text[..46], format!("{text}A"));
        for wrong in
            ["", "slu_", &text[4..], short, &long, &text.replacen("slu_", "slu-", 1), &format!("{short}=")]
        {
            assert!(Secret::parse(wrong).is_none(), "{wrong}");
        }
    }
}
