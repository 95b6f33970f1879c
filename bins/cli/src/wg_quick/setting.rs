//! One setting, `Key = Value`, and what becomes of it.

use std::net::IpAddr;
use std::num::NonZeroU16;

use ipnet::IpNet;
use sluice_runtime::host::config::{Fault, Place, Problems};
use wg_proto::{PresharedKey, PrivateKey, PublicKey};

use super::fault::ValueFault;

/// A setting as written.
pub(super) struct Setting<'a> {
    pub(super) line: usize,
    pub(super) key: &'a str,
    pub(super) value: &'a str,
}

/// A setting that is meant for wg-quick and that we do not follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftAside {
    /// From 1.
    pub(crate) line: usize,
    /// As written.
    pub(crate) key: String,
    /// What is not done.
    pub(crate) why: &'static str,
}

/// The value of a key that may be there once.
pub(super) struct Once<T> {
    line: Option<usize>,
    value: Option<T>,
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self { line: None, value: None }
    }
}

impl<T> Once<T> {
    /// Takes what `parse` makes of the value, or notes what is wrong with it.
    pub(super) fn set<F: Fault + Send + Sync + 'static>(
        &mut self,
        setting: &Setting<'_>,
        problems: &mut Problems,
        parse: impl FnOnce(&str) -> Result<T, F>,
    ) {
        match self.line {
            Some(first_line) => problems.note(&setting.place(), ValueFault::Twice { first_line }),
            None => {
                self.line = Some(setting.line);
                self.value = problems.take(&setting.place(), parse(setting.value));
            }
        }
    }

    /// Whether the key is not there at all.
    pub(super) fn is_absent(&self) -> bool {
        self.line.is_none()
    }

    /// The value, if it is there and legal.
    pub(super) fn get(self) -> Option<T> {
        self.value
    }
}

impl Setting<'_> {
    /// Where it stands.
    pub(super) fn place(&self) -> Place {
        Place::file().field(&format!("line {}: {}", self.line, self.key))
    }

    /// Parses each part between commas, noting those that do not fit.
    pub(super) fn each<T, F: Fault + Send + Sync + 'static>(
        &self,
        problems: &mut Problems,
        parse: impl Fn(&str) -> Result<T, F>,
    ) -> Vec<T> {
        let parts = self.value.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.filter_map(|part| problems.take(&self.place(), parse(part))).collect()
    }
}

/// 32 bytes in base64.
pub(super) fn private_key(text: &str) -> Result<PrivateKey, ValueFault> {
    PrivateKey::from_base64(text).map_err(|_| ValueFault::NotAKey)
}

/// 32 bytes in base64.
pub(super) fn preshared_key(text: &str) -> Result<PresharedKey, ValueFault> {
    PresharedKey::from_base64(text).map_err(|_| ValueFault::NotAKey)
}

/// 32 bytes in base64.
pub(super) fn public_key(text: &str) -> Result<PublicKey, ValueFault> {
    PublicKey::from_base64(text).map_err(|_| ValueFault::NotAKey)
}

/// An address of our own; the prefix length is for the routes that we do not set.
pub(super) fn own_address(text: &str) -> Result<IpAddr, ValueFault> {
    let address = prefix(text).map(|prefix| prefix.addr());
    let legal = address.ok().filter(|address| !address.is_unspecified() && !address.is_multicast());
    legal.ok_or_else(|| ValueFault::NotAnAddress(text.to_owned()))
}

/// A prefix; one without length holds one address.
pub(super) fn prefix(text: &str) -> Result<IpNet, ValueFault> {
    let host = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(host).ok_or_else(|| ValueFault::NotAPrefix(text.to_owned()))
}

/// A number within bounds.
pub(super) fn number(text: &str, min: u16, max: u16) -> Result<u16, ValueFault> {
    let number = text.parse().ok().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| ValueFault::NotANumber { given: text.to_owned(), min, max })
}

/// Seconds, or `off`.
pub(super) fn keepalive(text: &str) -> Result<Option<NonZeroU16>, ValueFault> {
    if text.eq_ignore_ascii_case("off") { Ok(None) } else { number(text, 0, u16::MAX).map(NonZeroU16::new) }
}
