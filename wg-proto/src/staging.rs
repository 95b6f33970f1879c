//! Packets that wait for a session, per peer.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use crate::constants::{STAGED_BYTES_MAX, STAGED_PACKETS_MAX};

/// At most [`STAGED_PACKETS_MAX`] packets and [`STAGED_BYTES_MAX`] bytes, copied out of the caller's buffers, so
/// that they hold none of those. When full, the oldest are dropped.
#[derive(Default)]
pub(crate) struct Staging {
    packets: VecDeque<Box<[u8]>>,
    bytes: usize,
}

impl Staging {
    /// Stages a copy of `packet`; says how many older ones were dropped for it.
    pub(crate) fn push(&mut self, packet: &[u8]) -> usize {
        let before = self.packets.len();
        while self.packets.len() >= STAGED_PACKETS_MAX || self.bytes + packet.len() > STAGED_BYTES_MAX {
            if self.pop().is_none() {
                break;
            }
        }
        let dropped = before - self.packets.len();
        self.bytes += packet.len();
        self.packets.push_back(packet.into());
        dropped
    }

    /// Takes the oldest packet out. An emptied queue gives its memory back.
    pub(crate) fn pop(&mut self) -> Option<Box<[u8]>> {
        let packet = self.packets.pop_front()?;
        self.bytes -= packet.len();
        if self.packets.is_empty() {
            self.packets = VecDeque::new();
        }
        Some(packet)
    }

    /// Drops all packets; says how many there were.
    pub(crate) fn clear(&mut self) -> usize {
        core::mem::take(self).packets.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.packets.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn staging_keeps_the_newest_128_packets() {
        let mut staging = Staging::default();
        let dropped: usize = (0..200u8).map(|n| staging.push(&[n])).sum();
        assert_eq!((dropped, staging.len()), (72, 128));
        assert_eq!(staging.pop().as_deref(), Some(&[72][..]));
        assert_eq!((staging.clear(), staging.is_empty(), staging.bytes), (127, true, 0));
    }

    #[test]
    fn staging_has_its_own_budget_of_bytes() {
        let mut staging = Staging::default();
        let large = vec![0; 60_000];
        let dropped: usize = (0..100).map(|_| staging.push(&large)).sum();
        assert_eq!(dropped, 100 - staging.len());
        assert!(staging.bytes <= STAGED_BYTES_MAX && staging.len() == STAGED_BYTES_MAX / 60_000);
        assert_eq!(staging.push(&vec![0; STAGED_BYTES_MAX + 1]), 17);
        assert_eq!(staging.len(), 1);
    }

    #[test]
    fn packets_that_just_fill_the_budget_are_kept() {
        let mut staging = Staging::default();
        let half = vec![0; STAGED_BYTES_MAX / 2];
        assert_eq!((staging.push(&half), staging.push(&half)), (0, 0));
        assert_eq!(staging.push(&[0]), 1);
    }
}
