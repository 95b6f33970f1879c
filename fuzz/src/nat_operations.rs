//! Any sequence of flows that open, end and wait, against the slow twin of translation: tuples are unique, answers reach
//! who asked, ports are held as long as they must be, and nothing is refused while there is room (P7, P8, MAP-1 to MAP-7).

use router_core::nat::Mapping;
use router_core::nat::twin::{FILL_HOSTS_MAX, OPERATIONS_MAX, Operation, run};

use crate::{Input, Tally, Target};

pub(crate) const TARGET: Target = Target {
    name: "nat_operations",
    run: nat_operations,
    outcomes: &[
        "closed",
        "opened",
        "opened by a mapping",
        "opened with a shared port",
        "opened with its own port",
        "port let go",
        "refused",
    ],
};

/// Ports at the edges of their classes, and some that hosts share.
const PORTS: [u16; 12] = [0, 1, 2, 3, 1000, 1022, 1023, 1024, 1025, 5000, 5001, 65535];

/// The first byte chooses the mapping; each four bytes are one operation.
fn nat_operations(data: &[u8], tally: &mut Tally) {
    let mut input = Input::new(data);
    let mapping = if input.u8() & 1 == 0 { Mapping::PerDestination } else { Mapping::EndpointIndependent };
    let mut operations = Vec::new();
    while !input.is_empty() && operations.len() < OPERATIONS_MAX {
        operations.push(operation(input.array()));
    }
    let reached = run(mapping, &operations);
    for (outcome, count) in [
        ("opened", reached.opened),
        ("opened by a mapping", reached.mapped),
        ("opened with its own port", reached.kept),
        ("opened with a shared port", reached.shared),
        ("refused", reached.refused),
        ("closed", reached.closed),
        ("port let go", reached.let_go),
    ] {
        tally.add(outcome, count.into());
    }
}

fn operation([what, a, b, c]: [u8; 4]) -> Operation {
    let (far, many) = (c % 3, u16::from_be_bytes([a, b]));
    match what % 32 {
        0..15 => Operation::Open {
            host: u16::from(a % 6),
            port: PORTS[usize::from(b) % PORTS.len()],
            far,
            echo: c >= 192,
        },
        15 => Operation::Fill { hosts: many % (FILL_HOSTS_MAX + 1), far },
        16..25 => Operation::Close { flow: usize::from(many) },
        25 => Operation::CloseMany { flows: usize::from(many % 1200) },
        26.. => Operation::Wait { secs: u64::from(many % 300) },
    }
}
