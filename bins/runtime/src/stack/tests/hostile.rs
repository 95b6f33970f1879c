//! A connection whose other end says anything: acknowledgments, selective ones and windows, true or not, in any order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use etherparse::{PacketBuilder, TcpOptionElement};
use proptest::prelude::*;
use wg_proto::Instant;

use crate::offload::{SuperPacket, complete_checksum};
use crate::stack::budget::Budget;
use crate::stack::connection::{Connection, Means};
use crate::stack::segment::{Header, distance};
use crate::stack::wire::Outgoing;

const START: Instant = Instant::from_nanos(1_000_000_000_000);
const BUFFER_BYTES: usize = 256 * 1024;
const SHIFT: u8 = 3;
const MSS: usize = 1300;

/// Of the stream that is sent.
fn byte(place: u32) -> u8 {
    (place.wrapping_mul(2_654_435_761) >> 24) as u8
}

/// What the other end does next.
#[derive(Clone, Debug)]
enum Step {
    /// From what is acknowledged to what was sent, in 256ths; what it says it holds may lie a little beyond.
    Acknowledge {
        part: u16,
        window: u16,
        held: Vec<(u16, u16)>,
        payload: u8,
        ahead: i8,
    },
    Wait {
        ms: u16,
    },
    Write,
}

fn step() -> impl Strategy<Value = Step> {
    let part = || prop_oneof![Just(0_u16), 0..260_u16, Just(256)];
    let window = prop_oneof![Just(0_u16), Just(1), 0..64_u16, any::<u16>(), Just(8000)];
    let held = prop::collection::vec((part(), part()), 0..4);
    let acknowledge = (
        prop_oneof![Just(0_u16), 0..257_u16, Just(256)],
        window,
        held,
        prop_oneof![4 => Just(0_u8), 1 => any::<u8>()],
        -2..3_i8,
    );
    prop_oneof![
        6 => acknowledge.prop_map(|(part, window, held, payload, ahead)| Step::Acknowledge { part, window, held, payload, ahead }),
        1 => (0..3000_u16).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Write),
    ]
}

struct Play {
    budget: Arc<Budget>,
    connection: Connection,
    now: Instant,
    /// Our first sequence number, and theirs that is next.
    ours: u32,
    theirs: u32,
    acknowledged: u32,
    sent: u32,
    written: u32,
    segments: usize,
}

impl Play {
    fn new(is_selective: bool) -> Play {
        let mut play = Play::knocking();
        let answer = play.knock(999, is_selective).unwrap();
        play.stand(&answer);
        play
    }

    /// The other end has heard our answer to its SYN.
    fn stand(&mut self, answer: &Header) {
        self.ours = answer.sequence.wrapping_add(1);
        (self.acknowledged, self.sent) = (self.ours, self.ours);
        self.receive(self.ours, 8000, &[], 0, 0);
    }

    /// Ends it, and looks at what is kept for others.
    fn assert_nothing_stays(self) {
        drop(self.connection);
        let kept = self.budget.kept();
        assert!(kept[0].iter().all(|byte| *byte == 0), "what was said stays for others to see");
    }

    /// The other end has not said anything yet.
    fn knocking() -> Play {
        let local: SocketAddr = "10.0.0.2:80".parse().unwrap();
        let budget = Arc::new(Budget::new(64 * BUFFER_BYTES));
        let buffers = budget.exactly(BUFFER_BYTES).unwrap();
        let means = Means { buffers, mtu_bytes: 1420, seed: 7 };
        let connection = Connection::passive(START, local, means);
        Play {
            budget,
            connection,
            now: START,
            ours: 0,
            theirs: 1000,
            acknowledged: 0,
            sent: 0,
            written: 0,
            segments: 0,
        }
    }

    /// A SYN, and what is answered.
    fn knock(&mut self, sequence: u32, is_selective: bool) -> Option<Header> {
        let mut options =
            vec![TcpOptionElement::MaximumSegmentSize(MSS as u16), TcpOptionElement::WindowScale(SHIFT)];
        options.extend(is_selective.then_some(TcpOptionElement::SelectiveAcknowledgementPermitted));
        let mut syn = Vec::new();
        let builder = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).tcp(4000, 80, sequence, 8000);
        builder.syn().options(&options).unwrap().write(&mut syn, &[]).unwrap();
        let mut out = Outgoing::default();
        self.connection.receive(self.now, &mut syn, &mut out);
        out.packets().next().and_then(|(packet, _)| Header::read(packet))
    }

    fn receive(&mut self, acknowledgment: u32, window: u16, held: &[(u32, u32)], payload: usize, ahead: i32) {
        let sequence = self.theirs.wrapping_add_signed(ahead);
        let builder = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).tcp(4000, 80, sequence, window);
        let builder = builder.ack(acknowledgment);
        let blocks = [held.get(1).copied(), held.get(2).copied(), None];
        let options: Vec<_> = held
            .first()
            .map(|first| TcpOptionElement::SelectiveAcknowledgement(*first, blocks))
            .into_iter()
            .collect();
        let mut packet = Vec::new();
        builder.options(&options).unwrap().write(&mut packet, &vec![0xff; payload]).unwrap();
        let news = distance(acknowledgment, self.acknowledged);
        if news > 0 && distance(acknowledgment, self.sent) <= 0 {
            self.acknowledged = acknowledgment;
        }
        if ahead == 0 {
            self.theirs = self.theirs.wrapping_add(payload as u32);
        }
        let mut out = Outgoing::default();
        self.connection.receive(self.now, &mut packet, &mut out);
        self.look(&out);
    }

    fn poll(&mut self) {
        let mut out = Outgoing::default();
        self.connection.poll(self.now, &mut out);
        self.look(&out);
    }

    /// What leaves is the stream, at its place.
    fn look(&mut self, out: &Outgoing) {
        for (packet, header) in out.packets() {
            let mut packet = packet.to_vec();
            let Some(gso) = header.gso else {
                complete_checksum(&mut packet, header.checksum.unwrap()).unwrap();
                self.look_at(&packet);
                continue;
            };
            let parts = SuperPacket::parse(&packet, gso, header.checksum).unwrap();
            let mut segment = vec![0; 65_535];
            for number in 0..parts.segments() {
                let len = parts.write_segment(number, &mut segment);
                self.look_at(&segment[..len]);
            }
        }
    }

    fn look_at(&mut self, segment: &[u8]) {
        let header = Header::read(segment).unwrap();
        assert!(header.payload_bytes <= MSS && !header.flags.rst());
        if header.payload_bytes == 0 || header.end() == self.acknowledged {
            return;
        }
        self.segments += 1;
        let from = header.sequence.wrapping_sub(self.ours);
        assert!(from.wrapping_add(header.payload_bytes as u32) <= self.written, "{from} of {}", self.written);
        let is_right =
            segment[header.payload_at..].iter().zip(from..).all(|(found, place)| *found == byte(place));
        assert!(is_right, "other bytes at {from}");
        if distance(header.end(), self.sent) > 0 {
            self.sent = header.end();
        }
    }

    fn write(&mut self) {
        let from = self.written;
        let written = self.connection.write(|room| {
            let len = room.len().min(30_000);
            room[..len].iter_mut().zip(from..).for_each(|(byte_of, place)| *byte_of = byte(place));
            (len, len)
        });
        self.written += written.unwrap().unwrap_or(0) as u32;
        self.poll();
    }

    fn place(&self, part: u16) -> u32 {
        let under_way = self.sent.wrapping_sub(self.acknowledged);
        self.acknowledged.wrapping_add((u64::from(under_way) * u64::from(part) / 256) as u32)
    }

    fn act(&mut self, step: &Step) {
        match step {
            Step::Acknowledge { part, window, held, payload, ahead } => {
                let held: Vec<_> =
                    held.iter().map(|(from, to)| (self.place(*from), self.place(*to))).collect();
                let ahead = if *payload == 0 { i32::from(*ahead) } else { i32::from(*ahead) * 10 };
                self.receive(self.place(*part), *window, &held, usize::from(*payload), ahead);
            }
            Step::Wait { ms } => {
                self.now = self.now.saturating_add(Duration::from_millis((*ms).into()));
                self.poll();
            }
            Step::Write => self.write(),
        }
        while let Ok(Some(())) = self.connection.read(|bytes| (bytes.len(), ())) {}
    }
}

#[test]
fn a_second_syn_that_counts_otherwise_changes_nothing() {
    for other in [0, 998, 1000, 1_000_000, u32::MAX] {
        let mut play = Play::knocking();
        let answer = play.knock(999, true).unwrap();
        play.knock(other, true);
        play.stand(&answer);
        play.receive(play.ours, 8000, &[], 5000, 0);
        let mut read = 0;
        while let Ok(Some(len)) = play.connection.read(|bytes| (bytes.len(), bytes.len())) {
            read += len;
        }
        assert_eq!(read, 5000, "{other}");
        play.write();
        assert!(play.segments > 0, "{other}");
        play.assert_nothing_stays();
    }
}

proptest! {
    #[test]
    fn whatever_the_other_end_says_the_stream_is_sent_as_it_was_written_and_in_the_end_all_of_it(
        is_selective: bool,
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut play = Play::new(is_selective);
        play.write();
        steps.iter().for_each(|step| play.act(step));
        play.write();
        // From now on it keeps to the rules: everything that was sent has arrived.
        for _ in 0..2000 {
            if play.acknowledged.wrapping_sub(play.ours) == play.written {
                play.assert_nothing_stays();
                return Ok(());
            }
            play.now = play.now.saturating_add(Duration::from_millis(50));
            play.poll();
            play.receive(play.sent, 8000, &[], 0, 0);
        }
        prop_assert!(false, "{} of {} bytes after {} segments", play.acknowledged.wrapping_sub(play.ours), play.written, play.segments);
    }
}
