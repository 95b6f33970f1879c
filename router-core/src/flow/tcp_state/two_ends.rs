//! Two ends that follow RFC 9293, a network that loses, repeats and reorders, and the tracker between them. What the
//! tracker calls invalid is lost. Safety and liveness together: blind segments change nothing, and all data arrives.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::seq::{after, within};
use super::*;
use crate::flow::tuple::Direction;
use crate::packet::TcpFlags;

/// More than any transfer below needs, even at the highest loss.
const ROUNDS_MAX: u32 = 4000;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_two_legal_ends_send_arrives_whatever_the_network_does(scenario in scenario()) {
        let mut world = World::new(&scenario);
        let mut rounds = 0;
        while !world.ends.iter().all(End::is_done) {
            world.round();
            rounds += 1;
            prop_assert!(rounds < ROUNDS_MAX, "stuck: {:?} {:?}", world.ends, world.track);
        }
        prop_assert!(matches!(world.track.state(), TcpState::TimeWait | TcpState::Closing));
        if scenario.loss_percent == 0 && !scenario.reorders {
            prop_assert_eq!(world.invalid, 0, "nothing was wrong, and yet something was dropped");
        }
    }

    #[test]
    fn p09_segments_that_miss_the_window_change_nothing(
        direction in prop_oneof![Just(Direction::Original), Just(Direction::Reply)],
        flags: u8, seq: u32, ack: u32, payload_len in 0..65_000_u32,
    ) {
        let mut track = World::new(&Scenario::quiet()).open();
        let before = track;
        let end = seq.wrapping_add(payload_len).wrapping_add(2);
        let near = |number: u32, centre: u32| within(number, centre.wrapping_sub(1 << 20), centre.wrapping_add(1 << 20));
        let [client, server] = [track.end[0], track.end[1]];
        let centre = if direction == Direction::Original { client } else { server };
        prop_assume!(!near(seq, centre) && !near(end, centre));
        let segment = Segment {
            flags: TcpFlags(flags & !TcpFlags::SYN.0), seq, ack, window: 1000, payload_len,
            window_scale: None, sack_permitted: false, sack_edge: None,
        };
        prop_assert!(matches!(track.step(direction, &segment), TcpVerdict::Invalid(_)));
        prop_assert_eq!(track, before);
    }
}

#[derive(Clone, Debug)]
struct Scenario {
    first: [u32; 2],
    bytes: [u32; 2],
    window: [u16; 2],
    scale: [Option<u8>; 2],
    segment_max: u32,
    loss_percent: u32,
    reorders: bool,
    seed: u64,
}

impl Scenario {
    fn quiet() -> Scenario {
        Scenario {
            first: [1000, 2000],
            bytes: [0, 0],
            window: [1000, 1000],
            scale: [Some(3), Some(7)],
            segment_max: 1000,
            loss_percent: 0,
            reorders: false,
            seed: 1,
        }
    }
}

fn scenario() -> impl Strategy<Value = Scenario> {
    let first = prop_oneof![any::<u32>(), (u32::MAX - 50_000)..];
    let scale = prop::option::of(0..16_u8);
    (
        [first.clone(), first],
        [0..60_000_u32, 0..60_000_u32],
        [500..u16::MAX, 500..u16::MAX],
        [scale.clone(), scale],
        prop_oneof![Just(1400_u32), Just(536), Just(65_000)],
        prop_oneof![Just(0_u32), 1..40_u32],
        any::<bool>(),
        any::<u64>(),
    )
        .prop_map(|(first, bytes, window, scale, segment_max, loss_percent, reorders, seed)| Scenario {
            first,
            bytes,
            window,
            scale,
            segment_max,
            loss_percent,
            reorders,
            seed,
        })
}

/// One end: go-back-N, which sends the most repeats.
#[derive(Debug)]
struct End {
    direction: Direction,
    first: u32,
    /// SYN, data, FIN: how far it has sent, and been acknowledged, counted from `first`.
    sent: u32,
    acknowledged: u32,
    bytes: u32,
    /// The next number it expects, once it has seen a SYN.
    expects: Option<u32>,
    peer_is_done: bool,
    peer_edge: u32,
    window: u16,
    scale: Option<u8>,
    peer_scale: Option<u8>,
    segment_max: u32,
    owes_ack: bool,
}

impl End {
    fn is_done(&self) -> bool {
        self.acknowledged == self.bytes + 2 && self.peer_is_done && !self.owes_ack
    }

    /// Everything it may send now, from what is acknowledged on.
    fn transmit(&mut self, wire: &mut Vec<(Direction, Segment)>) {
        let handshake_done = self.acknowledged > 0 && self.expects.is_some();
        if !handshake_done {
            if self.direction == Direction::Original || self.expects.is_some() {
                wire.push((self.direction, self.syn()));
                self.sent = self.sent.max(1);
            }
            return;
        }
        let limit = self.peer_edge.wrapping_sub(self.first).clamp(1, self.bytes + 1);
        let mut at = self.acknowledged;
        while at < limit {
            let len = (limit - at).min(self.segment_max);
            wire.push((self.direction, Segment { payload_len: len, ..self.plain(at, TcpFlags::ACK) }));
            at += len;
        }
        if at == self.bytes + 1 {
            wire.push((self.direction, self.plain(at, TcpFlags::ACK.with(TcpFlags::FIN))));
            at += 1;
        }
        if at == self.acknowledged {
            wire.push((self.direction, self.plain(at, TcpFlags::ACK)));
        }
        self.sent = self.sent.max(at);
        self.owes_ack = false;
    }

    fn syn(&self) -> Segment {
        let flags = if self.expects.is_some() { TcpFlags::SYN.with(TcpFlags::ACK) } else { TcpFlags::SYN };
        let offers = self.direction == Direction::Original || self.peer_scale.is_some();
        Segment { window_scale: self.scale.filter(|_| offers), ..self.plain(0, flags) }
    }

    fn plain(&self, offset: u32, flags: TcpFlags) -> Segment {
        Segment {
            flags,
            seq: self.first.wrapping_add(offset),
            ack: self.expects.unwrap_or(0),
            window: self.window,
            payload_len: 0,
            window_scale: None,
            sack_permitted: false,
            sack_edge: None,
        }
    }

    fn receive(&mut self, segment: &Segment) {
        if segment.flags.syn() && self.expects.is_none() {
            self.expects = Some(segment.seq.wrapping_add(1));
            self.peer_scale = segment.window_scale;
        } else if self.expects == Some(segment.seq) {
            self.expects = Some(segment.end());
            self.peer_is_done |= segment.flags.fin();
        }
        self.owes_ack |= segment.end() != segment.seq;
        if segment.flags.ack() && segment.ack.wrapping_sub(self.first) <= self.sent {
            self.acknowledged = self.acknowledged.max(segment.ack.wrapping_sub(self.first));
            let edge = segment.ack.wrapping_add(self.offered(segment));
            self.peer_edge = if after(edge, self.peer_edge) { edge } else { self.peer_edge };
        }
    }

    fn offered(&self, segment: &Segment) -> u32 {
        let scaled = self.scale.is_some() && self.peer_scale.is_some() && !segment.flags.syn();
        let shift = if scaled { self.peer_scale.map_or(0, |scale| scale.min(14)) } else { 0 };
        u32::from(segment.window) << shift
    }
}

struct World {
    ends: [End; 2],
    track: TcpTrack,
    is_open: bool,
    loss_percent: u32,
    reorders: bool,
    random: u64,
    invalid: u32,
}

impl World {
    fn new(scenario: &Scenario) -> World {
        let end = |direction: Direction| {
            let index = direction.index();
            End {
                direction,
                first: scenario.first[index],
                sent: 0,
                acknowledged: 0,
                bytes: scenario.bytes[index],
                expects: None,
                peer_is_done: false,
                peer_edge: scenario.first[index],
                window: scenario.window[index],
                scale: scenario.scale[index],
                peer_scale: None,
                segment_max: scenario.segment_max,
                owes_ack: false,
            }
        };
        World {
            ends: [end(Direction::Original), end(Direction::Reply)],
            track: TcpTrack::UNUSED,
            is_open: false,
            loss_percent: scenario.loss_percent,
            reorders: scenario.reorders,
            random: scenario.seed | 1,
            invalid: 0,
        }
    }

    /// Both ends send all they may; then all of it travels.
    fn round(&mut self) {
        for end in 0..2 {
            let mut wire = Vec::new();
            self.ends[end].transmit(&mut wire);
            self.shuffle(&mut wire);
            for (direction, segment) in wire {
                let copies = 1 + u32::from(self.reorders && self.chance(10));
                for _ in 0..copies {
                    self.travel(direction, &segment);
                }
            }
        }
    }

    fn travel(&mut self, direction: Direction, segment: &Segment) {
        if self.chance(self.loss_percent) {
            return;
        }
        if !self.is_open {
            self.track = TcpTrack::open(segment, false).unwrap();
            self.is_open = true;
        } else if let TcpVerdict::Invalid(_) = self.track.step(direction, segment) {
            self.invalid += 1;
            return;
        }
        if !self.chance(self.loss_percent) {
            self.ends[direction.reversed().index()].receive(segment);
        }
    }

    fn open(&mut self) -> TcpTrack {
        self.round();
        self.round();
        self.track
    }

    fn shuffle(&mut self, wire: &mut [(Direction, Segment)]) {
        if self.reorders {
            for at in 1..wire.len() {
                if self.chance(30) {
                    wire.swap(at - 1, at);
                }
            }
        }
    }

    /// xorshift64.
    fn chance(&mut self, percent: u32) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % 100 < u64::from(percent)
    }
}
