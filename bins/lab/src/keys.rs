//! Key pairs, made by `wg` itself.

use anyhow::Result;

use crate::lab::Lab;

/// A WireGuard key pair in base64, for tests only.
#[derive(Clone, Debug)]
pub struct KeyPair {
    /// As `wg genkey` prints it.
    pub private: String,
    /// As `wg pubkey` prints it.
    pub public: String,
}

impl KeyPair {
    /// A fresh pair.
    pub fn generate(lab: &Lab) -> Result<KeyPair> {
        let private = lab.exec(&["wg", "genkey"], "")?.ok()?.stdout.trim().to_owned();
        let public = lab.exec(&["wg", "pubkey"], &private)?.ok()?.stdout.trim().to_owned();
        Ok(KeyPair { private, public })
    }

    /// A fresh preshared key.
    pub fn preshared(lab: &Lab) -> Result<String> {
        Ok(lab.exec(&["wg", "genpsk"], "")?.ok()?.stdout.trim().to_owned())
    }
}
