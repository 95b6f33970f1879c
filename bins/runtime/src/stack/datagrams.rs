//! What UDP and echo flows have in common: packets wait in a bounded queue for a task, and all of them together in bounded
//! memory. Called by receive, udp, echo.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

// Our own choices.
/// Packets that one flow's task has not taken; one more is lost.
pub(super) const WAITING_MAX: usize = 64;
/// Bytes of all flows' packets that no task has taken, 32 MiB; a packet beyond is lost.
pub(super) const BYTES_MAX: usize = 32 * 1024 * 1024;
/// What a packet takes beside its payload.
const PARCEL_BYTES: usize = 128;

/// A packet's contents, and what its header said.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) payload: Box<[u8]>,
    /// Of an echo request.
    pub(super) sequence: u16,
    pub(super) hop_limit: u8,
    pub(super) traffic_class: u8,
    pub(super) dont_fragment: bool,
    pub(super) held: Held,
}

/// Memory that goes back when it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    bytes: usize,
    all: Arc<AtomicUsize>,
}

/// Memory of packets that wait.
#[derive(Debug, Default)]
pub(super) struct Larder(Arc<AtomicUsize>);

impl Larder {
    pub(super) fn used(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Memory for a payload; `None` if there is none left.
    pub(super) fn hold(&self, payload_bytes: usize) -> Option<Held> {
        let bytes = payload_bytes + PARCEL_BYTES;
        let held = Held { bytes, all: Arc::clone(&self.0) };
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        (before + bytes <= BYTES_MAX).then_some(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A flow's end for packets that come in.
#[derive(Clone, Debug)]
pub(super) struct DatagramDoor {
    sender: mpsc::Sender<Parcel>,
    worker: Arc<AtomicUsize>,
}

/// Its end for the task.
#[derive(Debug)]
pub(super) struct DatagramQueue {
    pub(super) receiver: mpsc::Receiver<Parcel>,
    worker: Arc<AtomicUsize>,
}

/// Both ends of a new flow.
pub(super) fn flow(worker: usize) -> (DatagramDoor, DatagramQueue) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let worker = Arc::new(AtomicUsize::new(worker));
    (DatagramDoor { sender, worker: Arc::clone(&worker) }, DatagramQueue { receiver, worker })
}

impl DatagramDoor {
    /// Says whether there was room.
    pub(super) fn deliver(&self, worker: usize, parcel: Parcel) -> bool {
        self.worker.store(worker, Ordering::Relaxed);
        self.sender.try_send(parcel).is_ok()
    }

    /// Whether it is the very same flow.
    pub(super) fn is(&self, other: &DatagramDoor) -> bool {
        self.sender.same_channel(&other.sender)
    }
}

impl DatagramQueue {
    /// The worker that heard of the flow last.
    pub(super) fn worker(&self) -> usize {
        self.worker.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_packets_take_bounded_memory_and_give_it_back() {
        let larder = Larder::default();
        let mut held = Vec::new();
        while let Some(one) = larder.hold(65_000) {
            held.push(one);
            assert!(larder.used() <= BYTES_MAX);
        }
        assert_eq!(held.len(), BYTES_MAX / (65_000 + PARCEL_BYTES));
        drop(held);
        assert_eq!(larder.used(), 0);
    }

    #[test]
    fn a_flow_whose_task_takes_nothing_loses_what_is_too_much() {
        let (door, mut queue) = flow(3);
        let larder = Larder::default();
        let parcel = |sequence| Parcel {
            payload: Box::default(),
            sequence,
            hop_limit: 64,
            traffic_class: 0,
            dont_fragment: false,
            held: larder.hold(0).unwrap(),
        };
        let taken = (0..100).filter(|number| door.deliver(5, parcel(*number))).count();
        assert_eq!((taken, queue.worker()), (WAITING_MAX, 5));
        assert_eq!(queue.receiver.try_recv().unwrap().sequence, 0);
        assert!(door.deliver(5, parcel(7)));
    }
}
