//! smoltcp's TCP socket, alone in a set, in buffers that can be had back: smoltcp's own would go with it. Called by connection.

use self_cell::self_cell;
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{self, SocketBuffer, State};

use super::buffers::Buffers;

/// A socket, and its buffers.
pub(super) struct TcpSocket(Cell);

self_cell!(
    struct Cell {
        owner: Buffers,
        #[not_covariant]
        dependent: Alone,
    }
);

/// The one socket of its set.
struct Alone<'a> {
    set: SocketSet<'a>,
    handle: SocketHandle,
}

impl TcpSocket {
    /// What is allocated, beside the buffers.
    #[cfg(test)]
    pub(super) const BYTES: usize =
        size_of::<Buffers>() + size_of::<Alone<'_>>() + size_of::<smoltcp::iface::SocketStorage<'_>>();

    /// A socket that does nothing yet.
    pub(super) fn new(buffers: Buffers) -> TcpSocket {
        TcpSocket(Cell::new(buffers, |buffers| {
            let (received, sent) = buffers.halves();
            let mut set = SocketSet::new(Vec::with_capacity(1));
            let handle = set.add(tcp::Socket::new(SocketBuffer::new(received), SocketBuffer::new(sent)));
            Alone { set, handle }
        }))
    }

    /// Looks at the socket.
    pub(super) fn look<R>(&self, look: impl FnOnce(&tcp::Socket<'_>) -> R) -> R {
        self.0.with_dependent(|_, alone| look(alone.set.get(alone.handle)))
    }

    /// Works with the socket.
    pub(super) fn with<R>(&mut self, work: impl FnOnce(&mut tcp::Socket<'_>) -> R) -> R {
        self.0.with_dependent_mut(|_, alone| work(alone.set.get_mut(alone.handle)))
    }

    /// Has an interface work with it.
    pub(super) fn with_set<R>(&mut self, work: impl FnOnce(&mut SocketSet<'_>) -> R) -> R {
        self.0.with_dependent_mut(|_, alone| work(&mut alone.set))
    }

    pub(super) fn state(&self) -> State {
        self.look(|tcp| tcp.state())
    }

    /// The other end has sent so many bytes of its stream, whether or not all of those before have come.
    pub(super) fn note_received(&self, bytes: usize) {
        self.0.borrow_owner().note_received(bytes);
    }

    /// So many bytes were written for the other end, all in all.
    pub(super) fn note_written(&self, bytes: usize) {
        self.0.borrow_owner().note_written(bytes);
    }
}
