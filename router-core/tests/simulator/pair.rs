//! Two plain interfaces in the simulator: what one sends the other gets, whatever the network and the clocks do.

use std::time::Duration;

use crate::common::{dropped, for_seeds, handshakes, pattern};
use router_core::sim::{Pair, Sim, TcpEnd, TcpService, wire};
use router_core::{DropReason, Event};
use wg_proto::QueueLoad;

const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 86_400);

/// One numbered datagram a second from alice to bob.
fn stream(pair: &mut Pair, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let to = "10.0.0.2:9000".parse().expect("an address");
        pair.sim.send_udp(pair.alice_host, 9000, to, &number.to_be_bytes());
        pair.sim.run_secs(1);
    }
}

/// Which numbers have arrived, in order of arrival.
fn streamed(pair: &Pair) -> Vec<u32> {
    let datagrams = pair.sim.host(pair.bob_host).datagrams(9000);
    let number = |payload: &[u8]| u32::from_be_bytes(payload.try_into().expect("four bytes were sent"));
    datagrams.iter().map(|(_, payload)| number(payload)).collect()
}

#[test]
fn what_one_host_sends_the_other_gets_and_answers() {
    let mut pair = Sim::pair().preshared_key().start();
    pair.sim.host_mut(pair.bob_host).udp_echo.insert(7);
    for to in ["10.0.0.2:7", "[fd00::2]:7"] {
        pair.sim.send_udp(pair.alice_host, 5000, to.parse().unwrap(), b"hello");
    }
    pair.sim.run_secs(1);
    let echoed = pair.sim.host(pair.alice_host).datagrams(5000);
    assert_eq!(echoed.iter().map(|(_, payload)| &payload[..]).collect::<Vec<_>>(), [b"hello", b"hello"]);
}

#[test]
fn a_transfer_completes_over_a_network_that_loses_reorders_and_repeats() {
    for_seeds(6, |seed| {
        let plan = Sim::pair().seed(seed).latency_ms(20).jitter_ms(15);
        let mut pair = plan.loss(0.05).duplicates(0.1).reorder(0.05).start();
        pair.sim.host_mut(pair.bob_host).tcp_services.insert(80, TcpService::Echo);
        let connection = pair.sim.connect(pair.alice_host, 40_000, "10.0.0.2:80".parse().unwrap());
        pair.sim.write(connection, &pattern(60_000), true);
        pair.sim.run_secs(600);
        let connection = pair.sim.connection(connection);
        assert_eq!(connection.end(), Some(TcpEnd::Finished));
        assert!(connection.received == pattern(60_000));
        pair.sim.assert_forwarded_was_allowed();
    });
}

#[test]
fn a_stream_loses_nothing_while_sessions_are_renewed() {
    let mut pair = Sim::pair().jitter_ms(5).start();
    stream(&mut pair, 0..600);
    assert_eq!(streamed(&pair), (0..600).collect::<Vec<_>>());
    let completed = (handshakes(&pair.sim, pair.alice), handshakes(&pair.sim, pair.bob));
    assert!((5..=6).contains(&completed.0) && completed.0 == completed.1, "{completed:?}");
}

#[test]
fn sessions_are_renewed_over_a_network_that_loses_a_third() {
    for_seeds(4, |seed| {
        let mut pair = Sim::pair().seed(seed).loss(0.33).start();
        stream(&mut pair, 0..600);
        let arrived = streamed(&pair);
        assert!(arrived.len() > 600 / 3, "{} of 600", arrived.len());
        let gap = arrived.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max();
        assert!(gap < Some(40), "nothing arrived for {gap:?} seconds");
    });
}

#[test]
fn p11_what_the_network_repeats_arrives_once() {
    let mut pair = Sim::pair().duplicates(1.0).start();
    stream(&mut pair, 0..20);
    assert_eq!(streamed(&pair), (0..20).collect::<Vec<_>>());
    let refused = pair.sim.station(pair.bob).refused;
    assert!(refused.replayed >= 19, "{refused:?}");
}

#[test]
fn p01_a_source_of_another_peer_is_dropped_and_counted() {
    let mut pair = Sim::pair().start();
    stream(&mut pair, 0..1);
    let before = dropped(&pair.sim, pair.bob, DropReason::SourceNotAssigned);
    for source in ["10.0.0.3:9000", "10.0.0.2:9000", "[fd00::7]:9000", "127.0.0.1:9000"] {
        let source: std::net::SocketAddr = source.parse().unwrap();
        let to = if source.is_ipv4() { "10.0.0.2:9000" } else { "[fd00::2]:9000" };
        let spoofed = wire::udp(&wire::ends(source, to.parse().unwrap()), &[0; 4]);
        pair.sim.send(pair.alice_host, spoofed);
    }
    pair.sim.run_secs(1);
    assert_eq!(dropped(&pair.sim, pair.bob, DropReason::SourceNotAssigned) - before, 4);
    assert_eq!(streamed(&pair), [0]);
}

#[test]
fn p12_answers_follow_a_peer_that_moves_once_it_has_proved_itself() {
    let mut pair = Sim::pair().start();
    pair.sim.host_mut(pair.bob_host).udp_echo.insert(9000);
    stream(&mut pair, 0..3);
    pair.sim.move_station(pair.alice, "198.51.100.77:4500".parse().unwrap());
    // What bob sends now still goes to the old place.
    pair.sim.send_udp(pair.bob_host, 1, "10.0.0.1:2".parse().unwrap(), b"lost");
    pair.sim.run_secs(1);
    assert_eq!(pair.sim.astray, 1);
    stream(&mut pair, 3..6);
    assert_eq!(pair.sim.host(pair.alice_host).datagrams(9000).len(), 6);
    let moved = |event: &Event| matches!(event, Event::Device(wg_proto::Event::EndpointChanged { .. }));
    assert_eq!(pair.sim.station(pair.bob).events.iter().filter(|(_, event)| moved(event)).count(), 2);
}

#[test]
fn p12_a_copy_from_elsewhere_moves_nobody() {
    let mut pair = Sim::pair().start();
    pair.sim.host_mut(pair.bob_host).udp_echo.insert(9000);
    stream(&mut pair, 0..2);
    let garbage = [&[4, 0, 0, 0][..], &[7; 60]].concat();
    pair.sim.inject("198.51.100.66:1".parse().unwrap(), "192.0.2.2:51820".parse().unwrap(), garbage);
    stream(&mut pair, 2..4);
    assert_eq!((pair.sim.astray, pair.sim.host(pair.alice_host).datagrams(9000).len()), (0, 4));
    assert_eq!(pair.sim.station(pair.bob).refused.unknown_session, 1);
}

#[test]
fn traffic_goes_on_after_a_machine_has_slept() {
    for secs in [5, 60, 175, 200, 600, 86_400] {
        let mut pair = Sim::pair().start();
        pair.sim.host_mut(pair.bob_host).udp_echo.insert(9000);
        stream(&mut pair, 0..3);
        pair.sim.suspend(pair.alice, Duration::from_secs(secs));
        pair.sim.run_secs(secs);
        stream(&mut pair, 3..30);
        let echoed = pair.sim.host(pair.alice_host).datagrams(9000).len();
        assert!(echoed >= 29, "{echoed} of 30 after {secs} seconds");
    }
}

#[test]
fn wall_clocks_that_step_do_not_end_a_conversation() {
    let mut pair = Sim::pair().start();
    stream(&mut pair, 0..130);
    pair.sim.step_wall_clock(pair.alice, TEN_YEARS);
    stream(&mut pair, 130..260);
    pair.sim.step_wall_clock_back(pair.alice, TEN_YEARS * 2);
    pair.sim.step_wall_clock_back(pair.bob, TEN_YEARS);
    stream(&mut pair, 260..640);
    assert_eq!(streamed(&pair), (0..640).collect::<Vec<_>>());
    assert!(handshakes(&pair.sim, pair.alice) >= 5);
}

#[test]
fn p14_garbage_is_answered_by_silence_and_does_not_disturb() {
    for_seeds(3, |seed| {
        let mut pair = Sim::pair().seed(seed).start();
        stream(&mut pair, 0..2);
        let (bob, attacker) = ("192.0.2.2:51820".parse().unwrap(), "198.51.100.66:1".parse().unwrap());
        let sent = pair.sim.datagrams;
        for (kind, len) in [(1_u8, 148), (2, 92), (3, 64), (4, 32), (4, 96), (9, 40), (1, 147), (0, 0)] {
            let mut bytes = vec![0; len];
            bytes.iter_mut().for_each(|byte| *byte = pair.sim.random().below(256) as u8);
            bytes.iter_mut().zip([kind, 0, 0, 0]).for_each(|(byte, value)| *byte = value);
            pair.sim.inject(attacker, bob, bytes);
        }
        pair.sim.run_for(Duration::from_millis(100));
        assert_eq!((pair.sim.datagrams - sent, pair.sim.astray), (0, 0));
        stream(&mut pair, 2..4);
        assert_eq!(streamed(&pair), [0, 1, 2, 3]);
    });
}

#[test]
fn p13_a_handshake_under_load_completes_by_way_of_a_cookie() {
    let mut pair = Sim::pair().start();
    pair.sim.station_mut(pair.bob).load = QueueLoad { waiting: 8, capacity: 8 };
    stream(&mut pair, 0..20);
    assert_eq!(streamed(&pair), (0..20).collect::<Vec<_>>());
    assert_eq!(handshakes(&pair.sim, pair.bob), 1);
}
