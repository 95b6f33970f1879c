//! A TCP connection as tasks know it. Called by whoever serves or dials.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::{Connection, Ending, Over};
use super::flow::TcpFlow;
use super::obstacle::Obstacle;

/// A TCP connection that ends at this stack. What is written is sent at once. Shut down it sends FIN behind what was
/// written, and may still be read. Dropped before that, or with unread bytes, it is reset.
pub struct TcpStream {
    flow: Arc<TcpFlow>,
}

impl TcpStream {
    pub(super) fn new(flow: Arc<TcpFlow>) -> TcpStream {
        TcpStream { flow }
    }

    /// This end.
    pub fn local_addr(&self) -> SocketAddr {
        self.flow.ends().1
    }

    /// The other end.
    pub fn peer_addr(&self) -> SocketAddr {
        self.flow.ends().0
    }

    /// Breaks it off.
    pub fn abort(self) {
        self.flow.with(Connection::abort);
    }

    /// Waits until both ends have said that they are there.
    ///
    /// # Errors
    /// If it comes to nothing.
    pub(super) async fn established(&self) -> io::Result<()> {
        std::future::poll_fn(|context| {
            let look = self.flow.look(|connection| {
                connection.wake_writer(context.waker());
                (connection.is_established(), connection.ending())
            });
            match look {
                Some((true, _)) => Poll::Ready(Ok(())),
                Some((false, None)) => Poll::Pending,
                Some((false, Some(Ending::Reset))) => {
                    Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()))
                }
                Some((false, Some(ending))) => Poll::Ready(Err(error(ending))),
                None => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            }
        })
        .await
    }

    /// Ready when the connection is broken off, even while there is something to read. Not when both ends were done.
    pub fn poll_broken(&self, context: &mut Context<'_>) -> Poll<()> {
        let is_broken = self.flow.look(|connection| {
            connection.wake_watcher(context.waker());
            connection.ending().is_some_and(|ending| ending != Ending::Finished)
        });
        if is_broken.unwrap_or(true) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Reads where the bytes lie: `take` gets some of them and says how many it took. It is not called, and 0 comes back, at
    /// the end of what the other end sends.
    ///
    /// # Errors
    /// [`io::ErrorKind::ConnectionReset`], [`io::ErrorKind::TimedOut`]; what came before is read before.
    pub fn poll_read_with(
        &self,
        context: &mut Context<'_>,
        take: impl FnOnce(&[u8]) -> usize,
    ) -> Poll<io::Result<usize>> {
        let read = self.flow.with(|connection| {
            let read = connection.read(|bytes| {
                let taken = take(bytes);
                (taken, taken)
            });
            if read == Ok(None) {
                connection.wake_reader(context.waker());
            }
            read
        });
        match read {
            Some(Ok(Some(taken))) => Poll::Ready(Ok(taken)),
            Some(Ok(None)) => Poll::Pending,
            Some(Err(Over::Finished)) => Poll::Ready(Ok(0)),
            Some(Err(Over::Broken(ending))) => Poll::Ready(Err(error(ending))),
            None => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }

    /// Writes where the bytes are to lie: `put` gets some room and says how much of it was filled.
    ///
    /// # Errors
    /// [`io::ErrorKind::ConnectionReset`], [`io::ErrorKind::TimedOut`], [`io::ErrorKind::BrokenPipe`] after shutdown.
    pub fn poll_write_with(
        &self,
        context: &mut Context<'_>,
        put: impl FnOnce(&mut [u8]) -> usize,
    ) -> Poll<io::Result<usize>> {
        let written = self.flow.with(|connection| {
            let written = connection.write(|room| {
                let filled = put(room);
                (filled, filled)
            });
            if written == Ok(None) {
                connection.wake_writer(context.waker());
            }
            written
        });
        match written {
            Some(Ok(Some(filled))) => Poll::Ready(Ok(filled)),
            Some(Ok(None)) => Poll::Pending,
            Some(Err(Over::Finished)) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Some(Err(Over::Broken(ending))) => Poll::Ready(Err(error(ending))),
            None => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let read = self.poll_read_with(context, |bytes| {
            let taken = bytes.len().min(buffer.remaining());
            buffer.put_slice(&bytes[..taken]);
            taken
        });
        read.map_ok(drop)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_write_with(context, |room| {
            let filled = bytes.len().min(room.len());
            room[..filled].copy_from_slice(&bytes[..filled]);
            filled
        })
    }

    /// Everything written is on its way already.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flow.with(Connection::finish);
        Poll::Ready(Ok(()))
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        self.flow.let_go();
    }
}

/// As a system's socket would say it.
fn error(ending: Ending) -> io::Error {
    let kind = match ending {
        Ending::Finished => io::ErrorKind::BrokenPipe,
        Ending::Reset => io::ErrorKind::ConnectionReset,
        Ending::TimedOut => io::ErrorKind::TimedOut,
        Ending::Unreachable(Obstacle::Network) => io::ErrorKind::NetworkUnreachable,
        Ending::Unreachable(Obstacle::Host) => io::ErrorKind::HostUnreachable,
        Ending::Unreachable(Obstacle::Port) => io::ErrorKind::ConnectionRefused,
        Ending::Unreachable(Obstacle::Prohibited) => io::ErrorKind::PermissionDenied,
        Ending::Aborted => io::ErrorKind::ConnectionAborted,
    };
    kind.into()
}
