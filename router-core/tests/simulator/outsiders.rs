//! Hosts of the Internet: they flood the router with handshakes, and send again what they have seen on its way, as it was
//! or changed, from their own addresses and from others' (spec: security, actor A0).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::common::{ATTACKER, assert_both, assert_undisturbed, at_work, handshakes};
use router_core::Event;
use router_core::sim::{Chain, Recorded, Sim, names};
use wg_proto::constants::REJECT_AFTER_TIME;
use wg_proto::{
    Device, DeviceConfig, Instant, MessageKind, PeerConfig, PrivateKey, QueueLoad, UnixTime, classify,
};

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

fn stranger(number: u16) -> SocketAddr {
    let [high, low] = number.to_be_bytes();
    SocketAddr::from(([198, 18, high, low], 1000 + number % 7))
}

#[test]
fn p14_a_flood_with_bad_mac1_is_met_with_silence_under_load_or_not() {
    for waiting in [0, 64] {
        let (mut chain, connection) = at_work();
        let router = chain.sim.station(chain.router).addr;
        chain.sim.station_mut(chain.router).load = QueueLoad { waiting, capacity: 64 };
        let completed = handshakes(&chain.sim, chain.router);
        let sent = chain.sim.datagrams;
        for number in 0..2000_u16 {
            let mut flood = initiation(&chain, (number % 50) as u8 + 1);
            let bit = chain.sim.random().below(128) as usize;
            flood[116 + bit / 8] ^= 1 << (bit % 8);
            let spoofed = chain.sim.station(chain.clients[0]).addr;
            let from = if number % 4 == 0 { spoofed } else { stranger(number) };
            chain.sim.inject(from, router, flood);
        }
        chain.sim.run_for(Duration::from_millis(10));
        assert_eq!(chain.sim.astray, 0, "an answer to a stranger");
        assert_eq!(handshakes(&chain.sim, chain.router), completed);
        assert_eq!(chain.sim.datagrams, sent);
        assert_undisturbed(chain, connection);
    }
}

#[test]
fn p13_a_flood_with_valid_mac1_gets_no_more_than_it_sends_and_only_under_load() {
    for waiting in [0, 64] {
        let (mut chain, connection) = at_work();
        let router = chain.sim.station(chain.router).addr;
        chain.sim.station_mut(chain.router).load = QueueLoad { waiting, capacity: 64 };
        let known = chain.sim.recorded.len();
        let agreements = |chain: &Chain| chain.sim.node(chain.router).device().counters().agreements;
        let before = agreements(&chain);
        for number in 0..2000_u16 {
            let flood = initiation(&chain, (number % 50) as u8 + 1);
            chain.sim.inject(stranger(number), router, flood);
        }
        chain.sim.run_for(Duration::from_millis(100));
        let answers = chain.sim.recorded.iter().skip(known).filter(|sent| sent.from == router);
        let to_strangers: Vec<_> =
            answers.filter(|sent| sent.to.ip().is_ipv4() && is_stranger(sent.to)).collect();
        assert!(to_strangers.iter().all(|sent| classify(&sent.bytes) == Ok(MessageKind::CookieReply)));
        assert!(to_strangers.len() <= 2000);
        if waiting > 0 {
            assert_eq!(agreements(&chain), before, "no agreement before a cookie comes back");
        }
        assert_eq!(
            to_strangers.is_empty(),
            waiting == 0,
            "strangers hear nothing, or that they are to come again"
        );
        assert_undisturbed(chain, connection);
    }
}

fn is_stranger(addr: SocketAddr) -> bool {
    matches!(addr.ip(), std::net::IpAddr::V4(ip) if ip.octets()[..2] == [198, 18])
}

/// What a run has sent so far, datagrams to all stations.
fn seen_so_far(chain: &Chain) -> Vec<Recorded> {
    chain.sim.recorded.iter().cloned().collect()
}

fn moves(chain: &Chain) -> usize {
    let moved = |event: &Event| matches!(event, Event::Device(wg_proto::Event::EndpointChanged { .. }));
    let stations = chain.clients.iter().chain(&chain.connectors).chain([&chain.router]);
    stations.map(|id| chain.sim.station(*id).events.iter().filter(|(_, event)| moved(event)).count()).sum()
}

/// What no stranger may change: handshakes done, places of peers, what hosts have got.
fn marks(chain: &Chain) -> (usize, usize, Vec<usize>) {
    let hosts = chain.users.iter().chain(&chain.devices);
    let stations = chain.clients.iter().chain(&chain.connectors).chain([&chain.router]);
    (
        stations.map(|id| handshakes(&chain.sim, *id)).sum(),
        moves(chain),
        hosts.map(|host| chain.sim.host(*host).inbox.len()).collect(),
    )
}

#[test]
fn p11_p12_replayed_datagrams_change_nothing_wherever_they_come_from() {
    let (mut chain, connection) = at_work();
    let (seen, before) = (seen_so_far(&chain), marks(&chain));
    assert!(seen.len() > 20);
    let replayed = chain.sim.station(chain.router).refused.replayed;
    for from_afar in [true, false] {
        for (number, sent) in (0..).zip(&seen) {
            let from = if from_afar { stranger(number) } else { sent.from };
            chain.sim.inject(from, sent.to, sent.bytes.clone());
        }
        chain.sim.run_for(Duration::from_millis(100));
        assert_eq!(marks(&chain), before);
        assert_eq!(chain.sim.astray, 0, "nothing goes to who replays");
    }
    assert!(chain.sim.station(chain.router).refused.replayed > replayed);
    assert_undisturbed(chain, connection);
}

#[test]
fn p11_p14_changed_datagrams_change_nothing_wherever_they_come_from() {
    let (mut chain, connection) = at_work();
    let (seen, before) = (seen_so_far(&chain), marks(&chain));
    for round in 0..8_u16 {
        for (number, sent) in (0..).zip(&seen) {
            let mut bytes = sent.bytes.clone();
            let len = bytes.len() as u32;
            match chain.sim.random().below(4) {
                0 => bytes.truncate(chain.sim.random().below(len) as usize),
                1 => bytes.push(round as u8),
                2 => bytes[4..].iter_mut().for_each(|byte| *byte ^= 0x55),
                _ => {
                    let bit = chain.sim.random().below(8 * len) as usize;
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
            }
            let from = if round % 2 == 0 { stranger(number) } else { sent.from };
            chain.sim.inject(from, sent.to, bytes);
        }
        chain.sim.run_for(Duration::from_millis(50));
    }
    assert_eq!(marks(&chain), before);
    assert_eq!(chain.sim.astray, 0, "nothing goes to who makes things up");
    assert_undisturbed(chain, connection);
}

/// Receiver and counter of each transport datagram, with when it was sent.
fn nonces(chain: &Chain) -> Vec<(SocketAddr, u32, u64, Instant)> {
    let nonce = |sent: &Recorded| match classify(&sent.bytes) {
        Ok(MessageKind::Transport { counter, .. }) => {
            let receiver = sent.bytes[4..8].try_into().expect("four bytes");
            Some((sent.to, u32::from_le_bytes(receiver), counter.get(), sent.at))
        }
        Ok(_) | Err(_) => None,
    };
    chain.sim.recorded.iter().filter_map(nonce).collect()
}

#[test]
fn p10_no_nonce_is_used_twice_over_many_sessions_and_a_network_that_loses() {
    let mut chain = Sim::chain().clients(2).loss(0.1).duplicates(0.1).reorder(0.1).start();
    for second in 0..700_u16 {
        for user in [0, 1] {
            chain.sim.send_udp(
                chain.users[user],
                5000 + second % 3,
                names::dns(0, second % 2 == 0),
                b"query",
            );
        }
        chain.sim.run_secs(1);
    }
    let nonces = nonces(&chain);
    let sessions: BTreeSet<_> = nonces.iter().map(|(to, session, ..)| (*to, *session)).collect();
    let distinct: BTreeSet<_> =
        nonces.iter().map(|(to, session, counter, _)| (*to, *session, *counter)).collect();
    assert!(sessions.len() > 20, "{} sessions", sessions.len());
    assert_eq!(distinct.len(), nonces.len());
    assert_both(&chain.sim);
}

#[test]
fn p10_nothing_is_sealed_for_a_session_past_its_age_if_no_new_one_comes() {
    let mut chain = Sim::chain().start();
    chain.sim.send_udp(chain.users[0], 5000, names::dns(0, true), b"query");
    chain.sim.run_secs(1);
    chain.sim.outside_mut().loss = 1.0;
    for _ in 0..400 {
        chain.sim.send_udp(chain.users[0], 5000, names::dns(0, true), b"query");
        chain.sim.run_secs(1);
    }
    let mut ages: BTreeMap<_, (Instant, Instant)> = BTreeMap::new();
    for (to, session, _, at) in nonces(&chain) {
        ages.entry((to, session)).or_insert((at, at)).1 = at;
    }
    let oldest = ages.values().map(|(first, last)| last.saturating_duration_since(*first)).max();
    assert!(oldest > Some(REJECT_AFTER_TIME / 2), "it goes on as long as it may: {oldest:?}");
    assert!(oldest < Some(REJECT_AFTER_TIME), "{oldest:?}");
}
