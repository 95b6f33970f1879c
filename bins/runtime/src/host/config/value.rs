//! Single values: addresses, prefixes, ranges, names, keys. Each is parsed once and legal afterwards.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use ipnet::IpNet;
use thiserror::Error;
use wg_proto::PublicKey;

use super::fault::{Fault, Place, Problems};

/// Longest name of a node, peer or target.
pub const NAME_BYTES_MAX: usize = 64;

/// What can be wrong with one value.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ValueFault {
    /// Empty, too long, or with characters that do not belong into a name.
    #[error("\"{0}\" is not a name")]
    NotAName(String),
    /// Neither v4 nor v6.
    #[error("\"{0}\" is not an IP address")]
    NotAnAddress(String),
    /// Unspecified, multicast, loopback, …
    #[error("{0} cannot be the address of one host")]
    NotAHost(IpAddr),
    /// Not `address/length`.
    #[error("\"{0}\" is not a prefix")]
    NotAPrefix(String),
    /// Bits beyond the prefix length are set.
    #[error("{given} has bits set beyond its length")]
    HostBits {
        /// As written.
        given: IpNet,
    },
    /// Not `address:port`.
    #[error("\"{0}\" is not an endpoint")]
    NotAnEndpoint(String),
    /// Not 32 bytes in base64.
    #[error("\"{0}\" is not a public key")]
    NotAKey(String),
    /// A needed value is not there.
    #[error("\"{0}\" is missing")]
    Missing(&'static str),
    /// A number outside its bounds.
    #[error("{given} is not between {min} and {max}")]
    OutOfRange {
        /// As written.
        given: i64,
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// Something that may be there only once.
    #[error("{what} is there already: {first}")]
    Duplicate {
        /// What is there twice.
        what: String,
        /// Where it is first.
        first: Place,
    },
    /// One of several words was expected.
    #[error("\"{given}\" is none of {known}")]
    NotAWord {
        /// As written.
        given: String,
        /// What there is.
        known: &'static str,
    },
}

impl Fault for ValueFault {
    fn remedy(&self) -> String {
        match self {
            Self::NotAName(_) => {
                format!("Use 1 to {NAME_BYTES_MAX} letters, digits, dots, hyphens and underscores.")
            }
            Self::NotAnAddress(_) => "Write one address without length, such as 10.77.0.2 or fd77::2.".into(),
            Self::NotAHost(_) => "Write the unicast address of one host.".into(),
            Self::NotAPrefix(_) => "Write address and length, such as 10.77.0.0/24 or fd77::/64.".into(),
            Self::HostBits { given } => format!("Write {}, or {}/{}.", given.trunc(), given.addr(), given.max_prefix_len()),
            Self::NotAnEndpoint(_) => {
                "Write address and port, such as 203.0.113.9:51820 or [2001:db8::9]:51820; names are not resolved.".into()
            }
            Self::NotAKey(_) => "Write what pubkey prints: 44 characters of base64.".into(),
            Self::Missing(key) => format!("Add {key}; docs/examples shows what it looks like."),
            Self::OutOfRange { min, max, .. } => format!("Write a number from {min} to {max}."),
            Self::Duplicate { .. } => "Give each its own, or remove one.".into(),
            Self::NotAWord { known, .. } => format!("Write one of {known}."),
        }
    }
}

/// A name of a node, peer, target or mapping.
///
/// # Errors
/// [`ValueFault::NotAName`].
pub fn name(text: &str) -> Result<String, ValueFault> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let fits = (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(legal);
    if fits { Ok(text.to_owned()) } else { Err(ValueFault::NotAName(text.to_owned())) }
}

/// The unicast address of one host, not of this one.
///
/// # Errors
/// [`ValueFault::NotAnAddress`] or [`ValueFault::NotAHost`].
pub fn host(text: &str) -> Result<IpAddr, ValueFault> {
    host_or_loopback(text).and_then(|address| match address.is_loopback() {
        true => Err(ValueFault::NotAHost(address)),
        false => Ok(address),
    })
}

/// The unicast address of one host, or of this one.
///
/// # Errors
/// [`ValueFault::NotAnAddress`] or [`ValueFault::NotAHost`].
pub fn host_or_loopback(text: &str) -> Result<IpAddr, ValueFault> {
    let address: IpAddr = text.parse().map_err(|_| ValueFault::NotAnAddress(text.to_owned()))?;
    let not_a_host = address.is_unspecified()
        || address.is_multicast()
        || address == IpAddr::V4(std::net::Ipv4Addr::BROADCAST)
        || address.to_canonical() != address;
    if not_a_host { Err(ValueFault::NotAHost(address)) } else { Ok(address) }
}

/// A prefix without host bits.
///
/// # Errors
/// [`ValueFault::NotAPrefix`] or [`ValueFault::HostBits`].
pub fn prefix(text: &str) -> Result<IpNet, ValueFault> {
    let given: IpNet = text.parse().map_err(|_| ValueFault::NotAPrefix(text.to_owned()))?;
    if given.trunc() == given { Ok(given) } else { Err(ValueFault::HostBits { given }) }
}

/// An address and a port to send to.
///
/// # Errors
/// [`ValueFault::NotAnEndpoint`].
pub fn endpoint(text: &str) -> Result<SocketAddr, ValueFault> {
    let parsed = text.parse().ok().filter(|address: &SocketAddr| address.port() != 0);
    parsed.ok_or_else(|| ValueFault::NotAnEndpoint(text.to_owned()))
}

/// A public key in base64.
///
/// # Errors
/// [`ValueFault::NotAKey`].
pub fn public_key(text: &str) -> Result<PublicKey, ValueFault> {
    PublicKey::from_base64(text).map_err(|_| ValueFault::NotAKey(text.to_owned()))
}

/// A number within bounds.
///
/// # Errors
/// [`ValueFault::OutOfRange`].
pub fn number<T: TryFrom<i64>>(given: i64, min: i64, max: i64) -> Result<T, ValueFault> {
    let fault = ValueFault::OutOfRange { given, min, max };
    if (min..=max).contains(&given) { T::try_from(given).map_err(|_| fault) } else { Err(fault) }
}

/// A port of a service.
///
/// # Errors
/// [`ValueFault::OutOfRange`].
pub fn port(given: i64) -> Result<NonZeroU16, ValueFault> {
    let port: u16 = number(given, 1, 65_535)?;
    NonZeroU16::new(port).ok_or(ValueFault::OutOfRange { given, min: 1, max: 65_535 })
}

/// Parses each element of a list, noting those that do not fit.
pub fn each<T>(
    texts: &[String],
    place: &Place,
    problems: &mut Problems,
    parse: impl Fn(&str) -> Result<T, ValueFault>,
) -> Vec<T> {
    let parsed = texts.iter().enumerate();
    parsed.filter_map(|(index, text)| problems.take(&place.index(index), parse(text))).collect()
}

/// The prefix that holds one address.
pub fn host_prefix(address: IpAddr) -> IpNet {
    IpNet::from(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_one_unicast_address() {
        for (text, taken) in [
            ("10.77.0.2", true),
            ("fd77::2", true),
            ("10.77.0.2/32", false),
            ("0.0.0.0", false),
            ("::", false),
            ("127.0.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("ff02::1", false),
            ("::ffff:10.0.0.1", false),
            ("010.0.0.1", false),
            ("", false),
        ] {
            assert_eq!(host(text).is_ok(), taken, "{text:?}");
        }
    }

    #[test]
    fn a_prefix_has_a_length_and_no_host_bits() {
        for (text, taken) in [
            ("10.77.0.0/24", true),
            ("0.0.0.0/0", true),
            ("fd77::/64", true),
            ("10.77.0.1/24", false),
            ("10.77.0.0", false),
            ("10.77.0.0/33", false),
        ] {
            assert_eq!(prefix(text).is_ok(), taken, "{text:?}");
        }
    }

    #[test]
    fn a_name_is_short_and_plain() {
        let (longest, longer) = ("x".repeat(NAME_BYTES_MAX), "x".repeat(NAME_BYTES_MAX + 1));
        for (text, taken) in [
            ("a", true),
            ("site-a.eu_1", true),
            ("", false),
            ("a b", false),
            ("a/b", false),
            (&*longest, true),
            (&*longer, false),
        ] {
            assert_eq!(name(text).is_ok(), taken, "{text:?}");
        }
    }

    #[test]
    fn an_endpoint_has_a_port_other_than_zero() {
        for (text, taken) in [
            ("203.0.113.9:51820", true),
            ("[2001:db8::9]:51820", true),
            ("203.0.113.9:0", false),
            ("203.0.113.9", false),
            ("vpn.example.com:51820", false),
        ] {
            assert_eq!(endpoint(text).is_ok(), taken, "{text:?}");
        }
    }
}
