//! Where syslog is: `udp://192.0.2.1:514`, `tcp://logs.example.net:601`, `unix:///dev/log`.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// RFC 5426.
const UDP_PORT: u16 = 514;
/// RFC 6587, as most receivers have it.
const TCP_PORT: u16 = 601;

/// Where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SyslogPlace {
    /// One datagram each: what is lost on the way is lost.
    Udp(String),
    /// A stream, each event after its length (RFC 6587, octet counting).
    Tcp(String),
    /// The machine's own.
    Unix(PathBuf),
}

/// Why a text is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no place where syslog could be")]
pub(crate) struct NoPlace(String);

impl SyslogPlace {
    /// Whether a name has to be looked up to reach it.
    pub(crate) fn has_name(&self) -> bool {
        match self {
            SyslogPlace::Udp(place) | SyslogPlace::Tcp(place) => {
                place.parse::<std::net::SocketAddr>().is_err()
            }
            SyslogPlace::Unix(_) => false,
        }
    }
}

impl FromStr for SyslogPlace {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let none = || NoPlace(text.to_owned());
        match text.split_once("://").ok_or_else(none)? {
            ("udp", place) => with_port(place, UDP_PORT).map(SyslogPlace::Udp).ok_or_else(none),
            ("tcp", place) => with_port(place, TCP_PORT).map(SyslogPlace::Tcp).ok_or_else(none),
            ("unix", path) if path.starts_with('/') => Ok(SyslogPlace::Unix(path.into())),
            _ => Err(none()),
        }
    }
}

impl fmt::Display for SyslogPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SyslogPlace::Udp(place) => write!(f, "udp://{place}"),
            SyslogPlace::Tcp(place) => write!(f, "tcp://{place}"),
            SyslogPlace::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// `HOST`, `HOST:PORT`, `ADDRESS`, `[ADDRESS]:PORT`.
fn with_port(place: &str, default: u16) -> Option<String> {
    let bare = place.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Some(std::net::SocketAddr::new(address, default).to_string());
    }
    let (host, port) = place.rsplit_once(':').map_or((place, None), |(host, port)| (host, Some(port)));
    let port = port.map_or(Ok(default), str::parse::<u16>).ok().filter(|port| *port != 0)?;
    let is_host = host.starts_with('[') && host.ends_with(']')
        || !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    is_host.then(|| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_written_with_their_transport() {
        for (text, place) in [
            ("udp://192.0.2.1", "udp://192.0.2.1:514"),
            ("udp://192.0.2.1:5140", "udp://192.0.2.1:5140"),
            ("tcp://logs.example.net", "tcp://logs.example.net:601"),
            ("tcp://[2001:db8::1]:6514", "tcp://[2001:db8::1]:6514"),
            ("udp://2001:db8::1", "udp://[2001:db8::1]:514"),
            ("unix:///dev/log", "unix:///dev/log"),
        ] {
            assert_eq!(text.parse::<SyslogPlace>().unwrap().to_string(), place);
        }
        for text in
            ["192.0.2.1:514", "udp://", "tcp://a b", "tcp://host:0", "tcp://host:x", "unix://log", "tls://x"]
        {
            assert!(text.parse::<SyslogPlace>().is_err(), "{text}");
        }
        assert!("tcp://logs:601".parse::<SyslogPlace>().unwrap().has_name());
        assert!(!"tcp://192.0.2.1".parse::<SyslogPlace>().unwrap().has_name());
    }
}
