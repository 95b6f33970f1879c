//! Transport packets between whole devices: nonces, replay, ownership of addresses, roaming, stale keys.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod net;

use std::num::NonZeroU32;

use net::*;
use proptest::prelude::*;
use wg_proto::constants::{REJECT_AFTER_MESSAGES, STAGED_PACKETS_MAX};
use wg_proto::{
    Counter, DecapsulateError, EncapsulateError, Encapsulated, Endpoint, Event, HEADER_BYTES, LastTooLong,
    NotReady, OVERHEAD_BYTES, OpenError, Opened, PeerConfig, Run, RxKey, SealError, SessionGone,
    SessionIndex, Source, StageError, TxBatch,
};

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

/// A batch from node 0 to node 1.
fn batch(net: &mut Net, packets: u32) -> TxBatch {
    let peer = net.peer(0, 1);
    net.nodes[0].device.begin_send(net.now, peer, count(packets), 100).unwrap()
}

/// A sealed packet from node 0 to node 1, not sent.
fn sealed(net: &mut Net) -> Vec<u8> {
    let mut batch = batch(net, 1);
    seal(&mut batch, b"sealed")
}

fn seal(batch: &mut TxBatch, payload: &[u8]) -> Vec<u8> {
    let packet = packet(0, 1, payload);
    let mut datagram = vec![0xee; 2048];
    datagram[HEADER_BYTES..HEADER_BYTES + packet.len()].copy_from_slice(&packet);
    let len = batch.seal(&mut datagram, packet.len(), MTU).unwrap();
    datagram.truncate(len);
    datagram
}

/// Node 1's key for what node 0 sends, and one opened packet.
fn open(net: &mut Net, datagram: &mut [u8]) -> (RxKey, Opened) {
    let index = SessionIndex::new(u32::from_le_bytes(datagram[4..8].try_into().unwrap()));
    let key = net.nodes[1].device.rx_key(index).unwrap();
    let opened = key.open(datagram).unwrap();
    (key, opened)
}

#[test]
fn p01_an_inner_source_is_accepted_only_from_its_longest_prefix_owner() {
    let mut net = Net::mesh(3, 1);
    // Node 0 also owns a wide range, of which node 2 has one address.
    let (peer_0, peer_2) = (net.peer(1, 0), net.peer(1, 2));
    net.nodes[1].device.add_allowed_ip(peer_0, "10.0.0.0/8".parse().unwrap()).unwrap();
    net.nodes[1].device.add_allowed_ip(peer_2, "10.1.2.3/32".parse().unwrap()).unwrap();
    for (from, source, accepted) in [
        (0, [10, 0, 0, 1], true),
        (0, [10, 9, 9, 9], true),
        (0, [10, 1, 2, 3], false),
        (2, [10, 1, 2, 3], true),
        (2, [10, 1, 2, 4], false),
        (0, [10, 0, 0, 3], false),
        (0, [11, 0, 0, 1], false),
    ] {
        let before = (net.nodes[1].received.len(), net.nodes[1].device.counters().source_not_allowed);
        net.try_send(from, 1, &packet_from(source, 1, b"spoof?")).unwrap();
        net.run_for(secs(1));
        let after = (net.nodes[1].received.len(), net.nodes[1].device.counters().source_not_allowed);
        let expected = (before.0 + usize::from(accepted), before.1 + u64::from(!accepted));
        assert_eq!(after, expected, "{source:?} from node {from}");
    }
}

#[test]
fn p01_moving_a_prefix_to_another_peer_is_one_operation() {
    let mut net = Net::mesh(3, 2);
    let (one, two) = (net.peer(0, 1), net.peer(0, 2));
    let (device, prefix) = (&mut net.nodes[0].device, "10.5.0.0/16".parse().unwrap());
    device.add_allowed_ip(one, "10.5.1.2/16".parse().unwrap()).unwrap();
    device.add_allowed_ip(two, prefix).unwrap();
    assert_eq!(device.owner_of("10.5.6.7".parse().unwrap()), Some(two));
    assert!(!device.peer(one).unwrap().allowed_ips().any(|ip| ip == prefix));
    assert!(device.peer(two).unwrap().allowed_ips().any(|ip| ip == prefix));
    device.remove_allowed_ip(one, prefix).unwrap();
    assert_eq!(device.owner_of("10.5.6.7".parse().unwrap()), Some(two));
    device.replace_allowed_ips(two, ["10.6.0.0/16".parse().unwrap()]).unwrap();
    assert_eq!(device.owner_of("10.5.6.7".parse().unwrap()), None);
    assert_eq!(device.owner_of("10.6.6.7".parse().unwrap()), Some(two));
    device.remove_peer(two);
    assert_eq!(device.owner_of("10.6.6.7".parse().unwrap()), None);
}

#[test]
fn p10_no_two_packets_of_a_session_have_the_same_nonce() {
    let mut net = Net::connected(3);
    let mut batches: Vec<TxBatch> = (1..20).map(|packets| batch(&mut net, packets)).collect();
    let mut nonces = Vec::new();
    while let Some(mut batch) = batches.pop() {
        while batch.remaining() > 0 {
            nonces.push(seal(&mut batch, b"x")[4..16].to_vec());
        }
        assert_eq!(batch.seal(&mut [0; 64], 0, 0), Err(SealError::Exhausted));
    }
    let all = nonces.len();
    nonces.sort();
    nonces.dedup();
    assert_eq!((all, nonces.len()), (190, 190));
}

#[test]
fn a_failed_seal_uses_no_nonce_and_writes_nothing() {
    let mut net = Net::connected(4);
    let mut batch = batch(&mut net, 1);
    let mut small = [7; 47];
    assert_eq!(batch.seal(&mut small, 16, 0), Err(SealError::BufferTooSmall { need: 48, have: 47 }));
    assert_eq!(batch.seal(&mut small, usize::MAX - 40, 0).map_err(|_| ()), Err(()));
    assert_eq!((small, batch.remaining()), ([7; 47], 1));
    let run = Run::new(count(2), 16, 16, 0).unwrap();
    assert_eq!(batch.seal_run(&mut [0; 96], run), Err(SealError::Exhausted));
    assert_eq!(batch.remaining(), 1);
}

#[test]
fn a_run_is_sealed_as_its_packets_one_by_one() {
    let mut net = Net::connected(5);
    for (packets, payload, last) in [(1, 20, 20), (3, 48, 48), (5, 1420, 33), (2, 21, 1)] {
        let run = Run::new(count(packets), payload, last, MTU).unwrap();
        let mut batch = batch(&mut net, packets);
        let mut buffer = vec![0x55; run.total()];
        assert_eq!(batch.seal_run(&mut buffer, run), Ok(run.total()));
        assert_eq!(batch.remaining(), 0);
        for (i, datagram) in buffer.chunks_mut(run.stride()).enumerate() {
            let (_, opened) = open(&mut net, datagram);
            let len = if i + 1 == packets as usize { last } else { payload };
            assert!(datagram[16..16 + len].iter().all(|byte| *byte == 0x55));
            assert!(datagram[16 + len..16 + opened.len()].iter().all(|byte| *byte == 0));
        }
    }
    assert_eq!(Run::new(count(2), 16, 17, MTU), Err(LastTooLong));
}

#[test]
fn packets_are_padded_to_16_bytes_with_zeros_up_to_the_mtu() {
    let mut net = Net::connected(6);
    let mut batch = batch(&mut net, 4);
    for (payload, mtu, padded) in [(1, 1420, 16), (1410, 1420, 1420), (1420, 1420, 1420), (1410, 0, 1424)] {
        let mut datagram = vec![0xee; 2048];
        let len = batch.seal(&mut datagram, payload, mtu).unwrap();
        assert_eq!(len, padded + OVERHEAD_BYTES);
        let (_, opened) = open(&mut net, &mut datagram[..len]);
        assert_eq!(opened.len(), padded);
        assert!(datagram[16 + payload..16 + padded].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn p10_counters_past_the_limit_are_refused_before_the_cipher() {
    let mut net = Net::connected(7);
    let genuine = sealed(&mut net);
    for (counter, error) in [
        (REJECT_AFTER_MESSAGES - 1, OpenError::NotAuthentic),
        (REJECT_AFTER_MESSAGES, OpenError::CounterExhausted),
        (u64::MAX, OpenError::CounterExhausted),
    ] {
        let mut datagram = genuine.clone();
        datagram[8..16].copy_from_slice(&counter.to_le_bytes());
        net.inject(1, addr(0), datagram);
        assert_eq!(net.nodes[1].refused.last(), Some(&DecapsulateError::Open(error)));
    }
    let counters = net.nodes[1].device.counters();
    assert_eq!((counters.packet_not_authentic, counters.counter_exhausted), (1, 2));
}

#[test]
fn p11_a_packet_is_accepted_once_whatever_the_order() {
    let mut net = Net::connected(8);
    let mut batch = batch(&mut net, 64);
    let datagrams: Vec<_> = (0..64u8).map(|n| seal(&mut batch, &[n])).collect();
    for datagram in datagrams.iter().rev().chain(&datagrams) {
        net.inject(1, addr(0), datagram.clone());
    }
    assert_eq!(net.nodes[1].received.len(), 1 + 64);
    assert_eq!(net.nodes[1].refused, vec![DecapsulateError::Replayed; 64]);
    assert_eq!(net.nodes[1].device.counters().packet_replayed, 64);
}

#[test]
fn p11_a_forged_packet_moves_no_state() {
    let mut net = Net::connected(9);
    net.run_for(secs(60));
    let genuine = sealed(&mut net);
    let (timeout, index) = (net.nodes[1].device.poll_timeout(), net.peer(1, 0));
    for byte in [8, 15, 16, genuine.len() - 1] {
        let mut forged = genuine.clone();
        forged[byte] ^= 0x40;
        net.inject(1, addr(6), forged);
    }
    assert_eq!(net.nodes[1].device.counters().packet_not_authentic, 4);
    assert_eq!(net.nodes[1].device.poll_timeout(), timeout);
    assert_eq!(net.nodes[1].device.peer(index).unwrap().endpoint().unwrap().remote, addr(0));
    net.inject(1, addr(0), genuine);
    assert_eq!(net.nodes[1].received.len(), 2);
}

#[test]
fn a_run_is_committed_once_and_names_what_was_replayed() {
    let mut net = Net::connected(10);
    let mut batch = batch(&mut net, 3);
    let mut datagrams: Vec<_> = (0..3u8).map(|n| seal(&mut batch, &[n])).collect();
    let mut copy = datagrams[1].clone();
    let (key, _) = open(&mut net, &mut copy);
    let mut run: Vec<Opened> = datagrams.iter_mut().map(|datagram| key.open(datagram).unwrap()).collect();
    run.insert(1, run[0]);
    let before = net.nodes[1].device.peer(net.peer(1, 0)).unwrap().rx_bytes();
    let from = Endpoint::new(addr(0));
    let peer = net.nodes[1].device.commit_received(net.now, &key, from, &mut run).unwrap();
    assert_eq!(run.iter().map(Opened::accepted).collect::<Vec<_>>(), [true, false, true, true]);
    assert_eq!(net.nodes[1].device.peer(peer).unwrap().rx_bytes() - before, 3 * 64);
    // Committing again accepts nothing.
    net.nodes[1].device.commit_received(net.now, &key, from, &mut run).unwrap();
    assert!(!run.iter().any(Opened::accepted));
    assert_eq!(run[0].counter(), Counter::new(1));
}

#[test]
fn a_packet_opened_with_one_key_is_not_committed_with_another() {
    let mut net = Net::connected(11);
    let mut datagram = sealed(&mut net);
    let (old_key, opened) = open(&mut net, &mut datagram);
    net.run_for(secs(125));
    net.send(0, 1, b"renew");
    net.run_for(secs(1));
    net.send(0, 1, b"on the new session");
    let index = receiver(net.wire.last().unwrap());
    let key = net.nodes[1].device.rx_key(index).unwrap();
    assert!(!key.is_same_session(&old_key));
    let from = Endpoint::new(addr(0));
    let mut run = [opened];
    net.nodes[1].device.commit_received(net.now, &key, from, &mut run).unwrap();
    assert!(!run[0].accepted());
    assert_eq!(net.nodes[1].device.counters().wrong_session, 1);
    assert_eq!(key.open(&mut datagram), Err(OpenError::WrongSession));
}

#[test]
fn a_stale_key_never_acts_on_a_new_peer_in_the_same_slot() {
    let mut net = Net::connected(12);
    let mut datagram = sealed(&mut net);
    let (key, opened) = open(&mut net, &mut datagram);
    let slot = net.peer(1, 0);
    net.nodes[1].device.remove_peer(slot);
    let reused = net.nodes[1].device.add_peer(net.now, peer_config(5)).unwrap();
    assert_eq!(reused, slot);
    let mut run = [opened];
    let from = Endpoint::new(addr(0));
    let outcome = net.nodes[1].device.commit_received(net.now, &key, from, &mut run);
    assert_eq!((outcome, run[0].accepted()), (Err(SessionGone::Replaced), false));
    let view = net.nodes[1].device.peer(reused).unwrap();
    assert_eq!((view.rx_bytes(), view.endpoint().unwrap().remote), (0, addr(5)));
    assert!(net.nodes[1].device.rx_key(key.index()).is_none());
    assert_eq!(net.nodes[1].device.counters().session_gone, 1);
}

#[test]
fn a_stale_batch_never_seals_for_a_new_peer_in_the_same_slot() {
    let mut net = Net::connected(26);
    let slot = net.peer(0, 1);
    let mut stale = batch(&mut net, 1);
    net.nodes[0].device.remove_peer(slot);
    assert_eq!(net.nodes[0].device.add_peer(net.now, peer_config(5)), Ok(slot));
    // It still seals, for whom it was made, where that was; the new peer's counters do not move.
    let datagram = seal(&mut stale, b"late");
    assert_eq!(stale.to().remote, addr(1));
    assert_eq!(net.nodes[0].device.peer(slot).unwrap().tx_bytes(), 0);
    net.inject(1, addr(0), datagram);
    assert_eq!(net.nodes[1].received.len(), 2);
}

#[test]
fn an_expired_session_receives_nothing_even_if_no_timer_was_handled() {
    let mut net = Net::connected(13);
    let mut datagrams = [sealed(&mut net), sealed(&mut net)];
    // The responder derived the session at 20 ms.
    for (millis, expected) in [(180_019, None), (180_020, Some(SessionGone::Expired))] {
        let datagram = &mut datagrams[usize::from(expected.is_some())];
        let (key, opened) = open(&mut net, datagram);
        let now = at(std::time::Duration::from_millis(millis));
        let outcome = net.nodes[1].device.commit_received(now, &key, Endpoint::new(addr(0)), &mut [opened]);
        assert_eq!(outcome.err(), expected);
    }
}

#[test]
fn p12_a_peer_roams_on_authenticated_packets_and_the_newest_wins() {
    let mut net = Net::connected(14);
    let mut batch = batch(&mut net, 3);
    let old = seal(&mut batch, b"sent before the move");
    let new = seal(&mut batch, b"sent after the move");
    let peer = net.peer(1, 0);
    net.inject(1, addr(6), new.clone());
    let moved = Event::EndpointChanged { peer, endpoint: Endpoint::new(addr(6)) };
    assert_eq!(net.nodes[1].events.last().map(|(_, event)| *event), Some(moved));
    net.inject(1, addr(0), old);
    net.inject(1, addr(7), new);
    assert_eq!(net.nodes[1].received.len(), 3);
    let endpoint = net.nodes[1].device.peer(peer).unwrap().endpoint().unwrap();
    assert_eq!(endpoint.remote, addr(6), "neither a late nor a replayed packet moves it");
    net.send(1, 0, b"answer");
    assert_eq!(net.wire.last().unwrap().to, addr(6));
}

#[test]
fn the_local_source_is_carried_and_can_be_forgotten() {
    let mut net = Net::connected(15);
    let mut datagram = sealed(&mut net);
    let (key, opened) = open(&mut net, &mut datagram);
    let source = Source { addr: "192.0.2.77".parse().unwrap(), interface: 4 };
    let from = Endpoint { remote: addr(0), source: Some(source) };
    let peer = net.nodes[1].device.commit_received(net.now, &key, from, &mut [opened]).unwrap();
    let batch = net.nodes[1].device.begin_send(net.now, peer, count(1), 1).unwrap();
    assert_eq!(batch.to(), from);
    net.nodes[1].device.clear_endpoint_sources();
    let batch = net.nodes[1].device.begin_send(net.now, peer, count(1), 1).unwrap();
    assert_eq!(batch.to(), Endpoint::new(addr(0)));
}

#[test]
fn packets_are_staged_without_a_session_and_sent_in_order() {
    let mut net = Net::mesh(2, 16);
    for n in 0..200u16 {
        net.send(0, 1, &n.to_be_bytes());
    }
    assert_eq!(net.sent(0, is_initiation).len(), 1);
    net.run_for(secs(1));
    let numbers: Vec<_> =
        net.nodes[1].received.iter().map(|r| u16::from_be_bytes([r.packet[20], r.packet[21]])).collect();
    assert_eq!(numbers, (200 - STAGED_PACKETS_MAX as u16..200).collect::<Vec<_>>());
    assert_eq!(net.nodes[0].device.counters().staged_overflow, 72);
}

#[test]
fn nothing_overtakes_staged_packets() {
    let mut net = Net::mesh(2, 17);
    net.send(0, 1, b"1");
    net.link.latency = millis(0);
    // The response is handled, but nobody drained the device yet.
    let (now, unix, peer) = (net.now, net.unix(), net.peer(0, 1));
    let mut initiation = net.wire[0].bytes.clone();
    let load = wg_proto::QueueLoad::IDLE;
    net.nodes[1].device.handle_control(now, unix, Endpoint::new(addr(0)), &mut initiation, load).unwrap();
    let mut response = vec![0; 148];
    let sent = net.nodes[1].device.poll_transmit(now, unix, &mut response).unwrap();
    let mut response = response[..sent.len].to_vec();
    net.nodes[0].device.handle_control(now, unix, Endpoint::new(addr(1)), &mut response, load).unwrap();
    let next = net.nodes[0].device.begin_send(now, peer, count(1), 1);
    assert_eq!(next.err(), Some(NotReady::NoSession));
    net.send(0, 1, b"2");
    net.run_for(secs(1));
    let order: Vec<_> = net.nodes[1].received.iter().map(|received| received.packet[20]).collect();
    assert_eq!(order, b"12");
}

#[test]
fn peers_that_cannot_be_reached_are_named() {
    let mut net = Net::mesh(1, 18);
    let device = &mut net.nodes[0].device;
    let unknown = PeerConfig::new(key(3).public_key());
    let peer = device.add_peer(net.now, unknown).unwrap();
    let gone = wg_proto::PeerIndex::new(99);
    assert_eq!(device.begin_send(net.now, peer, count(2), 1).err(), Some(NotReady::NoEndpoint));
    assert_eq!(device.begin_send(net.now, gone, count(1), 1).err(), Some(NotReady::NoSuchPeer));
    assert_eq!(device.stage(net.now, peer, &[0]), Err(StageError::NoEndpoint));
    assert_eq!(device.stage(net.now, gone, &[0]), Err(StageError::NoSuchPeer));
    device.set_endpoint(net.now, peer, Endpoint::new(addr(3))).unwrap();
    assert_eq!(device.stage(net.now, peer, &[0; 65_535]), Err(StageError::TooLarge { bytes: 65_535 }));
    assert_eq!(device.begin_send(net.now, peer, count(1), 1).err(), Some(NotReady::NoSession));
    let counters = device.counters();
    assert_eq!((counters.no_endpoint, counters.packet_too_large), (3, 1));
    let refused = device.encapsulate(net.now, peer, &[0; 100], MTU, &mut [0; 100]);
    assert_eq!(refused, Err(EncapsulateError::Seal(SealError::BufferTooSmall { need: 144, have: 100 })));
}

#[test]
fn a_staged_packet_longer_than_the_buffer_is_dropped_and_counted() {
    let mut net = Net::connected(19);
    net.run_for(secs(200));
    let (peer, now, unix) = (net.peer(0, 1), net.now, net.unix());
    let device = &mut net.nodes[0].device;
    device.stage(now, peer, &[0; 1000]).unwrap();
    assert_eq!(device.poll_transmit(now, unix, &mut [0; 147]), None);
    assert!(device.poll_transmit(now, unix, &mut [0; 148]).is_some());
    assert_eq!(device.counters().packet_too_large, 0);
}

#[test]
fn inner_packets_are_cut_to_their_own_length() {
    let mut net = Net::connected(20);
    for len in [0, 1, 15, 16, 100, 1400] {
        net.send(0, 1, &vec![7; len]);
        net.run_for(secs(1));
        assert_eq!(net.nodes[1].received.last().unwrap().packet, packet(0, 1, &vec![7; len]));
    }
    net.try_send(0, 1, &[0x45, 0, 0]).unwrap();
    net.run_for(secs(1));
    assert_eq!(net.nodes[1].refused, [DecapsulateError::NotIp]);
}

#[test]
fn large_packets_pass_up_to_the_largest_datagram() {
    let mut net = Net::connected(21);
    let payload = vec![1; 65_000];
    net.send(0, 1, &payload);
    net.run_for(secs(1));
    assert_eq!(net.nodes[1].received.last().unwrap().packet.len(), 65_020);
}

#[test]
fn devices_keys_and_batches_cross_threads() {
    fn crosses<T: Send>() {}
    fn is_shared<T: Send + Sync>() {}
    crosses::<wg_proto::Device>();
    crosses::<TxBatch>();
    is_shared::<RxKey>();
}

#[test]
fn sealing_and_opening_need_no_device() {
    let mut net = Net::connected(22);
    let mut batch = batch(&mut net, 8);
    let receiver = batch.receiver();
    let key = net.nodes[1].device.rx_key(receiver).unwrap();
    let sender = std::thread::spawn(move || (0..8u8).map(|n| seal(&mut batch, &[n])).collect::<Vec<_>>());
    let mut datagrams = sender.join().unwrap();
    let opener = std::thread::spawn(move || {
        let opened: Vec<_> = datagrams.iter_mut().map(|datagram| key.open(datagram).unwrap()).collect();
        (key, opened)
    });
    let (key, mut opened) = opener.join().unwrap();
    net.nodes[1].device.commit_received(net.now, &key, Endpoint::new(addr(0)), &mut opened).unwrap();
    assert!(opened.iter().all(Opened::accepted));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_datagram_of_any_content_and_length_panics(
        kind in 0u8..6,
        body in prop::collection::vec(any::<u8>(), 0..300),
        cut in 0usize..200,
    ) {
        let mut net = Net::connected(23);
        let mut datagram = body;
        if let Some(first) = datagram.first_mut() {
            *first = kind;
        }
        datagram.iter_mut().skip(1).take(3).for_each(|byte| *byte = 0);
        net.inject(1, addr(6), datagram);
        // Truncations and extensions of genuine messages as well.
        for mut genuine in net.wire.clone().into_iter().map(|sent| sent.bytes) {
            genuine.resize(cut, 0xa5);
            net.inject(1, addr(6), genuine.clone());
            net.inject(0, addr(6), genuine);
        }
        net.run_for(secs(400));
    }
}

#[test]
fn a_64_kib_datagram_of_any_kind_is_refused_without_panic() {
    let mut net = Net::connected(24);
    let index = net.nodes[1].device.session_indices_used();
    for kind in 0..=5 {
        let mut datagram = vec![0xff; 65_535];
        datagram[..4].copy_from_slice(&[kind, 0, 0, 0]);
        net.inject(1, addr(6), datagram);
    }
    assert_eq!(net.nodes[1].refused.len(), 6);
    assert_eq!(net.nodes[1].device.session_indices_used(), index);
}

#[test]
fn encapsulate_says_whether_a_packet_was_sent_or_staged() {
    let mut net = Net::mesh(2, 25);
    let data = packet(0, 1, b"data");
    assert_eq!(net.try_send(0, 1, &data), Ok(Encapsulated::Staged));
    net.run_for(secs(1));
    assert!(matches!(net.try_send(0, 1, &data), Ok(Encapsulated::Sent(_))));
}
