//! The bounds between which a segment belongs to a conversation, and what a segment inside them moves.
//!
//! For a segment from `s` to `r`, after van Rooij:
//! 1. it begins at or before the edge that `r` has offered;
//! 2. it ends no more than `r`'s largest window before what `s` has sent;
//! 3. it acknowledges no more than `r` has sent, selectively or not;
//! 4. it acknowledges no less than RFC 5961 §5 allows: one window before what `s` has acknowledged.

use super::InvalidTcp;
use super::segment::Segment;
use super::seq::{after, before, later, within};
use super::track::TcpTrack;
use crate::flow::tuple::Direction;

/// How old an acknowledgement may be at least, whatever the window: reordered ones may be one super-packet old.
const ACK_AGE_MIN: u32 = 66_000;

impl TcpTrack {
    /// Whether the segment belongs to the conversation. Both ends must have been heard.
    pub(super) fn check_window(&self, direction: Direction, segment: &Segment) -> Result<(), InvalidTcp> {
        if self.picked_up() {
            return Ok(());
        }
        let s = direction.index();
        if after(segment.seq, self.edge[s]) {
            return Err(InvalidTcp::BeyondWindow);
        }
        if before(segment.end(), self.oldest_wanted(direction)) {
            return Err(InvalidTcp::BeforeWindow);
        }
        if segment.has_ack() { self.check_ack(direction, segment) } else { Ok(()) }
    }

    fn check_ack(&self, direction: Direction, segment: &Segment) -> Result<(), InvalidTcp> {
        let (s, r) = (direction.index(), direction.reversed().index());
        let highest = self.highest_acknowledged(direction, segment);
        if after(highest, self.end[r]) || after(segment.ack, self.end[r]) {
            return Err(InvalidTcp::AckBeyondSent);
        }
        let age = if self.has_acked(direction) { self.window(direction).max(ACK_AGE_MIN) } else { 0 };
        if before(segment.ack, self.ack[s].wrapping_sub(age)) {
            return Err(InvalidTcp::AckTooOld);
        }
        Ok(())
    }

    /// Moves the numbers by a segment that passed the check. GSO runs count as one long segment.
    pub(super) fn advance(&mut self, direction: Direction, segment: &Segment) {
        let (s, r) = (direction.index(), direction.reversed().index());
        self.end[s] = later(self.end[s], segment.end());
        self.note_window(direction, segment);
        if segment.has_ack() {
            self.ack[s] = later(self.ack[s], segment.ack);
            self.set_acked(direction);
            // A zero window may be probed with one byte.
            let offered = self.offered(direction, segment).max(1);
            self.edge[r] = later(self.edge[r], segment.ack.wrapping_add(offered));
        }
    }

    /// Counts what the later pieces of a fragmented segment brought, whose first piece passed the check.
    pub(in crate::flow) fn note_later_piece(&mut self, direction: Direction, end: u32) {
        let s = direction.index();
        self.end[s] = later(self.end[s], end);
    }

    /// Whether a reset names the exact next sequence number, as far as the middle can know it. RFC 5961 §3.
    pub(super) fn is_exact(&self, direction: Direction, seq: u32) -> bool {
        let (s, r) = (direction.index(), direction.reversed().index());
        seq == self.end[s] || self.has_acked(direction.reversed()) && seq == self.ack[r]
    }

    /// Whether a sequence number lies anywhere in the receiver's window.
    pub(super) fn is_in_window(&self, direction: Direction, seq: u32) -> bool {
        within(seq, self.oldest_wanted(direction), self.edge[direction.index()])
    }

    /// One window before what was sent: older bytes cannot be missing at the receiver.
    pub(super) fn oldest_wanted(&self, direction: Direction) -> u32 {
        // The one byte more admits keep-alive probes of what was acknowledged last.
        self.end[direction.index()].wrapping_sub(self.window(direction.reversed()).max(1)).wrapping_sub(1)
    }

    /// The largest window this end has offered, in bytes.
    fn window(&self, direction: Direction) -> u32 {
        u32::from(self.window_max[direction.index()]) << self.scale(direction)
    }

    /// The window that this segment offers, in bytes. RFC 7323 §2.2: never scaled in a SYN.
    fn offered(&self, direction: Direction, segment: &Segment) -> u32 {
        let scale = if segment.has_syn() { 0 } else { self.scale(direction) };
        u32::from(segment.window) << scale
    }

    fn note_window(&mut self, direction: Direction, segment: &Segment) {
        let unit = if segment.has_syn() { 1 << self.scale(direction) } else { 1 };
        let largest = &mut self.window_max[direction.index()];
        *largest = segment.window.div_ceil(unit).max(*largest);
    }

    /// With SACK, a hole lets the acknowledgement lag while later data is confirmed.
    fn highest_acknowledged(&self, direction: Direction, segment: &Segment) -> u32 {
        match segment.sack_edge {
            Some(edge) if self.may_sack(direction) => later(segment.ack, edge),
            Some(_) | None => segment.ack,
        }
    }
}
