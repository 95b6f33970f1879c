//! The state of one TCP conversation, 32 bytes, and its steps.

use super::segment::{Kind, Segment};
use super::seq::{after, within};
use super::{InvalidTcp, TcpVerdict};
use crate::flow::tuple::Direction;
use crate::packet::TcpFlags;

/// How far a TCP conversation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TcpState {
    /// Entered by the opening SYN, and by one that reuses an ended flow.
    SynSent,
    /// From `SynSent`: the other end has sent a SYN of its own.
    SimultaneousOpen,
    /// Both ends have sent a SYN, and one has acknowledged the other's.
    SynReceived,
    /// Both SYNs are acknowledged.
    Established,
    /// From `Established`: the opener has finished, the other end may go on sending.
    FinOriginal,
    /// From `Established`: the answering end has finished, the opener may go on sending.
    FinReply,
    /// Both ends have finished, not all of it is acknowledged.
    Closing,
    /// All is acknowledged; stragglers still pass.
    TimeWait,
    /// From any state, by a reset at the exact sequence number. Kept for stragglers.
    Reset,
}

/// Sequence numbers, windows and state of both ends; arrays are indexed by the direction an end sends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpTrack {
    /// The sequence number after the last that this end has sent.
    pub(super) end: [u32; 2],
    /// The highest sequence number at which this end may send. Before the other end's SYN: the opener's first data byte.
    pub(super) edge: [u32; 2],
    /// The highest acknowledgement this end has sent, or the least it must send first.
    pub(super) ack: [u32; 2],
    /// The largest window this end has offered, in units of its scale.
    pub(super) window_max: [u16; 2],
    /// Four bits an end.
    scales: u8,
    marks: u8,
    /// A SYN from the opener that met a live flow and was let through.
    second_syn: SecondSyn,
    state: TcpState,
}

const OFFERED_SCALE: u8 = 0b0000_0001;
const SACK_PERMITTED: u8 = 0b0000_0100;
const HAS_ACKED: u8 = 0b0001_0000;
const HAS_FINISHED: u8 = 0b0100_0000;

/// RFC 7323 §2.3: larger shifts are taken as 14.
const SCALE_MAX: u8 = 14;

/// What must be remembered of a SYN that was let through: bit 7 set, its SACK and scale options, its scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SecondSyn(u8);

impl SecondSyn {
    const NONE: SecondSyn = SecondSyn(0);
    const SEEN: u8 = 0x80;
    const PICKED_UP: u8 = 0x40;
    const SACK: u8 = 0x20;
    const SCALE: u8 = 0x10;
}

impl TcpTrack {
    /// Starts tracking at the first segment of a flow.
    ///
    /// With `pick_up`, a flow may be joined in the middle; its windows are then unknown and not checked. TCP-4: off
    /// by default, because it lets a flow outlive the session that allowed it.
    pub fn open(segment: &Segment, pick_up: bool) -> Result<TcpTrack, InvalidTcp> {
        match segment.kind() {
            Some(Kind::Syn) => Ok(TcpTrack::opened_by(segment)),
            Some(Kind::Ack) if pick_up => Ok(TcpTrack::picked_up_at(segment)),
            Some(Kind::SynAck | Kind::Ack | Kind::Fin | Kind::Rst) => Err(InvalidTcp::NotOpening),
            None => Err(InvalidTcp::Flags),
        }
    }

    /// How far the conversation has come.
    pub const fn state(&self) -> TcpState {
        self.state
    }

    /// Takes a segment that goes in this direction.
    pub fn step(&mut self, direction: Direction, segment: &Segment) -> TcpVerdict {
        let Some(kind) = segment.kind() else { return TcpVerdict::Invalid(InvalidTcp::Flags) };
        match (self.state, kind) {
            (TcpState::SynSent, _) => self.step_syn_sent(direction, kind, segment),
            (_, Kind::Rst) => self.step_reset(direction, segment),
            (_, Kind::Syn) => self.step_syn(direction, segment),
            (_, Kind::SynAck) => self.step_syn_ack(direction, segment),
            (_, Kind::Ack | Kind::Fin) => self.step_in_window(direction, kind, segment),
        }
    }

    /// Whether a sequence number quoted by an ICMP error about a segment in this direction is one that is under way.
    /// ICE-8; RFC 5927 §4.
    pub fn quoted_seq_in_window(&self, direction: Direction, seq: u32) -> bool {
        match (self.state, direction) {
            (TcpState::SynSent, Direction::Reply) => false,
            (TcpState::SynSent, Direction::Original) => {
                within(seq, self.edge[0].wrapping_sub(1), self.end[0])
            }
            (_, _) => {
                self.picked_up() || within(seq, self.oldest_wanted(direction), self.end[direction.index()])
            }
        }
    }

    /// The numbers a reset needs to be believed by the end that sends in direction `end_sending`.
    pub fn resets_to(&self, end_sending: Direction) -> Resets {
        let (x, other) = (end_sending.index(), end_sending.reversed().index());
        if self.state == TcpState::SynSent {
            return self.resets_in_syn_sent(end_sending);
        }
        let first = ResetNumbers { seq: self.end[other], ack: Some(self.end[x]) };
        let second = ResetNumbers { seq: self.ack[x], ack: Some(self.end[x]) };
        Resets { first, second: Some(second).filter(|second| second.seq != first.seq) }
    }
}

/// Sequence numbers of a reset. Where `ack` is there, the ACK flag must be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetNumbers {
    /// The sequence number.
    pub seq: u32,
    /// The acknowledgement number.
    pub ack: Option<u32>,
}

/// One or two resets for one end. RFC 5961 §3.2: an end believes only the number it expects next. That is `first.seq`
/// if all that was forwarded to it arrives, and `second.seq` if nothing arrives that it has not acknowledged yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resets {
    /// After all that was forwarded.
    pub first: ResetNumbers,
    /// After what the end has acknowledged, where that differs.
    pub second: Option<ResetNumbers>,
}

/// Beginnings.
impl TcpTrack {
    /// Reads a field, to bring the state into the cache.
    #[inline]
    pub(crate) const fn touch(&self) -> u32 {
        self.end[0]
    }

    /// All zero, for flows that are not TCP.
    pub(crate) const UNUSED: TcpTrack = TcpTrack {
        end: [0; 2],
        edge: [0; 2],
        ack: [0; 2],
        window_max: [0; 2],
        scales: 0,
        marks: 0,
        second_syn: SecondSyn::NONE,
        state: TcpState::Reset,
    };

    fn opened_by(syn: &Segment) -> TcpTrack {
        let mut track = TcpTrack {
            end: [syn.end(), 0],
            edge: [syn.seq.wrapping_add(1), 0],
            ack: [0, 0],
            window_max: [syn.window, 0],
            scales: 0,
            marks: 0,
            second_syn: SecondSyn::NONE,
            state: TcpState::SynSent,
        };
        track.note_options(Direction::Original, syn);
        track
    }

    fn picked_up_at(segment: &Segment) -> TcpTrack {
        TcpTrack {
            end: [segment.end(), segment.ack],
            edge: [segment.end(), segment.ack.wrapping_add(u32::from(segment.window))],
            ack: [segment.ack, segment.seq],
            window_max: [segment.window, 0],
            scales: 0,
            marks: HAS_ACKED,
            second_syn: SecondSyn(SecondSyn::PICKED_UP),
            state: TcpState::Established,
        }
    }

    /// Takes in the answering end's SYN or SYN-ACK.
    fn hear_reply(&mut self, syn: &Segment) {
        let opener_window = u32::from(self.window_max[0]).max(1);
        self.marks &= !(HAS_ACKED | HAS_ACKED << 1);
        self.note_options(Direction::Reply, syn);
        self.settle_scales();
        self.end[1] = syn.end();
        self.edge[1] = syn.seq.wrapping_add(1).wrapping_add(opener_window);
        self.ack = [syn.seq.wrapping_add(1), self.edge[0]];
        self.window_max[1] = 0;
        self.edge[0] = self.edge[0].wrapping_add(u32::from(syn.window));
        self.advance(Direction::Reply, syn);
        self.state = if syn.has_ack() { TcpState::SynReceived } else { TcpState::SimultaneousOpen };
    }

    /// Starts again from a SYN that was let through and the SYN-ACK that answers it.
    fn start_again(&mut self, syn_ack: &Segment) {
        let SecondSyn(second) = self.second_syn;
        let syn = Segment {
            flags: TcpFlags::SYN,
            seq: syn_ack.ack.wrapping_sub(1),
            ack: 0,
            window: u16::MAX,
            payload_len: 0,
            window_scale: (second & SecondSyn::SCALE != 0).then_some(second & 0x0F),
            sack_permitted: second & SecondSyn::SACK != 0,
            sack_edge: None,
        };
        *self = TcpTrack::opened_by(&syn);
        self.hear_reply(syn_ack);
    }
}

/// Steps.
impl TcpTrack {
    fn step_syn_sent(&mut self, direction: Direction, kind: Kind, segment: &Segment) -> TcpVerdict {
        match (direction, kind) {
            (Direction::Original, Kind::Syn) => self.repeat_syn(segment),
            (Direction::Original, Kind::Rst) => self.abort_opening(segment),
            (Direction::Original, Kind::SynAck | Kind::Ack | Kind::Fin) => {
                TcpVerdict::Invalid(InvalidTcp::OutOfTurn)
            }
            (Direction::Reply, Kind::SynAck) if self.answers_syn(segment.ack) => self.accept_reply(segment),
            (Direction::Reply, Kind::Syn) => self.accept_reply(segment),
            (Direction::Reply, Kind::Rst) => self.refuse_opening(segment),
            (Direction::Reply, Kind::SynAck) => self.note_challenge(segment),
            (Direction::Reply, Kind::Ack) if segment.payload_len == 0 => self.note_challenge(segment),
            (Direction::Reply, Kind::Ack | Kind::Fin) => TcpVerdict::Invalid(InvalidTcp::OutOfTurn),
        }
    }

    /// A repeated SYN may come without options; another initial number is a new attempt.
    fn repeat_syn(&mut self, syn: &Segment) -> TcpVerdict {
        if syn.seq.wrapping_add(1) != self.edge[0] {
            *self = TcpTrack::opened_by(syn);
        }
        TcpVerdict::Accept
    }

    fn accept_reply(&mut self, syn: &Segment) -> TcpVerdict {
        self.hear_reply(syn);
        TcpVerdict::Accept
    }

    /// The opener gives up, or resets what the other end still holds of an older connection.
    fn abort_opening(&mut self, rst: &Segment) -> TcpVerdict {
        if self.answers_syn(rst.seq) {
            self.state = TcpState::Reset;
            TcpVerdict::Accept
        } else if self.has_acked(Direction::Reply) && rst.seq == self.ack[1] {
            TcpVerdict::AcceptNoStateChange
        } else {
            TcpVerdict::Invalid(InvalidTcp::ResetOutsideWindow)
        }
    }

    /// RFC 9293 §3.10.7.3: before the handshake a reset counts if it acknowledges the SYN.
    fn refuse_opening(&mut self, rst: &Segment) -> TcpVerdict {
        if rst.has_ack() && self.answers_syn(rst.ack) {
            self.state = TcpState::Reset;
            TcpVerdict::Accept
        } else {
            TcpVerdict::Invalid(InvalidTcp::ResetOutsideWindow)
        }
    }

    /// The answering end holds an older connection of this tuple and says which number it expects. The opener will
    /// reset that one; remember the number, so that the reset passes.
    fn note_challenge(&mut self, segment: &Segment) -> TcpVerdict {
        self.ack[1] = segment.ack;
        self.set_acked(Direction::Reply);
        TcpVerdict::AcceptNoStateChange
    }

    /// Whether a number acknowledges the SYN, and the data with it or not (RFC 7413).
    fn answers_syn(&self, number: u32) -> bool {
        within(number, self.edge[0], self.end[0])
    }

    fn step_reset(&mut self, direction: Direction, rst: &Segment) -> TcpVerdict {
        if self.is_exact(direction, rst.seq) {
            self.state = TcpState::Reset;
            TcpVerdict::Accept
        } else if self.picked_up() || self.is_in_window(direction, rst.seq) {
            TcpVerdict::AcceptNoStateChange
        } else {
            TcpVerdict::Invalid(InvalidTcp::ResetOutsideWindow)
        }
    }

    fn step_syn(&mut self, direction: Direction, syn: &Segment) -> TcpVerdict {
        let is_repeated = self.is_opening() && self.check_window(direction, syn).is_ok();
        if direction == Direction::Original {
            if self.may_reopen(syn) {
                *self = TcpTrack::opened_by(syn);
                return TcpVerdict::Accept;
            }
            self.second_syn = SecondSyn::of(syn, self.picked_up());
        }
        if is_repeated { TcpVerdict::Accept } else { TcpVerdict::AcceptNoStateChange }
    }

    fn step_syn_ack(&mut self, direction: Direction, syn_ack: &Segment) -> TcpVerdict {
        match self.check_window(direction, syn_ack) {
            Ok(()) if self.is_opening() => {
                self.advance(direction, syn_ack);
                self.forget_second_syn(direction);
                self.complete_handshake();
                TcpVerdict::Accept
            }
            Ok(()) => TcpVerdict::AcceptNoStateChange,
            Err(_) if direction == Direction::Reply && self.answers_second_syn(syn_ack) => {
                self.start_again(syn_ack);
                TcpVerdict::Accept
            }
            Err(reason) => TcpVerdict::Invalid(reason),
        }
    }

    /// Whether the answering end may have forgotten what it answered before, and answers the opener's second SYN. In a
    /// handshake that one is a repetition, so its number is known. RFC 9293 §3.5.1.
    fn answers_second_syn(&self, syn_ack: &Segment) -> bool {
        let is_repeated = self.is_opening();
        self.second_syn.is_seen() && (!is_repeated || within(syn_ack.ack, self.ack[1], self.end[0]))
    }

    /// The opener carries on with the connection it has.
    fn forget_second_syn(&mut self, direction: Direction) {
        if direction == Direction::Original {
            self.second_syn = self.second_syn.forgotten();
        }
    }

    fn step_in_window(&mut self, direction: Direction, kind: Kind, segment: &Segment) -> TcpVerdict {
        if let Err(reason) = self.check_window(direction, segment) {
            return TcpVerdict::Invalid(reason);
        }
        self.advance(direction, segment);
        self.forget_second_syn(direction);
        if kind == Kind::Fin {
            self.marks |= HAS_FINISHED << direction.index();
        }
        self.complete_handshake();
        self.state = self.after_fins();
        TcpVerdict::Accept
    }

    fn complete_handshake(&mut self) {
        let both = self.has_acked(Direction::Original) && self.has_acked(Direction::Reply);
        if self.is_opening() {
            self.state = if both { TcpState::Established } else { TcpState::SynReceived };
        }
    }

    fn after_fins(&self) -> TcpState {
        match self.state {
            TcpState::Established | TcpState::FinOriginal | TcpState::FinReply | TcpState::Closing => {
                match (self.has_finished(Direction::Original), self.has_finished(Direction::Reply)) {
                    (false, false) => TcpState::Established,
                    (true, false) => TcpState::FinOriginal,
                    (false, true) => TcpState::FinReply,
                    (true, true) if self.all_acknowledged() => TcpState::TimeWait,
                    (true, true) => TcpState::Closing,
                }
            }
            TcpState::SynSent
            | TcpState::SimultaneousOpen
            | TcpState::SynReceived
            | TcpState::TimeWait
            | TcpState::Reset => self.state,
        }
    }

    fn all_acknowledged(&self) -> bool {
        self.ack[0] == self.end[1] && self.ack[1] == self.end[0]
    }

    /// RFC 6191 and RFC 9293 §3.6.1: an ended tuple may be used again by a SYN beyond what was sent. A SYN that is
    /// newer by its timestamp only is let through, and its answer decides.
    fn may_reopen(&self, syn: &Segment) -> bool {
        match self.state {
            TcpState::Reset => true,
            TcpState::TimeWait => after(syn.seq, self.end[0]),
            TcpState::SynSent
            | TcpState::SimultaneousOpen
            | TcpState::SynReceived
            | TcpState::Established
            | TcpState::FinOriginal
            | TcpState::FinReply
            | TcpState::Closing => false,
        }
    }

    const fn is_opening(&self) -> bool {
        matches!(self.state, TcpState::SimultaneousOpen | TcpState::SynReceived)
    }

    /// The opener gets a reset that acknowledges its SYN; the other end one that follows it.
    fn resets_in_syn_sent(&self, end_sending: Direction) -> Resets {
        let first = match end_sending {
            Direction::Original => ResetNumbers { seq: 0, ack: Some(self.end[0]) },
            Direction::Reply => ResetNumbers { seq: self.end[0], ack: None },
        };
        let without_data = ResetNumbers { seq: self.edge[0], ack: None };
        let second = (end_sending == Direction::Reply && without_data != first).then_some(without_data);
        Resets { first, second }
    }
}

/// Options and marks.
impl TcpTrack {
    fn note_options(&mut self, direction: Direction, syn: &Segment) {
        let end = direction.index();
        if let Some(scale) = syn.window_scale {
            self.scales |= scale.min(SCALE_MAX) << (4 * end);
            self.marks |= OFFERED_SCALE << end;
        }
        if syn.sack_permitted {
            self.marks |= SACK_PERMITTED << end;
        }
    }

    /// RFC 7323 §2.2: windows are scaled if both ends offered to. The opener's first window was not.
    fn settle_scales(&mut self) {
        if self.marks & (OFFERED_SCALE << 1 | OFFERED_SCALE) != OFFERED_SCALE << 1 | OFFERED_SCALE {
            self.scales = 0;
        }
        self.window_max[0] = self.window_max[0].div_ceil(1 << self.scale(Direction::Original));
    }

    pub(super) const fn scale(&self, direction: Direction) -> u8 {
        self.scales >> (4 * direction.index()) & 0x0F
    }

    /// Whether this end may acknowledge selectively: its SACK blocks then stand for data that was sent.
    pub(super) const fn may_sack(&self, direction: Direction) -> bool {
        self.marks & SACK_PERMITTED << direction.reversed().index() != 0
    }

    pub(super) const fn has_acked(&self, direction: Direction) -> bool {
        self.marks & HAS_ACKED << direction.index() != 0
    }

    pub(super) const fn set_acked(&mut self, direction: Direction) {
        self.marks |= HAS_ACKED << direction.index();
    }

    const fn has_finished(&self, direction: Direction) -> bool {
        self.marks & HAS_FINISHED << direction.index() != 0
    }

    pub(super) const fn picked_up(&self) -> bool {
        self.second_syn.0 & SecondSyn::PICKED_UP != 0
    }
}

impl SecondSyn {
    fn of(syn: &Segment, picked_up: bool) -> SecondSyn {
        let scale = syn.window_scale.map_or(0, |scale| SecondSyn::SCALE | scale.min(SCALE_MAX));
        let sack = if syn.sack_permitted { SecondSyn::SACK } else { 0 };
        let picked_up = if picked_up { SecondSyn::PICKED_UP } else { 0 };
        SecondSyn(SecondSyn::SEEN | picked_up | sack | scale)
    }

    const fn forgotten(self) -> SecondSyn {
        SecondSyn(self.0 & SecondSyn::PICKED_UP)
    }

    const fn is_seen(self) -> bool {
        self.0 & SecondSyn::SEEN != 0
    }
}
