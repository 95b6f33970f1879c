//! What a session's end cuts off, wherever its flows stand. P15, P16.

use std::net::SocketAddr;
use std::time::Duration;

use super::plant::Plant;
use crate::common::assert_both;
use router_core::rules::SessionId;
use router_core::sim::wire::{self, PieceRange};
use router_core::sim::{ConnectionId, TcpEnd, TcpStage, names};
use router_core::{Ingress, Verdict};

/// A user with a session over this IP version, at work through it.
fn at_work(is_v4: bool) -> (Plant, SessionId, ConnectionId) {
    let mut plant = Plant::new(3);
    let id = plant.open_now(0, is_v4, "services-0");
    let user = plant.chain.users[0];
    let connection = plant.chain.sim.connect(user, 41_000, names::ssh(0, is_v4));
    plant.chain.sim.write(connection, b"before", false);
    plant.chain.sim.send_udp(user, 5000, names::dns(0, is_v4), b"before");
    plant.chain.sim.run_secs(1);
    assert_eq!(plant.chain.sim.connection(connection).received, b"before");
    assert_eq!(plant.chain.sim.host(user).datagrams(5000).len(), 1);
    (plant, id, connection)
}

fn forwarded(plant: &Plant) -> u64 {
    plant.chain.sim.node(plant.chain.router).counters().forwarded_packets
}

/// Everything that the user sends is in vain.
fn assert_cut(plant: &mut Plant, connection: ConnectionId, is_v4: bool) {
    let before = forwarded(plant);
    let user = plant.chain.users[0];
    plant.chain.sim.write(connection, b"after", false);
    plant.chain.sim.send_udp(user, 5000, names::dns(0, is_v4), b"after");
    plant.chain.sim.send_udp(user, 5001, names::dns(0, is_v4), b"after");
    let again = plant.chain.sim.connect(user, 41_001, names::ssh(0, is_v4));
    plant.chain.sim.run_secs(5);
    assert_eq!(forwarded(plant), before);
    assert_ne!(plant.chain.sim.connection(again).stage, TcpStage::Open);
    assert_eq!(plant.chain.sim.host(user).datagrams(5000).len(), 1);
    assert_eq!(plant.chain.sim.host(user).datagrams(5001).len(), 0);
    assert_both(&plant.chain.sim);
}

#[test]
fn p15_a_revoked_session_is_cut_in_the_middle_and_both_ends_of_tcp_learn_it() {
    for is_v4 in [true, false] {
        let (mut plant, id, connection) = at_work(is_v4);
        plant.end(id);
        plant.deliver(id);
        plant.chain.sim.run_secs(1);
        assert_eq!(plant.chain.sim.connection(connection).end(), Some(TcpEnd::Reset));
        let device = &plant.chain.sim.host(plant.chain.devices[0]).connections[0];
        assert_eq!((device.end(), &*device.received), (Some(TcpEnd::Reset), &b"before"[..]));
        assert_cut(&mut plant, connection, is_v4);
    }
}

#[test]
fn p15_one_session_is_cut_and_the_others_go_on() {
    let (mut plant, id, _) = at_work(true);
    let others = [plant.open_now(0, false, "services-0"), plant.open_now(1, true, "services-0")];
    plant.end(id);
    plant.deliver(id);
    let (user, other) = (plant.chain.users[0], plant.chain.users[1]);
    plant.chain.sim.send_udp(user, 6000, names::dns(0, false), b"query");
    plant.chain.sim.send_udp(other, 6000, names::dns(0, true), b"query");
    plant.chain.sim.run_secs(1);
    for user in [user, other] {
        assert_eq!(plant.chain.sim.host(user).datagrams(6000).len(), 1);
    }
    assert!(others.into_iter().all(|id| plant.is_active(id)));
    assert_both(&plant.chain.sim);
}

#[test]
fn p15_a_handshake_on_its_way_is_not_finished() {
    for is_v4 in [true, false] {
        let mut plant = Plant::new(3);
        let id = plant.open_now(0, is_v4, "services-0");
        let connection = plant.chain.sim.connect(plant.chain.users[0], 41_000, names::ssh(0, is_v4));
        // Ten milliseconds to the router and ten on to the connector: the SYN has passed, its answer has not.
        plant.chain.sim.run_for(Duration::from_millis(25));
        assert_eq!(forwarded(&plant), 1);
        plant.end(id);
        plant.deliver(id);
        plant.chain.sim.run_secs(5);
        assert_ne!(plant.chain.sim.connection(connection).stage, TcpStage::Open);
        assert_eq!(forwarded(&plant), 1);
        assert_both(&plant.chain.sim);
    }
}

#[test]
fn p15_the_rest_of_a_datagram_in_pieces_does_not_pass() {
    for is_v4 in [true, false] {
        let (mut plant, id, _) = at_work(is_v4);
        let (router, client) = (plant.chain.router, plant.chain.clients[0]);
        let ingress = Ingress::Peer(plant.chain.sim.peer(router, client));
        let source = SocketAddr::new(names::client(0, is_v4), 5002);
        let datagram = wire::udp(&wire::ends(source, names::dns(0, is_v4)), &[7; 2000]);
        let last = (datagram.len() - wire::header_len(&datagram)) as u16;
        let send = |plant: &mut Plant, start, end| {
            let range = PieceRange { start, end, is_last: end == last };
            let verdict = plant.chain.sim.inject_inner(router, ingress, wire::piece(&datagram, range, 99));
            matches!(verdict, Verdict::Forward(_))
        };
        assert!(send(&mut plant, 0, 800) && send(&mut plant, 800, 1200));
        plant.end(id);
        plant.deliver(id);
        assert!(!send(&mut plant, 1200, 1600) && !send(&mut plant, 1600, last));
        plant.chain.sim.run_secs(1);
        plant.chain.sim.assert_forwarded_was_allowed();
    }
}

#[test]
fn p16_a_router_ends_a_session_at_its_end_without_being_told() {
    for is_v4 in [true, false] {
        let mut plant = Plant::new(3);
        let id = plant.open(0, is_v4, "services-0", Some(10)).unwrap();
        plant.deliver(id);
        let user = plant.chain.users[0];
        let connection = plant.chain.sim.connect(user, 41_000, names::ssh(0, is_v4));
        plant.chain.sim.write(connection, b"before", false);
        plant.chain.sim.send_udp(user, 5000, names::dns(0, is_v4), b"before");
        plant.chain.sim.run_for(Duration::from_millis(9_900));
        assert_eq!(plant.chain.sim.connection(connection).received, b"before");
        // What the router resets at the end is not forwarded; a connection hears of it.
        plant.chain.sim.run_for(Duration::from_millis(300));
        assert_eq!(plant.chain.sim.connection(connection).end(), Some(TcpEnd::Reset));
        assert_cut(&mut plant, connection, is_v4);
    }
}
