//! Handshake and cookie messages wait here, so that a flood of them cannot starve data.
//! Read first: the WireGuard paper §5.3, spec of the device's `QueueLoad`. Called by worker.

use std::collections::VecDeque;
use std::time::Duration;

use router_core::Node;
use wg_proto::{Endpoint, Instant, QueueLoad, UnixTime};

use crate::clock;

/// The longest control message: an initiation.
const MESSAGE_BYTES_MAX: usize = 148;

// Our own choices.
/// Messages that may wait, per worker. One more is dropped and counted; the device asks for cookies long
/// before.
const WAITING_MAX: usize = 4096;
/// Time spent on control messages between two batches of data, after the first message. A batch of data
/// takes three to six times as long.
const SLICE: Duration = Duration::from_micros(50);

/// A bounded queue of messages, in order of arrival.
pub(super) struct ControlQueue {
    waiting: VecDeque<Message>,
}

#[derive(Clone, Copy)]
struct Message {
    bytes: [u8; MESSAGE_BYTES_MAX],
    len: u8,
    from: Endpoint,
}

/// The queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueueFull;

impl ControlQueue {
    pub(super) fn new() -> ControlQueue {
        ControlQueue { waiting: VecDeque::with_capacity(WAITING_MAX) }
    }

    /// Takes a copy of a message whose kind and length were checked.
    pub(super) fn push(&mut self, datagram: &[u8], from: Endpoint) -> Result<(), QueueFull> {
        if self.waiting.len() == WAITING_MAX {
            return Err(QueueFull);
        }
        let len = datagram.len().min(MESSAGE_BYTES_MAX);
        let mut bytes = [0; MESSAGE_BYTES_MAX];
        bytes[..len].copy_from_slice(&datagram[..len]);
        self.waiting.push_back(Message { bytes, len: len as u8, from });
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Handles at least one message and stops when the time slice is used up. Returns how many.
    pub(super) fn handle_some(&mut self, node: &mut Node, now: Instant, unix: UnixTime) -> u64 {
        let mut handled = 0;
        while let Some(mut message) = self.waiting.pop_front() {
            let load = QueueLoad { waiting: self.waiting.len() as u32, capacity: WAITING_MAX as u32 };
            let datagram = &mut message.bytes[..usize::from(message.len)];
            // The device counts what it rejects.
            let _ = node.handle_control(now, unix, message.from, datagram, load);
            handled += 1;
            if clock::now().saturating_duration_since(now) > SLICE {
                break;
            }
        }
        handled
    }
}
