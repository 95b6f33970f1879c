//! UDP as tasks know it: one client's conversation with one address and port, or everything that comes to a port of ours.
//! Called by whoever serves or forwards.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use router_core::packet::PacketMut;
use router_core::packet::build::{self, BUILT_BYTES_MAX, Notice};
use tokio::sync::{Mutex, mpsc};

use super::Inner;
use super::datagrams::{DatagramDoor, DatagramQueue, Held, Parcel};
use super::door::{From, Full};
use super::packet;
use super::table::Key;

/// A datagram, and what its header said.
#[derive(Debug)]
pub struct Datagram {
    /// Its contents.
    pub payload: Box<[u8]>,
    /// Hops it may still take: TTL or hop limit.
    pub hop_limit: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Whether it must not be fragmented; always so over IPv6, unless its sender had cut it.
    pub dont_fragment: bool,
    _held: Held,
}

impl Datagram {
    fn of(parcel: Parcel) -> Datagram {
        let Parcel { payload, hop_limit, traffic_class, dont_fragment, held, sequence: _ } = parcel;
        Datagram { payload, hop_limit, traffic_class, dont_fragment, _held: held }
    }
}

/// One client's conversation with one address and port. Dropped, it is forgotten; the next datagram begins another.
pub struct UdpFlow {
    stack: Arc<Inner>,
    key: Key,
    door: DatagramDoor,
    queue: DatagramQueue,
}

impl UdpFlow {
    pub(super) fn new(stack: Arc<Inner>, key: Key, door: DatagramDoor, queue: DatagramQueue) -> UdpFlow {
        UdpFlow { stack, key, door, queue }
    }

    /// Where the client sends to.
    pub fn local(&self) -> SocketAddr {
        self.key.local
    }

    /// Where it sends from.
    pub fn remote(&self) -> SocketAddr {
        self.key.remote
    }

    /// The client's next datagram; `None` when the stack is gone.
    pub async fn recv(&mut self) -> Option<Datagram> {
        self.queue.receiver.recv().await.map(Datagram::of)
    }

    /// Sends a datagram to the client, in the name of [`local`](UdpFlow::local).
    ///
    /// # Errors
    /// If too much waits to be sent, or the payload is longer than UDP allows.
    pub fn send(&self, payload: &[u8]) -> Result<(), Full> {
        self.stack.send_udp(self.queue.worker(), self.key.local, self.key.remote, payload)
    }

    /// Tells the client what became of a datagram with this payload, or the beginning of it, in the name of `from`, or else of
    /// where it was sent.
    pub fn report(&self, notice: Notice, from: Option<IpAddr>, payload: &[u8]) {
        let datagram = packet::udp(self.key.remote, self.key.local, payload);
        self.stack.report(self.queue.worker(), datagram, self.key.local.ip(), notice, from);
    }
}

impl Drop for UdpFlow {
    fn drop(&mut self) {
        self.stack.table.remove_datagrams(&self.key, &self.door);
    }
}

/// Everything that comes to one of our own addresses and ports.
pub struct UdpSocket {
    stack: Arc<Inner>,
    local: SocketAddr,
    receiver: Mutex<mpsc::Receiver<(SocketAddr, Parcel)>>,
    worker: Arc<AtomicUsize>,
}

/// Its end for packets that come in.
#[derive(Clone)]
pub(super) struct UdpEntrance {
    pub(super) sender: mpsc::Sender<(SocketAddr, Parcel)>,
    pub(super) worker: Arc<AtomicUsize>,
}

impl UdpEntrance {
    /// Says whether there was room.
    pub(super) fn deliver(&self, worker: usize, from: SocketAddr, parcel: Parcel) -> bool {
        self.worker.store(worker, Ordering::Relaxed);
        self.sender.try_send((from, parcel)).is_ok()
    }
}

impl UdpSocket {
    pub(super) fn new(
        stack: Arc<Inner>,
        local: SocketAddr,
        receiver: mpsc::Receiver<(SocketAddr, Parcel)>,
        worker: Arc<AtomicUsize>,
    ) -> UdpSocket {
        UdpSocket { stack, local, receiver: Mutex::new(receiver), worker }
    }

    /// Where it receives, and sends from.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The next datagram, and where it came from.
    ///
    /// # Errors
    /// If the stack is gone.
    pub async fn recv_from(&self) -> io::Result<(Datagram, SocketAddr)> {
        let received = self.receiver.lock().await.recv().await;
        let (from, parcel) = received.ok_or(io::ErrorKind::NotConnected)?;
        Ok((Datagram::of(parcel), from))
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// If too much waits to be sent, or the payload is longer than UDP allows.
    pub fn send_to(&self, payload: &[u8], to: SocketAddr) -> Result<(), Full> {
        self.stack.send_udp(self.worker.load(Ordering::Relaxed), self.local, to, payload)
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        self.stack.services.close_udp(&self.local);
    }
}

impl Inner {
    fn send_udp(&self, worker: usize, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Result<(), Full> {
        let datagram = packet::udp(from, to, payload).ok_or(Full)?;
        self.send_in_pieces(worker, &datagram, From::Task)
    }

    /// Sends an ICMP error about `packet`, which its sender sent to `to`.
    pub(super) fn report(
        &self,
        worker: usize,
        packet: Option<Vec<u8>>,
        to: IpAddr,
        notice: Notice,
        from: Option<IpAddr>,
    ) {
        let Some(mut packet) = packet else { return };
        let Ok(packet) = PacketMut::parse(&mut packet) else { return };
        let from = from.filter(|from| from.is_ipv4() == to.is_ipv4()).unwrap_or(to);
        let mut error = [0; BUILT_BYTES_MAX];
        if let Ok(len) = build::icmp_error(&packet, from, notice, &mut error) {
            // Errors may be lost.
            let _ = self.send(worker, &error[..len], From::Task);
        }
    }
}
