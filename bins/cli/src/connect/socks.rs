//! A SOCKS5 proxy: CONNECT, no authentication. Read first: RFC 1928. Called by `connect`; the protocol itself is
//! `fast_socks5`'s.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use fast_socks5::server::{Socks5ServerProtocol, SocksServerError, states};
use fast_socks5::util::target_addr::TargetAddr;
use fast_socks5::{ReplyError, Socks5Command};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::dial::{Dial, DialFault};
use super::pump::pump;
use crate::target::{Host, Target};

/// How long a program may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
/// RFC 1928 wants the address that we connect from; no program is known to use it.
const BOUND: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

type Asked = Socks5ServerProtocol<TcpStream, states::CommandRead>;

/// Why a program was not served.
#[derive(Debug, Error)]
pub(crate) enum SocksFault {
    /// It does not speak SOCKS5, or asked for something we do not know; it was told so, if it can be.
    #[error("not served: {0}")]
    Protocol(#[from] SocksServerError),
    /// It said nothing.
    #[error("not served: no request within {PATIENCE:?}")]
    Silent,
    /// BIND, or UDP ASSOCIATE.
    #[error("not served: only CONNECT is")]
    Command,
    /// The connection could not be made.
    #[error("{target}: {fault}")]
    Dial {
        /// Where to.
        target: String,
        /// Why not.
        fault: DialFault,
    },
}

/// Serves one program's connection to its end.
///
/// # Errors
/// Why there was nothing to carry; the program has been told.
pub(crate) async fn serve<D: Dial>(local: TcpStream, dial: &D) -> Result<(), SocksFault> {
    let asking = timeout(PATIENCE, ask(local)).await;
    let (asked, command, target) = asking.map_err(|_| SocksFault::Silent)??;
    match command {
        Socks5Command::TCPConnect => connect(asked, target, dial).await,
        Socks5Command::TCPBind | Socks5Command::UDPAssociate => {
            asked.reply_error(&ReplyError::CommandNotSupported).await?;
            Err(SocksFault::Command)
        }
    }
}

async fn ask(local: TcpStream) -> Result<(Asked, Socks5Command, TargetAddr), SocksServerError> {
    Socks5ServerProtocol::accept_no_auth(local).await?.read_command().await
}

async fn connect<D: Dial>(asked: Asked, address: TargetAddr, dial: &D) -> Result<(), SocksFault> {
    let name = address.to_string();
    match dial_to(address, dial).await {
        Ok(far) => {
            let local = asked.reply_success(BOUND).await?;
            // Both ends were told how it ended.
            let _ = pump(local, far).await;
            Ok(())
        }
        Err(fault) => {
            asked.reply_error(&reply(&fault)).await?;
            Err(SocksFault::Dial { target: name, fault })
        }
    }
}

async fn dial_to<D: Dial>(address: TargetAddr, dial: &D) -> Result<D::Stream, DialFault> {
    let target = match address {
        TargetAddr::Ip(address) => Target::from(address),
        // Some programs write addresses as names.
        TargetAddr::Domain(name, port) => {
            let host: Host = name.parse().map_err(super::names::NameFault::NotAName)?;
            Target { host, port }
        }
    };
    dial.dial(&target).await
}

/// What RFC 1928 §6 has for it.
fn reply(fault: &DialFault) -> ReplyError {
    match fault {
        DialFault::Refused => ReplyError::ConnectionRefused,
        DialFault::Prohibited => ReplyError::ConnectionNotAllowed,
        DialFault::NotInTunnel(_) | DialFault::NoOwnAddress { .. } | DialFault::NetworkUnreachable => {
            ReplyError::NetworkUnreachable
        }
        DialFault::Name(_) | DialFault::HostUnreachable | DialFault::TimedOut => ReplyError::HostUnreachable,
        DialFault::Other(_) => ReplyError::GeneralFailure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::net::TcpListener;

    /// Greeting without authentication, and the answer to it.
    const HELLO: [u8; 3] = [5, 1, 0];
    const WELCOME: [u8; 2] = [5, 0];

    /// Fails with what the port means, else echoes the target's name.
    struct Toy;

    impl Dial for Toy {
        type Stream = DuplexStream;

        async fn dial(&self, target: &Target) -> Result<DuplexStream, DialFault> {
            let (near, mut far) = tokio::io::duplex(1024);
            let error = match target.port {
                1 => io::ErrorKind::ConnectionRefused,
                2 => io::ErrorKind::PermissionDenied,
                3 => io::ErrorKind::NetworkUnreachable,
                4 => io::ErrorKind::HostUnreachable,
                5 => io::ErrorKind::TimedOut,
                6 => io::ErrorKind::OutOfMemory,
                _ => {
                    far.write_all(target.to_string().as_bytes()).await?;
                    return Ok(near);
                }
            };
            Err(io::Error::from(error).into())
        }
    }

    #[tokio::test]
    async fn each_form_of_address_reaches_its_target() {
        for (request, expected) in [
            (request(1, 1, &[10, 20, 0, 5], 80), "10.20.0.5:80"),
            (request(1, 4, &[0xfd, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5], 80), "[fd20::5]:80"),
            (request(1, 3, b"\x0bexample.com", 80), "example.com:80"),
            (request(1, 3, b"\x0910.20.0.5", 80), "10.20.0.5:80"),
        ] {
            let said = talk(&[&HELLO[..], &request].concat()).await;
            let (head, body) = said.split_at(12);
            assert_eq!(head[..4], [WELCOME[0], WELCOME[1], 5, 0], "{expected}");
            assert_eq!(String::from_utf8_lossy(body), expected);
        }
    }

    #[tokio::test]
    async fn each_reason_has_its_reply() {
        for (port, code) in [(1, 5), (2, 2), (3, 3), (4, 4), (5, 4), (6, 1)] {
            let said = talk(&[&HELLO[..], &request(1, 1, &[10, 20, 0, 5], port)].concat()).await;
            assert_eq!(said.get(..4), Some(&[5, 0, 5, code][..]), "port {port}");
        }
    }

    #[tokio::test]
    async fn what_is_no_request_of_ours_is_refused_as_the_rfc_says() {
        for (bytes, expected) in [
            (vec![5, 1, 2], vec![5, 0xff]),
            (vec![4, 1, 0, 80, 10, 20, 0, 5, 0], vec![]),
            (vec![5, 0], vec![5, 0xff]),
            ([&HELLO[..], &request(2, 1, &[10, 20, 0, 5], 80)].concat(), vec![5, 0, 5, 7]),
            ([&HELLO[..], &request(3, 1, &[0, 0, 0, 0], 0)].concat(), vec![5, 0, 5, 7]),
            ([&HELLO[..], &request(9, 1, &[10, 20, 0, 5], 80)].concat(), vec![5, 0, 5, 7]),
            ([&HELLO[..], &request(1, 9, &[10, 20, 0, 5], 80)].concat(), vec![5, 0, 5, 8]),
            ([&HELLO[..], &request(1, 3, b"\x02..", 80)].concat(), vec![5, 0, 5, 4]),
        ] {
            let said = talk(&bytes).await;
            assert_eq!(said.get(..expected.len()), Some(&expected[..]), "{bytes:?}");
        }
    }

    fn request(command: u8, kind: u8, address: &[u8], port: u16) -> Vec<u8> {
        [&[5, command, 0, kind], address, &port.to_be_bytes()].concat()
    }

    /// All that a program hears that says these bytes and then ends.
    async fn talk(bytes: &[u8]) -> Vec<u8> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut program = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (local, _) = listener.accept().await.unwrap();
        let serving = tokio::spawn(async move { serve(local, &Toy).await });
        program.write_all(bytes).await.unwrap();
        program.shutdown().await.unwrap();
        let mut heard = Vec::new();
        // What a program did not wait for may be cut off by a reset, as here after a wrong version.
        let _ = program.read_to_end(&mut heard).await;
        let _ = serving.await.unwrap();
        heard
    }
}
