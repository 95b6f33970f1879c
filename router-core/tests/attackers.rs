//! Attackers at work in a running chain, beside a user who must not notice (spec: security, actors A0 to A3).

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{assert_both, dropped, handshakes, pattern};
use router_core::packet::TcpFlags;
use router_core::sim::wire::{self, PieceRange, Segment};
use router_core::sim::{Chain, ConnectionId, Sim, TcpEnd, names};
use router_core::{DropReason, Ingress, Verdict};
use wg_proto::{Device, DeviceConfig, Instant, PeerConfig, PrivateKey, QueueLoad, UnixTime};

/// The second user is the attacker.
const ATTACKER: usize = 1;

/// A chain in which the first user has a connection to the device.
fn at_work() -> (Chain, ConnectionId) {
    let mut chain = Sim::chain().clients(2).start();
    let connection = chain.sim.connect(chain.users[0], 41_000, names::ssh(0, true));
    chain.sim.write(connection, b"before", false);
    for user in [0, 1] {
        chain.sim.send_udp(chain.users[user], 5000, names::dns(0, true), b"query");
    }
    chain.sim.run_secs(1);
    (chain, connection)
}

/// The user's work goes on as if nothing had happened.
fn assert_undisturbed(mut chain: Chain, connection: ConnectionId) {
    chain.sim.write(connection, &pattern(20_000), true);
    chain.sim.send_udp(chain.users[0], 5000, names::dns(0, true), b"query");
    chain.sim.run_secs(30);
    let connection = chain.sim.connection(connection);
    assert_eq!(connection.end(), Some(TcpEnd::Finished));
    assert_eq!(connection.received.len(), b"before".len() + 20_000);
    assert_eq!(chain.sim.host(chain.users[0]).datagrams(5000).len(), 2);
    assert_both(&chain.sim);
}

fn address(ip: std::net::IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}

#[test]
fn p01_a_client_that_spoofs_reaches_nothing_and_takes_over_no_flow() {
    let (mut chain, connection) = at_work();
    let (expected, next) = chain.sim.connection(connection).numbers();
    let before = chain.sim.node(chain.router).counters().clone();
    let inbox = chain.sim.host(chain.devices[0]).inbox.len();
    let ssh = names::ssh(0, true);
    for flags in [TcpFlags::RST, TcpFlags::ACK, TcpFlags::FIN.with(TcpFlags::ACK)] {
        let header = Segment { flags, sequence: next, acknowledgment: expected, window: 9, mss: None };
        let ends = wire::ends(address(names::client(0, true), 41_000), ssh);
        chain.sim.send(chain.users[ATTACKER], wire::tcp(&ends, &header, b""));
    }
    for source in ["10.77.0.2", "10.77.0.99", "10.99.0.2", "192.168.7.10", "8.8.8.8"] {
        let ends = wire::ends(address(source.parse().unwrap(), 5000), names::dns(0, true));
        chain.sim.send(chain.users[ATTACKER], wire::udp(&ends, b"spoofed"));
    }
    for ours in ["10.99.0.1", "127.0.0.1", "224.0.0.1", "0.0.0.0"] {
        let ends = wire::ends(address(ours.parse().unwrap(), 5000), names::dns(0, true));
        chain.sim.send(chain.users[ATTACKER], wire::udp(&ends, b"spoofed"));
    }
    chain.sim.run_secs(1);
    let after = chain.sim.node(chain.router).counters();
    let more = |reason| after.dropped(reason) - before.dropped(reason);
    assert_eq!(more(DropReason::SourceNotAssigned), 8);
    assert_eq!((more(DropReason::SourceIsOurs), more(DropReason::MartianSource)), (1, 3));
    assert_eq!(after.forwarded_packets, before.forwarded_packets);
    assert_eq!(chain.sim.host(chain.devices[0]).inbox.len(), inbox);
    assert_undisturbed(chain, connection);
}

#[test]
fn p06_forged_errors_neither_arrive_nor_end_anything() {
    let (mut chain, connection) = at_work();
    let (_, next) = chain.sim.connection(connection).numbers();
    let (device, egress) = (names::lan(10, true), names::lan(200, true));
    // What the flow's segments look like at the device, with numbers guessed wrong.
    let quoted = |sequence| {
        let header = Segment { flags: TcpFlags::ACK, sequence, acknowledgment: 0, window: 9, mss: None };
        wire::tcp(&wire::ends(address(egress, 41_000), address(device, 22)), &header, &[0; 100])
    };
    let forged = |quote: &[u8], kind, code, word: u32| {
        wire::icmp(&wire::addresses(device, egress), kind, code, word.to_be_bytes(), quote)
    };
    let mut packets = Vec::new();
    for distance in [100_000_u32, 0x2000_0000, 0x8000_0000, 0xfff0_0000] {
        let wrong = quoted(next.wrapping_add(distance));
        packets.push(forged(&wrong, 3, 4, 576));
        packets.push(forged(&wrong, 3, 3, 0));
    }
    let right = quoted(next.wrapping_sub(1));
    // Impossible path MTUs, a wrong checksum, source quench, a redirect.
    packets.push(forged(&right, 3, 4, 67));
    packets.push(forged(&right, 3, 4, 1400));
    packets.push(wire::corrupted(&forged(&right, 3, 1, 0)));
    packets.push(forged(&right, 4, 0, 0));
    packets.push(forged(&right, 5, 1, 0));
    // An error about an error, and one about a flow that is not.
    packets.push(forged(&forged(&right, 3, 1, 0), 3, 1, 0));
    let other = wire::udp(&wire::ends(address(egress, 5999), address(device, 53)), b"?");
    packets.push(forged(&other, 3, 3, 0));
    let before = chain.sim.node(chain.connectors[0]).counters().clone();
    let count = packets.len() as u64;
    packets.into_iter().for_each(|packet| chain.sim.send(chain.devices[0], packet));
    chain.sim.run_secs(1);
    let after = chain.sim.node(chain.connectors[0]).counters();
    assert_eq!(after.dropped_total() - before.dropped_total(), count);
    assert_eq!(after.dropped(DropReason::IcmpErrorOutsideWindow), 8);
    for user in [0, ATTACKER] {
        assert_eq!(chain.sim.host(chain.users[user]).errors(), []);
    }
    assert_undisturbed(chain, connection);
}

#[test]
fn p27_a_flood_of_new_flows_meets_its_own_sessions_caps_alone() {
    let (mut chain, connection) = at_work();
    for second in 0..3_u16 {
        for number in 0..2000_u16 {
            let port = 1024 + second * 2000 + number;
            chain.sim.send_udp(chain.users[ATTACKER], port, names::dns(0, true), b"flood");
            let syn = Segment {
                flags: TcpFlags::SYN,
                sequence: u32::from(number),
                acknowledgment: 0,
                window: 1,
                mss: None,
            };
            let ends =
                wire::ends(address(names::client(1, true), port), address(names::network(0, 99, true), 80));
            chain.sim.send(chain.users[ATTACKER], wire::tcp(&ends, &syn, b""));
        }
        chain.sim.run_secs(1);
    }
    let counters = chain.sim.node(chain.router).counters();
    let refused = counters.dropped(DropReason::CapNewFlows) + counters.dropped(DropReason::CapHalfOpen);
    assert!(refused > 9_000, "{refused}");
    let (used, most) = chain.sim.node(chain.router).flows_used();
    assert!(used < 2600 && used < most, "{used} flows");
    assert!(counters.answers < 1000, "{} answers to a flood", counters.answers);
    assert_undisturbed(chain, connection);
}

#[test]
fn p04_overlapping_and_hiding_fragments_reach_nobody() {
    let (mut chain, connection) = at_work();
    let ends = wire::ends(address(names::client(1, true), 5001), names::dns(0, true));
    let packet = wire::udp(&ends, &pattern(2392));
    let inbox = chain.sim.host(chain.devices[0]).inbox.len();
    let mut send = |id: u16, ranges: &[(u16, u16)]| {
        for (start, end) in ranges {
            let range = PieceRange { start: *start, end: *end, is_last: *end == 2400 };
            chain.sim.send(chain.users[ATTACKER], wire::piece(&packet, range, id));
        }
        chain.sim.run_for(Duration::from_millis(200));
    };
    // Each begins with pieces that are kept back, and ends with what must poison them.
    send(1, &[(1200, 2400), (1192, 2400), (0, 1200)]);
    send(2, &[(1200, 2400), (600, 1208), (0, 600)]);
    send(3, &[(8, 1200), (1200, 2400)]);
    // A port hidden in the second piece.
    send(4, &[(1200, 2400), (8, 1200)]);
    let tiny = wire::piece(&packet, PieceRange { start: 0, end: 8, is_last: false }, 5);
    chain.sim.send(chain.users[ATTACKER], tiny[..24].to_vec());
    chain.sim.run_secs(20);
    assert_eq!(chain.sim.host(chain.devices[0]).inbox.len(), inbox);
    assert!(dropped(&chain.sim, chain.router, DropReason::FragmentOverlap) >= 2);
    assert_undisturbed(chain, connection);
}

#[test]
fn p33_overlay_addresses_cannot_be_reached_or_used_from_a_lan() {
    let (mut chain, connection) = at_work();
    let before = chain.sim.node(chain.connectors[0]).counters().clone();
    for (from, to) in [
        ("192.168.7.10:9", "10.99.0.2:40001"),
        ("10.99.0.1:9", "10.99.0.2:40001"),
        ("10.99.0.1:9", "192.168.7.200:5000"),
        ("10.77.0.2:5000", "192.168.7.200:5000"),
        ("192.168.7.200:9", "192.168.7.200:5000"),
    ] {
        let ends = wire::ends(from.parse().unwrap(), to.parse().unwrap());
        chain.sim.send(chain.devices[0], wire::udp(&ends, b"from the LAN"));
    }
    chain.sim.run_secs(1);
    let after = chain.sim.node(chain.connectors[0]).counters();
    assert_eq!(after.dropped_total() - before.dropped_total(), 5, "{after:?}");
    assert_eq!(after.forwarded_packets, before.forwarded_packets);
    assert_undisturbed(chain, connection);
}

#[test]
fn p08_a_connector_that_was_taken_over_cannot_answer_for_another() {
    let mut chain = Sim::chain().connectors(2).start();
    chain.sim.host_mut(chain.devices[0]).udp_echo.clear();
    chain.sim.host_mut(chain.devices[0]).answers_closed_ports = false;
    chain.sim.send_udp(chain.users[0], 5000, names::dns(0, true), b"query");
    chain.sim.run_secs(1);
    let liar = chain.sim.peer(chain.router, chain.connectors[1]);
    let to = address(names::overlay(1, true), 5000);
    for from in ["10.99.0.2:40001", "10.99.0.3:40001", "10.98.1.10:53", "10.20.0.5:53"] {
        let answer = wire::udp(&wire::ends(from.parse().unwrap(), to), b"a lie");
        let verdict = chain.sim.inject_inner(chain.router, Ingress::Peer(liar), answer);
        assert!(matches!(verdict, Verdict::Drop(_) | Verdict::Reply), "{from}: {verdict:?}");
    }
    chain.sim.run_secs(1);
    assert_eq!(chain.sim.host(chain.users[0]).datagrams(5000), []);
    assert_both(&chain.sim);
}

#[test]
fn p06_a_connector_that_was_taken_over_cannot_report_errors_about_anothers_flows() {
    for is_v4 in [true, false] {
        let mut chain = Sim::chain().connectors(2).start();
        chain.sim.send_udp(chain.users[0], 5000, names::dns(0, is_v4), b"query");
        chain.sim.run_secs(1);
        let liar = chain.sim.peer(chain.router, chain.connectors[1]);
        let quote = wire::udp(
            &wire::ends(address(names::overlay(1, is_v4), 5000), address(names::overlay(2, is_v4), 40_001)),
            b"query",
        );
        let (kind, code) = if is_v4 { (3, 1) } else { (1, 3) };
        let addresses = wire::addresses(names::overlay(3, is_v4), names::overlay(1, is_v4));
        let error = wire::icmp(&addresses, kind, code, [0; 4], &quote);
        let verdict = chain.sim.inject_inner(chain.router, Ingress::Peer(liar), error);
        assert_eq!(verdict, Verdict::Drop(DropReason::WrongIngress));
        chain.sim.run_secs(1);
        assert_eq!(chain.sim.host(chain.users[0]).errors(), []);
        assert_both(&chain.sim);
    }
}

#[test]
fn p08_an_address_that_moves_to_another_client_does_not_take_its_flows_along() {
    let (mut chain, connection) = at_work();
    let attacker = chain.sim.peer(chain.router, chain.clients[ATTACKER]);
    let (expected, next) = chain.sim.connection(connection).numbers();
    let device = chain.sim.node_mut(chain.router).device_mut();
    device.add_allowed_ip(attacker, names::client(0, true).into()).expect("it is a peer");
    let inbox = chain.sim.host(chain.devices[0]).inbox.len();
    let victim = names::client(0, true);
    let data =
        Segment { flags: TcpFlags::ACK, sequence: next, acknowledgment: expected, window: 9, mss: None };
    let segment = wire::tcp(&wire::ends(address(victim, 41_000), names::ssh(0, true)), &data, b"rm -rf");
    let query = wire::udp(&wire::ends(address(victim, 5000), names::dns(0, true)), b"query");
    for packet in [segment, query] {
        let verdict = chain.sim.inject_inner(chain.router, Ingress::Peer(attacker), packet);
        assert_eq!(verdict, Verdict::Drop(DropReason::WrongIngress));
    }
    chain.sim.run_secs(1);
    assert_eq!(chain.sim.host(chain.devices[0]).inbox.len(), inbox);
    let owner = chain.sim.peer(chain.router, chain.clients[0]);
    let device = chain.sim.node_mut(chain.router).device_mut();
    device.add_allowed_ip(owner, victim.into()).expect("it is a peer");
    assert_undisturbed(chain, connection);
}

/// A valid first message to the router from a key nobody knows.
fn initiation(chain: &Chain, number: u8) -> Vec<u8> {
    let key = PrivateKey::from_bytes([number; 32]);
    let mut device = Device::new(DeviceConfig { private_key: Some(key), mtu_bytes: 1420 }, [number; 32]);
    let router = chain.sim.node(chain.router).device().public_key().expect("it has a key");
    let mut config = PeerConfig::new(router);
    config.endpoint = Some(chain.sim.station(chain.router).addr.into());
    let (now, unix) = (Instant::from_nanos(1), UnixTime::new(1_700_000_000, 0));
    let peer = device.add_peer(now, config).expect("another key");
    device.stage(now, peer, &[0x45; 20]).expect("there is room");
    let mut buffer = vec![0; 2048];
    let sent = device.poll_transmit(now, unix, &mut buffer).expect("a handshake starts");
    buffer[..sent.len].to_vec()
}

#[test]
fn p13_a_flood_of_handshakes_from_strangers_changes_nothing_for_those_who_are_known() {
    let (mut chain, connection) = at_work();
    let router = chain.sim.station(chain.router).addr;
    let completed = handshakes(&chain.sim, chain.router);
    for second in 0..5_u8 {
        for number in 0..20_u8 {
            let flood = initiation(&chain, second * 20 + number + 1);
            for copy in 0..50_u8 {
                let from = SocketAddr::from(([198, 18, number, copy], 1000 + u16::from(second)));
                chain.sim.inject(from, router, flood.clone());
            }
        }
        // As a full queue would look to the router.
        chain.sim.station_mut(chain.router).load = QueueLoad { waiting: 64, capacity: 64 };
        chain.sim.run_secs(1);
    }
    assert_eq!(handshakes(&chain.sim, chain.router), completed);
    // A known client that starts afresh gets in meanwhile, by way of a cookie.
    chain.sim.suspend(chain.clients[ATTACKER], Duration::from_secs(200));
    chain.sim.run_secs(201);
    chain.sim.send_udp(chain.users[ATTACKER], 5002, names::dns(0, true), b"let me in");
    chain.sim.run_secs(15);
    assert_eq!(chain.sim.host(chain.users[ATTACKER]).datagrams(5002).len(), 1);
    assert_undisturbed(chain, connection);
}
