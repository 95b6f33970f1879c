//! Local ends: where this machine's programs find what is behind the tunnel. Called by the command line and `listener`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;

use crate::target::{Host, Target, TargetFault};

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bind {
    /// 127.0.0.1 and ::1, the same port on both.
    Loopback,
    /// 0.0.0.0 and ::, the same port on both.
    Everywhere,
    /// One address of this machine.
    Address(IpAddr),
}

/// `[bind:]port`; port 0 lets the system choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) bind: Bind,
    pub(crate) port: u16,
}

/// `[bind:]port:host:hostport`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forward {
    /// Where this machine's programs connect to.
    pub(crate) place: Place,
    /// Where that leads.
    pub(crate) target: Target,
}

/// Why a text is no place or forward.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum PlaceFault {
    /// Too few or too many parts.
    #[error("{expected} is expected, IPv6 addresses in brackets")]
    Shape { expected: &'static str },
    /// The local port.
    #[error("\"{0}\" is not a port from 0 to 65535")]
    NotAPort(String),
    /// The local address.
    #[error("\"{0}\" is not an address of this machine, localhost, or * for all")]
    NotABind(String),
    /// The far end.
    #[error("{0}")]
    Target(#[from] TargetFault),
}

impl Bind {
    /// The addresses, the one that has to be there first.
    pub(crate) fn addresses(self) -> Vec<IpAddr> {
        match self {
            Self::Loopback => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            Self::Everywhere => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
            Self::Address(address) => vec![address],
        }
    }

    /// Whether other machines can connect.
    pub(crate) fn is_open(self) -> bool {
        match self {
            Self::Loopback => false,
            Self::Everywhere => true,
            Self::Address(address) => !address.is_loopback(),
        }
    }
}

impl FromStr for Bind {
    type Err = PlaceFault;

    fn from_str(text: &str) -> Result<Self, PlaceFault> {
        match text {
            "localhost" => Ok(Self::Loopback),
            "*" | "" => Ok(Self::Everywhere),
            _ => match text.parse() {
                Ok(Host::Address(address)) => Ok(Self::Address(address)),
                Ok(Host::Name(_)) | Err(_) => Err(PlaceFault::NotABind(text.to_owned())),
            },
        }
    }
}

impl FromStr for Place {
    type Err = PlaceFault;

    fn from_str(text: &str) -> Result<Self, PlaceFault> {
        match parts(text)[..] {
            [port] => Self::of(Bind::Loopback, port),
            [bind, port] => Self::of(bind.parse()?, port),
            _ => Err(PlaceFault::Shape { expected: "[bind:]port" }),
        }
    }
}

impl Place {
    fn of(bind: Bind, port: &str) -> Result<Self, PlaceFault> {
        let port = port.parse().map_err(|_| PlaceFault::NotAPort(port.to_owned()))?;
        Ok(Self { bind, port })
    }
}

impl FromStr for Forward {
    type Err = PlaceFault;

    fn from_str(text: &str) -> Result<Self, PlaceFault> {
        let (bind, port, host, host_port) = match parts(text)[..] {
            [port, host, host_port] => (Bind::Loopback, port, host, host_port),
            [bind, port, host, host_port] => (bind.parse()?, port, host, host_port),
            _ => return Err(PlaceFault::Shape { expected: "[bind:]port:host:hostport" }),
        };
        let target = Target { host: host.parse()?, port: crate::target::port_of(host_port)? };
        Ok(Self { place: Place::of(bind, port)?, target })
    }
}

/// The parts between colons outside brackets.
fn parts(text: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    let outside = |letter: char| {
        depth += i32::from(letter == '[') - i32::from(letter == ']');
        letter == ':' && depth == 0
    };
    text.split(outside).collect()
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bind {
            Bind::Loopback => write!(f, "localhost:{}", self.port),
            Bind::Everywhere => write!(f, "*:{}", self.port),
            Bind::Address(address) => SocketAddr::new(address, self.port).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forward_is_written_as_for_ssh() {
        for (text, expected) in [
            ("8022:10.20.0.5:22", Some("localhost:8022 10.20.0.5:22")),
            ("0:10.20.0.5:22", Some("localhost:0 10.20.0.5:22")),
            ("localhost:8022:db.example.com:22", Some("localhost:8022 db.example.com:22")),
            ("192.0.2.1:8022:[fd20::5]:22", Some("192.0.2.1:8022 [fd20::5]:22")),
            ("[::1]:8022:[fd20::5]:22", Some("[::1]:8022 [fd20::5]:22")),
            ("*:8022:10.20.0.5:22", Some("*:8022 10.20.0.5:22")),
            (":8022:10.20.0.5:22", Some("*:8022 10.20.0.5:22")),
            ("10.20.0.5:22", None),
            ("8022:fd20::5:22", None),
            ("8022:10.20.0.5:0", None),
            ("65536:10.20.0.5:22", None),
            ("host:8022:10.20.0.5:22", None),
            ("1:2:3:4:5", None),
            ("", None),
        ] {
            let parsed = text.parse::<Forward>().ok();
            let parsed = parsed.map(|forward| format!("{} {}", forward.place, forward.target));
            assert_eq!(parsed.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_place_is_a_port_with_or_without_an_address() {
        for (text, expected) in [
            ("1080", Some((Bind::Loopback, false))),
            ("localhost:1080", Some((Bind::Loopback, false))),
            ("*:1080", Some((Bind::Everywhere, true))),
            ("127.0.0.2:1080", Some((Bind::Address("127.0.0.2".parse().unwrap()), false))),
            ("[::]:1080", Some((Bind::Address("::".parse().unwrap()), true))),
            ("::1:1080", None),
            ("socks", None),
        ] {
            let parsed = text.parse::<Place>().ok().map(|place| (place.bind, place.bind.is_open()));
            assert_eq!(parsed, expected, "{text}");
        }
    }
}
