//! Echo as tasks know it: one client's pings of one address. Called by whoever forwards them.

use std::net::IpAddr;
use std::sync::Arc;

use router_core::packet::Echo;
use router_core::packet::build::Notice;

use super::Inner;
use super::datagrams::{DatagramDoor, DatagramQueue, Held, Parcel};
use super::door::{From, Full};
use super::packet;
use super::table::Key;

/// An echo request, and what its header said.
#[derive(Debug)]
pub struct EchoRequest {
    /// Its sequence number.
    pub sequence: u16,
    /// What is to come back.
    pub payload: Box<[u8]>,
    /// Hops it may still take: TTL or hop limit.
    pub hop_limit: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Whether it must not be fragmented; always so over IPv6, unless its sender had cut it.
    pub dont_fragment: bool,
    _held: Held,
}

/// One client's pings of one address under one identifier. Dropped, it is forgotten; the next request begins another.
pub struct EchoFlow {
    stack: Arc<Inner>,
    key: Key,
    door: DatagramDoor,
    queue: DatagramQueue,
}

impl EchoFlow {
    pub(super) fn new(stack: Arc<Inner>, key: Key, door: DatagramDoor, queue: DatagramQueue) -> EchoFlow {
        EchoFlow { stack, key, door, queue }
    }

    /// What the client pings.
    pub fn local(&self) -> IpAddr {
        self.key.local.ip()
    }

    /// Where it pings from.
    pub fn remote(&self) -> IpAddr {
        self.key.remote.ip()
    }

    /// The next request; `None` when the stack is gone.
    pub async fn recv(&mut self) -> Option<EchoRequest> {
        let parcel = self.queue.receiver.recv().await?;
        let Parcel { payload, sequence, hop_limit, traffic_class, dont_fragment, held } = parcel;
        Some(EchoRequest { sequence, payload, hop_limit, traffic_class, dont_fragment, _held: held })
    }

    /// Answers a request.
    ///
    /// # Errors
    /// If too much waits to be sent, or the payload is longer than IP allows.
    pub fn reply(&self, sequence: u16, payload: &[u8]) -> Result<(), Full> {
        let (from, to) = (self.local(), self.remote());
        let reply =
            packet::echo(Echo::Reply, from, to, (self.identifier(), sequence), payload).ok_or(Full)?;
        self.stack.send_in_pieces(self.queue.worker(), &reply, From::Task)
    }

    /// Tells the client what became of a request, in the name of `from`, or else of what was pinged.
    pub fn report(&self, notice: Notice, from: Option<IpAddr>, sequence: u16, payload: &[u8]) {
        let (source, destination) = (self.remote(), self.local());
        let request =
            packet::echo(Echo::Request, source, destination, (self.identifier(), sequence), payload);
        self.stack.report(self.queue.worker(), request, destination, notice, from);
    }

    fn identifier(&self) -> u16 {
        self.key.remote.port()
    }
}

impl Drop for EchoFlow {
    fn drop(&mut self) {
        self.stack.table.remove_datagrams(&self.key, &self.door);
    }
}
