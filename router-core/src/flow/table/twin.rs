//! The slow twin of the flow table: a list that is searched from end to end. Driven by the same operations.

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use proptest::prelude::*;

use super::tests::{segment, table, tcp, udp};
use super::*;
use crate::flow::timeouts::idle_ticks;
use crate::packet::TcpFlags;

const FLOWS_MAX: usize = 6;

#[derive(Clone, Debug)]
enum Operation {
    Insert { original: usize, reply: usize },
    Remove { tuple: usize },
    Packet { tuple: usize, flags: TcpFlags },
    Wait { ticks: u32 },
    Evict,
}

fn operation() -> impl Strategy<Value = Operation> {
    let flags = prop::sample::select([0x02, 0x12, 0x10, 0x11, 0x04].map(TcpFlags).to_vec());
    prop_oneof![
        4 => (0..24_usize, 0..24_usize).prop_map(|(original, reply)| Operation::Insert { original, reply }),
        1 => (0..24_usize).prop_map(|tuple| Operation::Remove { tuple }),
        5 => (0..24_usize, flags).prop_map(|(tuple, flags)| Operation::Packet { tuple, flags }),
        2 => prop_oneof![0..40_u32, 0..3000_u32, 0..70_000_u32].prop_map(|ticks| Operation::Wait { ticks }),
        1 => Just(Operation::Evict),
    ]
}

/// Twelve of TCP, twelve of UDP, half of each as they occur in replies.
fn universe() -> Vec<Tuple<Ipv4Addr>> {
    (0..6).flat_map(|n| [tcp(n).original, tcp(n).reply, udp(n).original, udp(n).reply]).collect()
}

#[derive(Clone, Copy, Debug)]
struct Plain {
    flow: NewFlow<Ipv4Addr>,
    phase: Phase,
    last_seen: Tick,
}

impl Plain {
    fn deadline(&self) -> Tick {
        self.last_seen.after(idle_ticks(self.flow.original.protocol, self.phase))
    }
}

fn find(list: &[Plain], tuple: &Tuple<Ipv4Addr>) -> Option<(usize, Direction)> {
    list.iter().enumerate().find_map(|(position, plain)| {
        let is_original = plain.flow.original == *tuple;
        let is_reply = plain.flow.reply == *tuple;
        match (is_original, is_reply) {
            (true, _) => Some((position, Direction::Original)),
            (_, true) => Some((position, Direction::Reply)),
            (false, false) => None,
        }
    })
}

fn take_out(list: &mut Vec<Plain>, removed: &Removed<Ipv4Addr>) -> Plain {
    let (position, _) = find(list, &removed.original).unwrap();
    list.swap_remove(position)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn agrees_with_a_plain_list_under_the_same_operations(operations in prop::collection::vec(operation(), 1..120)) {
        let universe = universe();
        let mut table = table(FLOWS_MAX as u32);
        let mut list: Vec<Plain> = Vec::new();
        let mut now = Tick(1000);
        for operation in operations {
            match operation {
                Operation::Insert { original, reply } => {
                    let (original, reply) = (universe[original], universe[reply]);
                    let like = if original.protocol == tcp(0).original.protocol { tcp(0) } else { udp(0) };
                    let flow = NewFlow { original, reply: Tuple { protocol: original.protocol, ..reply }, ..like };
                    let taken = find(&list, &flow.original).or(find(&list, &flow.reply)).is_some();
                    let expected = if list.len() == FLOWS_MAX {
                        Err(InsertError::Full)
                    } else if taken || flow.original == flow.reply {
                        Err(InsertError::TupleTaken)
                    } else {
                        let phase = like.opening.phase();
                        list.push(Plain { flow, phase, last_seen: now });
                        Ok(())
                    };
                    prop_assert_eq!(table.insert(now, &flow).map(|_| ()), expected);
                }
                Operation::Remove { tuple } => {
                    if let Some((id, _)) = table.lookup(&universe[tuple]) {
                        let removed = table.remove(id).unwrap();
                        take_out(&mut list, &removed);
                    }
                }
                Operation::Packet { tuple, flags } => {
                    if let Some((id, direction)) = table.lookup(&universe[tuple]) {
                        let (position, _) = find(&list, &universe[tuple]).unwrap();
                        let packet = Segment { ack: 101, ..segment(flags, 100) };
                        let step = table.tcp(now, id, direction, &packet);
                        let step = step.or_else(|| table.datagram(now, id, direction)).unwrap();
                        prop_assert_eq!(step.left.unwrap_or(step.phase), list[position].phase);
                        list[position].phase = step.phase;
                        if step.verdict == TcpVerdict::Accept {
                            list[position].last_seen = now;
                        }
                    }
                }
                Operation::Wait { ticks } => {
                    now = Tick(now.0 + ticks);
                    while let Some(removed) = table.expire(now, &mut 100) {
                        let plain = take_out(&mut list, &removed);
                        prop_assert!(plain.deadline() <= now, "early: {plain:?} at {now:?}");
                    }
                    let is_late = list.iter().any(|plain| plain.deadline() <= now);
                    prop_assert!(!is_late, "late: {list:?} at {now:?}");
                }
                Operation::Evict => {
                    let lowest = list.iter().map(|plain| plain.phase.rank()).min();
                    match table.evict(now, |_| Standing::WithinShare) {
                        Some(removed) => {
                            let plain = take_out(&mut list, &removed);
                            prop_assert!(plain.deadline() <= now || Some(plain.phase.rank()) == lowest);
                            prop_assert!(plain.deadline() <= now || lowest != Some(Rank::Settled));
                        }
                        None => prop_assert!(lowest.is_none_or(|lowest| lowest == Rank::Settled)),
                    }
                }
            }
            prop_assert_eq!(table.flows_used() as usize, list.len());
            let mut batch: Vec<_> = universe.iter().map(|tuple| table.seek(*tuple)).collect();
            let guessed_all = table.guess_many(&mut batch);
            prop_assert_eq!(guessed_all, batch.iter().all(|sought| sought.guess.is_some()));
            for (tuple, sought) in universe.iter().zip(batch) {
                let confirmed = sought.guess.filter(|(id, direction)| table.is_of(*id, *direction, tuple));
                prop_assert_eq!(confirmed, table.lookup(tuple), "equal tags would be one case in 2^32");
                let found = table.lookup(tuple).map(|(id, direction)| {
                    let flow = table.flow(id).unwrap();
                    (flow.incoming(Direction::Original), flow.phase(), flow.last_seen(), direction)
                });
                let expected = find(&list, tuple).map(|(position, direction)| {
                    let plain = &list[position];
                    (plain.flow.original, plain.phase, plain.last_seen, direction)
                });
                prop_assert_eq!(found, expected);
            }
        }
    }
}
