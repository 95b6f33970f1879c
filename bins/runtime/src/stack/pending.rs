//! What clients ask for and nobody has answered. Called by receive; taken by listeners, and by whoever serves foreign
//! addresses.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use router_core::packet::PacketMut;
use router_core::packet::build::{self, BUILT_BYTES_MAX, BuildError, Notice};

use super::Inner;
use super::buffers::Buffers;
use super::door::From;
use super::echo::EchoFlow;
use super::flow::{NoRoom, TcpFlow};
use super::stream::TcpStream;
use super::udp::UdpFlow;

/// A flow to an address that is none of ours.
pub enum Arrival {
    /// Somebody wants a connection.
    Tcp(PendingTcp),
    /// The first datagram of a conversation waits in it.
    Udp(UdpFlow),
    /// The first echo request waits in it.
    Echo(EchoFlow),
}

/// Takes flows to addresses that are none of ours. It is called on the thread of the worker that brings the first packet, and
/// packets wait until it returns.
pub type Taker = Box<dyn Fn(Arrival) + Send + Sync>;

/// A SYN that nobody has answered yet. No buffer is held for it. Dropped, it is answered with a reset.
pub struct PendingTcp {
    stack: Arc<Inner>,
    flow: Option<Arc<TcpFlow>>,
    remote: SocketAddr,
    local: SocketAddr,
}

impl PendingTcp {
    pub(super) fn new(stack: Arc<Inner>, flow: Arc<TcpFlow>) -> PendingTcp {
        let (remote, local) = flow.ends();
        PendingTcp { stack, flow: Some(flow), remote, local }
    }

    /// Where the client wants to go.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Where it comes from.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Answers the SYN.
    ///
    /// # Errors
    /// If there is no memory for its buffers; then it is reset.
    pub fn accept(mut self) -> Result<TcpStream, NoRoom> {
        let buffers = self.buffers()?;
        let flow = self.flow.take().ok_or(NoRoom)?;
        flow.accept(From::Task, buffers, None);
        Ok(TcpStream::new(flow))
    }

    /// The same for a [`Taker`], which need not wake the worker on whose thread it is called. `then` has the connection when it
    /// stands, or has come to nothing: until then there is nothing to do for it, and a client that only knocks costs no task. It
    /// is called at the end of a worker's turn, and must not take long.
    pub fn accept_at_once(mut self, then: impl FnOnce(Result<TcpStream, NoRoom>) + Send + 'static) {
        match (self.buffers(), self.flow.take()) {
            (Ok(buffers), Some(flow)) => flow.accept(From::Worker, buffers, Some(Box::new(then))),
            (_, flow) => {
                self.flow = flow;
                drop(self);
                then(Err(NoRoom));
            }
        }
    }

    fn buffers(&self) -> Result<Buffers, NoRoom> {
        self.flow.as_ref().ok_or(NoRoom)?.buffers()
    }

    /// Says that nobody listens there.
    pub fn reset(self) {}

    /// Says why it cannot be reached, in the name of `from`, or else of where the client wanted to go.
    pub fn unreachable(mut self, notice: Notice, from: Option<IpAddr>) {
        let from = from.filter(|from| from.is_ipv4() == self.local.is_ipv4()).unwrap_or(self.local.ip());
        self.answer(|syn, out| build::icmp_error(syn, from, notice, out));
    }

    /// Waits until the client wants it no longer: it was told so, or its session was closed.
    pub async fn gone(&self) {
        match &self.flow {
            Some(flow) => flow.gone().await,
            None => std::future::pending().await,
        }
    }

    /// Leaves the SYN without any answer: it comes again.
    pub(super) fn forget(mut self) {
        if let Some(flow) = self.flow.take() {
            flow.refuse();
        }
    }

    fn answer(&mut self, build: impl FnOnce(&PacketMut<'_>, &mut [u8]) -> Result<usize, BuildError>) {
        let Some(mut syn) = self.flow.take().and_then(|flow| flow.refuse()) else { return };
        let Ok(syn) = PacketMut::parse(&mut syn) else { return };
        let mut answer = [0; BUILT_BYTES_MAX];
        if let Ok(len) = build(&syn, &mut answer) {
            self.stack.send_anywhere(&answer[..len], From::Task);
        }
    }
}

impl Drop for PendingTcp {
    fn drop(&mut self) {
        self.answer(build::reset_answering);
    }
}
