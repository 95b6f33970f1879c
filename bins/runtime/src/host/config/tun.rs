//! `[tun]`: the interface to the host's network. The router and the connector add keys of their own to this table.

use std::net::IpAddr;

use serde::Deserialize;
use thiserror::Error;

use super::document::{Document, Section};
use super::environment::Kind;
use super::fault::{Fault, Place, Problems};
use super::value;

/// Longest interface name of Linux.
const INTERFACE_NAME_BYTES_MAX: usize = 15;
const NAME_DEFAULT: &str = "sluice0";

/// `[tun]` as written.
#[derive(Debug, Deserialize)]
struct TunTable {
    name: Option<String>,
    #[serde(default)]
    egress_addresses: Vec<String>,
    proxy_neighbours_on: Option<String>,
}

impl Section for TunTable {
    const TABLE: &'static str = "tun";
    const KEYS: &'static [(&'static str, Kind)] =
        &[("name", Kind::Text), ("egress_addresses", Kind::List), ("proxy_neighbours_on", Kind::Text)];
}

/// `[tun]`, legal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunSettings {
    /// The interface's name.
    pub name: String,
    /// What source NAT turns clients' addresses into; owned by us, routed to the interface.
    pub egress_addresses: Vec<IpAddr>,
    /// On which interface we answer for the egress addresses.
    pub proxy_neighbours_on: Option<String>,
}

/// What can be wrong with `[tun]` only.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TunFault {
    /// Empty, too long, or with a slash, a colon or white space.
    #[error("\"{0}\" is not an interface name")]
    NotAnInterface(String),
    /// Nothing to answer for.
    #[error("proxy_neighbours_on without egress_addresses answers for nothing")]
    NothingToProxy,
}

impl Fault for TunFault {
    fn remedy(&self) -> String {
        match self {
            Self::NotAnInterface(_) => {
                format!(
                    "Use at most {INTERFACE_NAME_BYTES_MAX} letters, digits, dots, hyphens and underscores."
                )
            }
            Self::NothingToProxy => "Add egress_addresses, or remove proxy_neighbours_on.".into(),
        }
    }
}

/// Takes the shared keys of `[tun]`. `None` if there is no such table, or something of it is wrong, and noted.
pub fn read(document: &mut Document, problems: &mut Problems) -> Option<TunSettings> {
    if !document.has(TunTable::TABLE) {
        return None;
    }
    let table: TunTable = document.section(problems)?;
    let place = Place::table(TunTable::TABLE);
    let name = table.name.as_deref().unwrap_or(NAME_DEFAULT);
    let name = problems.take(&place.field("name"), interface_name(name));
    let egress_addresses = &place.field("egress_addresses");
    let egress_addresses = value::each(&table.egress_addresses, egress_addresses, problems, value::host);
    let proxy = proxy_interface(&table, &place, problems);
    Some(TunSettings { name: name?, egress_addresses, proxy_neighbours_on: proxy })
}

fn proxy_interface(table: &TunTable, place: &Place, problems: &mut Problems) -> Option<String> {
    let place = &place.field("proxy_neighbours_on");
    let name = problems.take(place, interface_name(table.proxy_neighbours_on.as_deref()?))?;
    if table.egress_addresses.is_empty() {
        problems.note(place, TunFault::NothingToProxy);
    }
    Some(name)
}

/// A name Linux takes for an interface.
///
/// # Errors
/// [`TunFault::NotAnInterface`].
pub fn interface_name(text: &str) -> Result<String, TunFault> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let fits = (1..=INTERFACE_NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(legal);
    let special = text == "." || text == "..";
    if fits && !special { Ok(text.to_owned()) } else { Err(TunFault::NotAnInterface(text.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_name_is_what_linux_takes() {
        for (text, taken) in [
            ("wg0", true),
            ("sluice-lan.1_x", true),
            ("abcdefghijklmno", true),
            ("abcdefghijklmnop", false),
            ("", false),
            (".", false),
            ("..", false),
            ("a/b", false),
            ("a b", false),
        ] {
            assert_eq!(interface_name(text).is_ok(), taken, "{text:?}");
        }
    }
}
