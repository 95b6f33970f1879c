//! Translation of a new flow: choosing an external port, and giving it back.
#![allow(missing_docs, reason = "criterion's macros")]

use std::net::Ipv4Addr;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use router_core::flow::{FlowTable, NewFlow, Tuple};
use router_core::nat::{Mapping, Nat, PoolId, Snat};
use router_core::packet::Protocol;
use sluice_benches::{META, NOW, Scattered};

const POOL: PoolId = PoolId(1);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// With few ports in use, with nearly all, and with all of them shared between far ends.
fn choose_port(c: &mut Criterion) {
    let mut group = c.benchmark_group("nat/choose and cancel a port");
    for used in [1_000, 60_000, 200_000] {
        let (mut nat, flows) = filled(used);
        let mut scattered = Scattered::below(64_000);
        group.bench_function(BenchmarkId::new("used", used), |b| {
            b.iter(|| {
                let original = original(1_000_000 + scattered.draw());
                let to = (original.dst, original.dst_port);
                let translation = nat.translate(NOW, &flows, &original, to, Snat::Pool(POOL));
                let translation = translation.expect("a port is free towards there");
                nat.cancel(&original, &translation);
                translation
            });
        });
    }
    group.finish();
}

/// A NAT and its flow table after `used` flows.
fn filled(used: u32) -> (Nat<Ipv4Addr>, FlowTable<Ipv4Addr>) {
    let mut nat = Nat::new([7; 32]);
    nat.set_pool(POOL, &[OUTSIDE], Mapping::PerDestination).expect("one address");
    let mut flows = FlowTable::new(used, &[7; 16]);
    for number in 0..used {
        let original = original(number);
        let to = (original.dst, original.dst_port);
        let translation =
            nat.translate(NOW, &flows, &original, to, Snat::Pool(POOL)).expect("far ends differ");
        let opening = router_core::flow::Opening::Datagram;
        let flow = NewFlow { original, reply: translation.reply, meta: META, opening };
        flows.insert(NOW, &flow).expect("there is room");
    }
    (nat, flows)
}

/// Each to one of many far ends, from ports that others have too.
fn original(number: u32) -> Tuple<Ipv4Addr> {
    let host = Ipv4Addr::from_bits(0x0A4D_0000 + number / 16);
    let far = Ipv4Addr::from_bits(0xC0A8_0000 + number % 1000);
    Tuple::ports(Protocol::UDP, (host, 32_768 + (number % 16) as u16), (far, 53))
}

criterion_group!(benches, choose_port);
criterion_main!(benches);
