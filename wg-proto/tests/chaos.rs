//! Anything at any time: three devices under random configuration, traffic, loss and clock steps. What must hold
//! holds at every step, and once the chaos ends, packets get through.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod net;

use std::num::NonZeroU16;

use net::*;
use proptest::prelude::*;
use wg_proto::constants::STAGED_PACKETS_MAX;
use wg_proto::{Endpoint, PeerIndex, PresharedKey, UnixTime};

#[derive(Debug, Clone)]
enum Step {
    Send(usize, usize),
    Wait(u64),
    Loss(u8),
    Remove(usize, u32),
    Add(usize, usize),
    Preshared(usize, u32, u8),
    PrivateKey(usize, bool),
    Keepalive(usize, u32, u16),
    Move(usize, u32, usize),
    Prefix(usize, u32, u8),
    WallClock(u64),
    Replay(usize, usize),
}

const NODES: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    let node = || 0..NODES;
    // One slot more than there are: an index nobody has.
    let slot = || 0u32..NODES as u32;
    prop_oneof![
        12 => (node(), node()).prop_map(|(from, to)| Step::Send(from, to)),
        6 => (0u64..200_000).prop_map(Step::Wait),
        2 => (0u8..100).prop_map(Step::Loss),
        1 => (node(), slot()).prop_map(|(at, peer)| Step::Remove(at, peer)),
        2 => (node(), node()).prop_map(|(at, other)| Step::Add(at, other)),
        1 => (node(), slot(), 0u8..2).prop_map(|(at, peer, key)| Step::Preshared(at, peer, key)),
        1 => (node(), any::<bool>()).prop_map(|(at, key)| Step::PrivateKey(at, key)),
        1 => (node(), slot(), 0u16..30).prop_map(|(at, peer, secs)| Step::Keepalive(at, peer, secs)),
        1 => (node(), slot(), node()).prop_map(|(at, peer, to)| Step::Move(at, peer, to)),
        1 => (node(), slot(), 0u8..33).prop_map(|(at, peer, len)| Step::Prefix(at, peer, len)),
        1 => (0u64..4_000_000_000).prop_map(Step::WallClock),
        3 => (node(), 0usize..1000).prop_map(|(to, which)| Step::Replay(to, which)),
    ]
}

fn apply(net: &mut Net, step: &Step) {
    let now = net.now;
    match *step {
        Step::Send(from, to) => {
            if net.nodes[from].device.peer_by_key(&key(to).public_key()).is_some() {
                let _ = net.try_send(from, to, &packet(from, to, b"chaos"));
            }
        }
        Step::Wait(wait) => net.run_for(millis(wait)),
        Step::Loss(percent) => net.link.loss = f64::from(percent) / 100.0,
        Step::Remove(at, peer) => net.nodes[at].device.remove_peer(PeerIndex::new(peer)),
        Step::Add(at, other) => drop(net.nodes[at].device.add_peer(now, peer_config(other))),
        Step::Preshared(at, peer, byte) => {
            let key = Some(PresharedKey::from_bytes([byte; 32]));
            let _ = net.nodes[at].device.set_preshared_key(now, PeerIndex::new(peer), key);
        }
        Step::PrivateKey(at, present) => net.nodes[at].device.set_private_key(now, present.then(|| key(at))),
        Step::Keepalive(at, peer, secs) => {
            let every = NonZeroU16::new(secs);
            let _ = net.nodes[at].device.set_persistent_keepalive(now, PeerIndex::new(peer), every);
        }
        Step::Move(at, peer, to) => {
            let _ = net.nodes[at].device.set_endpoint(now, PeerIndex::new(peer), Endpoint::new(addr(to)));
        }
        Step::Prefix(at, peer, len) => {
            let prefix = format!("10.0.0.0/{len}").parse().unwrap();
            let _ = net.nodes[at].device.add_allowed_ip(PeerIndex::new(peer), prefix);
        }
        Step::WallClock(secs) => net.unix_epoch = UnixTime::new(secs, 0),
        Step::Replay(to, which) => {
            if let Some(old) = net.wire.get(which).cloned() {
                net.inject(to, net.nodes[old.from].addr, old.bytes);
            }
        }
    }
}

fn check(net: &Net) {
    for node in &net.nodes {
        let device = &node.device;
        assert!(device.session_indices_used() <= 4 * device.peers().count());
        for peer in device.peers() {
            let view = device.peer(peer).unwrap();
            assert!(view.staged_packets() <= STAGED_PACKETS_MAX);
            assert!(view.allowed_ips().all(|ip| ip.trunc() == ip));
            assert_eq!(device.peer_by_key(&view.public_key()), Some(peer));
        }
        let mut prefixes: Vec<_> =
            device.peers().flat_map(|peer| device.peer(peer).unwrap().allowed_ips()).collect();
        let all = prefixes.len();
        prefixes.sort();
        prefixes.dedup();
        assert_eq!(prefixes.len(), all, "a prefix has two owners");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn anything_at_any_time_keeps_the_bounds_and_ends_in_working_tunnels(
        seed in 1u64..1 << 40,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut net = Net::mesh(NODES, seed);
        for step in &steps {
            apply(&mut net, step);
            check(&net);
        }
        // Peace: everybody knows everybody again, with fresh peers and an honest clock.
        net.link.loss = 0.0;
        net.unix_epoch = UnixTime::new(5_000_000_000, 0);
        for at in 0..NODES {
            let now = net.now;
            let peers: Vec<_> = net.nodes[at].device.peers().collect();
            peers.into_iter().for_each(|peer| net.nodes[at].device.remove_peer(peer));
            net.nodes[at].device.set_private_key(now, Some(key(at)));
            for other in (0..NODES).filter(|other| *other != at) {
                net.nodes[at].device.add_peer(now, peer_config(other)).unwrap();
            }
        }
        let before: Vec<_> = net.nodes.iter().map(|node| node.received.len()).collect();
        for (from, to) in [(0, 1), (1, 2), (2, 0), (1, 0)] {
            net.send(from, to, b"peace");
        }
        net.run_for(secs(30));
        let gained: Vec<_> = net.nodes.iter().zip(&before).map(|(node, before)| node.received.len() - before).collect();
        prop_assert!(gained[0] >= 2 && gained[1] >= 1 && gained[2] >= 1, "{:?}", gained);
    }
}
