//! Edges: sizes that just fit, messages at the wrong moment, settings that change meanwhile, and what a device shows of it.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod net;

use std::num::{NonZeroU16, NonZeroU32};

use net::*;
use wg_proto::constants::{EVENTS_MAX, PACKET_BYTES_MAX};
use wg_proto::{
    Device, DeviceConfig, EncapsulateError, Encapsulated, Endpoint, Event, Opened, PresharedKey, QueueLoad,
    Rejected, SealError, SessionIndex, StageError, Timer,
};

/// What `wg show` prints of node `at`'s peer `of`: received, sent.
fn bytes(net: &Net, at: usize, of: usize) -> (u64, u64) {
    let view = net.nodes[at].device.peer(net.peer(at, of)).unwrap();
    (view.rx_bytes(), view.tx_bytes())
}

#[test]
fn bytes_of_handshakes_data_and_keepalives_are_counted_in_both_directions() {
    let mut net = Net::connected(1);
    // 25 bytes of a packet are 32 on the way, but count as what they are where they are sent.
    assert_eq!(bytes(&net, 0, 1), (92, 148 + 32 + 25));
    assert_eq!(bytes(&net, 1, 0), (148 + 32 + 32, 92));
    net.run_for(secs(11));
    assert_eq!(bytes(&net, 0, 1), (92 + 32, 148 + 32 + 25));
    assert_eq!(bytes(&net, 1, 0), (148 + 32 + 32, 92 + 32));
    let peer = net.peer(0, 1);
    net.nodes[0].device.begin_send(net.now, peer, NonZeroU32::new(3).unwrap(), 300).unwrap();
    assert_eq!(bytes(&net, 0, 1), (92 + 32, 148 + 32 + 25 + 3 * 32 + 300));
}

#[test]
fn what_was_sent_and_received_is_counted_by_kind() {
    let mut net = Net::connected(2);
    net.run_for(secs(11));
    let [client, server] = [0, 1].map(|i| net.nodes[i].device.counters());
    assert_eq!((client.initiations_sent, client.packets_sent, client.keepalives_received), (1, 1, 1));
    assert_eq!((server.responses_sent, server.packets_received, server.keepalives_sent), (1, 1, 1));
    let silent =
        [client.keepalives_sent, client.packets_received, server.packets_sent, server.initiations_sent];
    assert_eq!(silent, [0; 4]);
}

#[test]
fn a_cookie_that_was_asked_for_is_counted() {
    let mut net = Net::mesh(2, 3);
    net.nodes[1].load = QueueLoad { waiting: 1, capacity: 1 };
    net.send(0, 1, b"through the queue");
    net.run_for(secs(1));
    let counters = net.nodes[1].device.counters();
    assert_eq!((counters.cookie_required, counters.cookies_sent), (1, 1));
}

#[test]
fn a_peer_shows_its_keepalive_and_its_last_handshake() {
    let mut net = Net::mesh(2, 4);
    let (peer, now) = (net.peer(0, 1), net.now);
    assert_eq!(net.nodes[0].device.peer(peer).unwrap().last_handshake(), None);
    net.nodes[0].device.set_persistent_keepalive(now, peer, NonZeroU16::new(25)).unwrap();
    net.run_for(secs(1));
    let view = net.nodes[0].device.peer(peer).unwrap();
    assert_eq!(view.persistent_keepalive(), NonZeroU16::new(25));
    assert_eq!(view.last_handshake(), Some(at(millis(40))));
}

#[test]
fn packets_staged_for_a_peer_that_is_removed_are_counted() {
    let mut net = Net::mesh(2, 5);
    let (peer, now) = (net.peer(0, 1), net.now);
    for waiting in 1..=3 {
        net.nodes[0].device.stage(now, peer, &packet(0, 1, b"too late")).unwrap();
        assert_eq!(net.nodes[0].device.peer(peer).unwrap().staged_packets(), waiting);
    }
    net.nodes[0].device.remove_peer(peer);
    assert_eq!(net.nodes[0].device.counters().staged_abandoned, 3);
}

#[test]
fn events_that_nobody_takes_are_dropped_and_counted() {
    let mut net = Net::connected(6);
    for n in 0..EVENTS_MAX + 5 {
        let mut batch = {
            let (peer, now) = (net.peer(0, 1), net.now);
            net.nodes[0].device.begin_send(now, peer, NonZeroU32::MIN, 0).unwrap()
        };
        let mut datagram = vec![0; 64];
        let len = batch.seal(&mut datagram, 0, 0).unwrap();
        let (now, unix) = (net.now, net.unix());
        // Each from another port: each moves the endpoint.
        let from = Endpoint::new(([198, 51, 100, 1], n as u16 + 1).into());
        net.nodes[1].device.decapsulate(now, unix, from, &mut datagram[..len]).unwrap();
    }
    assert_eq!(net.nodes[1].device.counters().events_overflow, 5);
}

#[test]
fn a_prefix_that_was_taken_from_a_peer_has_no_owner() {
    let mut net = Net::mesh(2, 7);
    let peer = net.peer(0, 1);
    let device = &mut net.nodes[0].device;
    let changes = device.owner_changes();
    device.add_allowed_ip(peer, "198.51.100.0/24".parse().unwrap()).unwrap();
    let address = "198.51.100.7".parse().unwrap();
    assert_eq!(device.owner_of(address), Some(peer));
    assert_eq!(device.owner_changes(), changes + 1);
    device.remove_allowed_ip(peer, "198.51.100.0/24".parse().unwrap()).unwrap();
    assert_eq!(device.owner_of(address), None);
    assert_eq!(device.owner_changes(), changes + 2);
    assert_eq!(device.peer(peer).unwrap().allowed_ips().len(), 2);
}

#[test]
fn fresh_entropy_changes_everything_that_is_drawn_afterwards() {
    let first = |entropy: Option<[u8; 32]>| {
        let mut device = Device::new(DeviceConfig { private_key: Some(key(0)), mtu_bytes: MTU }, [8; 32]);
        let peer = device.add_peer(at(secs(0)), peer_config(1)).unwrap();
        entropy.into_iter().for_each(|entropy| device.reseed(entropy));
        device.stage(at(secs(0)), peer, &packet(0, 1, b"x")).unwrap();
        let mut datagram = vec![0; 148];
        device.poll_transmit(at(secs(0)), wg_proto::UnixTime::new(1, 0), &mut datagram).unwrap();
        datagram
    };
    let ephemeral = 8..40;
    assert_eq!(first(None), first(None));
    assert_eq!(first(Some([1; 32])), first(Some([1; 32])));
    assert_ne!(first(None)[ephemeral.clone()], first(Some([1; 32]))[ephemeral.clone()]);
    assert_ne!(first(Some([2; 32]))[ephemeral.clone()], first(Some([1; 32]))[ephemeral]);
}

#[test]
fn staged_packets_are_padded_no_further_than_the_mtu_of_the_day() {
    let mut net = Net::mesh(2, 9);
    net.nodes[0].device.set_mtu_bytes(50);
    net.send(0, 1, &[7; 30]);
    net.run_for(secs(1));
    assert_eq!(net.sent(0, is_data)[0].bytes.len(), 50 + 32);
}

#[test]
fn the_longest_packet_that_fits_a_datagram_is_staged_and_no_longer_one() {
    let mut net = Net::mesh(2, 10);
    let (peer, now) = (net.peer(0, 1), net.now);
    let device = &mut net.nodes[0].device;
    assert_eq!(device.stage(now, peer, &vec![0; PACKET_BYTES_MAX]), Ok(()));
    let bytes = PACKET_BYTES_MAX + 1;
    assert_eq!(device.stage(now, peer, &vec![0; bytes]), Err(StageError::TooLarge { bytes }));
    assert_eq!(device.counters().packet_too_large, 1);
}

#[test]
fn a_packet_is_sealed_into_a_buffer_that_just_holds_it() {
    let mut net = Net::connected(11);
    let (peer, now) = (net.peer(0, 1), net.now);
    let device = &mut net.nodes[0].device;
    let refused = device.encapsulate(now, peer, &[0; 128], MTU, &mut [0; 159]);
    assert_eq!(refused, Err(EncapsulateError::Seal(SealError::BufferTooSmall { need: 160, have: 159 })));
    assert_eq!(device.counters().packet_too_large, 1);
    let sealed = device.encapsulate(now, peer, &[0; 128], MTU, &mut [0; 160]);
    assert!(matches!(sealed, Ok(Encapsulated::Sent(sent)) if sent.len == 160));
}

#[test]
fn a_staged_packet_goes_into_a_buffer_that_just_holds_it_and_is_dropped_before_a_shorter_one() {
    for (buffer_bytes, is_sent) in [(160, true), (159, false)] {
        let mut net = Net::connected(12);
        let (peer, now, unix) = (net.peer(0, 1), net.now, net.unix());
        let device = &mut net.nodes[0].device;
        let before = device.counters().packets_sent;
        device.stage(now, peer, &[0; 128]).unwrap();
        let sent = device.poll_transmit(now, unix, &mut vec![0; buffer_bytes]);
        assert_eq!(sent.map(|sent| sent.len), is_sent.then_some(160));
        assert_eq!(device.counters().packet_too_large, u64::from(!is_sent));
        // What was dropped has used no nonce.
        assert_eq!(device.counters().packets_sent - before, u64::from(is_sent));
    }
}

#[test]
fn a_response_to_a_session_of_the_peer_is_not_one_to_its_initiation() {
    let mut net = Net::connected(13);
    net.run_for(secs(130));
    net.filter = Box::new(|sent| sent.bytes[0] == 2);
    net.send(0, 1, b"renew");
    net.run_for(secs(1));
    // Node 1 has answered, but its answer names the session that there is instead of the initiation.
    let session = net.sent(1, is_response)[0].bytes[8..12].to_vec();
    let mut response = net.sent(1, is_response)[1].bytes.clone();
    response[8..12].copy_from_slice(&session);
    sign(&mut response, key(0).public_key());
    net.inject(0, addr(1), response);
    assert_eq!(net.last_refusal(0), Some(Rejected::Unexpected));
}

#[test]
fn a_responder_that_wants_to_send_waits_for_five_seconds_and_then_initiates_itself() {
    let mut net = Net::mesh(2, 14);
    // The response gets through, nothing after it does: the responder's session is never confirmed.
    net.filter = Box::new(|sent| sent.bytes[0] == 4);
    net.send(0, 1, b"lost");
    net.run_for(secs(1));
    net.send(1, 0, b"waiting");
    net.run_for(millis(4_010));
    assert!(net.sent(1, is_initiation).is_empty());
    net.run_for(millis(20));
    assert_eq!(net.sent(1, is_initiation).len(), 1);
}

#[test]
fn a_session_nobody_confirmed_goes_when_a_later_handshake_completes() {
    for (first, second) in [(0, 1), (1, 0)] {
        let mut net = Net::mesh(2, 15);
        net.send(second, first, b"a session for both");
        net.run_for(secs(200));
        // The session is too old to send on. A new one comes to wait at `second`, for a packet that is lost.
        net.filter = Box::new(move |sent| sent.from == first && sent.bytes[0] == 4);
        net.send(first, second, b"lost");
        net.run_for(secs(6));
        assert_eq!(net.nodes[second].device.session_indices_used(), 2, "{first}");
        net.send(second, first, b"later");
        net.run_for(millis(41));
        let confirmed = net.nodes[second].device.counters().handshakes_completed;
        assert_eq!((confirmed, net.nodes[second].device.session_indices_used()), (2, 2), "{first}");
    }
}

#[test]
fn a_packet_that_was_decided_on_is_not_decided_on_again() {
    let mut net = Net::connected(16);
    let (peer, now) = (net.peer(0, 1), net.now);
    let mut batch = net.nodes[0].device.begin_send(now, peer, NonZeroU32::MIN, 0).unwrap();
    let mut datagram = [0; 32];
    batch.seal(&mut datagram, 0, 0).unwrap();
    let index = SessionIndex::new(u32::from_le_bytes(datagram[4..8].try_into().unwrap()));
    let device = &mut net.nodes[1].device;
    let key = device.rx_key(index).unwrap();
    let mut run = [key.open(&mut datagram).unwrap()];
    for refused in [0, 1] {
        device.commit_received(now, &key, Endpoint::new(addr(0)), &mut run).unwrap();
        assert_eq!(run[0].accepted(), refused == 0);
        assert_eq!((device.counters().wrong_session, device.counters().packet_replayed), (refused, 0));
    }
    assert!(!run.iter().any(Opened::accepted));
}

#[test]
fn a_peer_that_was_never_reached_is_unreachable_and_no_session_of_it_expires() {
    let mut net = Net::mesh(2, 17);
    net.filter = Box::new(|_| true);
    net.send(0, 1, b"anybody there?");
    net.run_for(secs(1000));
    let events: Vec<_> = net.nodes[0].events.iter().map(|(_, event)| *event).collect();
    assert_eq!(events, [Event::PeerUnreachable { peer: net.peer(0, 1) }]);
}

#[test]
fn a_packet_on_its_way_back_is_answer_enough() {
    let mut net = Net::connected(18);
    net.send(1, 0, b"back");
    net.run_for(secs(20));
    assert!(net.sent(1, is_keepalive).is_empty());
    // That packet was data, too, and nothing else went back for it.
    assert_eq!(net.sent(0, is_keepalive).len(), 1);
}

#[test]
fn a_peer_shows_the_preshared_key_that_was_set() {
    let mut net = Net::mesh(2, 19);
    let (peer, now) = (net.peer(0, 1), net.now);
    for byte in [7, 0] {
        let key = PresharedKey::from_bytes([byte; 32]);
        net.nodes[0].device.set_preshared_key(now, peer, Some(key.clone())).unwrap();
        // All zero means none.
        let shown = net.nodes[0].device.peer(peer).unwrap().preshared_key();
        assert!(shown == (byte != 0).then_some(&key), "{byte}");
    }
}

#[test]
fn a_new_key_starts_a_handshake_at_once_if_packets_wait_and_none_otherwise() {
    for waits in [true, false] {
        let mut net = Net::mesh(2, 20);
        net.filter = Box::new(|_| true);
        let (peer, psk) = (net.peer(0, 1), PresharedKey::from_bytes([7; 32]));
        if waits {
            net.send(0, 1, b"waits");
        }
        net.run_for(secs(1));
        let before = net.sent(0, is_initiation).len();
        net.nodes[0].device.set_preshared_key(net.now, peer, Some(psk)).unwrap();
        net.drain(0);
        assert_eq!(net.sent(0, is_initiation).len() - before, usize::from(waits));
    }
}

#[test]
fn the_removal_of_a_peer_leaves_what_others_are_to_get() {
    let mut net = Net::mesh(3, 21);
    let (gone, stays, now) = (net.peer(0, 1), net.peer(0, 2), net.now);
    for (peer, to) in [(gone, 1), (stays, 2)] {
        net.nodes[0].device.stage(now, peer, &packet(0, to, b"hello")).unwrap();
    }
    net.nodes[0].device.remove_peer(gone);
    net.run_for(secs(1));
    assert_eq!(net.nodes[2].received.len(), 1);
    assert!(net.nodes[1].received.is_empty());
}

#[test]
fn a_replayed_packet_is_no_sign_of_life() {
    let mut net = Net::connected(22);
    let old = net.sent(0, is_data)[0].bytes.clone();
    // Silence from here on would start a handshake.
    net.filter = Box::new(|_| true);
    net.send(1, 0, b"anybody there?");
    let timeout = net.nodes[1].device.poll_timeout();
    net.run_for(secs(1));
    net.inject(1, addr(0), old);
    assert_eq!(net.nodes[1].device.counters().packet_replayed, 1);
    assert_eq!(net.nodes[1].device.poll_timeout(), timeout);
}

#[test]
fn an_endpoint_that_becomes_known_is_greeted_only_where_a_keepalive_is_wanted() {
    for (every, was_known, greets) in [(0, false, 0), (25, false, 1), (25, true, 0)] {
        let mut net = Net::mesh(1, 23);
        let mut config = peer_config(1);
        config.persistent_keepalive = NonZeroU16::new(every);
        config.endpoint = was_known.then(|| Endpoint::new(addr(1)));
        let peer = net.nodes[0].device.add_peer(net.now, config).unwrap();
        net.run_for(secs(1));
        let before = net.sent(0, is_initiation).len();
        net.run_for(secs(10));
        let retries = net.sent(0, is_initiation).len() - before;
        net.nodes[0].device.set_endpoint(net.now, peer, Endpoint::new(addr(2))).unwrap();
        net.drain(0);
        assert_eq!(net.sent(0, is_initiation).len() - before - retries, greets, "{every} {was_known}");
    }
}

#[test]
fn the_device_wakes_for_the_earliest_of_its_peers_even_after_anothers_timer_moved_behind_it() {
    let mut net = Net::mesh(3, 24);
    for (of, seconds) in [(1, 10), (2, 12)] {
        let (peer, now) = (net.peer(0, of), net.now);
        net.nodes[0].device.set_persistent_keepalive(now, peer, NonZeroU16::new(seconds)).unwrap();
    }
    net.run_for(secs(5));
    // What is sent now puts the keepalive off to 15 s; the other peer's is due first.
    net.send(0, 1, b"busy");
    let (at_first, wake) = net.nodes[0].device.poll_timeout().unwrap();
    assert_eq!((wake.peer, wake.timer), (net.peer(0, 2), Timer::PersistentKeepalive));
    assert!(at_first > at(secs(12)) && at_first < at(secs(13)), "{at_first:?}");
}
