//! A router whose TUN leads out: clients reach servers behind it, clients of another gateway come in by it, and strangers
//! beside them get nowhere (spec: security, actors A0 and A3).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::common::{assert_both, dropped, pattern};
use router_core::packet::TcpFlags;
use router_core::sim::wire::{self, Segment};
use router_core::sim::{Gateway, GatewaySession, HostId, Sim, TcpEnd, names};
use router_core::{DropReason, sim};

fn at(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}

/// The three ways through a gateway: who opens, and to whom.
fn ways(gateway: &Gateway, is_v4: bool) -> [(HostId, IpAddr, HostId); 3] {
    let server = Gateway::server_at(0, is_v4).ip();
    [
        (gateway.user, server, gateway.server),
        (gateway.foreign, server, gateway.server),
        (gateway.foreign, names::client(0, is_v4), gateway.user),
    ]
}

fn inboxes(gateway: &Gateway) -> [usize; 3] {
    [gateway.user, gateway.server, gateway.foreign].map(|host| gateway.sim.host(host).inbox.len())
}

#[test]
fn every_way_through_works_by_tcp_udp_and_ping() {
    for is_v4 in [true, false] {
        let mut gateway = Sim::gateway().start();
        for (number, (from, to, _)) in (0..).zip(ways(&gateway, is_v4)) {
            let connection = gateway.sim.connect(from, 41_000 + number, at(to, 22));
            gateway.sim.write(connection, &pattern(20_000), true);
            gateway.sim.send_udp(from, 5000 + number, at(to, 53), b"query");
            gateway.sim.send_ping(from, to, 70 + number, 1);
            gateway.sim.run_secs(20);
            assert_eq!(gateway.sim.connection(connection).end(), Some(TcpEnd::Finished), "way {number}");
            assert!(gateway.sim.connection(connection).received == pattern(20_000));
            let answers = gateway.sim.host(from).datagrams(5000 + number);
            assert_eq!(answers, [(at(to, 53), b"query".to_vec())]);
            assert!(gateway.sim.host(from).pongs().contains(&(to, 70 + number)));
        }
        assert_both(&gateway.sim);
    }
}

#[test]
fn the_server_sees_the_egress_address_and_the_client_whom_it_speaks_to() {
    for is_v4 in [true, false] {
        let mut gateway = Sim::gateway().start();
        for (from, to, _) in ways(&gateway, is_v4) {
            gateway.sim.send_udp(from, 5000, at(to, 53), b"who am I?");
        }
        gateway.sim.run_secs(1);
        let sources = |host| -> Vec<IpAddr> {
            gateway.sim.host(host).datagrams(53).iter().map(|(from, _)| from.ip()).collect()
        };
        assert_eq!(sources(gateway.server), [names::lan(200, is_v4); 2]);
        assert_eq!(sources(gateway.user), [Gateway::foreign_address(is_v4)]);
        assert_both(&gateway.sim);
    }
}

#[test]
fn p02_strangers_on_the_tun_open_nothing_and_hear_nothing() {
    for is_v4 in [true, false] {
        let mut gateway = Sim::gateway().start();
        let (stranger, before) = (names::lan(66, is_v4), inboxes(&gateway));
        let targets = [
            names::client(0, is_v4),
            Gateway::server_at(0, is_v4).ip(),
            names::lan(200, is_v4),
            Gateway::foreign_address(is_v4),
        ];
        let from_tun = |gateway: &mut Gateway, packet| {
            gateway.sim.inject_inner(gateway.router, router_core::Ingress::Tun, packet)
        };
        for to in targets {
            let ends = wire::ends(at(stranger, 5000), at(to, 53));
            let header =
                Segment { flags: TcpFlags::SYN, sequence: 1, acknowledgment: 0, window: 9, mss: None };
            for packet in [
                wire::udp(&ends, b"?"),
                wire::tcp(&ends, &header, b""),
                wire::ping(&ends.addresses, 7, 1, b"?"),
                wire::pong(&ends.addresses, 7, 1, b"?"),
            ] {
                let verdict = from_tun(&mut gateway, packet);
                assert_eq!(verdict, router_core::Verdict::Drop(DropReason::NoFlow), "{to}");
            }
        }
        gateway.sim.run_secs(1);
        assert_eq!(inboxes(&gateway), before);
        assert_eq!(gateway.sim.host(gateway.stranger).inbox.len(), 0);
        assert_both(&gateway.sim);
    }
}

#[test]
fn p01_nobody_on_the_tun_is_a_client_with_a_tunnel_or_the_router() {
    for is_v4 in [true, false] {
        let mut gateway = Sim::gateway().start();
        for (from, to, _) in ways(&gateway, is_v4) {
            gateway.sim.send_udp(from, 5000, at(to, 53), b"query");
        }
        gateway.sim.run_secs(1);
        let before = inboxes(&gateway);
        for (source, reason) in [
            (names::client(0, is_v4), DropReason::SourceNotAssigned),
            (names::overlay(1, is_v4), DropReason::SourceIsOurs),
            (names::lan(200, is_v4), DropReason::SourceIsOurs),
        ] {
            let had = dropped(&gateway.sim, gateway.router, reason);
            for to in [Gateway::server_at(0, is_v4).ip(), names::client(0, is_v4), names::lan(200, is_v4)] {
                let packet = wire::udp(&wire::ends(at(source, 5000), at(to, 53)), b"spoofed");
                gateway.sim.inject_inner(gateway.router, router_core::Ingress::Tun, packet);
            }
            assert_eq!(dropped(&gateway.sim, gateway.router, reason) - had, 3, "{source}");
        }
        // And a client is nobody of the TUN's.
        let client = gateway.sim.peer(gateway.router, gateway.client);
        let ends = wire::ends(at(Gateway::foreign_address(is_v4), 5000), Gateway::server_at(53, is_v4));
        let verdict = gateway.sim.inject_inner(
            gateway.router,
            router_core::Ingress::Peer(client),
            wire::udp(&ends, b"spoofed"),
        );
        assert_eq!(verdict, router_core::Verdict::Drop(DropReason::SourceNotAssigned));
        gateway.sim.run_secs(1);
        assert_eq!(inboxes(&gateway), before);
        assert_both(&gateway.sim);
    }
}

#[test]
fn p33_the_tun_reaches_no_overlay_address_not_even_by_an_answer() {
    for is_v4 in [true, false] {
        let mut gateway = Sim::gateway().start();
        gateway.sim.send_ping(gateway.user, names::overlay(1, is_v4), 7, 1);
        gateway.sim.run_secs(1);
        assert_eq!(gateway.sim.host(gateway.user).pongs().len(), 1, "through the tunnel it answers");
        let overlay = names::overlay(1, is_v4);
        let senders =
            [names::lan(66, is_v4), Gateway::foreign_address(is_v4), Gateway::server_at(0, is_v4).ip()];
        for (number, from) in (1..).zip(senders) {
            let ends = wire::ends(at(from, 53), at(overlay, 5000));
            gateway.sim.inject_inner(gateway.router, router_core::Ingress::Tun, wire::udp(&ends, b"?"));
            let ping = wire::ping(&ends.addresses, 7, 1, b"?");
            gateway.sim.inject_inner(gateway.router, router_core::Ingress::Tun, ping);
            let reason = DropReason::OverlayAddressOutsideTunnel;
            assert_eq!(dropped(&gateway.sim, gateway.router, reason), 2 * number);
        }
        gateway.sim.run_secs(1);
        assert_eq!(gateway.sim.host(gateway.foreign).inbox.len(), 0);
        assert_both(&gateway.sim);
    }
}

#[test]
fn p07_p08_answers_of_flows_with_one_port_towards_one_server_never_cross() {
    for is_v4 in [true, false] {
        let mut gateway = Sim::gateway().start();
        for round in 0..20_u8 {
            for (number, host) in [(0, gateway.user), (1, gateway.foreign)] {
                gateway.sim.send_udp(host, 5000, Gateway::server_at(53, is_v4), &[round, number]);
            }
            gateway.sim.run_for(Duration::from_millis(100));
        }
        for (number, host) in [(0, gateway.user), (1, gateway.foreign)] {
            let heard = gateway.sim.host(host).datagrams(5000);
            assert_eq!(heard.len(), 20);
            assert!(heard.iter().all(|(_, payload)| payload[1] == number));
        }
        let outside = gateway.sim.host(gateway.server).datagrams(53);
        let ports: std::collections::BTreeSet<_> = outside.iter().map(|(from, _)| from.port()).collect();
        assert_eq!(ports.len(), 2, "P7: two tuples");
        assert_both(&gateway.sim);
    }
}

#[test]
fn p15_no_way_through_is_left_when_its_session_has_ended() {
    let sessions =
        [GatewaySession::ClientToServer, GatewaySession::ForeignToServer, GatewaySession::ForeignToClient];
    for is_v4 in [true, false] {
        for (way, ended) in sessions.into_iter().enumerate() {
            let mut gateway = Sim::gateway().start();
            let mut connections: Vec<sim::ConnectionId> = Vec::new();
            for (number, (from, to, _)) in (0..).zip(ways(&gateway, is_v4)) {
                connections.push(gateway.sim.connect(from, 41_000 + number, at(to, 22)));
                gateway.sim.send_udp(from, 5000 + number, at(to, 53), b"query");
            }
            gateway.sim.run_secs(1);
            assert!(gateway.sim.close_session(gateway.router, Gateway::session(ended, is_v4)));
            gateway.sim.run_secs(1);
            for (number, (from, to, _)) in (0..).zip(ways(&gateway, is_v4)) {
                gateway.sim.send_udp(from, 5000 + number, at(to, 53), b"again");
                gateway.sim.write(connections[usize::from(number)], b"data", true);
                gateway.sim.run_secs(5);
                let is_left = usize::from(number) != way;
                let end = if is_left { TcpEnd::Finished } else { TcpEnd::Reset };
                assert_eq!(gateway.sim.connection(connections[usize::from(number)]).end(), Some(end));
                let heard = gateway.sim.host(from).datagrams(5000 + number).len();
                assert_eq!(heard, 1 + usize::from(is_left), "{ended:?}, way {number}");
            }
            assert_both(&gateway.sim);
        }
    }
}
