//! A batch of received datagrams. Read first: recvmmsg(2), udp(7) UDP_GRO. Called by worker.

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use wg_proto::Endpoint;

use super::control::ControlBuffer;
use super::sys::{self, Incoming, MESSAGES_MAX, Name};

/// Each message gets a buffer that no datagram and no GRO run can exceed: a smaller one would cut silently.
const BUFFER_BYTES: usize = 65_536;

// Our own choices.
/// Messages per call while they are large: more would fall out of the second-level cache.
const LARGE_MESSAGES: usize = 4;
/// From this average size on, messages count as large.
const LARGE_BYTES: usize = 16_384;

/// Buffers and what is in them, reused from batch to batch: 4 MiB, touched only as far as traffic needs.
pub(crate) struct ReceiveBatch {
    storage: Box<[u8]>,
    messages: Box<[Incoming]>,
    received: Vec<Received>,
    wanted: usize,
}

/// One message: a datagram, or several of one size from one sender behind each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// Where it lies in the batch's storage.
    pub(crate) start: usize,
    /// Bytes of all datagrams together.
    pub(crate) len: usize,
    /// Bytes of each datagram; the last may be shorter.
    pub(crate) segment_bytes: usize,
    /// Sender, and our address it was sent to.
    pub(crate) from: Endpoint,
    /// Outer traffic class.
    pub(crate) tos: u8,
}

/// What a call to [`ReceiveBatch::fill`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filled {
    /// Messages received.
    pub(crate) messages: usize,
    /// Messages dropped because they did not fit or came from no address.
    pub(crate) dropped: usize,
    /// Datagrams the socket had no room for since it was opened, if it lost any.
    pub(crate) lost: Option<u32>,
}

impl ReceiveBatch {
    pub(crate) fn new() -> ReceiveBatch {
        let empty = Incoming { name: Name::empty(), control: ControlBuffer::new(), len: 0, truncated: false };
        ReceiveBatch {
            storage: vec![0; MESSAGES_MAX * BUFFER_BYTES].into_boxed_slice(),
            messages: vec![empty; MESSAGES_MAX].into_boxed_slice(),
            received: Vec::with_capacity(MESSAGES_MAX),
            wanted: MESSAGES_MAX,
        }
    }

    /// Replaces the batch by what waits on the socket.
    pub(crate) fn fill(&mut self, socket: BorrowedFd<'_>) -> io::Result<Filled> {
        self.received.clear();
        let asked = self.wanted;
        let result = sys::receive(socket, &mut self.storage, BUFFER_BYTES, &mut self.messages[..asked]);
        let count = match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            other => other?,
        };
        for (position, message) in self.messages[..count].iter().enumerate() {
            self.received.extend(received(position * BUFFER_BYTES, message));
        }
        self.adapt();
        let messages = self.received.len();
        let lost = self.messages[..count].last().and_then(|message| message.control.arrival().lost);
        Ok(Filled { messages, dropped: count - messages, lost })
    }

    /// The messages, in order of arrival.
    pub(crate) fn messages(&self) -> &[Received] {
        &self.received
    }

    /// Bytes of a message or of a part of it.
    pub(crate) fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        &mut self.storage[range]
    }

    /// All buffers, addressed by [`Received::start`].
    pub(crate) fn storage(&self) -> &[u8] {
        &self.storage
    }

    /// The same, to write.
    pub(crate) fn storage_mut(&mut self) -> &mut [u8] {
        &mut self.storage
    }

    /// Few large messages or many small ones make a batch of the same weight.
    fn adapt(&mut self) {
        let bytes: usize = self.received.iter().map(|message| message.len).sum();
        let large = bytes >= LARGE_BYTES * self.received.len().max(1);
        self.wanted = if large { LARGE_MESSAGES } else { MESSAGES_MAX };
    }
}

impl Received {
    /// The datagrams in this message, as ranges of the batch's storage.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (end, step) = (self.start + self.len, self.segment_bytes.max(1));
        (self.start..end).step_by(step).map(move |start| start..end.min(start + step))
    }
}

fn received(start: usize, message: &Incoming) -> Option<Received> {
    if message.truncated || message.len == 0 {
        return None;
    }
    let arrival = message.control.arrival();
    let segment_bytes = arrival.segment_bytes.map_or(message.len, usize::from);
    let from = Endpoint { remote: message.name.to_address()?, source: arrival.source };
    Some(Received { start, len: message.len, segment_bytes, from, tos: arrival.tos })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_at_its_segment_size() {
        let remote = "127.0.0.1:1".parse().expect("address");
        let from = Endpoint { remote, source: None };
        for (len, segment_bytes, lengths) in
            [(10, 10, &[10][..]), (10, 4, &[4, 4, 2]), (8, 4, &[4, 4]), (3, 0, &[1, 1, 1])]
        {
            let message = Received { start: 100, len, segment_bytes, from, tos: 0 };
            let cut: Vec<_> = message.datagrams().collect();
            assert_eq!(cut.iter().map(Range::len).collect::<Vec<_>>(), lengths);
            assert!(cut.is_sorted_by(|a, b| a.end == b.start), "no gap between them");
        }
    }
}
