//! Where others find the router: the address they are told.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::str::FromStr;

use thiserror::Error;

/// A machine that is nowhere, RFC 5737: nothing is sent, but the system says from which address it would be.
const NOWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

/// `ADDRESS` or `ADDRESS:PORT`; without a port the system chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listen {
    pub(super) ip: IpAddr,
    pub(super) port: u16,
}

/// Neither of the two.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("ADDRESS or ADDRESS:PORT is expected, such as 0.0.0.0, 192.0.2.7:51820 or [2001:db8::7]:51820")]
pub(crate) struct NotAListen;

impl FromStr for Listen {
    type Err = NotAListen;

    fn from_str(text: &str) -> Result<Self, NotAListen> {
        if let Ok(ip) = text.parse() {
            return Ok(Self { ip, port: 0 });
        }
        let address: SocketAddr = text.parse().map_err(|_| NotAListen)?;
        Ok(Self { ip: address.ip(), port: address.port() })
    }
}

impl Listen {
    /// The address that others use: for all of this machine's, the one that it leaves by.
    ///
    /// # Errors
    /// If the machine has no network.
    pub(super) fn reached_at(self) -> io::Result<IpAddr> {
        if !self.ip.is_unspecified() {
            return Ok(self.ip);
        }
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(NOWHERE)?;
        Ok(socket.local_addr()?.ip())
    }

    /// Whether other machines are meant to join.
    pub(super) fn is_open(self) -> bool {
        !self.ip.is_loopback()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stands_alone_or_with_a_port() {
        for (text, expected) in [
            ("0.0.0.0", Some(("0.0.0.0", 0, true))),
            ("127.0.0.1", Some(("127.0.0.1", 0, false))),
            ("192.0.2.7:51820", Some(("192.0.2.7", 51820, true))),
            ("[::1]:5", Some(("::1", 5, false))),
            ("::1", Some(("::1", 0, false))),
            ("example.com", None),
            ("51820", None),
        ] {
            let parsed = text.parse::<Listen>().ok();
            let told = parsed.map(|listen| (listen.ip.to_string(), listen.port, listen.is_open()));
            assert_eq!(told, expected.map(|(ip, port, open)| (ip.to_owned(), port, open)), "{text}");
        }
    }

    #[test]
    fn one_address_is_told_as_it_is() {
        let listen: Listen = "192.0.2.7:51820".parse().unwrap();
        assert_eq!(listen.reached_at().unwrap(), listen.ip);
    }
}
