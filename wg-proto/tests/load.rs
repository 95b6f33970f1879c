//! Under load: cookies, rates, and what a flood costs.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod net;

use std::collections::BTreeSet;

use net::*;
use wg_proto::{
    Device, DeviceConfig, Endpoint, Handled, NotAdmitted, QueueLoad, Rejected, UnixTime, classify,
};

const BUSY: QueueLoad = QueueLoad { waiting: 512, capacity: 4096 };

/// Two devices, of which node 1 is under load.
fn loaded(seed: u64) -> Net {
    let mut net = Net::mesh(2, seed);
    net.nodes[1].load = BUSY;
    net
}

/// A fresh initiation of node 0 to node 1, `n` seconds on, so that its time stamp is newer than the last.
fn initiation(net: &Net, n: u64) -> Vec<u8> {
    let config = DeviceConfig { private_key: Some(key(0)), mtu_bytes: MTU };
    let mut device = Device::new(config, [n as u8; 32]);
    let peer = device.add_peer(net.now, peer_config(1)).unwrap();
    device.stage(net.now, peer, &packet(0, 1, b"x")).unwrap();
    let mut datagram = vec![0; 148];
    device.poll_transmit(net.now, UnixTime::new(1_800_000_000 + n, 0), &mut datagram).unwrap();
    datagram
}

#[test]
fn p13_a_loaded_responder_asks_for_a_cookie_and_the_handshake_completes_with_it() {
    let mut net = loaded(1);
    net.send(0, 1, b"through the queue");
    net.run_for(secs(1));
    assert_eq!((net.sent(1, is_cookie).len(), net.sent(1, is_response).len()), (1, 0));
    assert_eq!(net.nodes[1].device.counters().agreements, 0);
    // The cookie is used in the next attempt.
    net.run_for(secs(6));
    let initiations = net.sent(0, is_initiation);
    assert_eq!(initiations[0].bytes[132..], [0; 16]);
    assert_ne!(initiations[1].bytes[132..], [0; 16]);
    assert_eq!(net.nodes[1].received.len(), 1);
}

#[test]
fn a_loaded_initiator_asks_for_a_cookie_as_well() {
    let mut net = Net::mesh(2, 2);
    net.nodes[0].load = BUSY;
    net.send(0, 1, b"x");
    net.run_for(secs(7));
    assert_eq!(net.sent(0, is_cookie).len(), 1);
    assert_eq!(net.nodes[1].received.len(), 1);
}

#[test]
fn p13_a_spoofed_flood_triggers_cookies_whatever_its_sources() {
    let mut net = loaded(3);
    // Every message from another address: load is the queue's, not a source's.
    for n in 0..200u64 {
        let datagram = initiation(&net, n);
        net.inject(1, format!("198.51.100.{n}:1").parse().unwrap(), datagram);
    }
    let counters = net.nodes[1].device.counters();
    assert_eq!((counters.cookies_sent, counters.agreements, counters.responses_sent), (200, 0, 0));
}

#[test]
fn p13_a_flood_of_one_does_not_put_everybody_into_cookie_mode() {
    let mut net = Net::mesh(3, 4);
    net.run_for(secs(1));
    for n in 0..1000 {
        let datagram = initiation(&net, n);
        net.inject(2, addr(0), datagram);
    }
    // Without a full queue there is no load, and another peer's handshake needs no cookie.
    net.send(1, 2, b"unaffected");
    net.run_for(secs(1));
    assert_eq!(net.nodes[2].received.len(), 1);
    assert_eq!(net.nodes[2].device.counters().cookies_sent, 0);
}

#[test]
fn p13_a_cookie_is_of_no_use_from_another_address_or_port() {
    let mut net = loaded(5);
    net.send(0, 1, b"x");
    net.run_for(secs(1));
    net.filter = Box::new(|_| true);
    net.run_for(secs(5));
    let with_cookie = net.sent(0, is_initiation)[1].bytes.clone();
    for from in ["192.0.2.1:51821", "192.0.2.9:51820"] {
        net.inject(1, from.parse().unwrap(), with_cookie.clone());
        assert_eq!(net.nodes[1].device.counters().responses_sent, 0);
    }
    net.inject(1, addr(0), with_cookie);
    assert_eq!(net.nodes[1].device.counters().responses_sent, 1);
}

#[test]
fn p10_no_two_cookie_replies_have_the_same_nonce() {
    let mut net = loaded(12);
    for n in 0..100u64 {
        let datagram = initiation(&net, n);
        net.inject(1, addr(0), datagram);
    }
    let nonces: BTreeSet<Vec<u8>> =
        net.sent(1, is_cookie).iter().map(|sent| sent.bytes[8..32].to_vec()).collect();
    assert_eq!(nonces.len(), 100);
}

#[test]
fn p13_load_ends_by_itself_a_second_after_the_queue_emptied() {
    let mut net = loaded(6);
    net.inject(1, addr(0), vec![0; 148]);
    net.nodes[1].load = QueueLoad { waiting: 0, capacity: 4096 };
    for (millis_on, cookies) in [(900, 1), (200, 1)] {
        net.run_for(millis(millis_on));
        let datagram = initiation(&net, millis_on);
        net.inject(1, addr(0), datagram);
        assert_eq!(net.nodes[1].device.counters().cookies_sent, cookies);
    }
    assert_eq!(net.nodes[1].device.counters().responses_sent, 1);
}

#[test]
fn p13_under_load_a_source_with_a_cookie_has_20_messages_a_second() {
    let mut net = loaded(7);
    net.send(0, 1, b"x");
    net.run_for(secs(1));
    net.filter = Box::new(|_| true);
    net.run_for(secs(5));
    let with_cookie = net.sent(0, is_initiation)[1].bytes.clone();
    // Copies of one genuine message: what is measured is how many get as far as an agreement.
    for _ in 0..3000 {
        net.inject(1, addr(0), with_cookie.clone());
        net.now = net.now.saturating_add(millis(1));
    }
    let counters = net.nodes[1].device.counters();
    let passed = counters.responses_sent + counters.initiation_replayed;
    assert!((60..=66).contains(&passed), "{passed}");
    assert_eq!(counters.source_rate_limited, 3000 - passed);
    assert_eq!(net.last_refusal(1), Some(Rejected::RateLimited));
}

#[test]
fn p12_a_cookie_reply_moves_no_endpoint() {
    let mut net = loaded(8);
    net.link.latency = millis(1);
    net.filter = Box::new(|sent| sent.from == 1);
    net.send(0, 1, b"x");
    net.run_for(secs(1));
    let cookie = net.sent(1, is_cookie)[0].bytes.clone();
    net.inject(0, addr(6), cookie);
    assert!(net.nodes[0].refused.is_empty());
    let view = net.nodes[0].device.peer(net.peer(0, 1)).unwrap();
    assert_eq!(view.endpoint().unwrap().remote, addr(1));
    assert!(net.nodes[0].events.is_empty());
}

#[test]
fn forged_cookie_replies_are_refused_and_counted() {
    let mut net = loaded(9);
    net.filter = Box::new(|sent| sent.from == 1);
    net.send(0, 1, b"x");
    net.run_for(secs(1));
    let genuine = net.sent(1, is_cookie)[0].bytes.clone();
    for byte in [8, 32, 63] {
        let mut forged = genuine.clone();
        forged[byte] ^= 1;
        net.inject(0, addr(1), forged);
        assert_eq!(net.last_refusal(0), Some(Rejected::NotAuthentic));
    }
    let mut elsewhere = genuine.clone();
    elsewhere[4] ^= 1;
    net.inject(0, addr(1), elsewhere);
    assert_eq!(net.last_refusal(0), Some(Rejected::Unexpected));
    net.inject(0, addr(1), genuine.clone());
    net.inject(0, addr(1), genuine);
    let counters = net.nodes[0].device.counters();
    assert_eq!((counters.cookie_not_authentic, counters.cookie_unexpected), (3, 2));
}

#[test]
fn p13_a_flood_without_mac1_costs_no_agreement_and_no_answer() {
    let mut net = loaded(10);
    for n in 0..10_000u32 {
        let mut datagram = vec![0xff; 148];
        datagram[..4].copy_from_slice(&[1, 0, 0, 0]);
        datagram[8..12].copy_from_slice(&n.to_le_bytes());
        net.inject(1, addr(0), datagram);
    }
    let counters = net.nodes[1].device.counters();
    assert_eq!((counters.mac1_invalid, counters.agreements, counters.cookies_sent), (10_000, 0, 0));
    assert!(net.wire.is_empty());
}

#[test]
fn p13_established_sessions_pass_data_while_their_device_is_under_load() {
    let mut net = Net::connected(11);
    net.nodes[1].load = BUSY;
    for n in 0..100 {
        let flood = initiation(&net, n);
        net.inject(1, addr(8), flood);
        net.send(0, 1, b"data");
        net.run_for(millis(10));
    }
    net.run_for(secs(1));
    assert_eq!(net.nodes[1].received.len(), 101);
}

#[test]
fn handled_says_what_a_control_message_did() {
    let mut net = Net::mesh(2, 12);
    net.filter = Box::new(|_| true);
    net.send(0, 1, b"x");
    let mut first = net.wire[0].bytes.clone();
    let (now, unix, from) = (net.now, net.unix(), Endpoint::new(addr(0)));
    let peer = net.peer(1, 0);
    let device = &mut net.nodes[1].device;
    assert_eq!(device.handle_control(now, unix, from, &mut first.clone(), BUSY), Ok(Handled::CookieSent));
    let later = now.saturating_add(secs(2));
    let handled = device.handle_control(later, unix, from, &mut first, QueueLoad::IDLE);
    assert_eq!(handled, Ok(Handled::Initiation { peer }));
    let mut buffer = [0; 148];
    let kinds: Vec<_> = core::iter::from_fn(|| {
        let sent = device.poll_transmit(later, unix, &mut buffer)?;
        Some(classify(&buffer[..sent.len]).unwrap())
    })
    .collect();
    assert_eq!(kinds, [wg_proto::MessageKind::CookieReply, wg_proto::MessageKind::Response]);
}

#[test]
fn p13_what_a_filter_admitted_is_handled_like_the_datagram_itself() {
    let net = Net::mesh(2, 13);
    let (now, unix, from, datagram) = (net.now, net.unix(), Endpoint::new(addr(0)), initiation(&net, 0));
    let handle = |through_filter: bool| {
        let mut device = Net::mesh(2, 13).nodes.remove(1).device;
        let handled = if through_filter {
            let message = device.mac1_filter().admit(&datagram).unwrap();
            device.handle_admitted(now, unix, from, &message, QueueLoad::IDLE)
        } else {
            device.handle_control(now, unix, from, &mut datagram.clone(), QueueLoad::IDLE)
        };
        let mut response = [0; 148];
        device.poll_transmit(now, unix, &mut response).unwrap();
        (handled, response, *device.counters())
    };
    assert!(matches!(handle(true).0, Ok(Handled::Initiation { .. })));
    assert_eq!(handle(true), handle(false));
}

#[test]
fn p13_a_filter_goes_out_of_date_with_the_key_and_lets_nothing_through_then() {
    let mut net = Net::mesh(2, 14);
    let (now, unix, from) = (net.now, net.unix(), Endpoint::new(addr(0)));
    let datagram = initiation(&net, 0);
    let device = &mut net.nodes[1].device;
    let before = device.mac1_filter();
    device.set_private_key(now, device.private_key().cloned());
    assert!(device.is_current(&before));
    let waiting = before.admit(&datagram).unwrap();
    device.set_private_key(now, Some(key(5)));
    assert!(!device.is_current(&before));
    assert_eq!(device.mac1_filter().admit(&datagram).unwrap_err(), NotAdmitted::Mac1);
    let refused = device.handle_admitted(now, unix, from, &waiting, QueueLoad::IDLE);
    assert_eq!(refused, Err(Rejected::Mac1));
    device.count_not_admitted(NotAdmitted::Mac1, 6);
    assert_eq!((device.counters().mac1_invalid, device.counters().agreements), (7, 0));
}
