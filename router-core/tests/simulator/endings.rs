//! Sessions that end: from then on nothing passes in either direction, and both ends of TCP learn it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::common::{self, assert_both};
use router_core::packet::TcpFlags;
use router_core::sim::wire::{self, PieceRange, Segment};
use router_core::sim::{Chain, ConnectionId, HostId, Sim, StationId, TcpEnd, TcpStage, names};
use wg_proto::Instant;

/// A way in which a session ends.
#[derive(Debug, Clone, Copy)]
enum Ending {
    Closed,
    LeaseLapsed,
    NodeLeaseLapsed,
    AbsentFromSnapshot,
    ConnectorCloses,
}

const ENDINGS: [Ending; 5] = [
    Ending::Closed,
    Ending::LeaseLapsed,
    Ending::NodeLeaseLapsed,
    Ending::AbsentFromSnapshot,
    Ending::ConnectorCloses,
];

fn soon(sim: &Sim) -> Instant {
    sim.now().saturating_add(Duration::from_millis(10))
}

/// Ends all sessions over this IP version of the only client, or everything there is.
fn end(chain: &mut Chain, ending: Ending, is_v4: bool) {
    let (router, session) = (chain.router, Chain::session(0, 0, is_v4));
    let at = soon(&chain.sim);
    match ending {
        Ending::Closed => assert!(chain.sim.close_session(router, session)),
        Ending::LeaseLapsed => assert!(chain.sim.renew_lease(router, session, Some(at))),
        Ending::NodeLeaseLapsed => chain.sim.set_node_lease(router, Some(at)),
        Ending::AbsentFromSnapshot => {
            let mut snapshot = chain.router_rules(&Chain::shape());
            snapshot.rules.retain(|rule| rule.id != session);
            assert_eq!(chain.sim.apply(router, &snapshot).removed, 1);
        }
        Ending::ConnectorCloses => {
            let mut snapshot = chain.connector_rules(&Chain::shape(), 0);
            snapshot.rules.clear();
            assert_eq!(chain.sim.apply(chain.connectors[0], &snapshot).removed, 2);
        }
    }
    chain.sim.run_for(Duration::from_millis(20));
}

fn established(chain: &mut Chain, is_v4: bool) -> ConnectionId {
    let connection = chain.sim.connect(chain.users[0], 41_000, names::ssh(0, is_v4));
    chain.sim.write(connection, b"hello", false);
    chain.sim.send_udp(chain.users[0], 5000, names::dns(0, is_v4), b"query");
    chain.sim.send_ping(chain.users[0], names::device(0, is_v4), 4711, 1);
    chain.sim.run_secs(1);
    assert_eq!(chain.sim.connection(connection).received, b"hello");
    connection
}

/// Everything that either end could still send, the way it did before.
fn send_on(chain: &mut Chain, connection: ConnectionId, is_v4: bool) {
    chain.sim.send_udp(chain.users[0], 5000, names::dns(0, is_v4), b"query again");
    chain.sim.send_ping(chain.users[0], names::device(0, is_v4), 4711, 2);
    let device = chain.sim.host(chain.devices[0]).address_like(names::lan(10, is_v4));
    let egress = names::lan(200, is_v4);
    let header = Segment {
        flags: TcpFlags::ACK,
        sequence: chain.sim.connection(connection).numbers().0,
        acknowledgment: chain.sim.connection(connection).numbers().1,
        window: 1000,
        mss: None,
    };
    let ends = |from, to| wire::ends(SocketAddr::new(device, from), SocketAddr::new(egress, to));
    chain.sim.send(chain.devices[0], wire::tcp(&ends(22, 41_000), &header, b"late"));
    chain.sim.send(chain.devices[0], wire::udp(&ends(53, 5000), b"late"));
    chain.sim.send(chain.devices[0], wire::pong(&wire::addresses(device, egress), 4711, 2, b"late"));
    chain.sim.run_secs(5);
}

fn forwarded(chain: &Chain, station: StationId) -> u64 {
    chain.sim.node(station).counters().forwarded_packets
}

/// Packets that a host has got, ICMP errors aside.
fn spoken_to(chain: &Chain, host: HostId) -> usize {
    let host = chain.sim.host(host);
    host.inbox.len() - host.errors().len()
}

#[test]
fn p15_after_any_ending_nothing_passes_in_either_direction() {
    for ending in ENDINGS {
        for is_v4 in [true, false] {
            let mut chain = Sim::chain().start();
            let connection = established(&mut chain, is_v4);
            end(&mut chain, ending, is_v4);
            // What was on its way, and the resets.
            chain.sim.run_secs(1);
            let last =
                if matches!(ending, Ending::ConnectorCloses) { chain.connectors[0] } else { chain.router };
            let before = forwarded(&chain, last);
            let had = [chain.devices[0], chain.users[0]].map(|host| spoken_to(&chain, host));
            send_on(&mut chain, connection, is_v4);
            assert_eq!(forwarded(&chain, last), before, "{ending:?}");
            let has = [chain.devices[0], chain.users[0]].map(|host| spoken_to(&chain, host));
            assert_eq!(has, had, "{ending:?}: both hear nothing but errors");
            assert_both(&chain.sim);
        }
    }
}

#[test]
fn flt_7_both_ends_of_tcp_believe_their_resets_after_any_ending() {
    for ending in ENDINGS {
        for is_v4 in [true, false] {
            let mut chain = Sim::chain().start();
            let connection = established(&mut chain, is_v4);
            end(&mut chain, ending, is_v4);
            chain.sim.run_secs(1);
            assert_eq!(chain.sim.connection(connection).end(), Some(TcpEnd::Reset), "{ending:?}");
            let device = &chain.sim.host(chain.devices[0]).connections[0];
            assert_eq!(device.end(), Some(TcpEnd::Reset), "{ending:?}");
        }
    }
}

#[test]
fn flt_7_resets_are_believed_with_data_under_way_in_both_directions() {
    for millis in 0..12 {
        let mut chain = Sim::chain().seed(millis).latency_ms(30).start();
        let connection = chain.sim.connect(chain.users[0], 41_000, names::ssh(0, true));
        chain.sim.write(connection, &common::pattern(400_000), false);
        chain.sim.run_for(Duration::from_millis(300 + 13 * millis));
        assert_eq!(chain.sim.connection(connection).stage, TcpStage::Open);
        end(&mut chain, Ending::Closed, true);
        chain.sim.run_secs(1);
        assert_eq!(chain.sim.connection(connection).end(), Some(TcpEnd::Reset), "{millis}");
        let device = &chain.sim.host(chain.devices[0]).connections[0];
        assert_eq!(device.end(), Some(TcpEnd::Reset), "{millis}");
        chain.sim.assert_forwarded_was_allowed();
    }
}

#[test]
fn p16_a_router_that_slept_past_a_lease_forwards_nothing_after_it() {
    let mut chain = Sim::chain().start();
    let connection = established(&mut chain, true);
    let lease = chain.sim.now().saturating_add(Duration::from_secs(15));
    chain.sim.set_node_lease(chain.router, Some(lease));
    chain.sim.suspend(chain.router, Duration::from_secs(30));
    chain.sim.run_secs(31);
    let before = forwarded(&chain, chain.router);
    send_on(&mut chain, connection, true);
    assert_eq!(forwarded(&chain, chain.router), before);
    assert_both(&chain.sim);
}

#[test]
fn p16_steps_of_the_wall_clock_neither_shorten_nor_lengthen_a_lease() {
    let mut chain = Sim::chain().start();
    established(&mut chain, true);
    let lease = chain.sim.now().saturating_add(Duration::from_secs(15));
    chain.sim.set_node_lease(chain.router, Some(lease));
    let echoed = |chain: &Chain| chain.sim.host(chain.users[0]).datagrams(5000).len();
    for (step, secs) in [(3600, 5), (315_360_000, 5), (3600, 10)] {
        chain.sim.step_wall_clock(chain.router, Duration::from_secs(step));
        chain.sim.step_wall_clock_back(chain.connectors[0], Duration::from_secs(step));
        let (before, is_alive) = (echoed(&chain), chain.sim.now() < lease);
        chain.sim.send_udp(chain.users[0], 5000, names::dns(0, true), b"query");
        chain.sim.run_secs(secs);
        assert_eq!(echoed(&chain) - before, usize::from(is_alive), "{step}");
    }
    let before = echoed(&chain);
    chain.sim.send_udp(chain.users[0], 5000, names::dns(0, true), b"query");
    chain.sim.run_secs(1);
    assert_eq!(echoed(&chain), before);
    assert_both(&chain.sim);
}

#[test]
fn a_renewed_lease_keeps_connections_alive() {
    let mut chain = Sim::chain().start();
    let connection = established(&mut chain, true);
    for _ in 0..20 {
        let lease = chain.sim.now().saturating_add(Duration::from_secs(15));
        assert!(chain.sim.renew_lease(chain.router, Chain::session(0, 0, true), Some(lease)));
        chain.sim.write(connection, b"still here", false);
        chain.sim.run_secs(10);
    }
    assert_eq!(chain.sim.connection(connection).received.len(), 5 + 20 * 10);
    assert_both(&chain.sim);
}

#[test]
fn flt_8_a_lease_renewed_too_late_resets_what_it_had_before() {
    for is_nodes in [true, false] {
        let mut chain = Sim::chain().start();
        let connection = established(&mut chain, true);
        let (router, session) = (chain.router, Chain::session(0, 0, true));
        let renew = |chain: &mut Chain, lease| {
            if is_nodes {
                chain.sim.set_node_lease(router, lease);
            } else {
                assert!(chain.sim.renew_lease(router, session, lease));
            }
        };
        // Asleep while it lapses, and renewed before anything else on waking up.
        let lease = soon(&chain.sim);
        renew(&mut chain, Some(lease));
        chain.sim.suspend(router, Duration::from_secs(1));
        chain.sim.run_for(Duration::from_millis(999));
        renew(&mut chain, None);
        chain.sim.run_secs(1);
        assert_eq!(chain.sim.connection(connection).end(), Some(TcpEnd::Reset), "{is_nodes}");
        assert_eq!(chain.sim.host(chain.devices[0]).connections[0].end(), Some(TcpEnd::Reset));
        let again = chain.sim.connect(chain.users[0], 41_001, names::ssh(0, true));
        chain.sim.run_secs(1);
        assert_eq!(chain.sim.connection(again).stage, TcpStage::Open);
        assert_both(&chain.sim);
    }
}

#[test]
fn p15_later_fragments_do_not_pass_after_their_first_one_did() {
    for ending in ENDINGS {
        for is_v4 in [true, false] {
            let mut chain = Sim::chain().start();
            let from = SocketAddr::new(names::client(0, is_v4), 5000);
            let packet = wire::udp(&wire::ends(from, names::dns(0, is_v4)), &common::pattern(1992));
            let piece =
                |start, end| wire::piece(&packet, PieceRange { start, end, is_last: end == 2000 }, 77);
            chain.sim.send(chain.users[0], piece(0, 1000));
            chain.sim.run_secs(1);
            assert_eq!(chain.sim.host(chain.devices[0]).inbox.len(), 1);
            end(&mut chain, ending, is_v4);
            chain.sim.send(chain.users[0], piece(1000, 2000));
            chain.sim.run_secs(1);
            assert_eq!(chain.sim.host(chain.devices[0]).inbox.len(), 1, "{ending:?}");
            assert_both(&chain.sim);
        }
    }
}
