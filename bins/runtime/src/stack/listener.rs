//! A port of ours where connections are taken. Called by whoever serves.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::Inner;
use super::pending::PendingTcp;
use super::stream::TcpStream;

/// Takes connections at one of our own addresses and ports. Their SYNs are answered when they are taken.
pub struct TcpListener {
    stack: Arc<Inner>,
    local: SocketAddr,
    backlog: mpsc::Receiver<PendingTcp>,
}

impl TcpListener {
    pub(super) fn new(
        stack: Arc<Inner>,
        local: SocketAddr,
        backlog: mpsc::Receiver<PendingTcp>,
    ) -> TcpListener {
        TcpListener { stack, local, backlog }
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The next connection and where it comes from; `None` when the stack is gone. Those for which there is no memory are
    /// reset.
    pub async fn accept(&mut self) -> Option<(TcpStream, SocketAddr)> {
        loop {
            let pending = self.backlog.recv().await?;
            let remote = pending.remote();
            match pending.accept() {
                Ok(stream) => return Some((stream, remote)),
                Err(error) => tracing::debug!(%remote, %error, "a connection is refused"),
            }
        }
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        self.stack.services.close_tcp(&self.local);
    }
}
