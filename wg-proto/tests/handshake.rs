//! Handshakes between whole devices: what is answered, what is refused, and that a refusal changes nothing.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod net;

use net::*;
use wg_proto::constants::HANDSHAKE_TOS;
use wg_proto::{
    AddPeerError, DecapsulateError, Device, DeviceConfig, Endpoint, Event, PeerConfig, PresharedKey,
    PublicKey, Rejected, UnixTime,
};

/// The first datagram of a kind that a node sent.
fn first(net: &Net, from: usize, is: fn(&wg_proto::MessageKind, usize) -> bool) -> Vec<u8> {
    net.sent(from, is)[0].bytes.clone()
}

#[test]
fn two_devices_shake_hands_and_exchange_packets_both_ways() {
    let mut net = Net::connected(1);
    net.send(1, 0, b"and back");
    net.run_for(secs(1));
    assert_eq!(net.nodes[1].received[0].packet, packet(0, 1, b"first"));
    assert_eq!(net.nodes[0].received[0].packet, packet(1, 0, b"and back"));
    for i in 0..2 {
        let completed = Event::HandshakeCompleted { peer: net.peer(i, 1 - i) };
        assert_eq!(net.nodes[i].events.iter().filter(|(_, event)| *event == completed).count(), 1);
        assert_eq!(net.nodes[i].device.session_indices_used(), 1);
    }
    let view = net.nodes[0].device.peer(net.peer(0, 1)).unwrap();
    assert_eq!(view.last_handshake_unix(), Some(UnixTime::new(1_700_000_000, 40_000_000)));
    assert_eq!(view.rx_bytes(), 92 + 32 + 32);
}

#[test]
fn handshake_packets_carry_dscp_af41_and_data_carries_none() {
    let mut net = Net::connected(2);
    let mut marked = packet(0, 1, b"expedited, ECN-capable");
    marked[1] = 0xb8 | 2;
    net.try_send(0, 1, &marked).unwrap();
    net.run_for(secs(20));
    for sent in &net.wire {
        let expected = match sent.bytes[0] {
            1..=3 => HANDSHAKE_TOS,
            _ if sent.bytes.len() == 80 => 2,
            _ => 0,
        };
        assert_eq!(sent.tos, expected);
    }
}

#[test]
fn the_initiator_counts_one_agreement_pass_per_message() {
    let net = Net::connected(3);
    // Initiator: es, ss, then ee, se. Responder: es, ss, then ee, se. `ss` is computed once per peer.
    assert_eq!(net.nodes[0].device.counters().agreements, 4);
    assert_eq!(net.nodes[1].device.counters().agreements, 4);
}

#[test]
fn every_completed_handshake_is_counted_once() {
    let mut net = Net::connected(4);
    for completed in 1..=3 {
        for node in &net.nodes {
            assert_eq!(node.device.counters().handshakes_completed, completed);
        }
        net.run_for(secs(600));
        net.send(0, 1, b"again");
        net.run_for(secs(1));
    }
}

#[test]
fn static_agreements_are_computed_once_per_peer() {
    let mut net = Net::connected(4);
    net.run_for(secs(600));
    net.send(0, 1, b"again");
    net.run_for(secs(1));
    assert_eq!(net.nodes[0].device.counters().agreements, 4 + 3);
    assert_eq!(net.nodes[1].device.counters().agreements, 4 + 3);
}

#[test]
fn p14_nothing_without_a_valid_mac1_is_answered_or_costs_an_agreement() {
    let mut net = Net::connected(5);
    net.run_for(secs(60));
    let (wire, agreements) = (net.wire.len(), net.nodes[1].device.counters().agreements);
    for is in [is_initiation as fn(&_, _) -> _, is_response] {
        for byte in [4, 40, 100, 116, 131] {
            let mut datagram =
                net.wire.iter().find(|s| is(&wg_proto::classify(&s.bytes).unwrap(), 0)).unwrap().clone();
            let at = byte % (datagram.bytes.len() - 16);
            datagram.bytes[at] ^= 1;
            net.inject(1, addr(7), datagram.bytes);
            assert_eq!(net.last_refusal(1), Some(Rejected::Mac1));
        }
    }
    assert_eq!((net.wire.len(), net.nodes[1].device.counters().agreements), (wire, agreements));
    assert_eq!(net.nodes[1].device.counters().mac1_invalid, 10);
}

#[test]
fn p14_initiations_of_strangers_and_garbage_are_met_with_silence() {
    let mut net = Net::mesh(2, 6);
    let mut stranger = device_with(key(9), peer_config(1));
    stranger.stage(net.now, peer_of(&stranger), &packet(0, 1, b"let me in")).unwrap();
    let mut datagram = vec![0; 148];
    stranger.poll_transmit(net.now, net.unix(), &mut datagram).unwrap();
    net.inject(1, addr(9), datagram);
    assert_eq!(net.last_refusal(1), Some(Rejected::UnknownPeer));
    for len in [0, 1, 3, 4, 31, 32, 64, 92, 148, 1500, 65_507] {
        for kind in 0..6 {
            let mut garbage = vec![0xa5; len];
            garbage.iter_mut().zip([kind, 0, 0, 0]).for_each(|(byte, value)| *byte = value);
            net.inject(1, addr(9), garbage);
        }
    }
    assert!(net.wire.is_empty() && net.nodes[1].events.is_empty());
    assert_eq!(net.nodes[1].device.session_indices_used(), 0);
}

#[test]
fn p12_a_replayed_initiation_is_refused() {
    let mut net = Net::connected(7);
    let initiation = first(&net, 0, is_initiation);
    net.run_for(secs(1));
    let indices = net.nodes[1].device.session_indices_used();
    net.inject(1, addr(6), initiation);
    assert_eq!(net.last_refusal(1), Some(Rejected::Replayed));
    assert_eq!(net.nodes[1].device.session_indices_used(), indices);
    let endpoint = net.nodes[1].device.peer(net.peer(1, 0)).unwrap().endpoint().unwrap();
    assert_eq!(endpoint.remote, addr(0));
}

#[test]
fn p12_time_stamps_increase_even_if_the_wall_clock_goes_back() {
    let mut net = Net::connected(8);
    net.unix_epoch = UnixTime::new(1_000_000_000, 0);
    for _ in 0..3 {
        net.run_for(secs(600));
        net.send(0, 1, b"later");
        net.run_for(secs(1));
    }
    assert_eq!(net.nodes[1].received.len(), 4);
    assert_eq!(net.nodes[1].device.counters().initiation_replayed, 0);
}

#[test]
fn p12_time_stamps_survive_the_removal_of_a_peer() {
    let mut net = Net::connected(9);
    net.unix_epoch = UnixTime::new(5, 0);
    let peer = net.peer(0, 1);
    net.nodes[0].device.remove_peer(peer);
    net.nodes[0].device.add_peer(net.now, peer_config(1)).unwrap();
    net.send(0, 1, b"again");
    net.run_for(secs(1));
    assert_eq!(net.nodes[1].received.len(), 2);
}

#[test]
fn p13_at_most_50_initiations_a_second_of_one_peer_are_accepted() {
    let mut net = Net::mesh(2, 10);
    net.nodes[1].device.set_private_key(net.now, Some(key(1)));
    let mut accepted = 0;
    for milli in 0..1000 {
        // A fresh device each time knows no 5 s pause, as a malicious peer would not.
        let mut flooder = device_with(key(0), peer_config(1));
        flooder.stage(net.now, peer_of(&flooder), &packet(0, 1, b"x")).unwrap();
        let mut datagram = vec![0; 148];
        let unix = UnixTime::new(1_700_000_000 + milli, 0);
        flooder.poll_transmit(net.now, unix, &mut datagram).unwrap();
        let before = net.nodes[1].device.counters().responses_sent;
        net.inject(1, addr(0), datagram);
        accepted += net.nodes[1].device.counters().responses_sent - before;
        net.now = net.now.saturating_add(millis(1));
    }
    assert_eq!(accepted, 50);
    assert_eq!(net.nodes[1].device.counters().initiation_flood, 950);
    // Back-to-back initiations leak no session index: each replaces the one before.
    assert_eq!(net.nodes[1].device.session_indices_used(), 1);
}

#[test]
fn back_to_back_initiations_leak_no_indices_on_the_initiator() {
    let mut net = Net::mesh(2, 11);
    net.filter = Box::new(|_| true);
    net.send(0, 1, b"x");
    for _ in 0..17 {
        net.run_for(secs(5));
        assert_eq!(net.nodes[0].device.session_indices_used(), 1);
    }
}

#[test]
fn rotation_for_a_day_leaks_no_indices() {
    let mut net = Net::connected(12);
    for n in 0..24 * 60u64 {
        net.send(0, 1, &n.to_be_bytes());
        net.send(1, 0, &n.to_be_bytes());
        net.run_for(secs(60));
        for node in &net.nodes {
            assert!(node.device.session_indices_used() <= 4);
        }
    }
    assert_eq!(net.nodes[0].received.len(), 24 * 60);
}

#[test]
fn a_forged_response_leaves_the_handshake_alone() {
    let mut net = Net::mesh(2, 13);
    net.filter = Box::new(|sent| sent.from == 1);
    net.send(0, 1, b"hello");
    net.run_for(secs(1));
    let genuine = first(&net, 1, is_response);
    // The right mac1 needs only the public key, so a forger has it.
    // (The sender index, bytes 4 to 7, is covered by mac1 alone: that is the protocol.)
    for byte in [12, 43, 44, 59] {
        let mut forged = genuine.clone();
        forged[byte] ^= 1;
        sign(&mut forged, key(0).public_key());
        net.inject(0, addr(1), forged);
        assert_eq!(net.last_refusal(0), Some(Rejected::NotAuthentic), "byte {byte}");
    }
    net.inject(0, addr(1), vec![2; 92]);
    let mut elsewhere = genuine.clone();
    elsewhere[8] ^= 1;
    sign(&mut elsewhere, key(0).public_key());
    net.inject(0, addr(1), elsewhere);
    assert_eq!(net.last_refusal(0), Some(Rejected::Unexpected));
    net.inject(0, addr(1), genuine);
    assert!(net.nodes[0].device.peer(net.peer(0, 1)).unwrap().has_session(net.now));
    net.run_for(secs(1));
    assert_eq!(net.nodes[1].received.len(), 1);
}

#[test]
fn a_forged_initiation_leaves_the_responder_alone() {
    let mut net = Net::connected(14);
    net.run_for(secs(200));
    net.filter = Box::new(|_| true);
    net.send(0, 1, b"hello");
    let genuine = net.sent(0, is_initiation)[1].bytes.clone();
    for byte in [8, 39, 40, 87, 88, 115] {
        let mut forged = genuine.clone();
        forged[byte] ^= 1;
        sign(&mut forged, key(1).public_key());
        let before = net.nodes[1].device.session_indices_used();
        net.inject(1, addr(6), forged);
        assert_eq!(net.last_refusal(1), Some(Rejected::NotAuthentic), "byte {byte}");
        assert_eq!(net.nodes[1].device.session_indices_used(), before);
    }
    assert_eq!(net.nodes[1].device.peer(net.peer(1, 0)).unwrap().endpoint().unwrap().remote, addr(0));
    // The genuine one still works: its time stamp was not burnt.
    net.filter = Box::new(|_| false);
    net.inject(1, addr(0), genuine);
    net.run_for(secs(1));
    assert_eq!(net.nodes[1].received.len(), 2);
}

#[test]
fn p12_low_order_public_keys_never_cause_a_packet_to_leave() {
    const POINTS: [&str; 7] = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    for point in POINTS {
        let mut net = Net::mesh(1, 15);
        let mut config = PeerConfig::new(PublicKey::from_hex(point).unwrap());
        config.endpoint = Some(Endpoint::new(addr(5)));
        config.persistent_keepalive = std::num::NonZeroU16::new(1);
        let peer = net.nodes[0].device.add_peer(net.now, config).unwrap();
        net.nodes[0].device.stage(net.now, peer, &packet(0, 5, b"x")).unwrap();
        net.run_for(secs(100));
        assert!(net.wire.is_empty());
        assert!(net.nodes[0].device.counters().low_order_point > 0);
    }
}

#[test]
fn simultaneous_initiations_converge_on_one_session_at_once() {
    for seed in 0..20 {
        let mut net = Net::mesh(2, 100 + seed);
        net.link.jitter = millis(seed * 3);
        net.send(0, 1, b"from zero");
        net.send(1, 0, b"from one");
        net.run_for(secs(2));
        assert_eq!((net.nodes[0].received.len(), net.nodes[1].received.len()), (1, 1), "seed {seed}");
        let start = net.wire.len();
        for _ in 0..3 {
            net.send(0, 1, b"more");
            net.send(1, 0, b"more");
            net.run_for(secs(1));
        }
        // Both directions are one session: what 0 sends on is what 1 initiated or answered, and the other way round.
        let sent: Vec<_> = net.wire[start..].iter().map(|sent| (sent.from, receiver(sent))).collect();
        for from in 0..2 {
            let mut used: Vec<_> = sent.iter().filter(|(i, _)| *i == from).map(|(_, index)| *index).collect();
            used.dedup();
            assert_eq!(used.len(), 1, "seed {seed}");
            let key = net.nodes[1 - from].device.rx_key(used[0]).unwrap();
            assert_eq!(key.index(), used[0]);
        }
        assert_eq!(pairing(&net, &sent), 1, "two sessions in use, seed {seed}");
        assert_eq!(net.sent(0, is_initiation).len() + net.sent(1, is_initiation).len(), 2);
    }
}

/// How many handshakes the last packets of both directions belong to: a response names both indices of one.
fn pairing(net: &Net, sent: &[(usize, wg_proto::SessionIndex)]) -> usize {
    let last = |from| sent.iter().rev().find(|(i, _)| *i == from).map(|(_, index)| index.get()).unwrap();
    let (to_one, to_zero) = (last(0), last(1));
    let word = |bytes: &[u8], at| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let responses = [0, 1].map(|i| net.sent(i, is_response)).concat();
    let used = responses.iter().filter(|response| {
        let pair = [word(&response.bytes, 4), word(&response.bytes, 8)];
        pair.contains(&to_one) || pair.contains(&to_zero)
    });
    used.count()
}

#[test]
fn simultaneous_initiations_converge_under_loss() {
    for seed in 0..50 {
        let mut net = Net::mesh(2, 300 + seed);
        net.link = Link { latency: millis(20), jitter: millis(30), loss: 0.3, duplicates: 0.1 };
        net.send(0, 1, b"x");
        net.send(1, 0, b"x");
        net.run_for(secs(60));
        net.link = Link { latency: millis(20), ..Link::default() };
        // A session one side lost to a rekey is found dead within 15 s of the first packet sent on it.
        for _ in 0..20 {
            net.send(0, 1, b"y");
            net.send(1, 0, b"y");
            net.run_for(secs(1));
        }
        let before = (net.nodes[0].received.len(), net.nodes[1].received.len());
        net.send(0, 1, b"z");
        net.send(1, 0, b"z");
        net.run_for(secs(1));
        let after = (net.nodes[0].received.len(), net.nodes[1].received.len());
        assert_eq!(after, (before.0 + 1, before.1 + 1), "seed {seed}");
    }
}

#[test]
fn a_responder_sends_on_a_new_session_only_after_the_first_packet_on_it() {
    let mut net = Net::connected(16);
    net.run_for(secs(125));
    let old = net.nodes[1].device.session_indices_used();
    // The response arrives, but the packet that confirms the session is held back.
    net.filter = Box::new(|sent| sent.from == 0 && sent.bytes[0] == 4);
    net.send(0, 1, b"renew");
    net.run_for(millis(500));
    assert_eq!(net.nodes[1].device.session_indices_used(), old + 1);
    let start = net.wire.len();
    net.send(1, 0, b"still on the old one");
    net.run_for(millis(100));
    assert_eq!(net.nodes[0].received.len(), 1);
    let on_old = receiver(&net.wire[start]);
    net.filter = Box::new(|_| false);
    net.send(0, 1, b"confirm");
    net.run_for(millis(100));
    let start = net.wire.len();
    net.send(1, 0, b"on the new one");
    net.run_for(millis(100));
    assert_ne!(receiver(&net.wire[start]), on_old);
    assert_eq!(net.nodes[0].received.len(), 2);
}

#[test]
fn a_preshared_key_is_needed_on_both_sides_and_takes_effect_at_once() {
    let mut net = Net::connected(17);
    let psk = || Some(PresharedKey::from_bytes([5; 32]));
    let (at_0, at_1) = (net.peer(0, 1), net.peer(1, 0));
    net.run_for(secs(10));
    net.nodes[0].device.set_preshared_key(net.now, at_0, psk()).unwrap();
    assert_eq!(net.nodes[0].device.session_indices_used(), 0);
    net.send(0, 1, b"one side only");
    net.run_for(secs(7));
    assert_eq!(net.nodes[1].received.len(), 1);
    assert!(net.nodes[0].device.counters().response_not_authentic > 0);
    net.nodes[1].device.set_preshared_key(net.now, at_1, psk()).unwrap();
    net.run_for(secs(7));
    assert_eq!(net.nodes[1].received.len(), 2);
    // Setting the same key, or none in another spelling, ends nothing.
    let indices = net.nodes[1].device.session_indices_used();
    net.nodes[1].device.set_preshared_key(net.now, at_1, psk()).unwrap();
    assert_eq!(net.nodes[1].device.session_indices_used(), indices);
    let zero = Some(PresharedKey::from_bytes([0; 32]));
    net.nodes[1].device.set_preshared_key(net.now, at_1, zero).unwrap();
    assert!(net.nodes[1].device.peer(at_1).unwrap().preshared_key().is_none());
    assert_eq!(net.nodes[1].device.session_indices_used(), 0);
}

#[test]
fn a_new_private_key_ends_all_sessions_at_once() {
    let mut net = Net::connected(18);
    net.nodes[0].device.set_private_key(net.now, Some(key(0)));
    assert_eq!(net.nodes[0].device.session_indices_used(), 1);
    net.nodes[0].device.set_private_key(net.now, Some(key(8)));
    assert_eq!(net.nodes[0].device.session_indices_used(), 0);
    assert_eq!(net.nodes[0].device.public_key(), Some(key(8).public_key()));
    let mut renamed = peer_config(0);
    renamed.public_key = key(8).public_key();
    net.nodes[1].device.add_peer(net.now, renamed).unwrap();
    net.run_for(secs(6));
    net.send(0, 1, b"as somebody else");
    net.run_for(secs(1));
    assert_eq!(net.nodes[1].received.len(), 2);
}

#[test]
fn a_device_without_a_key_is_silent_and_starts_when_it_gets_one() {
    let mut net = Net::mesh(2, 19);
    net.nodes[0].device.set_private_key(net.now, None);
    net.send(0, 1, b"waits for the key");
    net.run_for(secs(30));
    assert!(net.wire.is_empty());
    net.send(1, 0, b"anybody?");
    net.run_for(secs(1));
    assert_eq!(net.last_refusal(0), Some(Rejected::NoPrivateKey));
    net.nodes[0].device.set_private_key(net.now, Some(key(0)));
    net.run_for(secs(6));
    assert_eq!((net.nodes[0].received.len(), net.nodes[1].received.len()), (1, 1));
}

#[test]
fn the_devices_own_key_is_no_peer() {
    let mut net = Net::mesh(2, 20);
    let own = net.nodes[0].device.add_peer(net.now, PeerConfig::new(key(0).public_key()));
    assert_eq!(own, Err(AddPeerError::OwnKey));
    let again = net.nodes[0].device.add_peer(net.now, peer_config(1));
    assert_eq!(again, Err(AddPeerError::Exists));
    let peer = net.peer(0, 1);
    net.nodes[0].device.set_private_key(net.now, Some(key(1)));
    assert_eq!(net.nodes[0].device.peers().count(), 0);
    assert_eq!(net.nodes[0].device.poll_event(), Some(Event::PeerRemoved { peer }));
    assert_eq!(net.nodes[0].device.owner_of("10.0.0.2".parse().unwrap()), None);
}

#[test]
fn answers_are_bounded_when_nobody_drains_them() {
    let mut net = Net::mesh(2, 21);
    net.send(0, 1, b"x");
    let initiation = first(&net, 0, is_initiation);
    net.nodes[1].load = wg_proto::QueueLoad { waiting: 1, capacity: 1 };
    let (now, unix) = (net.now, net.unix());
    let load = net.nodes[1].load;
    let device = &mut net.nodes[1].device;
    let outcomes: Vec<_> = (0..300)
        .map(|_| device.handle_control(now, unix, Endpoint::new(addr(0)), &mut initiation.clone(), load))
        .collect();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 256);
    assert_eq!(outcomes[299], Err(Rejected::Backlog));
    assert_eq!(device.counters().replies_overflow, 44);
}

#[test]
fn unexpected_transport_in_the_control_path_is_named() {
    let mut net = Net::mesh(1, 22);
    let (now, unix) = (net.now, net.unix());
    let mut datagram = vec![0; 32];
    datagram[0] = 4;
    let outcome = net.nodes[0].device.handle_control(
        now,
        unix,
        Endpoint::new(addr(1)),
        &mut datagram,
        wg_proto::QueueLoad::IDLE,
    );
    assert_eq!(outcome, Err(Rejected::NotControl));
    net.inject(0, addr(1), datagram);
    assert_eq!(net.nodes[0].refused, [DecapsulateError::UnknownSession]);
}

fn device_with(own: wg_proto::PrivateKey, peer: PeerConfig) -> Device {
    let mut device = Device::new(DeviceConfig { private_key: Some(own), mtu_bytes: MTU }, [77; 32]);
    device.add_peer(at(millis(0)), peer).unwrap();
    device
}

fn peer_of(device: &Device) -> wg_proto::PeerIndex {
    device.peers().next().unwrap()
}
