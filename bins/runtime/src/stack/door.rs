//! Where one worker finds what the stack wants sent: a bounded queue of packets, each with what is left to do for it. Called
//! by the stack's flows on one side, by the worker on the other.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use super::flow::TcpFlow;
use super::wire::Outgoing;
use crate::tun::VirtioHeader;

// Our own choice.
/// At most so many bytes wait, and one packet more. TCP is held back then and polled again; other packets are lost.
const BYTES_MAX: usize = 1024 * 1024;

/// What a door takes at most: what waits and what the worker has taken, and as a vector that grows.
pub(super) const MEMORY_BYTES_MAX: usize = 4 * (BYTES_MAX + 65_536);

/// Rings when something waits.
pub type Ring = Box<dyn Fn() + Send + Sync>;

/// What is to be done, once.
pub(super) type Deed = Box<dyn FnOnce() + Send>;

/// One worker's queue.
#[derive(Default)]
pub struct Door {
    waiting: Mutex<Batch>,
    /// What the worker has taken and not read yet. Only the worker locks it.
    taken: Mutex<Batch>,
    /// Packets in both.
    packets: AtomicUsize,
    /// Those who had more to send than there was room for, each once.
    held_back: Mutex<Vec<Weak<TcpFlow>>>,
    /// Their number.
    held_back_count: AtomicUsize,
    /// To be done at the end of the worker's turn. At most one a flow.
    later: Mutex<Vec<Deed>>,
    ring: OnceLock<Ring>,
}

/// Packets one behind the other.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    packets: VecDeque<(usize, VirtioHeader)>,
    read: usize,
}

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many packets wait to be sent")]
pub struct Full;

/// Who puts packets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// The door's own worker, which looks by itself.
    Worker,
    /// Somebody else, so that the worker must be woken.
    Task,
}

impl Door {
    /// Whether nothing waits, and nobody who has something.
    pub fn is_empty(&self) -> bool {
        self.packets.load(Ordering::Acquire) == 0 && self.held_back_count.load(Ordering::Acquire) == 0
    }

    /// How the worker is woken. Once.
    pub fn set_bell(&self, ring: Ring) {
        // A second one would be a second worker, and there is none.
        let _ = self.ring.set(ring);
    }

    /// The next packet, put at the start of `room`: its length, and what is left to do. A packet longer than `room` is lost.
    pub fn read(&self, room: &mut [u8]) -> Option<(usize, VirtioHeader)> {
        let mut taken = lock(&self.taken);
        if taken.packets.is_empty() {
            self.take_waiting(&mut taken);
            self.relieve();
            if taken.packets.is_empty() {
                self.take_waiting(&mut taken);
            }
        }
        loop {
            let (len, header) = taken.packets.pop_front()?;
            self.packets.fetch_sub(1, Ordering::AcqRel);
            let start = taken.read;
            taken.read += len;
            if let Some(room) = room.get_mut(..len) {
                room.copy_from_slice(&taken.bytes[start..start + len]);
                return Some((len, header));
            }
        }
    }

    /// Bytes that still fit.
    pub(super) fn room(&self) -> usize {
        BYTES_MAX.saturating_sub(lock(&self.waiting).bytes.len())
    }

    /// Takes all of a connection's packets: it has asked for room.
    pub(super) fn push_all(&self, outgoing: &Outgoing, from: From) {
        if outgoing.is_empty() {
            return;
        }
        let mut count = 0;
        let mut waiting = lock(&self.waiting);
        for (packet, header) in outgoing.packets() {
            waiting.push(packet, header);
            count += 1;
        }
        drop(waiting);
        self.announce(count, from);
    }

    /// Takes a packet if there is room.
    pub(super) fn push(&self, packet: &[u8], header: VirtioHeader, from: From) -> Result<(), Full> {
        let mut waiting = lock(&self.waiting);
        if waiting.bytes.len() >= BYTES_MAX {
            return Err(Full);
        }
        waiting.push(packet, header);
        drop(waiting);
        self.announce(1, from);
        Ok(())
    }

    /// Polls `flow` again when there is room.
    pub(super) fn hold_back(&self, flow: Weak<TcpFlow>) {
        lock(&self.held_back).push(flow);
        self.held_back_count.fetch_add(1, Ordering::AcqRel);
        // The worker may have taken everything meanwhile, and sleep.
        if self.packets.load(Ordering::Acquire) == 0 {
            self.ring();
        }
    }

    /// Has the worker do it at the end of its turn, which it has begun: done at once it would hold up what is to be sent.
    pub(super) fn do_later(&self, deed: Deed) {
        lock(&self.later).push(deed);
    }

    /// Does what was left for the end of the worker's turn.
    pub fn end_turn(&self) {
        let later = std::mem::take(&mut *lock(&self.later));
        later.into_iter().for_each(|deed| deed());
    }

    fn take_waiting(&self, taken: &mut Batch) {
        taken.clear();
        std::mem::swap(taken, &mut *lock(&self.waiting));
    }

    fn announce(&self, count: usize, from: From) {
        if count == 0 {
            return;
        }
        let before = self.packets.fetch_add(count, Ordering::AcqRel);
        if before == 0 && from == From::Task {
            self.ring();
        }
    }

    fn ring(&self) {
        if let Some(ring) = self.ring.get() {
            ring();
        }
    }

    fn relieve(&self) {
        let held_back = std::mem::take(&mut *lock(&self.held_back));
        self.held_back_count.fetch_sub(held_back.len(), Ordering::AcqRel);
        for flow in held_back.iter().filter_map(Weak::upgrade) {
            flow.resume();
        }
    }
}

impl Batch {
    fn push(&mut self, packet: &[u8], header: VirtioHeader) {
        self.bytes.extend_from_slice(packet);
        self.packets.push_back((packet.len(), header));
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.read = 0;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one push or one swap, so what a panic leaves is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn packets_leave_in_the_order_they_came_and_are_bounded() {
        let door = Door::default();
        let header = VirtioHeader::default();
        let mut taken = 0;
        while door.push(&[taken as u8; 1000], header, From::Task).is_ok() {
            taken += 1;
        }
        assert_eq!(taken, BYTES_MAX.div_ceil(1000));
        let mut room = [0; 2000];
        for number in 0..taken {
            assert!(!door.is_empty());
            assert_eq!(door.read(&mut room), Some((1000, header)));
            assert_eq!(room[0], number as u8);
        }
        assert_eq!((door.read(&mut room), door.is_empty()), (None, true));
        assert_eq!(door.push(&[1; 10], header, From::Task), Ok(()));
    }

    #[test]
    fn only_a_task_rings_and_only_where_nothing_waited() {
        let (door, rung) = (Door::default(), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&rung);
        door.set_bell(Box::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        }));
        let header = VirtioHeader::default();
        door.push(&[1], header, From::Worker).unwrap();
        assert_eq!(rung.load(Ordering::Relaxed), 0);
        door.read(&mut [0; 10]);
        door.push(&[1], header, From::Task).unwrap();
        door.push(&[1], header, From::Task).unwrap();
        assert_eq!(rung.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_packet_longer_than_the_room_is_lost_and_the_next_one_is_not() {
        let (door, header) = (Door::default(), VirtioHeader::default());
        door.push(&[1; 100], header, From::Worker).unwrap();
        door.push(&[2; 10], header, From::Worker).unwrap();
        assert_eq!(door.read(&mut [0; 50]).map(|(len, _)| len), Some(10));
        assert!(door.is_empty());
    }
}
