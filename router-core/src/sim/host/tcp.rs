//! A TCP connection of a host: enough of one to set up, transfer, repeat what is lost, follow path MTUs and end in every
//! way. Segments out of order are repeated, not kept. Read first: RFC 9293, RFC 5961, RFC 6298.

use alloc::vec::Vec;
use core::time::Duration;

use wg_proto::Instant;

use super::super::wire::{self, Segment};
use crate::packet::{Ends, TcpFlags, TcpSegment, Version};

/// Segments under way at once.
const SEGMENTS_IN_FLIGHT: u32 = 16;
/// The first wait before something is repeated; it doubles each time.
const RETRANSMIT_FIRST: Duration = Duration::from_millis(500);
/// Repetitions before the connection is given up.
const RETRANSMITS_MAX: u32 = 10;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpStage {
    /// Its SYN waits for an answer.
    Opening,
    /// The other end's SYN is answered.
    Answering,
    /// Data flows.
    Open,
    /// It has ended.
    Ended(TcpEnd),
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpEnd {
    /// Both sides have finished, and all is acknowledged.
    Finished,
    /// By a reset that was believed.
    Reset,
    /// By a reset that answered the SYN.
    Refused,
    /// By an ICMP error of this type and code, while it opened.
    Unreachable(u8, u8),
    /// The other end did not answer any more.
    TimedOut,
}

/// One connection.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Our end first.
    pub ends: Ends,
    /// Where it stands.
    pub stage: TcpStage,
    /// All that was received in order.
    pub received: Vec<u8>,
    /// Whether the other side has said that nothing more comes.
    pub peer_has_finished: bool,
    /// Resets that were not believed, because they did not have the exact next number.
    pub resets_disbelieved: u32,
    /// Resets that were believed or came after the end.
    pub resets: u32,
    /// What the path or the other end lets a segment be.
    pub mss_bytes: u16,
    offered_mss_bytes: u16,
    /// Sequence number of the SYN.
    first: u32,
    /// All that shall be sent; byte 0 has the number `first + 1`.
    to_send: Vec<u8>,
    is_finishing: bool,
    acknowledged: u32,
    next: u32,
    expected: u32,
    timer: Option<Instant>,
    retransmits: u32,
}

impl Connection {
    /// A connection that opens; its SYN leaves with the next [`pump`](Connection::pump).
    pub(in crate::sim) fn opening(ends: Ends, first: u32, mtu_bytes: u16) -> Connection {
        let mss_bytes = mtu_bytes - headers_bytes(&ends);
        Connection {
            ends,
            stage: TcpStage::Opening,
            received: Vec::new(),
            peer_has_finished: false,
            resets_disbelieved: 0,
            resets: 0,
            mss_bytes,
            offered_mss_bytes: mss_bytes,
            first,
            to_send: Vec::new(),
            is_finishing: false,
            acknowledged: first,
            next: first,
            expected: 0,
            timer: None,
            retransmits: 0,
        }
    }

    /// A connection that answers a SYN.
    pub(super) fn answering(ends: Ends, first: u32, mtu_bytes: u16, syn: &TcpSegment) -> Connection {
        let mut connection = Connection::opening(ends, first, mtu_bytes);
        connection.stage = TcpStage::Answering;
        connection.hear_syn(syn);
        connection
    }

    /// How it ended, if it has.
    pub fn end(&self) -> Option<TcpEnd> {
        match self.stage {
            TcpStage::Ended(end) => Some(end),
            TcpStage::Opening | TcpStage::Answering | TcpStage::Open => None,
        }
    }

    /// The number this end expects next, and the one it sends next: what a blind attacker would have to guess.
    pub fn numbers(&self) -> (u32, u32) {
        (self.expected, self.next)
    }

    /// Bytes that were given to it to send so far.
    pub(super) fn queued(&self) -> usize {
        self.to_send.len()
    }

    pub(in crate::sim) fn queue(&mut self, bytes: &[u8]) {
        self.to_send.extend_from_slice(bytes);
    }

    pub(in crate::sim) fn finish(&mut self) {
        self.is_finishing = true;
    }

    pub(in crate::sim) fn abort(&mut self) -> Vec<u8> {
        self.stage = TcpStage::Ended(TcpEnd::Reset);
        self.timer = None;
        self.segment(TcpFlags::RST.with(TcpFlags::ACK), self.next, &[])
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        self.timer
    }

    /// Repeats from the first byte that is not acknowledged.
    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Vec<u8>>) {
        if self.timer.is_none_or(|at| at > now) {
            return;
        }
        self.timer = None;
        if self.end().is_some() {
            return;
        }
        self.retransmits += 1;
        if self.retransmits > RETRANSMITS_MAX {
            self.stage = TcpStage::Ended(TcpEnd::TimedOut);
            return;
        }
        self.next = self.acknowledged;
        self.pump(now, out);
    }

    /// The path takes no more than `mtu_bytes`.
    pub(super) fn hear_mtu(&mut self, now: Instant, mtu_bytes: u16, out: &mut Vec<Vec<u8>>) {
        let mss_bytes = mtu_bytes.saturating_sub(headers_bytes(&self.ends));
        if self.end().is_none() && mss_bytes > 0 && mss_bytes < self.mss_bytes {
            self.mss_bytes = mss_bytes;
            self.next = self.acknowledged;
            self.pump(now, out);
        }
    }

    /// An ICMP error about this connection. RFC 1122 section 4.2.3.9: it ends only one that opens.
    pub(super) fn hear_error(&mut self, kind: u8, code: u8) {
        if self.stage == TcpStage::Opening {
            self.stage = TcpStage::Ended(TcpEnd::Unreachable(kind, code));
            self.timer = None;
        }
    }

    /// One segment from the other end.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        segment: &TcpSegment,
        payload: &[u8],
        out: &mut Vec<Vec<u8>>,
    ) {
        if segment.flags.rst() {
            return self.hear_reset(segment, out);
        }
        match self.stage {
            TcpStage::Ended(TcpEnd::Finished) if segment.sequence_len() > 0 => out.push(self.ack()),
            TcpStage::Ended(_) => {}
            TcpStage::Opening => self.hear_answer(now, segment, out),
            TcpStage::Answering if segment.flags.syn() && self.is_answered_by(segment) => {
                // The other end opened at the same time and answers, too: RFC 9293 figure 7.
                self.stage = TcpStage::Open;
                self.hear_ack(segment.acknowledgment);
                self.next = self.acknowledged;
                out.push(self.ack());
                self.pump(now, out);
            }
            TcpStage::Answering | TcpStage::Open if segment.flags.syn() => self.hear_syn_again(out),
            TcpStage::Answering | TcpStage::Open => self.hear_data(now, segment, payload, out),
        }
    }

    /// RFC 5961 section 3.2: only the exact next number counts, others within the window are asked back.
    fn hear_reset(&mut self, segment: &TcpSegment, out: &mut Vec<Vec<u8>>) {
        let is_refusal = self.stage == TcpStage::Opening;
        let is_believed =
            if is_refusal { self.is_answered_by(segment) } else { segment.sequence == self.expected };
        match self.stage {
            TcpStage::Ended(_) => self.resets += 1,
            _ if is_believed => {
                self.resets += 1;
                self.timer = None;
                self.stage = TcpStage::Ended(if is_refusal { TcpEnd::Refused } else { TcpEnd::Reset });
            }
            TcpStage::Opening | TcpStage::Answering | TcpStage::Open => {
                self.resets_disbelieved += 1;
                let is_near = segment.sequence.wrapping_sub(self.expected) < u32::from(u16::MAX);
                out.extend((is_near && !is_refusal).then(|| self.ack()));
            }
        }
    }

    fn hear_answer(&mut self, now: Instant, segment: &TcpSegment, out: &mut Vec<Vec<u8>>) {
        if !segment.flags.syn() {
            return;
        }
        let answers_us = self.is_answered_by(segment);
        self.hear_syn(segment);
        if answers_us {
            self.stage = TcpStage::Open;
            self.hear_ack(segment.acknowledgment);
            out.push(self.ack());
        } else if !segment.flags.ack() {
            // Both ends open at once: RFC 9293 figure 7.
            self.stage = TcpStage::Answering;
            self.next = self.acknowledged;
        }
        self.pump(now, out);
    }

    /// Whether a segment acknowledges our SYN and nothing more.
    fn is_answered_by(&self, segment: &TcpSegment) -> bool {
        segment.flags.ack() && segment.acknowledgment == self.first.wrapping_add(1)
    }

    fn hear_syn(&mut self, syn: &TcpSegment) {
        self.expected = syn.sequence.wrapping_add(1);
        self.mss_bytes = self.mss_bytes.min(syn.options.mss.unwrap_or(536));
    }

    /// A SYN on an open connection is answered by an acknowledgment (RFC 5961 section 4), one that is answered already by
    /// the same answer.
    fn hear_syn_again(&mut self, out: &mut Vec<Vec<u8>>) {
        out.push(match self.stage {
            TcpStage::Answering => self.syn(),
            TcpStage::Opening | TcpStage::Open | TcpStage::Ended(_) => self.ack(),
        });
    }

    fn hear_data(&mut self, now: Instant, segment: &TcpSegment, payload: &[u8], out: &mut Vec<Vec<u8>>) {
        if segment.flags.ack() {
            self.hear_ack(segment.acknowledgment);
        }
        if self.stage == TcpStage::Answering && self.acknowledged != self.first {
            self.stage = TcpStage::Open;
        }
        if segment.sequence == self.expected {
            self.received.extend_from_slice(payload);
            self.expected = self.expected.wrapping_add(payload.len() as u32);
            if segment.flags.fin() && !self.peer_has_finished {
                self.peer_has_finished = true;
                self.expected = self.expected.wrapping_add(1);
            }
        }
        if segment.sequence_len() > 0 {
            out.push(self.ack());
        }
        self.pump(now, out);
    }

    fn hear_ack(&mut self, number: u32) {
        let news = number.wrapping_sub(self.acknowledged);
        let sent = self.end_number().wrapping_sub(self.acknowledged);
        if news > 0 && news <= sent {
            self.acknowledged = number;
            if self.next.wrapping_sub(number) > sent {
                self.next = number;
            }
            (self.timer, self.retransmits) = (None, 0);
        }
        if self.is_finishing && self.peer_has_finished && self.acknowledged == self.end_number() {
            self.stage = TcpStage::Ended(TcpEnd::Finished);
        }
    }

    /// Sends what may be sent now.
    pub(in crate::sim) fn pump(&mut self, now: Instant, out: &mut Vec<Vec<u8>>) {
        match self.stage {
            TcpStage::Opening | TcpStage::Answering if self.next == self.first => {
                out.push(self.syn());
                self.next = self.first.wrapping_add(1);
            }
            TcpStage::Open => while self.pump_one(out) {},
            TcpStage::Opening | TcpStage::Answering | TcpStage::Ended(_) => {}
        }
        self.close_if_done();
        if self.acknowledged != self.next && self.timer.is_none() && self.end().is_none() {
            self.timer = Some(now.saturating_add(RETRANSMIT_FIRST * (1 << self.retransmits.min(6))));
        }
    }

    fn close_if_done(&mut self) {
        let all_acknowledged = self.acknowledged == self.end_number();
        if self.stage == TcpStage::Open && self.is_finishing && self.peer_has_finished && all_acknowledged {
            self.stage = TcpStage::Ended(TcpEnd::Finished);
            self.timer = None;
        }
    }

    /// One segment of data or the end, if the window has room.
    fn pump_one(&mut self, out: &mut Vec<Vec<u8>>) -> bool {
        let in_flight = self.next.wrapping_sub(self.acknowledged);
        let at = self.next.wrapping_sub(self.first.wrapping_add(1)) as usize;
        let left = self.to_send.len().saturating_sub(at);
        if in_flight >= SEGMENTS_IN_FLIGHT * u32::from(self.mss_bytes) {
            return false;
        }
        if left == 0 {
            let is_end_due = self.is_finishing && at == self.to_send.len();
            if is_end_due {
                out.push(self.segment(TcpFlags::FIN.with(TcpFlags::ACK), self.next, &[]));
                self.next = self.next.wrapping_add(1);
            }
            return false;
        }
        let len = left.min(usize::from(self.mss_bytes));
        let flags = TcpFlags::ACK.with(TcpFlags::PSH);
        out.push(self.segment(flags, self.next, &self.to_send[at..at + len]));
        self.next = self.next.wrapping_add(len as u32);
        true
    }

    /// The number behind all that will ever be sent, as far as is known.
    fn end_number(&self) -> u32 {
        let len = self.to_send.len() as u32 + 1 + u32::from(self.is_finishing);
        self.first.wrapping_add(len)
    }

    fn syn(&self) -> Vec<u8> {
        let is_answer = self.stage == TcpStage::Answering;
        let flags = if is_answer { TcpFlags::SYN.with(TcpFlags::ACK) } else { TcpFlags::SYN };
        let header = Segment { mss: Some(self.offered_mss_bytes), ..self.header(flags, self.first) };
        wire::with_dont_fragment(&wire::tcp(&self.ends, &header, &[]))
    }

    fn ack(&self) -> Vec<u8> {
        self.segment(TcpFlags::ACK, self.next, &[])
    }

    fn segment(&self, flags: TcpFlags, sequence: u32, payload: &[u8]) -> Vec<u8> {
        wire::with_dont_fragment(&wire::tcp(&self.ends, &self.header(flags, sequence), payload))
    }

    fn header(&self, flags: TcpFlags, sequence: u32) -> Segment {
        let acknowledgment = if flags.ack() { self.expected } else { 0 };
        Segment { flags, sequence, acknowledgment, window: u16::MAX, mss: None }
    }
}

/// IP and TCP header without options.
fn headers_bytes(ends: &Ends) -> u16 {
    if ends.addresses.version() == Version::V4 { 40 } else { 60 }
}
