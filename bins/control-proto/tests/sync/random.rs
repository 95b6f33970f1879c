//! Anything in any order.

use std::time::Duration;

use control_proto::Change;
use proptest::prelude::*;

use crate::items::{close, grant, identity, peer};
use crate::pair::Pair;

const SESSIONS: u32 = 6;

#[derive(Debug, Clone)]
enum Step {
    Change(Vec<Wish>),
    Run { millis: u64 },
    Sleep { secs: u64 },
    Cut,
    Connect,
    Stall { millis: u64 },
    Latency { millis: u64 },
    RestartServer,
    RestartAgent,
    Refuse { times: u32 },
}

#[derive(Debug, Clone)]
enum Wish {
    Open { number: u32, destinations: u8 },
    Close { number: u32 },
    Peer { number: u8, address: u8 },
}

fn wishes() -> impl Strategy<Value = Wish> {
    prop_oneof![
        4 => (0..SESSIONS, 1..3_u8).prop_map(|(number, destinations)| Wish::Open { number, destinations }),
        4 => (0..SESSIONS).prop_map(|number| Wish::Close { number }),
        1 => (1..4_u8, 0..3_u8).prop_map(|(number, address)| Wish::Peer { number, address }),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(wishes(), 1..5).prop_map(Step::Change),
        6 => (0..3000_u64).prop_map(|millis| Step::Run { millis }),
        2 => (0..20_u64).prop_map(|secs| Step::Sleep { secs }),
        2 => Just(Step::Cut),
        1 => Just(Step::Connect),
        2 => (0..12_000_u64).prop_map(|millis| Step::Stall { millis }),
        1 => (0..5000_u64).prop_map(|millis| Step::Latency { millis }),
        1 => Just(Step::RestartServer),
        1 => Just(Step::RestartAgent),
        1 => (1..4_u32).prop_map(|times| Step::Refuse { times }),
    ]
}

fn take(pair: &mut Pair, step: &Step) {
    match step {
        Step::Change(wishes) => {
            let changes = wishes.iter().map(|wish| match *wish {
                Wish::Open { number, destinations } => Change::put(grant(number, destinations)),
                Wish::Close { number } => close(number),
                Wish::Peer { number, address } => Change::put(peer(number, address)),
            });
            // Peers may want each other's addresses: then nothing changes.
            let _ = pair.leader.change(changes);
        }
        Step::Run { millis } => pair.run(Duration::from_millis(*millis)),
        Step::Sleep { secs } => pair.sleep(Duration::from_secs(*secs)),
        Step::Cut => pair.cut(),
        Step::Connect => pair.connect(),
        Step::Stall { millis } => {
            pair.is_stalled = true;
            pair.run(Duration::from_millis(*millis));
            pair.is_stalled = false;
        }
        Step::Latency { millis } => pair.latency = Duration::from_millis(*millis),
        Step::RestartServer => pair.restart_server(),
        Step::RestartAgent => pair.restart_agent(),
        Step::Refuse { times } => pair.node.refusals = *times,
    }
    pair.pump();
}

proptest! {
    #[test]
    fn p15_p16_p17_whatever_breaks_nothing_passes_that_must_not_and_in_the_end_all_are_in_step(
        steps in prop::collection::vec(steps(), 1..40),
    ) {
        let mut pair = Pair::new();
        pair.known = SESSIONS;
        pair.leader.change([Change::put(identity())]).unwrap();
        for step in &steps {
            take(&mut pair, step);
        }
        (pair.latency, pair.node.refusals) = (Duration::from_millis(10), 0);
        pair.run(Duration::from_secs(40));
        pair.assert_in_step();
        prop_assert_eq!(&pair.violations, &[]);
    }
}
