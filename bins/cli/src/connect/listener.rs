//! Listening where a [`Place`] says: one socket per address, all on one port. Called by `connect` and `demo`.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::place::Place;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;
/// How often all addresses are tried on a port that the system chose for the first one.
const PORT_ATTEMPTS: usize = 20;
/// How long accepting pauses when the system has no room for another connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens on all addresses of a place.
#[derive(Debug)]
pub(crate) struct Listener {
    sockets: Vec<TcpListener>,
    port: u16,
}

impl Listener {
    /// Binds them all. A machine without IPv6 has IPv4 alone.
    ///
    /// # Errors
    /// Why the system denies it.
    pub(crate) fn bind(place: &Place) -> io::Result<Self> {
        let (sockets, port) = bind_all(place, Type::STREAM)?;
        let listening = sockets.into_iter().map(|socket| {
            socket.listen(BACKLOG)?;
            TcpListener::from_std(socket.into())
        });
        Ok(Self { sockets: listening.collect::<io::Result<_>>()?, port })
    }

    /// The port, also if the system chose it.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Serves each connection in a task of its own, as many at a time as there is `room` for, for ever.
    pub(crate) async fn run<F>(&self, room: &Arc<Semaphore>, serve: impl Fn(TcpStream) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let each = self.sockets.iter().map(|socket| accept(socket, room, &serve));
        join_all(each).await;
    }
}

/// UDP sockets on all addresses of a place, and their port.
///
/// # Errors
/// Why the system denies it.
pub(crate) fn bind_udp(place: &Place) -> io::Result<(Vec<UdpSocket>, u16)> {
    let (sockets, port) = bind_all(place, Type::DGRAM)?;
    let sockets = sockets.into_iter().map(|socket| UdpSocket::from_std(socket.into()));
    Ok((sockets.collect::<io::Result<_>>()?, port))
}

async fn accept<F>(socket: &TcpListener, room: &Arc<Semaphore>, serve: &impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    while let Ok(permit) = Arc::clone(room).acquire_owned().await {
        match socket.accept().await {
            Ok((stream, _)) => {
                let serving = serve(stream);
                tokio::spawn(async move {
                    serving.await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept");
                sleep(PAUSE).await;
            }
        }
    }
}

fn bind_all(place: &Place, kind: Type) -> io::Result<(Vec<Socket>, u16)> {
    let addresses = place.bind.addresses();
    let mut outcome = bind_once(&addresses, place.port, kind);
    for _ in 1..PORT_ATTEMPTS {
        match &outcome {
            Err(error) if place.port == 0 && error.kind() == ErrorKind::AddrInUse => {
                outcome = bind_once(&addresses, place.port, kind);
            }
            Ok(_) | Err(_) => break,
        }
    }
    outcome
}

/// The first address has to be there; others may be of a version that the machine does not have.
fn bind_once(addresses: &[IpAddr], mut port: u16, kind: Type) -> io::Result<(Vec<Socket>, u16)> {
    let mut sockets = Vec::new();
    for address in addresses {
        match bind_one(SocketAddr::new(*address, port), kind) {
            Ok((socket, bound)) => {
                port = bound;
                sockets.push(socket);
            }
            Err(error) if !sockets.is_empty() && is_absent(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((sockets, port))
}

fn bind_one(address: SocketAddr, kind: Type) -> io::Result<(Socket, u16)> {
    let protocol = if kind == Type::STREAM { Protocol::TCP } else { Protocol::UDP };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if kind == Type::STREAM {
        // Connections of a former run that still wait for their end do not matter; a listening program does.
        socket.set_reuse_address(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let bound = socket.local_addr()?.as_socket().map_or(address.port(), |bound| bound.port());
    Ok((socket, bound))
}

fn is_absent(error: &io::Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_addresses_share_the_port_that_the_system_chose() {
        let listener = Listener::bind(&"0".parse().unwrap()).unwrap();
        let port = listener.port();
        assert_ne!(port, 0);
        for socket in &listener.sockets {
            let address = socket.local_addr().unwrap();
            assert!(address.ip().is_loopback());
            assert_eq!(address.port(), port);
            assert!(TcpStream::connect(address).await.is_ok(), "{address}");
        }
    }

    #[tokio::test]
    async fn a_port_in_use_is_an_error() {
        let first = Listener::bind(&"0".parse().unwrap()).unwrap();
        let place = first.port().to_string().parse().unwrap();
        assert_eq!(Listener::bind(&place).unwrap_err().kind(), ErrorKind::AddrInUse);
        let (_sockets, port) = bind_udp(&"0".parse().unwrap()).unwrap();
        assert!(bind_udp(&port.to_string().parse().unwrap()).is_err());
    }
}
