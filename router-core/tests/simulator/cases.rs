//! The twelve cases that most systems get wrong (spec: acceptance), each through two nodes in a row: the router translates
//! source and destination, the connector translates both again.

use std::net::SocketAddr;
use std::time::Duration;

use crate::common::{assert_both, dropped, for_seeds, pattern, reassembled};
use router_core::DropReason;
use router_core::packet::{Protocol, TcpFlags};
use router_core::sim::wire::{self, PieceRange, Segment};
use router_core::sim::{Chain, Hop, Link, Sim, TcpEnd, TcpStage, is_of, names};

/// An extension of RFC 4884 with one MPLS label (RFC 4950).
const MPLS: [u8; 12] = [0x20, 0, 0x7e, 0xf4, 0, 8, 1, 1, 0, 1, 0x60, 1];

fn hop() -> Hop {
    Hop::new(names::lan(1, true), names::lan(1, false))
}

/// A chain with one hop between connector and device.
fn chain_with(hop: Hop) -> Chain {
    let mut chain = Sim::chain().start();
    chain.sim.lan_mut(chain.connectors[0]).hops.push(hop);
    chain
}

fn user_address(port: u16, is_v4: bool) -> SocketAddr {
    SocketAddr::new(names::client(0, is_v4), port)
}

#[test]
fn case01_too_big_quoting_eight_bytes_of_tcp_reaches_the_client_through_both_nodes() {
    for (is_v4, mtu_bytes) in [(true, 600), (false, 1300)] {
        let mut chain = chain_with(Hop { mtu_bytes, ..hop() });
        // By a virtual port, and by the network's own addresses.
        for (port, to) in
            [(41_000, names::ssh(0, is_v4)), (41_001, SocketAddr::new(names::device(0, is_v4), 22))]
        {
            let connection = chain.sim.connect(chain.users[0], port, to);
            chain.sim.write(connection, &pattern(50_000), true);
            chain.sim.run_secs(100);
            let connection = chain.sim.connection(connection);
            assert_eq!(connection.end(), Some(TcpEnd::Finished), "{to}");
            assert!(connection.received == pattern(50_000));
            let headers = if is_v4 { 40 } else { 60 };
            assert_eq!(connection.mss_bytes, mtu_bytes - headers);
            let errors = chain.sim.host(chain.users[0]).errors();
            let error = errors.iter().find(|error| error.about.ports.source == port).unwrap();
            assert_eq!(error.mtu_bytes, Some(u32::from(mtu_bytes)));
            assert_eq!((error.about, error.from), (wire::ends(user_address(port, is_v4), to), to.ip()));
        }
        assert_both(&chain.sim);
    }
}

#[test]
fn case02_quoted_ipv4_options_are_skipped() {
    let mut chain = chain_with(Hop { mtu_bytes: 600, quote_bytes: 32, ..hop() });
    let (from, to) = (user_address(5000, true), names::dns(0, true));
    let packet = wire::with_dont_fragment(&wire::udp(&wire::ends(from, to), &pattern(1000)));
    chain.sim.send(chain.users[0], wire::with_options(&packet, &[1, 1, 1, 0]));
    chain.sim.run_secs(1);
    let [error] = chain.sim.host(chain.users[0]).errors()[..] else { panic!("one error is due") };
    assert_eq!((error.about, error.mtu_bytes, error.from), (wire::ends(from, to), Some(600), to.ip()));
    assert_both(&chain.sim);
}

#[test]
fn case03_an_extension_behind_the_quote_passes_unchanged() {
    for is_v4 in [true, false] {
        let mut chain = chain_with(Hop { extension: &MPLS, ..hop() });
        let (from, to) = (user_address(5000, is_v4), names::dns(0, is_v4));
        let packet = wire::udp(&wire::ends(from, to), &pattern(300));
        // Router, connector, then the hop.
        chain.sim.send(chain.users[0], wire::with_hop_limit(&packet, 3));
        chain.sim.run_secs(1);
        let user = chain.sim.host(chain.users[0]);
        let [error] = user.errors()[..] else { panic!("one error is due") };
        assert_eq!((error.kind, error.about), (if is_v4 { 11 } else { 3 }, wire::ends(from, to)));
        let arrived = &user.inbox.back().unwrap().packet;
        assert_eq!(arrived[arrived.len() - MPLS.len()..], MPLS);
        assert_both(&chain.sim);
    }
}

#[test]
fn case04_a_ping_to_a_host_behind_a_closed_hop_gets_its_error() {
    for (is_v4, kind, code) in [(true, 3, 13), (false, 1, 1)] {
        let mut chain = chain_with(Hop { closed: true, ..hop() });
        let to = names::device(0, is_v4);
        chain.sim.send_ping(chain.users[0], to, 4711, 1);
        chain.sim.run_secs(1);
        let [error] = chain.sim.host(chain.users[0]).errors()[..] else { panic!("one error is due") };
        assert_eq!((error.kind, error.code, error.from), (kind, code, to));
        assert_eq!(error.about.ports.source, 4711);
        assert_both(&chain.sim);
    }
}

#[test]
fn case05_an_error_to_another_host_than_the_quoted_sender_is_dropped() {
    for is_v4 in [true, false] {
        let mut chain = Sim::chain().start();
        chain.sim.send_udp(chain.users[0], 5000, names::dns(0, is_v4), b"query");
        chain.sim.run_secs(1);
        let asked = chain.sim.host(chain.devices[0]).inbox.back().unwrap().packet.clone();
        let before = dropped(&chain.sim, chain.connectors[0], DropReason::IcmpErrorMisaddressed);
        let (kind, code) = if is_v4 { (3, 3) } else { (1, 4) };
        for to in [names::client(0, is_v4), names::between(0, 9, is_v4), names::lan(7, is_v4)] {
            let addresses = wire::addresses(names::lan(10, is_v4), to);
            let addresses = if is_v4 { addresses } else { wire::addresses(names::lan(0x10, false), to) };
            chain.sim.send(chain.devices[0], wire::icmp(&addresses, kind, code, [0; 4], &asked));
        }
        chain.sim.run_secs(1);
        assert_eq!(dropped(&chain.sim, chain.connectors[0], DropReason::IcmpErrorMisaddressed) - before, 3);
        assert_eq!(chain.sim.host(chain.users[0]).errors(), []);
        assert_both(&chain.sim);
    }
}

#[test]
fn case06_an_error_quoting_a_later_fragment_is_dropped() {
    for is_v4 in [true, false] {
        let mut chain = Sim::chain().start();
        chain.sim.send_udp(chain.users[0], 5000, names::dns(0, is_v4), &pattern(64));
        chain.sim.run_secs(1);
        let asked = chain.sim.host(chain.devices[0]).inbox.back().unwrap().packet.clone();
        let later = wire::piece(&asked, PieceRange { start: 32, end: 72, is_last: true }, 9);
        let (kind, code) = if is_v4 { (11, 1) } else { (3, 1) };
        let device = chain.sim.host(chain.devices[0]).address_like(names::lan(10, is_v4));
        let addresses = wire::addresses(device, names::lan(200, is_v4));
        let before = dropped(&chain.sim, chain.connectors[0], DropReason::IcmpErrorQuotesFragment);
        chain.sim.send(chain.devices[0], wire::icmp(&addresses, kind, code, [0; 4], &later));
        chain.sim.run_secs(1);
        assert_eq!(dropped(&chain.sim, chain.connectors[0], DropReason::IcmpErrorQuotesFragment) - before, 1);
        assert_eq!(chain.sim.host(chain.users[0]).errors(), []);
        assert_both(&chain.sim);
    }
}

#[test]
fn case07_udp_fragments_in_reverse_order_arrive_whole() {
    for_seeds(4, |seed| {
        for is_v4 in [true, false] {
            // Jitter shuffles them once more between the nodes.
            let mut chain = Sim::chain().seed(seed).jitter_ms(20).start();
            // Pieces wait for a session like everything else, in order; this is not about that.
            chain.sim.send_ping(chain.users[0], names::overlay(1, is_v4), 1, 1);
            chain.sim.run_secs(1);
            let ends = wire::ends(user_address(5000, is_v4), names::dns(0, is_v4));
            let packet = wire::udp(&ends, &pattern(2992));
            for (start, end) in [(2400, 3000), (1200, 2400), (0, 1200)] {
                let range = PieceRange { start, end, is_last: end == 3000 };
                chain.sim.send(chain.users[0], wire::piece(&packet, range, 77));
            }
            chain.sim.run_secs(1);
            let device = chain.sim.host(chain.devices[0]);
            let whole = reassembled(device).expect("all pieces have arrived");
            assert!(wire::checksums_are_right(&whole));
            assert_eq!(whole[wire::header_len(&whole) + 8..], pattern(2992));
            assert_both(&chain.sim);
        }
    });
}

#[test]
fn case08_two_ends_that_open_at_the_same_time_meet() {
    for is_v4 in [true, false] {
        let slow = Link { latency: Duration::from_millis(300), ..Link::IDEAL };
        let mut chain = Sim::chain().lan(slow).start();
        let to = SocketAddr::new(names::device(0, is_v4), 2222);
        let ours = chain.sim.connect(chain.users[0], 41_000, to);
        // The SYN has left the connector, the device has not seen it.
        chain.sim.run_for(Duration::from_millis(450));
        let external = SocketAddr::new(names::lan(200, is_v4), 41_000);
        let theirs = chain.sim.connect(chain.devices[0], 2222, external);
        chain.sim.run_secs(4);
        for end in [ours, theirs] {
            assert_eq!(chain.sim.connection(end).stage, TcpStage::Open);
            chain.sim.write(end, b"we meet", true);
        }
        chain.sim.run_secs(10);
        for end in [ours, theirs] {
            assert_eq!(chain.sim.connection(end).received, b"we meet");
            assert_eq!(chain.sim.connection(end).end(), Some(TcpEnd::Finished));
        }
        assert_both(&chain.sim);
    }
}

#[test]
fn case09_a_blind_reset_in_the_window_ends_nothing_and_data_follows() {
    for is_v4 in [true, false] {
        let mut chain = Sim::chain().start();
        let connection = chain.sim.connect(chain.users[0], 41_000, names::ssh(0, is_v4));
        chain.sim.write(connection, b"before", false);
        chain.sim.run_secs(2);
        let outside = dropped(&chain.sim, chain.connectors[0], DropReason::TcpResetOutsideWindow);
        let (expected, _) = chain.sim.connection(connection).numbers();
        let device = chain.sim.host(chain.devices[0]).address_like(names::lan(10, is_v4));
        let ends = wire::ends(SocketAddr::new(device, 22), SocketAddr::new(names::lan(200, is_v4), 41_000));
        for distance in [1, 1000, 30_000, 0x4000_0000, 0x8000_0000] {
            let sequence = expected.wrapping_add(distance);
            let header = Segment { flags: TcpFlags::RST, sequence, acknowledgment: 0, window: 0, mss: None };
            chain.sim.send(chain.devices[0], wire::tcp(&ends, &header, &[]));
        }
        chain.sim.run_secs(2);
        let believed = chain.sim.connection(connection).resets;
        let disbelieved = chain.sim.connection(connection).resets_disbelieved;
        assert_eq!((believed, disbelieved), (0, 3), "those in the window pass, and the client asks back");
        let dropped = dropped(&chain.sim, chain.connectors[0], DropReason::TcpResetOutsideWindow) - outside;
        assert_eq!(dropped, 2);
        chain.sim.write(connection, b" and after", true);
        chain.sim.run_secs(10);
        assert_eq!(chain.sim.connection(connection).received, b"before and after");
        assert_eq!(chain.sim.connection(connection).end(), Some(TcpEnd::Finished));
        assert_both(&chain.sim);
    }
}

#[test]
fn case10_a_udp_checksum_of_zero_means_none_only_over_v4() {
    let mut chain = Sim::chain().start();
    // A payload that makes the sum of what the device gets come out as 0.
    let seen = wire::ends(
        SocketAddr::new(names::lan(200, false), 5000),
        SocketAddr::new(names::lan(0x10, false), 53),
    );
    let sum = wire::udp(&seen, &[0, 0])[46..48].to_vec();
    chain.sim.send_udp(chain.users[0], 5000, names::dns(0, false), &sum);
    // Over IPv4 "none" stays "none".
    let ends = wire::ends(user_address(5000, true), names::dns(0, true));
    chain.sim.send(chain.users[0], wire::without_udp_checksum(&wire::udp(&ends, b"none")));
    chain.sim.run_secs(1);
    let device = chain.sim.host(chain.devices[0]);
    let (v6, v4) = (&device.inbox[0].packet, &device.inbox[1].packet);
    assert_eq!(device.datagrams(53)[0].0, SocketAddr::new(names::lan(200, false), 5000));
    assert_eq!((&v6[46..48], &v4[26..28]), (&[0xff, 0xff][..], &[0, 0][..]));
    assert_both(&chain.sim);
}

#[test]
fn case11_closing_ends_parked_fragments_and_half_open_connections() {
    for is_v4 in [true, false] {
        let mut chain = Sim::chain().start();
        let ends = wire::ends(user_address(5000, is_v4), names::dns(0, is_v4));
        let packet = wire::udp(&ends, &pattern(1992));
        let piece = |start, end| wire::piece(&packet, PieceRange { start, end, is_last: end == 2000 }, 77);
        // Nobody has this address, and nobody says so.
        let dead = SocketAddr::new(names::network(0, 99, is_v4), 80);
        let half_open = chain.sim.connect(chain.users[0], 41_000, dead);
        chain.sim.send(chain.users[0], piece(1000, 2000));
        chain.sim.run_for(Duration::from_millis(200));
        assert_eq!(chain.sim.connection(half_open).stage, TcpStage::Opening);
        assert!(chain.sim.close_session(chain.router, Chain::session(0, 0, is_v4)));
        chain.sim.send(chain.users[0], piece(0, 1000));
        let forwarded = chain.sim.node(chain.connectors[0]).counters().forwarded_packets;
        chain.sim.run_secs(20);
        assert_eq!(chain.sim.connection(half_open).end(), Some(TcpEnd::Refused), "the reset is believed");
        let device = chain.sim.host(chain.devices[0]);
        assert!(!device.inbox.iter().any(|arrival| is_of(&arrival.packet, Protocol::UDP)));
        let more = chain.sim.node(chain.connectors[0]).counters().forwarded_packets - forwarded;
        assert!(more <= 1, "at most the reset towards the dead host passes, not {more} packets");
        assert_both(&chain.sim);
    }
}

#[test]
fn case12_replies_to_two_users_with_one_source_port_never_cross() {
    for is_v4 in [true, false] {
        let mut chain = Sim::chain().clients(2).start();
        let connections = [0, 1].map(|user| {
            let id = chain.sim.connect(chain.users[user], 41_000, names::ssh(0, is_v4));
            chain.sim.write(id, &[user as u8; 5000], true);
            chain.sim.send_ping(chain.users[user], names::device(0, is_v4), 4711, user as u16);
            id
        });
        for round in 0..20 {
            for user in [0, 1] {
                chain.sim.send_udp(chain.users[user], 5000, names::dns(0, is_v4), &[user as u8, round]);
            }
            chain.sim.run_for(Duration::from_millis(100));
        }
        chain.sim.run_secs(20);
        for user in [0, 1] {
            assert_eq!(chain.sim.connection(connections[user]).received, [user as u8; 5000]);
            let host = chain.sim.host(chain.users[user]);
            let payloads: Vec<_> = host.datagrams(5000).into_iter().map(|(_, payload)| payload).collect();
            assert_eq!(payloads, (0..20).map(|round| vec![user as u8, round]).collect::<Vec<_>>());
            assert_eq!(host.pongs(), [(names::device(0, is_v4), 4711)]);
        }
        assert_both(&chain.sim);
    }
}
