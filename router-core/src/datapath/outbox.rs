//! Packets of our own, and released fragments, on their way to `poll_transmit`.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use crate::verdict::Egress;

// Our own choices.

/// At most this many packets wait; one more is not sent and counted.
const PACKETS_MAX: usize = 1024;
/// At most this many bytes wait: as many as fragments may be parked, and some.
const BYTES_MAX: usize = 9 * 1024 * 1024;

/// A bounded queue.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: VecDeque<(Egress, Box<[u8]>)>,
    bytes: usize,
}

/// The queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

impl Outbox {
    pub(crate) fn push(&mut self, egress: Egress, packet: Box<[u8]>) -> Result<(), Full> {
        if !self.has_room(1) || self.bytes + packet.len() > BYTES_MAX {
            return Err(Full);
        }
        self.bytes += packet.len();
        self.waiting.push_back((egress, packet));
        Ok(())
    }

    /// Whether `packets` more, small ones, would be taken.
    pub(crate) fn has_room(&self, packets: usize) -> bool {
        self.waiting.len() + packets <= PACKETS_MAX
    }

    pub(crate) fn pop(&mut self) -> Option<(Egress, Box<[u8]>)> {
        let (egress, packet) = self.waiting.pop_front()?;
        self.bytes -= packet.len();
        Some((egress, packet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p27_packets_on_their_way_out_are_bounded_by_number_and_by_bytes() {
        let mut outbox = Outbox::default();
        let small = || Box::from([0; 40]);
        assert_eq!((0..2000).filter(|_| outbox.push(Egress::Tun, small()).is_ok()).count(), PACKETS_MAX);
        assert!(outbox.pop().is_some() && outbox.has_room(1) && !outbox.has_room(2));
        let mut outbox = Outbox::default();
        let large = || alloc::vec![0; 65_535].into_boxed_slice();
        let taken = (0..2000).filter(|_| outbox.push(Egress::Tun, large()).is_ok()).count();
        assert_eq!(taken, BYTES_MAX / 65_535);
        while outbox.pop().is_some() {}
        assert_eq!(outbox.push(Egress::Tun, large()), Ok(()));
    }

    #[test]
    fn p27_bytes_on_their_way_out_are_counted_to_the_last_one() {
        const MIB: usize = 1024 * 1024;
        let mut outbox = Outbox::default();
        let large = || alloc::vec![0; MIB].into_boxed_slice();
        assert_eq!((0..20).filter(|_| outbox.push(Egress::Tun, large()).is_ok()).count(), 9);
        assert_eq!(outbox.push(Egress::Tun, Box::from([0])), Err(Full));
        for _ in 0..3 {
            assert!(outbox.pop().is_some());
            assert_eq!(outbox.push(Egress::Tun, large()), Ok(()));
            assert_eq!(outbox.push(Egress::Tun, Box::from([0])), Err(Full));
        }
    }
}
