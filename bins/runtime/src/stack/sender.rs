//! How much a connection may have under way and what of it is sent again: selective acknowledgments, which smoltcp does not
//! read, the congestion window and the retransmission timer. Read first: RFC 6675, RFC 5681, RFC 6298; RFC 6582 for other
//! ends that do not acknowledge selectively. Called by connection with what the other end says, by wire with what leaves;
//! calls scoreboard, recovery, congestion, round_trip.
//!
//! smoltcp sends what the window allows that it was told last, and goes on from where it is. So it is told the least of
//! what the other end and the path allow. To send something again it is made to go back to the first byte that was not
//! acknowledged, and wire leaves out on the way what is not due.

use std::ops::Range;

use wg_proto::Instant;

use super::congestion::Congestion;
use super::recovery::Recovery;
use super::round_trip::RoundTrip;
use super::scoreboard::Scoreboard;
use super::segment::{Header, distance};

// Of the specifications.
/// RFC 6675 section 2: so many segments that have overtaken another say that it is lost.
const OVERTAKING: u64 = 3;

// Our own choice.
/// Places in the stream count from here, so that none is negative.
const ORIGIN: u64 = 1 << 40;

/// The sending side of one connection. Places in the stream are sequence numbers that do not wrap.
#[derive(Debug)]
pub(super) struct Sender {
    segment_bytes: u64,
    /// The other end counts its window in units of this many bits.
    window_shift: u8,
    /// It acknowledges selectively.
    is_selective: bool,
    /// Everything before was acknowledged.
    acknowledged: u64,
    /// Nothing behind was sent.
    sent: u64,
    /// Where smoltcp goes on.
    next: u64,
    /// As the other end says it.
    window_units: u16,
    scoreboard: Scoreboard,
    /// Acknowledgments that said nothing new, of an end that is not selective: segments that have arrived.
    repeats: u64,
    recovery: Option<Recovery>,
    /// What lies before and is not held by the other end is lost, or was sent again.
    lost: u64,
    /// What of that was sent again lies before.
    resent: u64,
    /// What smoltcp is to send again, where the other end does not hold it.
    due: Range<u64>,
    /// Bytes behind all that was sent that may be sent now.
    new: u64,
    /// Until then smoltcp only goes over what was sent.
    over_until: u64,
    congestion: Congestion,
    round_trip: RoundTrip,
    /// The round trip that is being measured: what ends it, and when it began.
    measuring: Option<(u64, Instant)>,
    /// What was sent when the clock was last looked at.
    sent_before: u64,
    /// When silence has been too long.
    timer: Option<Instant>,
}

impl Sender {
    /// Nothing is known of the other end.
    pub(super) fn new(segment_bytes: u16) -> Sender {
        let segment_bytes = u64::from(segment_bytes);
        Sender {
            segment_bytes,
            window_shift: 0,
            is_selective: false,
            acknowledged: ORIGIN,
            sent: ORIGIN,
            next: ORIGIN,
            window_units: 0,
            scoreboard: Scoreboard::default(),
            repeats: 0,
            recovery: None,
            lost: ORIGIN,
            resent: ORIGIN,
            due: ORIGIN..ORIGIN,
            new: 0,
            over_until: 0,
            congestion: Congestion::new(segment_bytes),
            round_trip: RoundTrip::default(),
            measuring: None,
            sent_before: ORIGIN,
            timer: None,
        }
    }

    /// The other end's SYN says how it counts its window. Says which window smoltcp is to see.
    pub(super) fn learn(
        &mut self,
        segment_bytes: u16,
        window_shift: u8,
        is_selective: bool,
        window: u16,
    ) -> u16 {
        self.segment_bytes = segment_bytes.into();
        (self.window_shift, self.is_selective, self.window_units) = (window_shift, is_selective, window);
        self.congestion = Congestion::new(self.segment_bytes);
        window.min(self.congestion.window().try_into().unwrap_or(u16::MAX))
    }

    /// Our SYN leaves: `begin` is behind it.
    pub(super) fn begin(&mut self, begin: u32) {
        let begin = ORIGIN + u64::from(begin);
        (self.acknowledged, self.sent, self.next) = (begin, begin, begin);
        (self.lost, self.resent, self.due, self.sent_before) = (begin, begin, begin..begin, begin);
    }

    /// No segment carries more from now on.
    pub(super) fn set_segment_bytes(&mut self, segment_bytes: u16) {
        self.segment_bytes = segment_bytes.into();
        self.congestion.set_segment_bytes(self.segment_bytes);
    }

    /// How far `acknowledgment` is beyond what was acknowledged; `None` if it is before.
    pub(super) fn news(&self, acknowledgment: u32) -> Option<usize> {
        usize::try_from(distance(acknowledgment, self.acknowledged as u32)).ok()
    }

    /// Takes an acknowledgment that is not older than what is known. Says which window smoltcp is to see.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        header: &Header,
        held: impl Iterator<Item = (u32, u32)>,
    ) -> u16 {
        let place = self.place(header.acknowledgment);
        let is_repeat = header.is_bare_acknowledgment()
            && place == self.acknowledged
            && header.window == self.window_units;
        self.window_units = header.window;
        let before = self.delivered();
        for (start, end) in held {
            let (start, end) = (self.place(start), self.place(end));
            // What is acknowledged already was received twice (RFC 2883).
            if place <= start && start < end && end <= self.sent {
                self.scoreboard.add(start..end);
            }
        }
        if place > self.acknowledged {
            self.advance(now, place);
        } else if is_repeat && !self.is_selective && self.sent > self.acknowledged {
            self.repeats += 1;
        }
        let delivered = self.delivered().saturating_sub(before);
        if let Some(recovery) = &mut self.recovery {
            recovery.note_delivered(delivered);
        }
        self.find_losses();
        self.plan(delivered);
        self.window()
    }

    /// The other end has been silent for too long, if it has been: all that is under way counts as lost.
    pub(super) fn note_time(&mut self, now: Instant) {
        if self.timer.is_none_or(|timer| now < timer) {
            return;
        }
        let was_silent = self.round_trip.note_silence();
        self.timer = Some(now.saturating_add(self.round_trip.timeout()));
        if !was_silent {
            self.congestion.note_silence(self.sent - self.acknowledged);
        }
        // RFC 2018 section 8: the other end may have thrown away what it held.
        self.scoreboard.clear();
        self.repeats = 0;
        self.recovery = Some(Recovery::new(self.acknowledged, self.sent, true));
        (self.resent, self.lost) = (self.acknowledged, self.sent);
        self.plan(0);
    }

    /// Whether smoltcp has to go back for what is due.
    pub(super) fn must_go_back(&self) -> bool {
        !self.due.is_empty() && self.due.start < self.next
    }

    /// smoltcp has data from `start` to `end` leave: what of it is to leave, if not all.
    pub(super) fn leave(&mut self, start: u32, end: u32) -> Option<Vec<Range<u32>>> {
        let (start, end) = (self.place(start), self.place(end));
        let is_probe = self.is_closed() || end <= self.acknowledged;
        if is_probe {
            return None;
        }
        let parts = (start < self.over_until).then(|| self.parts(start..end));
        if let Some(recovery) = &mut self.recovery {
            let len = |part: &Range<u64>| part.end - part.start;
            recovery.note_out(parts.as_ref().map_or(end - start, |parts| parts.iter().map(len).sum()));
        }
        if parts.is_some() && start < self.due.end && self.due.start < end {
            self.note_again(self.due.end.min(end));
        }
        self.next = end;
        self.sent = self.sent.max(end);
        if self.next >= self.over_until {
            self.over_until = 0;
        }
        Some(parts?.into_iter().map(|part| part.start as u32..part.end as u32).collect())
    }

    /// All that could leave has left.
    pub(super) fn settle(&mut self, now: Instant) {
        if self.sent > self.sent_before {
            self.sent_before = self.sent;
            if self.measuring.is_none() && self.recovery.is_none() {
                self.measuring = Some((self.sent, now));
            }
        }
        if self.sent > self.acknowledged && self.timer.is_none() {
            self.timer = Some(now.saturating_add(self.round_trip.timeout()));
        }
    }

    /// When the clock is to be looked at.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timer
    }

    fn advance(&mut self, now: Instant, place: u64) {
        let was_in_use = 2 * (self.sent - self.acknowledged) >= self.congestion.window();
        let acknowledged = place - self.acknowledged;
        self.acknowledged = place;
        // A probe of a closed window may be acknowledged.
        self.sent = self.sent.max(place);
        self.next = self.next.max(place);
        self.resent = self.resent.max(place);
        self.lost = self.lost.max(place);
        self.scoreboard.forget_before(place);
        self.repeats = 0;
        if let Some((end, since)) = self.measuring
            && place >= end
        {
            self.round_trip.measure(now.saturating_duration_since(since));
            self.measuring = None;
        }
        self.round_trip.note_progress();
        let timeout = now.saturating_add(self.round_trip.timeout());
        self.timer = (self.sent > place).then_some(timeout);
        self.recovery.take_if(|recovery| recovery.advance(place));
        let is_slow = self.recovery.as_ref().map(Recovery::is_slow);
        if is_slow == Some(false) && !self.is_selective {
            // RFC 6582 section 3.2 step 3: the next segment is lost, too. More may be, and each would cost a round trip.
            self.congestion.start_over();
            self.recovery = Some(Recovery::new(place, self.sent, true));
            (self.resent, self.lost) = (place, self.sent);
        }
        if is_slow != Some(false) && was_in_use {
            self.congestion.grow(now, acknowledged, self.round_trip.smoothed());
        }
    }

    fn find_losses(&mut self) {
        let enough = OVERTAKING * self.segment_bytes;
        let overtaken = match self.is_selective {
            true => self.scoreboard.overtaken(enough),
            false if self.recovery.is_none() && self.repeats >= OVERTAKING => {
                Some((self.acknowledged + self.segment_bytes).min(self.sent))
            }
            false => None,
        };
        self.lost = self.lost.max(overtaken.unwrap_or(self.acknowledged));
        if self.recovery.is_none() && self.lost > self.acknowledged {
            self.congestion.note_loss(self.sent - self.acknowledged);
            self.recovery = Some(Recovery::new(self.acknowledged, self.sent, false));
            self.resent = self.acknowledged;
        }
    }

    /// What is due has been sent again up to there.
    fn note_again(&mut self, end: u64) {
        if let Some(recovery) = &mut self.recovery {
            recovery.note_again(end, self.sent);
        }
        self.resent = self.resent.max(end);
        self.due.start = end;
    }

    /// What is lost again comes first, then what is lost, then what is new, as far as the path takes them; one segment at
    /// least where it is the one that the other end waits for (RFC 6675 section 5 step 4.3).
    fn plan(&mut self, delivered: u64) {
        let enough = OVERTAKING * self.segment_bytes;
        let is_overtaken = |sent| self.scoreboard.held_from(sent) >= enough;
        let again = self.recovery.as_ref().and_then(|recovery| recovery.lost_again(is_overtaken));
        let range = again.map_or(self.resent..self.lost, |end| self.acknowledged..end);
        let mut allowance = self.allowance(delivered);
        if range.start == self.acknowledged {
            allowance = allowance.max(self.segment_bytes);
        }
        let mut end = range.start;
        for gap in self.scoreboard.gaps(range.clone()) {
            let len = gap.end - gap.start;
            let part = if len <= allowance { len } else { allowance - allowance % self.segment_bytes };
            if part == 0 {
                break;
            }
            (end, allowance) = (gap.start + part, allowance - part);
            if part < len {
                break;
            }
        }
        self.due = range.start..end;
        if !self.due.is_empty() {
            self.over_until = self.sent;
            self.measuring = None;
        }
        let is_all_due = self.scoreboard.missing(end.max(self.resent)..self.lost) == 0;
        // Whole segments only (RFC 9293 section 3.8.6.2.1).
        self.new = if is_all_due { allowance - allowance % self.segment_bytes } else { 0 };
    }

    /// Bytes that may be sent beside those that are under way.
    fn allowance(&self, delivered: u64) -> u64 {
        let (window, in_flight) = (self.congestion.window(), self.in_flight());
        match &self.recovery {
            Some(recovery) => recovery.allowance(window, in_flight, delivered, self.segment_bytes),
            None => window.saturating_sub(in_flight),
        }
    }

    /// Bytes that have arrived at the other end since the beginning.
    fn delivered(&self) -> u64 {
        self.acknowledged + self.scoreboard.held_from(self.acknowledged)
    }

    /// RFC 6675 section 4, "pipe": what is neither held by the other end nor lost.
    fn in_flight(&self) -> u64 {
        let again = self.scoreboard.missing(self.acknowledged..self.resent);
        let first = self.scoreboard.missing(self.lost.max(self.resent)..self.sent);
        (again + first).saturating_sub(self.repeats * self.segment_bytes)
    }

    /// The window that smoltcp is to see, in the other end's units. What is under way may be sent again even if the other end has
    /// closed it meanwhile; smoltcp probes what it sees closed.
    fn window(&self) -> u16 {
        let (unit, under_way) = (1_u64 << self.window_shift, self.sent - self.acknowledged);
        let units = if self.new == 0 && !self.due.is_empty() {
            (self.due.end - self.acknowledged).div_ceil(unit)
        } else {
            (under_way + self.new) / unit
        };
        let open = match self.window_units {
            0 => under_way / unit,
            units => units.into(),
        };
        match self.is_closed() {
            true => 0,
            false => u16::try_from(units.min(open)).unwrap_or(u16::MAX).max(1),
        }
    }

    fn is_closed(&self) -> bool {
        self.window_units == 0 && self.sent == self.acknowledged
    }

    /// What of `range` is to leave: what is due, and what was never sent.
    fn parts(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let due = range.start.max(self.due.start)..range.end.min(self.due.end);
        let new = range.start.max(self.over_until)..range.end;
        self.scoreboard.gaps(due).chain([new]).filter(|part| part.start < part.end).collect()
    }

    /// The place that a sequence number means.
    fn place(&self, sequence: u32) -> u64 {
        self.acknowledged.saturating_add_signed(distance(sequence, self.acknowledged as u32).into())
    }
}
