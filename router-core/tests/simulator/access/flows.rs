//! A new flow opens exactly if an active session of its sender selects its first packet.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::plant::{CLIENTS, CONNECTORS, Plant};
use crate::common::{assert_both, for_seeds, pattern};
use router_core::access::{FirstPacket, Passage, Quotas, explain};
use router_core::packet::{Protocol, TcpFlags};
use router_core::rules::SessionId;
use router_core::sim::wire::{self, Segment};
use router_core::sim::{StationId, TcpEnd, names};
use router_core::{Egress, Ingress, Verdict};

const DEEDS: u32 = 150;

/// A packet that opens a flow, if it may.
#[derive(Debug, Clone, Copy)]
struct Probe {
    from: StationId,
    source: SocketAddr,
    destination: SocketAddr,
    protocol: Protocol,
}

impl Probe {
    fn packet(&self) -> Vec<u8> {
        let ends = wire::ends(self.source, self.destination);
        let (from, to) = (self.source.ip(), self.destination.ip());
        match self.protocol {
            Protocol::TCP => {
                let flags = TcpFlags::SYN;
                let syn = Segment { flags, sequence: 1000, acknowledgment: 0, window: 8192, mss: None };
                wire::tcp(&ends, &syn, b"")
            }
            Protocol::UDP => wire::udp(&ends, b"probe"),
            _ => wire::ping(&wire::addresses(from, to), self.source.port(), 1, b"probe"),
        }
    }

    /// What selectors compare.
    fn port(&self) -> u16 {
        if self.protocol.is_tcp_or_udp() { self.destination.port() } else { 0 }
    }
}

/// Each probe has a source port of its own, so it belongs to no flow that there is.
fn probe(plant: &mut Plant, number: u16) -> Probe {
    let clients = plant.chain.clients.clone();
    let connectors = plant.chain.connectors.clone();
    let random = plant.chain.sim.random();
    let is_v4 = random.chance(0.5);
    let sender = random.below(u32::from(CLIENTS)) as u8;
    let connector = random.below(u32::from(CONNECTORS)) as u8;
    let from = match random.below(10) {
        0 => connectors[usize::from(connector)],
        1 => clients[usize::from(1 - sender)],
        _ => clients[usize::from(sender)],
    };
    let host: IpAddr = match random.below(8) {
        0 => names::network(connector, 10, is_v4),
        1 => names::network(connector, random.below(256) as u8, is_v4),
        2 => names::between(connector, 10, is_v4),
        3 => names::client(1 - sender, is_v4),
        _ => names::target(connector, is_v4),
    };
    let port = [22, 22, 53, 80][random.below(4) as usize];
    let ping = if is_v4 { Protocol::ICMP } else { Protocol::ICMPV6 };
    let protocol = [Protocol::TCP, Protocol::UDP, ping][random.below(3) as usize];
    Probe {
        from,
        source: SocketAddr::new(names::client(sender, is_v4), 20_000 + number),
        destination: SocketAddr::new(host, port),
        protocol,
    }
}

/// What has to become of it, found without rules: by asking each session that the router has been told of.
fn must_pass(plant: &Plant, probe: &Probe) -> bool {
    let at = plant.unix();
    let is_of_sender = |client: u8| {
        plant.chain.clients[usize::from(client)] == probe.from
            && [true, false].map(|is_v4| names::client(client, is_v4)).contains(&probe.source.ip())
    };
    let selects = |id: &SessionId| {
        let session = plant.session(*id);
        let is_alive = session.expires.is_none_or(|end| at < end.at);
        let to = &session.target.destinations;
        is_alive
            && session.client_ip == probe.source.ip()
            && to.selecting(probe.destination.ip(), probe.protocol, probe.port()).is_some()
    };
    (0..CLIENTS).any(is_of_sender) && plant.at_router.iter().any(selects)
}

fn send(plant: &mut Plant, probe: &Probe) -> Verdict {
    let router = plant.chain.router;
    let peer = plant.chain.sim.peer(router, probe.from);
    plant.chain.sim.inject_inner(router, Ingress::Peer(peer), probe.packet())
}

/// Policy's own explanation says nothing else than what happens.
fn assert_explained(plant: &Plant, probe: &Probe, passes: bool) {
    let packet = FirstPacket {
        client_ip: probe.source.ip(),
        destination: probe.destination.ip(),
        protocol: probe.protocol,
        port: probe.port(),
    };
    let Some(client) = (0..CLIENTS).find(|client| plant.chain.clients[usize::from(*client)] == probe.from)
    else {
        return;
    };
    if [true, false].iter().all(|is_v4| names::client(client, *is_v4) != packet.client_ip) {
        return;
    }
    let quotas = Quotas::default();
    let facts = plant.facts(client, None, &quotas);
    let explanation = explain(&packet, &facts, &plant.targets, &[], plant.unix());
    match explanation.passage {
        Passage::Allowed { session, .. } => assert!(passes && plant.is_active(session), "{probe:?}"),
        Passage::NotAllowed => assert!(!passes, "{probe:?}"),
        // On its way to the router, or back.
        Passage::Pending { .. } | Passage::Ending { .. } => {}
    }
}

#[test]
fn a_new_flow_opens_exactly_if_an_active_session_of_its_sender_selects_its_first_packet() {
    for_seeds(12, |seed| {
        let mut plant = Plant::new(seed);
        let (mut passed, mut refused) = (0, 0);
        for number in 0..DEEDS as u16 {
            let random = plant.chain.sim.random();
            let pick = |random: &mut router_core::sim::Random, count: usize| {
                random.below(count.max(1) as u32) as usize
            };
            match random.below(12) {
                0..=2 => {
                    let (client, is_v4) = (random.below(u32::from(CLIENTS)) as u8, random.chance(0.5));
                    let kind = ["services", "network", "ssh"][random.below(3) as usize];
                    let target = format!("{kind}-{}", random.below(u32::from(CONNECTORS)));
                    let secs = random.chance(0.3).then(|| 1 + random.below(20));
                    let _ = plant.open(client, is_v4, &target, secs);
                }
                3 => {
                    let place = pick(random, plant.sessions.len());
                    if let Some(id) = plant.sessions.get(place).map(|session| session.id) {
                        plant.end(id);
                    }
                }
                4..=6 => {
                    let place = pick(random, plant.sessions.len());
                    if let Some(id) = plant.sessions.get(place).map(|session| session.id) {
                        plant.deliver(id);
                    }
                }
                7 => {
                    let wait = Duration::from_millis(u64::from(random.below(4000)));
                    plant.chain.sim.run_for(wait);
                    plant.end_expired();
                }
                _ => {
                    let probe = probe(&mut plant, number);
                    let expected = must_pass(&plant, &probe);
                    let verdict = send(&mut plant, &probe);
                    let passes = matches!(verdict, Verdict::Forward(_));
                    assert_eq!(passes, expected, "{probe:?}: {verdict:?}");
                    assert_explained(&plant, &probe, passes);
                    *if passes { &mut passed } else { &mut refused } += 1;
                }
            }
        }
        assert!(passed > 0 && refused > 0, "{passed} passed, {refused} refused");
        assert_both(&plant.chain.sim);
    });
}

#[test]
fn a_service_behind_a_connector_is_reached_by_its_session_over_either_ip_version() {
    for is_v4 in [true, false] {
        let mut plant = Plant::new(1);
        plant.open_now(0, is_v4, "services-1");
        let sent = pattern(20_000);
        let user = plant.chain.users[0];
        let connection = plant.chain.sim.connect(user, 41_000, names::ssh(1, is_v4));
        plant.chain.sim.write(connection, &sent, true);
        plant.chain.sim.send_udp(user, 5000, names::dns(1, is_v4), b"query");
        plant.chain.sim.run_secs(60);
        let ended = plant.chain.sim.connection(connection);
        assert_eq!(ended.end(), Some(TcpEnd::Finished));
        assert!(ended.received == sent);
        let answers = plant.chain.sim.host(user).datagrams(5000);
        assert_eq!(answers, [(names::dns(1, is_v4), b"query".to_vec())]);
        assert_both(&plant.chain.sim);
    }
}

#[test]
fn each_destination_leaves_through_its_own_connector() {
    let mut plant = Plant::new(1);
    for (connector, kind) in [(0, "services"), (1, "services"), (1, "network")] {
        plant.open_now(0, true, &format!("{kind}-{connector}"));
    }
    let (router, client) = (plant.chain.router, plant.chain.clients[0]);
    for (number, (connector, host)) in
        [(0, names::target(0, true)), (1, names::target(1, true)), (1, names::network(1, 77, true))]
            .into_iter()
            .enumerate()
    {
        let probe = Probe {
            from: client,
            source: SocketAddr::new(names::client(0, true), 30_000 + number as u16),
            destination: SocketAddr::new(host, 22),
            protocol: Protocol::TCP,
        };
        let Verdict::Forward(forward) = send(&mut plant, &probe) else { panic!("{probe:?}") };
        let station = plant.chain.connectors[connector];
        assert_eq!(forward.egress, Egress::Peer(plant.chain.sim.peer(router, station)));
    }
    assert_both(&plant.chain.sim);
}

#[test]
fn an_exclusive_session_keeps_the_other_user_out_until_the_router_has_removed_it() {
    let mut plant = Plant::new(1);
    let first = plant.open_now(0, true, "ssh-0");
    assert_eq!(plant.open(1, true, "ssh-0", None).unwrap_err().code(), "others-present");
    assert_eq!(plant.open(1, true, "services-0", None).unwrap_err().code(), "target-in-exclusive-use");
    plant.end(first);
    assert_eq!(plant.open(1, true, "services-0", None).unwrap_err().code(), "target-in-exclusive-use");
    plant.deliver(first);
    plant.open_now(1, true, "services-0");
    let (theirs, ours) = (plant.chain.users[0], plant.chain.users[1]);
    for user in [theirs, ours] {
        plant.chain.sim.send_udp(user, 5000, names::dns(0, true), b"query");
    }
    plant.chain.sim.run_secs(1);
    let answers = |user| plant.chain.sim.host(user).datagrams(5000).len();
    assert_eq!((answers(theirs), answers(ours)), (0, 1));
}
