//! Attackers inside tunnels and in a LAN at work in a running chain, beside a user who must not notice (spec: security,
//! actors A1 to A3). Those outside: outsiders.rs.

use std::net::SocketAddr;
use std::time::Duration;

use crate::common::{ATTACKER, assert_both, assert_undisturbed, at_work, dropped, pattern};
use router_core::packet::TcpFlags;
use router_core::sim::wire::{self, PieceRange, Segment};
use router_core::sim::{Sim, TcpEnd, names};
use router_core::{DropReason, Ingress, Verdict};

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

#[test]
fn p06_errors_that_a_client_forges_about_anothers_flows_reach_nobody() {
    let (mut chain, connection) = at_work();
    let (expected, next) = chain.sim.connection(connection).numbers();
    let (victim, attacker, device) = (names::client(0, true), names::client(1, true), names::ssh(0, true));
    let (router, site) = (names::overlay(1, true), names::overlay(2, true));
    let segment = |from, to, sequence, acknowledgment| {
        let header = Segment { flags: TcpFlags::ACK, sequence, acknowledgment, window: 9, mss: None };
        wire::tcp(&wire::ends(from, to), &header, &[0; 64])
    };
    // All forms that the victim's segments have on their way, in both directions, with the right numbers.
    let quotes = [
        segment(address(victim, 41_000), device, next.wrapping_sub(1), expected),
        segment(device, address(victim, 41_000), expected.wrapping_sub(1), next),
        segment(address(router, 41_000), address(site, 40_000), next.wrapping_sub(1), expected),
        segment(address(site, 40_000), address(router, 41_000), expected.wrapping_sub(1), next),
    ];
    let inboxes = |chain: &router_core::sim::Chain| {
        [chain.users[0], chain.devices[0]].map(|host| chain.sim.host(host).inbox.len())
    };
    let (before, had) = (chain.sim.node(chain.router).counters().clone(), inboxes(&chain));
    let mut sent = 0;
    for quote in &quotes {
        for to in [device.ip(), victim, router, site] {
            for (kind, code, word) in
                [(3, 1, 0_u32), (3, 4, 60), (11, 0, 0), (12, 0, 0), (5, 1, 0), (4, 0, 0)]
            {
                let error = wire::icmp(&wire::addresses(attacker, to), kind, code, word.to_be_bytes(), quote);
                chain.sim.send(chain.users[ATTACKER], error);
                sent += 1;
            }
        }
    }
    chain.sim.run_secs(1);
    let after = chain.sim.node(chain.router).counters();
    assert_eq!(after.dropped_total() - before.dropped_total(), sent);
    assert_eq!((after.forwarded_packets, after.answers), (before.forwarded_packets, before.answers));
    assert_eq!(inboxes(&chain), had);
    assert_undisturbed(chain, connection);
}

#[test]
fn p09_blind_segments_from_a_lan_end_no_connection_and_reach_no_client() {
    for is_v4 in [true, false] {
        let (mut chain, connection) = at_work();
        let v6 = chain.sim.connect(chain.users[0], 41_001, names::ssh(0, is_v4));
        chain.sim.write(v6, b"other", false);
        chain.sim.run_secs(1);
        let device = address(names::lan(if is_v4 { 10 } else { 0x10 }, is_v4), 22);
        let egress = address(names::lan(200, is_v4), 41_001);
        let (expected, next) = chain.sim.connection(v6).numbers();
        let had = chain.sim.host(chain.users[0]).inbox.len();
        let all = [
            TcpFlags::RST,
            TcpFlags::RST.with(TcpFlags::ACK),
            TcpFlags::ACK,
            TcpFlags::FIN.with(TcpFlags::ACK),
            TcpFlags::SYN.with(TcpFlags::ACK),
            TcpFlags::FIN,
            TcpFlags(0),
            TcpFlags::SYN.with(TcpFlags::FIN),
        ];
        // Everywhere but within 2^20 of what is expected: no guess hits a window of 65 535 bytes.
        for flags in all {
            for _ in 0..200 {
                let sequence =
                    expected.wrapping_add((1 << 20) + chain.sim.random().below(u32::MAX - (1 << 21)));
                let header = Segment { flags, sequence, acknowledgment: next, window: 9, mss: None };
                let packet = wire::tcp(&wire::ends(device, egress), &header, b"");
                chain.sim.send(chain.devices[0], packet);
            }
        }
        chain.sim.run_secs(1);
        assert_eq!(chain.sim.host(chain.users[0]).inbox.len(), had);
        chain.sim.write(v6, b"still here", true);
        chain.sim.run_secs(10);
        assert_eq!(chain.sim.connection(v6).end(), Some(TcpEnd::Finished));
        assert_undisturbed(chain, connection);
    }
}

#[test]
fn p04_pieces_that_a_device_sends_never_rewrite_what_a_client_gets() {
    for is_v4 in [true, false] {
        let (mut chain, connection) = at_work();
        chain.sim.send_udp(chain.users[0], 5001, names::dns(0, is_v4), b"big answer, please");
        chain.sim.run_secs(1);
        let device = chain.sim.host(chain.devices[0]).address_like(names::lan(10, is_v4));
        let ends = wire::ends(address(device, 53), address(names::lan(200, is_v4), 5001));
        let packet = wire::udp(&ends, &pattern(1192));
        let had = chain.sim.host(chain.users[0]).inbox.len();
        let mut send = |id: u16, ranges: &[(u16, u16)]| {
            for (start, end) in ranges {
                let range = PieceRange { start: *start, end: *end, is_last: *end == 1200 };
                chain.sim.send(chain.devices[0], wire::piece(&packet, range, id));
            }
        };
        // Early pieces that clash with each other; the first one then releases nothing and does not pass.
        send(1, &[(600, 1200), (592, 1200), (0, 600)]);
        // What clashes with a first piece that has passed does not follow it, nor does anything after.
        send(2, &[(0, 600), (592, 1200), (600, 1200)]);
        chain.sim.run_secs(1);
        assert_eq!(chain.sim.host(chain.users[0]).inbox.len() - had, 1);
        assert_undisturbed(chain, connection);
    }
}

#[test]
fn p05_extension_headers_neither_hide_a_port_nor_reroute_a_packet() {
    const OPTIONS: (u8, &[u8]) = (60, &[1, 4, 0, 0, 0, 0]);
    const HOP_BY_HOP: (u8, &[u8]) = (0, &[1, 4, 0, 0, 0, 0]);
    let routing = |kind, left| -> [u8; 6] { [kind, left, 0, 0, 0, 0] };
    let (mut chain, connection) = at_work();
    let from = address(names::client(1, false), 5001);
    let allowed = wire::udp(&wire::ends(from, names::dns(0, false)), b"?");
    let hidden = wire::udp(&wire::ends(from, address(names::target(0, false), 54)), b"?");
    let had = chain.sim.host(chain.devices[0]).inbox.len();
    let before = chain.sim.node(chain.router).counters().clone();
    let refused = [
        wire::with_extensions(&hidden, &[OPTIONS]),
        wire::with_extensions(&hidden, &[OPTIONS; 8]),
        wire::with_extensions(&allowed, &[OPTIONS; 9]),
        wire::with_extensions(&allowed, &[OPTIONS, HOP_BY_HOP]),
        wire::with_extensions(&allowed, &[(43, &routing(0, 0))]),
        wire::with_extensions(&allowed, &[(43, &routing(0, 1))]),
        wire::with_extensions(&allowed, &[(43, &routing(4, 1))]),
        // An unknown protocol in front of the ports: a rule with ports does not mean it.
        wire::with_extensions(&allowed, &[(253, OPTIONS.1)]),
    ];
    for packet in &refused {
        chain.sim.send(chain.users[ATTACKER], packet.clone());
    }
    chain.sim.run_secs(1);
    assert_eq!(chain.sim.host(chain.devices[0]).inbox.len(), had);
    let after = chain.sim.node(chain.router).counters();
    let more = |reason| after.dropped(reason) - before.dropped(reason);
    assert_eq!((more(DropReason::NotAllowed), more(DropReason::RoutingHeader)), (3, 3));
    assert_eq!(more(DropReason::ExtensionChain), 2);
    for packet in [
        wire::with_extensions(&allowed, &[HOP_BY_HOP, OPTIONS]),
        wire::with_extensions(&allowed, &[OPTIONS; 8]),
    ] {
        chain.sim.send(chain.users[ATTACKER], packet);
    }
    chain.sim.run_secs(1);
    assert_eq!(chain.sim.host(chain.devices[0]).inbox.len() - had, 2, "what is not hidden passes");
    assert_undisturbed(chain, connection);
}

#[test]
fn p33_a_client_reaches_no_overlay_address_but_the_routers_own_ping() {
    for is_v4 in [true, false] {
        let (mut chain, connection) = at_work();
        let me = names::client(1, is_v4);
        let forwarded = chain.sim.node(chain.router).counters().forwarded_packets;
        let had = [chain.users[0], chain.devices[0]].map(|host| chain.sim.host(host).inbox.len());
        for to in [names::overlay(1, is_v4), names::overlay(2, is_v4), names::client(0, is_v4)] {
            for port in [22, 53, 5000, 40_000, 40_001, 51_820] {
                let ends = wire::ends(address(me, 5001), address(to, port));
                chain.sim.send(chain.users[ATTACKER], wire::udp(&ends, b"?"));
                let syn =
                    Segment { flags: TcpFlags::SYN, sequence: 1, acknowledgment: 0, window: 9, mss: None };
                chain.sim.send(chain.users[ATTACKER], wire::tcp(&ends, &syn, b""));
            }
            chain.sim.send_ping(chain.users[ATTACKER], to, 9, 1);
        }
        chain.sim.run_secs(1);
        assert_eq!(chain.sim.node(chain.router).counters().forwarded_packets, forwarded);
        assert_eq!([chain.users[0], chain.devices[0]].map(|host| chain.sim.host(host).inbox.len()), had);
        assert_eq!(chain.sim.host(chain.users[ATTACKER]).pongs(), [(names::overlay(1, is_v4), 9)]);
        assert_undisturbed(chain, connection);
    }
}

#[test]
fn p02_what_one_client_may_reach_another_may_not_whatever_it_sends() {
    let mut chain = Sim::chain().clients(2).start();
    for is_v4 in [true, false] {
        assert!(chain.sim.close_session(chain.router, router_core::sim::Chain::session(1, 0, is_v4)));
    }
    for is_v4 in [true, false] {
        chain.sim.connect(chain.users[0], 41_000, names::ssh(0, is_v4));
        chain.sim.send_udp(chain.users[0], 5000, names::dns(0, is_v4), b"query");
        chain.sim.run_secs(1);
        let had = chain.sim.host(chain.devices[0]).inbox.len();
        let me = names::client(1, is_v4);
        for flags in 0..64 {
            let header =
                Segment { flags: TcpFlags(flags), sequence: 1, acknowledgment: 1, window: 9, mss: None };
            let ends = wire::ends(address(me, 41_000), names::ssh(0, is_v4));
            chain.sim.send(chain.users[ATTACKER], wire::tcp(&ends, &header, b"x"));
        }
        for to in [names::dns(0, is_v4), address(names::network(0, 10, is_v4), 53)] {
            let whole = wire::udp(&wire::ends(address(me, 5000), to), &pattern(792));
            for range in [(400, 800, true), (0, 400, false)] {
                let range = PieceRange { start: range.0, end: range.1, is_last: range.2 };
                chain.sim.send(chain.users[ATTACKER], wire::piece(&whole, range, 3));
            }
            chain.sim.send(chain.users[ATTACKER], whole);
        }
        chain.sim.send_ping(chain.users[ATTACKER], names::device(0, is_v4), 5, 1);
        chain.sim.run_secs(20);
        assert_eq!(chain.sim.host(chain.devices[0]).inbox.len(), had);
        assert_eq!(chain.sim.host(chain.users[ATTACKER]).pongs(), []);
    }
    assert_both(&chain.sim);
}

#[test]
fn p09_resets_in_the_window_but_not_exact_neither_end_nor_shorten_a_connection() {
    let (mut chain, connection) = at_work();
    let (expected, next) = chain.sim.connection(connection).numbers();
    let device = address(names::lan(10, true), 22);
    let egress = address(names::lan(200, true), 41_000);
    // The client hears them and asks its device whether it meant it (RFC 5961 section 3.2): that is its own affair.
    for further in [1, 2, 9, 1000, 30_000] {
        let sequence = expected.wrapping_add(further);
        let header = Segment { flags: TcpFlags::RST, sequence, acknowledgment: next, window: 9, mss: None };
        chain.sim.send(chain.devices[0], wire::tcp(&wire::ends(device, egress), &header, b""));
    }
    // Longer than either node would remember a connection that was reset.
    chain.sim.run_secs(900);
    assert_undisturbed(chain, connection);
}
