//! A device that sends back what it gets, and tells when a connection ends and how. Read first: RFC 862.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::CONNECTIONS_MAX;

const BUFFER_BYTES: usize = 16 << 10;

/// How the last connection ended.
#[derive(Clone, Debug)]
pub(in crate::demo) struct Ended {
    /// When.
    pub(in crate::demo) at: Instant,
    /// In the system's words, or `closed`.
    pub(in crate::demo) how: String,
}

/// The device. Dropping it ends it.
pub(in crate::demo) struct Echo {
    address: SocketAddr,
    peer: watch::Receiver<Option<SocketAddr>>,
    ended: watch::Receiver<Option<Ended>>,
    serving: JoinHandle<()>,
}

impl Echo {
    pub(in crate::demo) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let ((tell_peer, peer), (tell_end, ended)) = (watch::channel(None), watch::channel(None));
        let serving = tokio::spawn(serve(listener, tell_peer, tell_end));
        Ok(Self { address, peer, ended, serving })
    }

    pub(in crate::demo) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the last connection came from.
    pub(in crate::demo) fn last_peer(&self) -> Option<SocketAddr> {
        *self.peer.borrow()
    }

    /// The end of the next connection to end.
    pub(in crate::demo) fn next_end(&self) -> impl Future<Output = Option<Ended>> + use<> {
        let mut ended = self.ended.clone();
        ended.mark_unchanged();
        async move {
            ended.changed().await.ok()?;
            ended.borrow_and_update().clone()
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    listener: TcpListener,
    tell_peer: watch::Sender<Option<SocketAddr>>,
    tell_end: watch::Sender<Option<Ended>>,
) {
    let (room, tell_end) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), Arc::new(tell_end));
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        let Ok((stream, from)) = listener.accept().await else { continue };
        tell_peer.send_replace(Some(from));
        let tell_end = Arc::clone(&tell_end);
        tokio::spawn(async move {
            let how = match echo(stream).await {
                Ok(()) => "closed".to_owned(),
                Err(error) => error.kind().to_string(),
            };
            tell_end.send_replace(Some(Ended { at: Instant::now(), how }));
            drop(permit);
        });
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return stream.shutdown().await,
            count => stream.write_all(&buffer[..count]).await?,
        }
    }
}
