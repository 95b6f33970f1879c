//! Sequences from a seed: conversations that make sense, with things mixed in that do not.

use router_core::sim::wire::Segment;

use crate::rng::Dice;
use crate::step::{Action, Body, Cut, ErrorStep, Flow, Kind, Oddity, Quote, Step, flags};
use router_core::sim::border::{PORTS, Side};

const FLOWS: usize = 3;
/// No sequence has more steps.
pub(crate) const STEPS_MAX: usize = 24;

/// Flows and what happens to them.
#[derive(Debug, Clone)]
pub(crate) struct Sequence {
    pub(crate) flows: Vec<Flow>,
    pub(crate) steps: Vec<Step>,
}

/// Where a TCP conversation stands, as its ends see it.
#[derive(Debug, Clone, Copy)]
struct Talk {
    next: [u32; 2],
    stage: u8,
}

/// The sequence of a seed.
pub(crate) fn sequence(seed: u64) -> Sequence {
    let mut dice = Dice::new(seed);
    let v6 = dice.percent(50);
    let flows: Vec<Flow> = (0..FLOWS).map(|_| flow(&mut dice, v6)).collect();
    let mut talks = [(); FLOWS].map(|()| Talk { next: [dice.next() as u32, dice.next() as u32], stage: 0 });
    let steps = 4 + dice.below(STEPS_MAX - 4);
    let steps = (0..steps).map(|_| {
        let number = dice.below(FLOWS);
        let (from, action) = action(&mut dice, &flows[number], &mut talks[number]);
        Step { flow: number, from, action }
    });
    Sequence { steps: steps.collect(), flows }
}

fn flow(dice: &mut Dice, v6: bool) -> Flow {
    Flow {
        v6,
        kind: dice.pick(&[Kind::Tcp, Kind::Tcp, Kind::Tcp, Kind::Udp, Kind::Udp, Kind::Echo, Kind::Other]),
        client: dice.below(2),
        // Few ports, so that clients want the same one.
        client_port: 40_000 + dice.below(3) as u16,
        // The last one is not allowed.
        server_port: PORTS.0 + dice.pick(&[0, 0, 5, 10, 11]),
    }
}

fn action(dice: &mut Dice, flow: &Flow, talk: &mut Talk) -> (Side, Action) {
    if talk.stage > 0 && dice.percent(25) {
        let from = if dice.percent(75) { Side::Outside } else { Side::Inside };
        return (from, Action::Error(error(dice, flow)));
    }
    let (from, body) = body(dice, flow, talk);
    (from, Action::Packet(body, oddity(dice)))
}

fn body(dice: &mut Dice, flow: &Flow, talk: &mut Talk) -> (Side, Body) {
    if flow.kind == Kind::Tcp {
        let (from, segment, len) = segment(dice, talk);
        return (from, Body::Tcp(segment, len));
    }
    let from =
        if talk.stage == 0 && dice.percent(90) || dice.percent(50) { Side::Inside } else { Side::Outside };
    talk.stage = 1;
    let len = dice.pick(&[0, 1, 16, 100, 600, 1350]);
    let body = match flow.kind {
        Kind::Udp => Body::Udp { len, without_checksum: dice.percent(10) },
        Kind::Echo => Body::Echo { is_request: (from == Side::Inside) != dice.percent(5), len },
        Kind::Other | Kind::Tcp => Body::Other { len },
    };
    (from, body)
}

fn segment(dice: &mut Dice, talk: &mut Talk) -> (Side, Segment, usize) {
    let letters = match talk.stage {
        0 => dice.pick(&["S", "S", "S", "S", "S", "S", "S", "S", "A", "SA", "R", "F"]),
        1 => dice.pick(&["SA", "SA", "SA", "SA", "SA", "S", "RA", "R", "A"]),
        2 => dice.pick(&["A", "A", "A", "SA", "S"]),
        _ => dice.pick(&["A", "A", "A", "A", "A", "A", "A", "FA", "FA", "RA", "R", "S", "SA", "SF", ""]),
    };
    let from = match talk.stage {
        0 | 2 if dice.percent(95) => Side::Inside,
        1 if dice.percent(80) => Side::Outside,
        _ => dice.pick(&[Side::Inside, Side::Outside]),
    };
    let (own, other) = if from == Side::Inside { (0, 1) } else { (1, 0) };
    let opens = letters.contains('S');
    let len = if opens || letters.contains('R') { 0 } else { dice.pick(&[0, 0, 1, 100, 500, 1200]) };
    let mut segment = Segment {
        flags: flags(letters),
        sequence: talk.next[own],
        acknowledgment: if letters.contains('A') { talk.next[other] } else { 0 },
        window: dice.pick(&[8192, 8192, 8192, 512, 65_535]),
        mss: opens.then(|| dice.pick(&[536, 1220, 1460, 9000])),
    };
    if opens && talk.stage > 2 || talk.stage > 0 && from == Side::Inside && opens {
        segment.sequence = segment.sequence.wrapping_sub(1);
    }
    if talk.stage > 0 && dice.percent(12) {
        segment.sequence = segment.sequence.wrapping_add_signed(offset(dice));
    } else if talk.stage > 0 && dice.percent(6) {
        segment.acknowledgment = segment.acknowledgment.wrapping_add_signed(offset(dice));
    } else {
        move_on(talk, letters, from, own, len);
    }
    (from, segment, len)
}

fn offset(dice: &mut Dice) -> i32 {
    dice.pick(&[1, -1, 100, -100, 5000, -5000, 9000, -9000, 70_000, -70_000, 1_000_000_000])
}

fn move_on(talk: &mut Talk, letters: &str, from: Side, own: usize, len: usize) {
    talk.stage = match (talk.stage, letters, from) {
        (0, "S", Side::Inside) | (1, "SA", Side::Outside) | (2, "A", Side::Inside) => talk.stage + 1,
        (stage, _, _) if stage > 2 => stage,
        _ => return,
    };
    let signs = u32::from(letters.contains('F')) + u32::from(letters.contains('S') && talk.stage < 3);
    talk.next[own] = talk.next[own].wrapping_add(len as u32 + signs);
}

fn oddity(dice: &mut Dice) -> Oddity {
    if dice.percent(70) {
        return Oddity::None;
    }
    let cuts = [
        Cut::InOrder,
        Cut::InOrder,
        Cut::Backwards,
        Cut::WithoutLast,
        Cut::Twice,
        Cut::Overlapping,
        Cut::Tiny,
    ];
    match dice.below(6) {
        0 => Oddity::LastHop,
        1 => Oddity::DontFragment,
        2 => Oddity::Corrupt,
        3 => Oddity::Options,
        _ => Oddity::Pieces(dice.pick(&cuts)),
    }
}

fn error(dice: &mut Dice, flow: &Flow) -> ErrorStep {
    let quotes = [
        Quote::EightBytes,
        Quote::FourBytes,
        Quote::WithOptions,
        Quote::WithExtension,
        Quote::BrokenHeader,
        Quote::UnknownPort,
        Quote::FarSequence,
        Quote::LaterPiece,
        Quote::Error,
    ];
    let mtu = dice.pick(&[1280, 1280, 1000, 60, 9000]);
    let v4 = [
        (3, 0, 0),
        (3, 1, 0),
        (3, 3, 0),
        (3, 4, mtu),
        (3, 13, 0),
        (4, 0, 0),
        (5, 1, 0),
        (11, 0, 0),
        (11, 1, 0),
        (12, 0, 0),
    ];
    let v6 = [(1, 0, 0), (1, 1, 0), (1, 4, 0), (2, 0, mtu), (3, 0, 0), (3, 1, 0), (4, 0, 0), (4, 1, 40)];
    let (kind, code, word) = if flow.v6 { dice.pick(&v6) } else { dice.pick(&v4) };
    ErrorStep {
        kind,
        code,
        word,
        quote: if dice.percent(45) { Quote::Whole } else { dice.pick(&quotes) },
        is_by_hop: dice.percent(50),
        is_misaddressed: dice.percent(5),
        is_corrupt: dice.percent(5),
    }
}
