//! Which bytes of a datagram its pieces have brought so far. Read first: RFC 5722, RFC 8200 section 4.5.

use alloc::vec::Vec;

use crate::packet::Span;

/// At most this many pieces of one datagram: 64 KiB in pieces of 512 bytes. One more condemns the datagram.
pub(super) const PIECES_MAX: usize = 128;

/// Why a piece does not join the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clash {
    /// The same bytes were there already. Networks duplicate packets; the others stay valid.
    Duplicate,
    /// It shares bytes with another piece, or they do not agree on where the datagram ends (FRG-3).
    Overlap,
    /// It would be one piece too many.
    TooMany,
}

/// The pieces seen, none of which overlap.
#[derive(Debug, Default)]
pub(super) struct Spans {
    /// Start and end of each, ascending.
    seen: Vec<(u16, u16)>,
    /// Sum of their lengths; at most 65 535, because they do not overlap.
    bytes: u16,
    /// Where the datagram ends, once its last piece is there.
    end: Option<u16>,
}

impl Spans {
    /// Whether `span` may join.
    pub(super) fn check(&self, span: Span) -> Result<(), Clash> {
        let at = self.position(span);
        if self.seen.get(at) == Some(&(span.offset(), span.end())) {
            return Err(if self.is_last(span.end()) == span.more() {
                Clash::Overlap
            } else {
                Clash::Duplicate
            });
        }
        if self.touches_neighbours(at, span) || self.disagrees_on_end(span) {
            return Err(Clash::Overlap);
        }
        if self.seen.len() == PIECES_MAX { Err(Clash::TooMany) } else { Ok(()) }
    }

    /// Adds a span that [`Spans::check`] lets join.
    pub(super) fn add(&mut self, span: Span) {
        self.seen.insert(self.position(span), (span.offset(), span.end()));
        self.bytes += span.byte_len();
        if !span.more() {
            self.end = Some(span.end());
        }
    }

    /// Whether every byte of the datagram was there.
    pub(super) fn is_complete(&self) -> bool {
        self.end == Some(self.bytes)
    }

    fn position(&self, span: Span) -> usize {
        self.seen.partition_point(|&(start, _)| start < span.offset())
    }

    fn is_last(&self, end: u16) -> bool {
        self.end == Some(end)
    }

    fn touches_neighbours(&self, at: usize, span: Span) -> bool {
        let before = at.checked_sub(1).map(|before| self.seen[before]);
        before.is_some_and(|(_, end)| end > span.offset())
            || self.seen.get(at).is_some_and(|&(start, _)| start < span.end())
    }

    /// The last piece ends the datagram: nothing lies behind it. A second one would overlap it or lie before it.
    fn disagrees_on_end(&self, span: Span) -> bool {
        let behind_known_end = self.end.is_some_and(|end| span.end() > end);
        let known_behind = self.seen.last().is_some_and(|&(_, end)| end > span.end());
        behind_known_end || (!span.more() && known_behind)
    }
}
