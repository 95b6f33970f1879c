//! What one connects to: a host, by address or name, and a port. Called by the command line, `wg_quick` and `connect`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;

/// RFC 1035 §2.3.4, without the final dot.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// A host as people write it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    /// An address, v6 in brackets or not.
    Address(IpAddr),
    /// A name that somebody has to look up.
    Name(String),
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    /// Where.
    pub(crate) host: Host,
    /// Not zero.
    pub(crate) port: u16,
}

/// Why a text is no host or target.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum TargetFault {
    /// Neither an address nor a name.
    #[error("\"{0}\" is neither an address nor a host name")]
    NotAHost(String),
    /// No `host:port`.
    #[error("\"{0}\" is not host:port (an IPv6 address goes in brackets)")]
    NoPort(String),
    /// Not from 1 to 65535.
    #[error("\"{0}\" is not a port from 1 to 65535")]
    NotAPort(String),
}

impl FromStr for Host {
    type Err = TargetFault;

    fn from_str(text: &str) -> Result<Self, TargetFault> {
        let fault = || TargetFault::NotAHost(text.to_owned());
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or_else(fault)?;
            return inner.parse().map(|v6| Self::Address(IpAddr::V6(v6))).map_err(|_| fault());
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        if is_name(text) { Ok(Self::Name(text.to_owned())) } else { Err(fault()) }
    }
}

/// Underscores are in use, although RFC 952 has none. A name of digits and dots alone is a mistyped address.
fn is_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.len() <= NAME_BYTES_MAX
        && name.split('.').all(is_label)
        && name.bytes().any(|byte| byte.is_ascii_alphabetic())
}

impl FromStr for Target {
    type Err = TargetFault;

    fn from_str(text: &str) -> Result<Self, TargetFault> {
        let no_port = || TargetFault::NoPort(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(no_port)?;
        if host.contains(':') && !host.starts_with('[') {
            return Err(no_port());
        }
        Ok(Self { host: host.parse()?, port: port_of(port)? })
    }
}

/// A port one can connect to.
pub(crate) fn port_of(text: &str) -> Result<u16, TargetFault> {
    let port = text.parse().ok().filter(|port| *port != 0);
    port.ok_or_else(|| TargetFault::NotAPort(text.to_owned()))
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self { host: Host::Address(address.ip()), port: address.port() }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(address) => SocketAddr::new(*address, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_an_address_or_a_name_and_a_port() {
        for (text, expected) in [
            ("10.20.0.5:22", Some("10.20.0.5:22")),
            ("[fd20::5]:22", Some("[fd20::5]:22")),
            ("db.example.com:5432", Some("db.example.com:5432")),
            ("db.example.com.:1", Some("db.example.com.:1")),
            ("a_b-c:65535", Some("a_b-c:65535")),
            ("fd20::5:22", None),
            ("10.20.0.5", None),
            ("10.20.0.5:0", None),
            ("10.20.0.5:65536", None),
            ("10.20.0:22", None),
            ("[10.20.0.5]:22", None),
            ("[fd20::5:22", None),
            (":22", None),
            ("a..b:22", None),
            ("a b:22", None),
        ] {
            let parsed = text.parse::<Target>().ok().map(|target| target.to_string());
            assert_eq!(parsed.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn labels_and_names_have_their_longest() {
        let (longest, longer) = ("x".repeat(LABEL_BYTES_MAX), "x".repeat(LABEL_BYTES_MAX + 1));
        assert!(longest.parse::<Host>().is_ok());
        assert!(longer.parse::<Host>().is_err());
        assert!([longest.as_str(); 4].join(".").parse::<Host>().is_err());
    }
}
