//! Connecting to what is behind the tunnel, and why that may fail. Called by `forward` and `socks`.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::IpAddr;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

use super::names::NameFault;
use crate::target::Target;

/// Connects to targets.
pub(crate) trait Dial: Send + Sync + 'static {
    /// What comes of it.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Connects, within a time that is bounded.
    fn dial(&self, target: &Target) -> impl Future<Output = Result<Self::Stream, DialFault>> + Send;
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub(crate) enum DialFault {
    /// The name has no address that we could use.
    #[error("{0}")]
    Name(#[from] NameFault),
    /// No peer's AllowedIPs holds the address.
    #[error("{0} is in no peer's AllowedIPs")]
    NotInTunnel(IpAddr),
    /// The tunnel's Address has none of this version.
    #[error("we have no {version} address in the tunnel")]
    NoOwnAddress { version: &'static str },
    /// RST.
    #[error("connection refused")]
    Refused,
    /// ICMP: administratively prohibited.
    #[error("not allowed: the far side prohibits it")]
    Prohibited,
    /// ICMP: no route.
    #[error("no route to the network")]
    NetworkUnreachable,
    /// ICMP: host unreachable.
    #[error("host unreachable")]
    HostUnreachable,
    /// Nobody answers.
    #[error("no answer in time")]
    TimedOut,
    /// Anything else.
    #[error("{0}")]
    Other(io::Error),
}

impl From<io::Error> for DialFault {
    fn from(error: io::Error) -> Self {
        #[expect(clippy::wildcard_enum_match_arm, reason = "the standard library adds to this list")]
        match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Self::Refused,
            ErrorKind::PermissionDenied => Self::Prohibited,
            ErrorKind::NetworkUnreachable => Self::NetworkUnreachable,
            ErrorKind::HostUnreachable => Self::HostUnreachable,
            ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Other(error),
        }
    }
}
