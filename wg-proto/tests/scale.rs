//! Many peers, many prefixes: nothing scans, nothing recurses, nothing is cut short.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod net;

use std::num::NonZeroU16;

use net::{at, key, millis};
use wg_proto::{
    Decapsulated, Device, DeviceConfig, Encapsulated, Endpoint, Instant, PeerConfig, PeerIndex, PrivateKey,
    PublicKey, QueueLoad, UnixTime,
};

const PEERS: u32 = 24_000;

fn config(n: u32) -> PeerConfig {
    let mut bytes = [9; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    let mut config = PeerConfig::new(PublicKey::from_bytes(bytes));
    let [_, b, c, d] = n.to_be_bytes();
    config.endpoint = Some(Endpoint::new(([198, b, c, d], 51820).into()));
    config.allowed_ips.push(format!("10.{b}.{c}.{d}/32").parse().unwrap());
    config
}

fn device() -> Device {
    Device::new(DeviceConfig { private_key: Some(key(0)), mtu_bytes: 1420 }, [1; 32])
}

/// Runs `work` on a thread with the little stack an embedded runtime would give it.
fn on_a_small_stack(work: fn()) {
    std::thread::Builder::new().stack_size(128 * 1024).spawn(work).unwrap().join().unwrap();
}

#[test]
fn adding_24_000_peers_does_not_overflow_a_small_stack() {
    on_a_small_stack(|| {
        let mut device = device();
        for n in 0..PEERS {
            device.add_peer(at(millis(0)), config(n)).unwrap();
        }
        assert_eq!(device.peers().count(), PEERS as usize);
        assert_eq!(device.owner_of("10.0.93.191".parse().unwrap()), Some(PeerIndex::new(23_999)));
        let peers: Vec<_> = device.peers().collect();
        peers.into_iter().for_each(|peer| device.remove_peer(peer));
        assert_eq!(device.peers().count(), 0);
        assert_eq!(device.owner_of("10.0.93.191".parse().unwrap()), None);
    });
}

#[test]
fn the_timers_of_24_000_peers_fire_in_order_and_without_a_scan() {
    let mut device = device();
    for n in 0..PEERS {
        device.add_peer(at(millis(0)), config(n)).unwrap();
    }
    // A thousand of them start handshakes, one a millisecond.
    let mut buffer = [0; 2048];
    for n in 0..1000 {
        let now = at(millis(n));
        device.stage(now, PeerIndex::new(n as u32 * 24), &[0x45; 20]).unwrap();
        assert!(device.poll_transmit(now, UnixTime::new(1_700_000_000, 0), &mut buffer).is_some());
    }
    let (mut last, mut wakes) = (Instant::from_nanos(0), 0);
    while let Some((due, _)) = device.poll_timeout().filter(|(due, _)| *due < at(millis(60_000))) {
        assert!(due >= last);
        last = due;
        device.handle_timeout(due);
        while device.poll_transmit(due, UnixTime::new(1_700_000_000, 0), &mut buffer).is_some() {}
        wakes += 1;
    }
    // Each retries about eleven times a minute. Nobody wakes in vain, and no peer is visited without a timer.
    assert!((10_000..13_000).contains(&wakes), "{wakes}");
}

#[test]
fn a_peer_can_have_130_000_prefixes_and_lists_them_all() {
    let mut device = device();
    let peer = device.add_peer(at(millis(0)), PeerConfig::new(key(1).public_key())).unwrap();
    for n in 0..130_000u32 {
        let [a, b, c, d] = (0x0a00_0000 + n * 4).to_be_bytes();
        device.add_allowed_ip(peer, format!("{a}.{b}.{c}.{d}/30").parse().unwrap()).unwrap();
    }
    let view = device.peer(peer).unwrap();
    assert_eq!(view.allowed_ips().len(), 130_000);
    assert!(view.allowed_ips().zip(view.allowed_ips().skip(1)).all(|(left, right)| left < right));
    device.replace_allowed_ips(peer, []).unwrap();
    assert_eq!(device.owner_of("10.0.0.1".parse().unwrap()), None);
}

#[test]
fn slots_are_used_again_oldest_first() {
    let mut device = device();
    for n in 0..3 {
        device.add_peer(at(millis(0)), config(n)).unwrap();
    }
    for slot in [1, 0] {
        device.remove_peer(PeerIndex::new(slot));
    }
    device.remove_peer(PeerIndex::new(1));
    device.remove_peer(PeerIndex::new(77));
    for (n, slot) in [(10, 1), (11, 0), (12, 3)] {
        assert_eq!(device.add_peer(at(millis(0)), config(n)), Ok(PeerIndex::new(slot)));
    }
}

#[test]
fn keepalives_of_many_peers_are_all_served() {
    let mut device = device();
    for n in 0..2_000 {
        let mut config = config(n);
        config.persistent_keepalive = NonZeroU16::new(25);
        // Keys made of arbitrary bytes are as good as any: about half are on the curve's twin.
        device.add_peer(at(millis(0)), config).unwrap();
    }
    let mut buffer = [0; 2048];
    let mut reached = std::collections::BTreeSet::new();
    while let Some(sent) = device.poll_transmit(at(millis(0)), UnixTime::new(1_700_000_000, 0), &mut buffer) {
        reached.insert(sent.to.remote);
    }
    assert_eq!(reached.len(), 2_000);
}

#[test]
fn ten_thousand_peers_have_sessions_at_once_and_each_gets_its_own_packets() {
    const HAND_SHAKERS: u32 = 10_000;
    let mut hub = device();
    let mut spokes: Vec<Device> = (0..HAND_SHAKERS).map(spoke).collect();
    for n in 0..HAND_SHAKERS {
        let mut config = PeerConfig::new(spoke_key(n).public_key());
        config.allowed_ips.push(format!("{}/32", spoke_address(n)).parse().unwrap());
        hub.add_peer(at(millis(0)), config).unwrap();
    }
    let question = |n| packet(spoke_address(n), [10, 0, 0, 1].into());
    for (n, spoke) in (0..).zip(&mut spokes) {
        spoke.stage(now(n), PeerIndex::new(0), &question(n)).unwrap();
        let initiation = transmit(spoke, n);
        hub.handle_control(now(n), UNIX, endpoint(n), &mut initiation.clone(), QueueLoad::IDLE).unwrap();
        let response = transmit(&mut hub, n);
        spoke.handle_control(now(n), UNIX, endpoint(0), &mut response.clone(), QueueLoad::IDLE).unwrap();
        assert_eq!(open(&mut hub, n, transmit(spoke, n)), (PeerIndex::new(n), question(n)));
    }
    assert_eq!(hub.session_indices_used(), HAND_SHAKERS as usize);
    // Now that all are there, one packet to each, found by its address alone.
    for (n, spoke) in (0..).zip(&mut spokes) {
        let answer = packet([10, 0, 0, 1].into(), spoke_address(n));
        let peer = hub.owner_of(spoke_address(n).into()).unwrap();
        let mut datagram = vec![0; 2048];
        let Encapsulated::Sent(sent) = hub.encapsulate(now(n), peer, &answer, 1420, &mut datagram).unwrap()
        else {
            panic!("peer {n} has no session");
        };
        assert_eq!(sent.to.remote, endpoint(n).remote);
        datagram.truncate(sent.len);
        assert_eq!(open(spoke, n, datagram), (PeerIndex::new(0), answer));
    }
}

const UNIX: UnixTime = UnixTime::new(1_700_000_000, 0);

/// One every millisecond.
fn now(n: u32) -> Instant {
    at(millis(n.into()))
}

fn spoke(n: u32) -> Device {
    let config = DeviceConfig { private_key: Some(spoke_key(n)), mtu_bytes: 1420 };
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&n.to_be_bytes());
    let mut device = Device::new(config, seed);
    let mut hub = PeerConfig::new(key(0).public_key());
    hub.endpoint = Some(endpoint(0));
    hub.allowed_ips.push("10.0.0.1/32".parse().unwrap());
    device.add_peer(at(millis(0)), hub).unwrap();
    device
}

fn spoke_key(n: u32) -> PrivateKey {
    let mut bytes = [0x33; 32];
    bytes[1..5].copy_from_slice(&n.to_be_bytes());
    PrivateKey::from_bytes(bytes)
}

fn spoke_address(n: u32) -> std::net::Ipv4Addr {
    (0x0a40_0000 + n).into()
}

fn endpoint(n: u32) -> Endpoint {
    Endpoint::new((std::net::Ipv4Addr::from(0xc612_0000 + n), 51820).into())
}

fn packet(from: std::net::Ipv4Addr, to: std::net::Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet
}

fn transmit(device: &mut Device, n: u32) -> Vec<u8> {
    let mut datagram = vec![0; 2048];
    let sent = device.poll_transmit(now(n), UNIX, &mut datagram).unwrap();
    datagram.truncate(sent.len);
    datagram
}

fn open(device: &mut Device, n: u32, mut datagram: Vec<u8>) -> (PeerIndex, Vec<u8>) {
    let opened = device.decapsulate(now(n), UNIX, endpoint(n), &mut datagram).unwrap();
    let Decapsulated::Packet { peer, range } = opened else { panic!("{opened:?}") };
    (peer, datagram[range].to_vec())
}
