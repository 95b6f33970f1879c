//! `-U`: a local UDP port that leads to one host and port behind the tunnel. Each local program gets a socket of its own
//! there, as a NAT would give it. Called by `forward`.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sluice_runtime::stack;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::dialer::Dialer;
use crate::target::Target;

/// RFC 4787 REQ-5: at least two minutes.
const IDLE: Duration = Duration::from_secs(120);
/// Local programs at the same time. Datagrams of one more are dropped until another one is idle.
const PROGRAMS_MAX: usize = 1024;
/// The largest UDP datagram.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// One local port.
pub(super) struct DatagramServer {
    local: UdpSocket,
    dialer: Dialer,
    target: Target,
    programs: Mutex<HashMap<SocketAddr, Conversation>>,
}

/// A program's socket behind the tunnel, and where it sends to.
#[derive(Clone)]
struct Conversation(Arc<(stack::UdpSocket, SocketAddr)>);

impl DatagramServer {
    pub(super) fn new(local: UdpSocket, dialer: Dialer, target: Target) -> Arc<Self> {
        Arc::new(Self { local, dialer, target, programs: Mutex::default() })
    }

    /// Carries datagrams for ever.
    pub(super) async fn run(self: Arc<Self>) {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            match self.local.recv_from(&mut buffer).await {
                Ok((count, from)) => self.send(from, &buffer[..count]).await,
                // An ICMP error about an earlier answer, at a program that is gone.
                Err(error) => tracing::debug!(%error, "cannot receive"),
            }
        }
    }

    /// Datagrams may be lost, and a name that cannot be found loses them all.
    async fn send(self: &Arc<Self>, from: SocketAddr, payload: &[u8]) {
        match self.conversation(from).await {
            Ok(Conversation(far)) => {
                if let Err(error) = far.0.send_to(payload, far.1) {
                    tracing::debug!(%error, "cannot send");
                }
            }
            Err(error) => tracing::debug!(%error, target = %self.target, "no way for a datagram"),
        }
    }

    async fn conversation(self: &Arc<Self>, from: SocketAddr) -> io::Result<Conversation> {
        if let Some(known) = self.programs().get(&from).cloned() {
            return Ok(known);
        }
        let fresh =
            Conversation(Arc::new(self.dialer.bind_udp(&self.target).await.map_err(io::Error::other)?));
        let mut programs = self.programs();
        if programs.len() >= PROGRAMS_MAX {
            return Err(io::Error::other("too many programs"));
        }
        programs.insert(from, fresh.clone());
        drop(programs);
        tokio::spawn(Arc::clone(self).answer(from, fresh.clone()));
        Ok(fresh)
    }

    /// Carries what comes back until nothing has come for a while. Who only sends is heard anew after that.
    async fn answer(self: Arc<Self>, program: SocketAddr, Conversation(far): Conversation) {
        while let Ok(Ok((datagram, from))) = timeout(IDLE, far.0.recv_from()).await {
            // Only the target may speak, as for a connected socket.
            if from == far.1 {
                // The program may be gone.
                let _ = self.local.send_to(&datagram.payload, program).await;
            }
        }
        self.programs().remove(&program);
    }

    fn programs(&self) -> MutexGuard<'_, HashMap<SocketAddr, Conversation>> {
        // A map is whole between its calls, whoever panicked.
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
