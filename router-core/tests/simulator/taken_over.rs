//! A connector that somebody has taken over: it has the keys of its tunnel and sends through it what it likes, beside users
//! of it and of another connector, who must not notice (spec: security, actor A2).

use std::net::{IpAddr, SocketAddr};

use crate::common::{assert_both, pattern};
use router_core::packet::{Echo, PacketMut, TcpFlags, Transport};
use router_core::sim::wire::{self, PieceRange, Segment};
use router_core::sim::{Chain, ConnectionId, HostId, Sim, TcpEnd, names};
use router_core::{DropReason, Ingress, Verdict};

/// The second connector is taken over.
const LIAR: u8 = 1;

/// Two clients, who speak to both connectors' devices.
struct Site {
    chain: Chain,
    /// Of the first client: to the honest connector's device.
    connection: ConnectionId,
}

impl Site {
    fn new() -> Site {
        let mut chain = Sim::chain().clients(2).connectors(2).start();
        let connection = chain.sim.connect(chain.users[0], 41_000, names::ssh(0, true));
        chain.sim.write(connection, b"before", false);
        for is_v4 in [true, false] {
            for user in [0, 1] {
                chain.sim.send_udp(chain.users[user], 5000, names::dns(0, is_v4), b"query");
                chain.sim.send_ping(chain.users[user], names::device(0, is_v4), 77, 1);
            }
        }
        chain.sim.run_secs(1);
        Site { chain, connection }
    }

    /// Through the liar's tunnel.
    fn lie(&mut self, packet: Vec<u8>) -> Verdict {
        let liar = self.chain.sim.peer(self.chain.router, self.chain.connectors[usize::from(LIAR)]);
        self.chain.sim.inject_inner(self.chain.router, Ingress::Peer(liar), packet)
    }

    #[track_caller]
    fn lie_in_vain(&mut self, packet: Vec<u8>) -> Verdict {
        let verdict = self.lie(packet.clone());
        assert!(matches!(verdict, Verdict::Drop(_) | Verdict::Reply), "{verdict:?} for {packet:02x?}");
        verdict
    }

    fn heard(&self) -> [usize; 2] {
        [0, 1].map(|user: usize| self.chain.sim.host(self.chain.users[user]).inbox.len())
    }

    /// Both clients go on.
    fn assert_undisturbed(mut self) {
        self.chain.sim.write(self.connection, &pattern(20_000), true);
        self.chain.sim.run_secs(20);
        let connection = self.chain.sim.connection(self.connection);
        assert_eq!(connection.end(), Some(TcpEnd::Finished));
        assert_eq!(connection.received.len(), b"before".len() + 20_000);
        for user in [0, 1] {
            let (sim, host) = (&mut self.chain.sim, self.chain.users[user]);
            let had = sim.host(host).datagrams(5000).len();
            sim.send_udp(host, 5000, names::dns(0, true), b"query");
            sim.send_udp(host, 5000, names::dns(LIAR, false), b"query");
            sim.run_secs(1);
            assert_eq!(sim.host(host).datagrams(5000).len() - had, 2);
        }
        assert_both(&self.chain.sim);
    }
}

fn at(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}

fn segment(from: SocketAddr, to: SocketAddr, flags: TcpFlags, numbers: (u32, u32)) -> Vec<u8> {
    let (sequence, acknowledgment) = numbers;
    let header = Segment { flags, sequence, acknowledgment, window: 9, mss: None };
    wire::tcp(&wire::ends(from, to), &header, b"")
}

#[test]
fn p01_it_cannot_send_from_anybody_elses_address() {
    let mut site = Site::new();
    let heard = site.heard();
    for is_v4 in [true, false] {
        let others = [
            (names::client(0, is_v4), DropReason::SourceNotAssigned),
            (names::client(1, is_v4), DropReason::SourceNotAssigned),
            (names::overlay(2, is_v4), DropReason::SourceNotAssigned),
            (names::between(0, 10, is_v4), DropReason::SourceNotAssigned),
            (names::lan(10, is_v4), DropReason::SourceNotAssigned),
            (names::target(0, is_v4), DropReason::SourceNotAssigned),
            (names::overlay(1, is_v4), DropReason::SourceIsOurs),
        ];
        for (source, reason) in others {
            for to in [names::overlay(1, is_v4), names::client(0, is_v4), names::target(0, is_v4)] {
                let ends = wire::ends(at(source, 40_001), at(to, 5000));
                for packet in [
                    wire::udp(&ends, b"spoofed"),
                    segment(at(source, 40_000), at(to, 41_000), TcpFlags::RST, (1, 1)),
                    wire::pong(&ends.addresses, 77, 1, b"spoofed"),
                    wire::icmp(&ends.addresses, 3, 1, [0; 4], &wire::udp(&ends.reversed(), b"query")),
                ] {
                    assert_eq!(site.lie(packet), Verdict::Drop(reason), "{source} to {to}");
                }
            }
        }
    }
    site.chain.sim.run_secs(1);
    assert_eq!(site.heard(), heard);
    site.assert_undisturbed();
}

#[test]
fn p02_it_cannot_speak_to_a_client_that_has_not_asked() {
    let mut site = Site::new();
    let heard = site.heard();
    let forwarded = site.chain.sim.node(site.chain.router).counters().forwarded_packets;
    for is_v4 in [true, false] {
        for own in [names::overlay(2 + LIAR, is_v4), names::between(LIAR, 10, is_v4)] {
            for to in [names::client(0, is_v4), names::client(1, is_v4), names::overlay(1, is_v4)] {
                site.lie_in_vain(wire::udp(&wire::ends(at(own, 40_001), at(to, 5000)), b"hello"));
                site.lie_in_vain(wire::ping(&wire::addresses(own, to), 77, 1, b"hello"));
                site.lie_in_vain(wire::pong(&wire::addresses(own, to), 77, 1, b"hello"));
                for flags in 0..64 {
                    site.lie_in_vain(segment(at(own, 40_000), at(to, 41_000), TcpFlags(flags), (1, 1)));
                }
            }
        }
    }
    site.chain.sim.run_secs(1);
    assert_eq!(site.heard(), heard);
    assert_eq!(site.chain.sim.node(site.chain.router).counters().forwarded_packets, forwarded);
    site.assert_undisturbed();
}

#[test]
fn p08_it_finds_no_port_behind_which_another_connectors_flow_is() {
    let mut site = Site::new();
    let heard = site.heard();
    for is_v4 in [true, false] {
        let (own, router) = (names::overlay(2 + LIAR, is_v4), names::overlay(1, is_v4));
        for port in (1..=u16::MAX).step_by(13).chain([5000, 41_000, 77]) {
            for from in [40_000, 40_001, 53] {
                site.lie_in_vain(wire::udp(&wire::ends(at(own, from), at(router, port)), b"a lie"));
            }
            site.lie_in_vain(segment(at(own, 40_000), at(router, port), TcpFlags::ACK, (1, 1)));
            site.lie_in_vain(wire::pong(&wire::addresses(own, router), port, 1, b"a lie"));
        }
    }
    site.chain.sim.run_secs(1);
    assert_eq!(site.heard(), heard);
    site.assert_undisturbed();
}

#[test]
fn p09_it_cannot_end_a_connection_to_another_connector_with_the_right_numbers() {
    let mut site = Site::new();
    let heard = site.heard();
    let numbers = site.chain.sim.connection(site.connection).numbers();
    let (own, other, router) =
        (names::overlay(2 + LIAR, true), names::overlay(2, true), names::overlay(1, true));
    let fin = TcpFlags::FIN.with(TcpFlags::ACK);
    for from in [own, other, names::between(LIAR, 10, true), names::target(0, true)] {
        for to in [at(router, 41_000), at(names::client(0, true), 41_000)] {
            for flags in [TcpFlags::RST, TcpFlags::RST.with(TcpFlags::ACK), fin, TcpFlags::SYN] {
                for port in [40_000, 22] {
                    site.lie_in_vain(segment(at(from, port), to, flags, numbers));
                }
            }
        }
    }
    site.chain.sim.run_secs(1);
    assert_eq!(site.heard(), heard);
    site.assert_undisturbed();
}

#[test]
fn p06_errors_that_name_other_clients_flows_arrive_nowhere() {
    let mut site = Site::new();
    let heard = site.heard();
    let (_, next) = site.chain.sim.connection(site.connection).numbers();
    for is_v4 in [true, false] {
        let (router, honest) = (names::overlay(1, is_v4), names::overlay(2, is_v4));
        let outside = wire::ends(at(router, 5000), at(honest, 40_001));
        let inside = wire::ends(at(names::client(0, is_v4), 5000), names::dns(0, is_v4));
        let mut quotes = vec![wire::udp(&outside, b"query"), wire::udp(&inside, b"query")];
        quotes.push(wire::ping(&wire::addresses(router, names::between(0, 10, is_v4)), 77, 1, b"?"));
        if is_v4 {
            quotes.push(segment(at(router, 41_000), at(honest, 40_000), TcpFlags::ACK, (next - 1, 0)));
        }
        let kinds: &[(u8, u8)] =
            if is_v4 { &[(3, 1), (3, 4), (11, 0), (12, 0)] } else { &[(1, 4), (2, 0), (3, 0)] };
        for from in [names::overlay(2 + LIAR, is_v4), names::between(LIAR, 10, is_v4), honest] {
            for quote in &quotes {
                for (kind, code) in kinds {
                    for to in [router, names::client(0, is_v4)] {
                        let addresses = wire::addresses(from, to);
                        site.lie_in_vain(wire::icmp(&addresses, *kind, *code, 1300_u32.to_be_bytes(), quote));
                    }
                }
            }
        }
    }
    site.chain.sim.run_secs(1);
    assert_eq!(site.heard(), heard);
    site.assert_undisturbed();
}

#[test]
fn p15_answers_that_come_after_a_session_has_ended_go_nowhere() {
    let mut site = Site::new();
    for is_v4 in [true, false] {
        site.chain.sim.send_udp(site.chain.users[0], 5009, names::dns(LIAR, is_v4), b"query");
        site.chain.sim.run_secs(1);
        assert!(site.chain.sim.close_session(site.chain.router, Chain::session(0, LIAR, is_v4)));
        let heard = site.heard();
        let (own, router) = (names::overlay(2 + LIAR, is_v4), names::overlay(1, is_v4));
        let ends = wire::ends(at(own, 40_001), at(router, 5009));
        // The error first: any other packet makes the router forget the flow.
        let quote = wire::udp(&ends.reversed(), b"query");
        let (kind, code) = if is_v4 { (3, 3) } else { (1, 4) };
        site.lie_in_vain(wire::icmp(&ends.addresses, kind, code, [0; 4], &quote));
        let answer = wire::udp(&ends, &pattern(792));
        for range in [(400, 800, true), (0, 400, false)] {
            let range = PieceRange { start: range.0, end: range.1, is_last: range.2 };
            let verdict = site.lie(wire::piece(&answer, range, 3));
            assert!(!matches!(verdict, Verdict::Forward(_)));
        }
        site.lie_in_vain(answer);
        site.chain.sim.run_secs(20);
        assert_eq!(site.heard(), heard);
        let rule = site.chain.router_rules(&Chain::shape()).rules;
        let rule = rule.iter().find(|rule| rule.id == Chain::session(0, LIAR, is_v4)).expect("it had one");
        site.chain.sim.open_session(site.chain.router, rule);
    }
    site.assert_undisturbed();
}

#[test]
fn p03_random_bytes_and_random_headers_arrive_nowhere() {
    let mut site = Site::new();
    let heard = site.heard();
    let own = names::overlay(2 + LIAR, true);
    for number in 0..4000_u32 {
        let random = site.chain.sim.random();
        let len = random.below(200) as usize;
        let mut packet: Vec<u8> = (0..len).map(|_| random.below(256) as u8).collect();
        if number % 2 == 0 {
            // From the right place, of any protocol, with anything behind.
            let protocol = router_core::packet::Protocol(random.below(256) as u8);
            packet = wire::ip(&wire::addresses(own, names::overlay(1, true)), protocol, &packet);
        }
        let is_ping = is_ping(&packet);
        let verdict = site.lie(packet);
        assert!(
            !matches!(verdict, Verdict::Forward(_))
                && (verdict != Verdict::Reply || is_ping || number % 2 == 0)
        );
    }
    site.chain.sim.run_secs(1);
    assert_eq!(site.heard(), heard);
    site.assert_undisturbed();
}

fn is_ping(packet: &[u8]) -> bool {
    let mut packet = packet.to_vec();
    PacketMut::parse(&mut packet)
        .is_ok_and(|packet| matches!(packet.transport(), Transport::IcmpEcho { echo: Echo::Request, .. }))
}

#[test]
fn p27_a_flood_through_its_tunnel_leaves_others_their_work() {
    let mut site = Site::new();
    let own = names::overlay(2 + LIAR, true);
    let answers = site.chain.sim.node(site.chain.router).counters().answers;
    for number in 0..10_000_u16 {
        let ends = wire::ends(at(own, number), names::dns(0, true));
        site.lie_in_vain(wire::udp(&ends, b"flood"));
    }
    let given = site.chain.sim.node(site.chain.router).counters().answers - answers;
    assert!(given <= 60, "{given} answers to one source");
    assert!(site.chain.sim.node(site.chain.router).flows_used().0 < 20);
    let host: HostId = site.chain.devices[0];
    assert_eq!(site.chain.sim.host(host).datagrams(53).len(), 4);
    site.assert_undisturbed();
}
