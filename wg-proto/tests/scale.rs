//! Many peers, many prefixes: nothing scans, nothing recurses, nothing is cut short.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod net;

use std::num::NonZeroU16;

use net::{at, key, millis};
use wg_proto::{Device, DeviceConfig, Endpoint, Instant, PeerConfig, PeerIndex, PublicKey, UnixTime};

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
