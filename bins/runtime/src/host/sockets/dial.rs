//! Dialling a device, before its client is answered. Read first: connect(2) on EINPROGRESS, `reactions`. Called by
//! `connections`.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt::set_socket_oobinline;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::TcpStream;

use super::error_queue;
use crate::host::config::sockets::{SocketsSettings, Sources};

// Our own choices. The client's own keepalives end at our stack, so that we have to notice when a device is gone.
/// A connection may idle so long before the device is asked whether it is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(120);
/// Between two such questions.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(30);
/// So many without an answer end the connection.
const KEEPALIVE_TRIES: u32 = 4;

/// Why there is no connection to a device.
#[derive(Debug)]
pub(super) enum Undialled {
    /// The system says why.
    Failed(io::Error),
    /// Nobody said anything for too long.
    TimedOut,
    /// The client went away.
    Abandoned,
}

/// A connection to a device that was asked for.
pub(super) struct Dial {
    socket: Socket,
    is_connected: bool,
}

/// Asks `device` for a connection, and does not wait. A worker's packets do, so that what can be asked for later is.
///
/// # Errors
/// What the system says at once.
pub(super) fn begin(device: SocketAddr, sources: &Sources) -> io::Result<Dial> {
    let kind = Type::STREAM.nonblocking();
    let socket = Socket::new(Domain::for_address(device), kind, Some(Protocol::TCP))?;
    if let Some(source) = sources.towards(device.ip()) {
        error_queue::share_ports(socket.as_fd())?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    // Urgent data stay where they are in the stream, and may be the first that come.
    set_socket_oobinline(&socket, true)?;
    let is_connected = match socket.connect(&device.into()) {
        Ok(()) => true,
        // On one host, and between hosts that are only as far apart as a cable, the answer may have come meanwhile.
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => socket.peer_addr().is_ok(),
        Err(error) => return Err(error),
    };
    Ok(Dial { socket, is_connected })
}

impl Dial {
    /// Whether the device has answered already.
    pub(super) fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// The connection, to be called within a runtime. It may not stand yet.
    ///
    /// # Errors
    /// If the system does not take an option, or the runtime cannot watch it.
    pub(super) fn into_stream(self) -> io::Result<TcpStream> {
        // What the client's stack has held back it has held back already.
        self.socket.set_tcp_nodelay(true)?;
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY);
        self.socket.set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_TRIES))?;
        TcpStream::from_std(self.socket.into())
    }

    /// The connection once it stands, unless `client_gone` comes first.
    ///
    /// # Errors
    /// Why not.
    pub(super) async fn end(
        self,
        settings: &SocketsSettings,
        client_gone: impl Future<Output = ()>,
    ) -> Result<TcpStream, Undialled> {
        tokio::select! {
            biased;
            outcome = tokio::time::timeout(settings.connect_timeout, self.connected()) => match outcome {
                Ok(connected) => connected.map_err(Undialled::Failed),
                Err(_) => Err(Undialled::TimedOut),
            },
            () = client_gone => Err(Undialled::Abandoned),
        }
    }

    async fn connected(self) -> io::Result<TcpStream> {
        let stream = self.into_stream()?;
        stream.writable().await?;
        stream.take_error()?.map_or(Ok(stream), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sockets::tests::settings;
    use std::future::{pending, ready};

    async fn dial(
        device: SocketAddr,
        settings: &SocketsSettings,
        client_gone: impl Future<Output = ()>,
    ) -> Result<TcpStream, Undialled> {
        let dial = begin(device, &settings.sources).map_err(Undialled::Failed)?;
        dial.end(settings, client_gone).await
    }

    #[tokio::test]
    async fn a_device_that_listens_is_reached_from_the_configured_source() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let device = listener.local_addr().unwrap();
        let mut settings = settings();
        settings.sources = Sources::of(["127.0.0.7".parse().unwrap()]);
        let stream = dial(device, &settings, pending()).await.unwrap();
        assert_eq!(stream.local_addr().unwrap().ip(), settings.sources.iter().next().unwrap());
        assert_eq!(listener.accept().await.unwrap().1, stream.local_addr().unwrap());
    }

    #[tokio::test]
    async fn a_closed_port_refuses_and_a_client_that_goes_ends_the_dial() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let device = listener.local_addr().unwrap();
        assert!(
            begin(device, &Sources::default()).unwrap().is_connected(),
            "a device on this host answers at once"
        );
        drop(listener);
        let refused = dial(device, &settings(), pending()).await.unwrap_err();
        assert!(
            matches!(refused, Undialled::Failed(error) if error.kind() == io::ErrorKind::ConnectionRefused)
        );
        // Documentation addresses answer nobody; where there is no route at all the system says so at once.
        let nowhere = "192.0.2.1:9".parse().unwrap();
        let abandoned = dial(nowhere, &settings(), ready(())).await.unwrap_err();
        assert!(matches!(abandoned, Undialled::Abandoned | Undialled::Failed(_)), "{abandoned:?}");
    }
}
