//! A client, a router, a connector and a device: what the sessions allow passes both nodes, both translations and back.

use crate::common::{self, assert_both, dropped, for_seeds, tcp_round_trip};
use router_core::DropReason;
use router_core::sim::{Sim, TcpEnd, names};

#[test]
fn a_client_reaches_a_device_by_tcp_udp_and_ping_over_both_versions() {
    let mut chain = Sim::chain().start();
    for is_v4 in [true, false] {
        tcp_round_trip(&mut chain, 0, 41_000, names::ssh(0, is_v4), 20_000);
        chain.sim.send_udp(chain.users[0], 5000, names::dns(0, is_v4), b"query");
        chain.sim.send_ping(chain.users[0], names::device(0, is_v4), 77, 1);
    }
    chain.sim.run_secs(1);
    let user = chain.sim.host(chain.users[0]);
    let answered: Vec<_> = user.datagrams(5000).iter().map(|(from, _)| *from).collect();
    assert_eq!(answered, [names::dns(0, true), names::dns(0, false)]);
    assert_eq!(user.pongs(), [(names::device(0, true), 77), (names::device(0, false), 77)]);
    assert_both(&chain.sim);
}

#[test]
fn it_works_whoever_dials_and_with_sources_untranslated() {
    let plans = [Sim::chain().router_dials(), Sim::chain().without_src_nat(), Sim::chain().preshared_key()];
    for plan in plans {
        let mut chain = plan.start();
        for is_v4 in [true, false] {
            tcp_round_trip(&mut chain, 0, 41_000, names::ssh(0, is_v4), 5_000);
        }
        assert_both(&chain.sim);
    }
}

#[test]
fn the_device_sees_the_egress_address_or_the_client_as_configured() {
    for (plan, seen) in [
        (Sim::chain(), [names::lan(200, true), names::lan(200, false)]),
        (Sim::chain().without_src_nat(), [names::client(0, true), names::client(0, false)]),
    ] {
        let mut chain = plan.start();
        for is_v4 in [true, false] {
            chain.sim.send_udp(chain.users[0], 5000, names::dns(0, is_v4), b"who am I?");
        }
        chain.sim.run_secs(1);
        let datagrams = chain.sim.host(chain.devices[0]).datagrams(53);
        let sources: Vec<_> = datagrams.iter().map(|(from, _)| from.ip()).collect();
        assert_eq!(sources, seen);
        assert_both(&chain.sim);
    }
}

#[test]
fn what_no_rule_allows_is_refused_and_counted() {
    let mut chain = Sim::chain().start();
    let before = dropped(&chain.sim, chain.router, DropReason::NotAllowed);
    let refused = chain.sim.connect(chain.users[0], 41_000, "10.20.0.5:23".parse().unwrap());
    chain.sim.send_udp(chain.users[0], 5000, "10.20.0.5:54".parse().unwrap(), b"no");
    chain.sim.send_udp(chain.users[0], 5001, "[fd20::6]:53".parse().unwrap(), b"no");
    chain.sim.run_secs(1);
    assert_eq!(chain.sim.connection(refused).end(), Some(TcpEnd::Unreachable(3, 13)));
    assert_eq!(dropped(&chain.sim, chain.router, DropReason::NotAllowed) - before, 3);
    let heard = chain.sim.host(chain.users[0]).errors();
    let codes: Vec<_> = heard.iter().map(|error| (error.kind, error.code, error.from)).collect();
    let (v4, v6) = (names::overlay(1, true), names::overlay(1, false));
    assert_eq!(codes, [(3, 13, v4), (3, 13, v4), (1, 1, v6)]);
    assert!(chain.sim.host(chain.devices[0]).inbox.is_empty());
    assert_both(&chain.sim);
}

#[test]
fn transfers_complete_over_networks_that_lose_reorder_and_repeat() {
    for_seeds(4, |seed| {
        let plan = Sim::chain().seed(seed).latency_ms(15).jitter_ms(10);
        let mut chain = plan.loss(0.02).duplicates(0.05).reorder(0.05).start();
        for is_v4 in [true, false] {
            let connection = chain.sim.connect(chain.users[0], 41_000, names::ssh(0, is_v4));
            chain.sim.write(connection, &common::pattern(30_000), true);
            chain.sim.run_secs(400);
            let connection = chain.sim.connection(connection);
            assert_eq!(connection.end(), Some(TcpEnd::Finished), "{:?}", connection.received.len());
            assert!(connection.received == common::pattern(30_000));
        }
        assert_both(&chain.sim);
    });
}

#[test]
fn a_client_speaks_to_two_tenants_with_the_same_network_at_once() {
    let mut chain = Sim::chain().connectors(2).start();
    for connector in [0, 1] {
        for is_v4 in [true, false] {
            chain.sim.send_udp(chain.users[0], 5000, names::dns(connector, is_v4), &[connector]);
            chain.sim.send_ping(chain.users[0], names::device(connector, is_v4), 5, 1);
        }
    }
    chain.sim.run_secs(1);
    for (connector, device) in chain.devices.iter().enumerate() {
        let asked = chain.sim.host(*device).datagrams(53);
        let payloads: Vec<_> = asked.iter().map(|(_, payload)| payload[0] as usize).collect();
        assert_eq!(payloads, [connector, connector]);
    }
    let user = chain.sim.host(chain.users[0]);
    for (from, payload) in user.datagrams(5000) {
        assert_eq!(from, names::dns(payload[0], from.is_ipv4()));
    }
    assert_eq!((user.datagrams(5000).len(), user.pongs().len()), (4, 4));
    for connector in [0, 1] {
        tcp_round_trip(&mut chain, 0, 41_000, names::ssh(connector, true), 3_000);
    }
    assert_both(&chain.sim);
}

#[test]
fn a_tenant_reaches_nobody_by_itself() {
    let mut chain = Sim::chain().connectors(2).start();
    chain.sim.send_udp(chain.users[0], 5000, names::dns(0, true), b"open a session first");
    chain.sim.run_secs(1);
    let before = chain.sim.node(chain.router).counters().forwarded_packets;
    let targets = ["10.77.0.2:5000", "10.99.0.3:40001", "10.99.0.1:9", "10.30.1.10:53", "10.20.1.5:53"];
    for to in targets {
        chain.sim.send_udp(chain.devices[0], 999, to.parse().unwrap(), b"from a device");
    }
    chain.sim.run_secs(1);
    assert_eq!(dropped(&chain.sim, chain.connectors[0], DropReason::NoFlow), targets.len() as u64);
    // The connector itself, taken over, sends through its tunnel.
    let connector = chain.sim.peer(chain.router, chain.connectors[0]);
    for to in targets {
        let source = std::net::SocketAddr::new(names::overlay(2, true), 999);
        let packet = router_core::sim::wire::udp(
            &router_core::sim::wire::ends(source, to.parse().unwrap()),
            b"from a connector",
        );
        let verdict = chain.sim.inject_inner(chain.router, router_core::Ingress::Peer(connector), packet);
        assert!(!matches!(verdict, router_core::Verdict::Forward(_)), "{to}");
    }
    assert_eq!(chain.sim.node(chain.router).counters().forwarded_packets, before);
    assert_both(&chain.sim);
}
