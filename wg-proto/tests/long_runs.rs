//! Hours in virtual time: many renewals on bad wires, machines that sleep, wall clocks that step.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod net;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::time::Duration;

use net::*;
use wg_proto::constants::{REJECT_AFTER_TIME, REKEY_TIMEOUT};
use wg_proto::{
    DecapsulateError, Device, DeviceConfig, Encapsulated, Event, Instant, MessageKind, Rejected,
    SessionIndex, UnixTime, classify,
};

/// One handshake attempt at the latest after this, and a round trip and a half until data is through.
const ONE_RETRY: Duration = Duration::from_millis(5_333 + 3 * 20);
const LATENCY: Duration = Duration::from_millis(20);

#[test]
fn two_hours_of_loss_reordering_and_duplicates_hold_no_packet_up_and_use_no_nonce_twice() {
    for (seed, loss) in [(1, 0.05), (2, 0.1), (3, 0.2)] {
        let mut net = Net::connected(seed);
        net.link = Link { latency: millis(30), jitter: millis(300), loss, duplicates: 0.1 };
        let mut sent = 0;
        for n in 0..2 * 3600u64 {
            for (from, to) in [(0, 1), (1, 0)] {
                let outcome = net.try_send(from, to, &packet(from, to, &n.to_be_bytes())).unwrap();
                // Renewals begin a minute before the old session ends; at each attempt's worst odds here that is ten attempts.
                assert!(matches!(outcome, Encapsulated::Sent(_)), "held up after {n} s, loss {loss}");
                sent += 1;
            }
            net.run_for(secs(1));
        }
        no_nonce_was_used_twice(&net);
        nothing_was_accepted_in_a_session_past_its_end(&net);
        for (i, node) in net.nodes.iter().enumerate() {
            // All that arrived was accepted once; what was refused had been there before.
            let others = node.refused.iter().filter(|why| !is_a_duplicate(why)).count();
            assert_eq!(others, 0, "node {i}, loss {loss}: {:?}", node.refused);
            let distinct: BTreeSet<_> = node.received.iter().map(|received| &received.packet).collect();
            assert_eq!(distinct.len(), node.received.len(), "node {i}, loss {loss}");
            let arrived = node.received.len() as f64 / (f64::from(sent) / 2.0);
            assert!(arrived > 1.0 - loss, "node {i} received {arrived}, loss {loss}");
            // One session every two minutes and a bit: a handshake of several attempts takes a while.
            let sessions: BTreeSet<_> = node.received.iter().map(|received| received.session).collect();
            assert!((54..=61).contains(&sessions.len()), "{} sessions, loss {loss}", sessions.len());
        }
    }
}

#[test]
fn after_any_sleep_of_either_end_or_both_data_passes_within_one_handshake_attempt() {
    // The session is a minute old. A packet sent in its last milliseconds may come too late, so 119 is not among these.
    for asleep in [30, 100, 118, 121, 185, 600, 3 * 3600] {
        for who in [&[0][..], &[1], &[0, 1]] {
            for first in [First::Timers, First::Socket] {
                let context = format!("nodes {who:?} slept {asleep} s, {first:?} first");
                let mut net = Net::connected(asleep);
                talk(&mut net, 60);
                sleep(&mut net, who, secs(asleep), first);
                let (woke, before) = (net.now, [0, 1].map(|i: usize| net.nodes[i].received.len()));
                let old = [0, 1].map(|i: usize| net.peer(i, 1 - i));
                let usable = (0..2).all(|i| net.nodes[i].device.peer(old[i]).unwrap().has_session(woke));
                net.send(0, 1, b"awake");
                net.send(1, 0, b"awake");
                net.run_for(ONE_RETRY);
                for (i, before) in before.into_iter().enumerate() {
                    let awake = packet(1 - i, i, b"awake");
                    let mut new = net.nodes[i].received[before..].iter();
                    let Some(arrived) = new.find(|received| received.packet == awake) else {
                        panic!("{context}: node {i} got nothing: {:?}", net.nodes[i].refused);
                    };
                    // A session that is still good is used at once.
                    if usable && who.len() == 2 {
                        assert_eq!(arrived.at, woke.saturating_add(LATENCY), "{context}");
                    }
                }
                no_nonce_was_used_twice(&net);
                nothing_was_accepted_in_a_session_past_its_end(&net);
            }
        }
    }
}

#[test]
fn what_waited_in_the_socket_through_a_long_sleep_is_not_accepted() {
    let mut net = Net::connected(2);
    talk(&mut net, 10);
    net.suspend(1);
    for n in 0..100u64 {
        net.send(0, 1, &n.to_be_bytes());
        net.run_for(secs(1));
    }
    net.suspend(0);
    net.run_for(secs(3600));
    let before = net.nodes[1].received.len();
    net.resume(1, First::Socket);
    assert_eq!(net.nodes[1].received.len(), before);
    assert!(!net.nodes[1].refused.is_empty());
}

#[test]
fn keys_of_a_session_that_was_slept_through_are_wiped_on_waking() {
    let mut net = Net::connected(3);
    // Until the tunnel is idle: who waits for an answer would dial anew.
    net.run_for(secs(30));
    sleep(&mut net, &[0, 1], secs(8 * 3600), First::Timers);
    for i in 0..2 {
        assert_eq!(net.nodes[i].device.session_indices_used(), 0, "node {i}");
        let (at, event) = net.nodes[i].events.last().unwrap();
        assert_eq!((*at, *event), (net.now, Event::SessionExpired { peer: net.peer(i, 1 - i) }));
    }
}

#[test]
fn a_node_that_wakes_does_once_what_it_slept_through_many_times() {
    let mut net = Net::connected(4);
    let peer = net.peer(0, 1);
    net.nodes[0].device.set_persistent_keepalive(net.now, peer, NonZeroU16::new(25)).unwrap();
    net.run_for(secs(100));
    let before = net.wire.len();
    sleep(&mut net, &[0, 1], secs(8 * 3600), First::Timers);
    net.run_for(secs(5));
    let kinds: Vec<(usize, u8)> = net.wire[before..].iter().map(|sent| (sent.from, sent.bytes[0])).collect();
    // Initiation, response, and the keepalive that was due.
    assert_eq!(kinds, [(0, 1), (1, 2), (0, 4)]);
}

#[test]
fn a_wall_clock_that_steps_both_ways_under_way_costs_no_packet() {
    let mut net = Net::connected(5);
    let (honest, far_ahead, before_all) = (1_700_000_000, 3_000_000_000, 0);
    for n in 0..3600u64 {
        if n % 50 == 0 {
            let epoch = [honest, far_ahead, before_all, honest - 86_400][(n / 50 % 4) as usize];
            net.unix_epoch = UnixTime::new(epoch, 0);
        }
        net.send(0, 1, &n.to_be_bytes());
        net.send(1, 0, &n.to_be_bytes());
        net.run_for(secs(1));
    }
    assert_eq!((net.nodes[0].received.len(), net.nodes[1].received.len()), (3600, 3601));
    let handshakes = [is_initiation, is_response].map(|is| net.sent(0, is).len() + net.sent(1, is).len());
    assert_eq!(handshakes, [30, 30]);
    assert!(net.nodes.iter().all(|node| node.refused.is_empty()));
}

/// Whitepaper §5.1: the responder keeps the greatest time stamp of each peer and drops what is not greater. So a node that
/// has forgotten what it sent and whose clock went back cannot dial, but can be dialled, until its clock has caught up.
#[test]
fn a_node_that_starts_anew_with_an_older_clock_is_refused_until_its_clock_has_caught_up() {
    let mut net = Net::connected(6);
    let honest = net.unix_epoch;
    start_anew(&mut net, 0);
    net.unix_epoch = UnixTime::new(honest.secs - 60, 0);
    net.send(0, 1, b"too early");
    net.run_for(secs(1));
    assert_eq!(net.last_refusal(1), Some(Rejected::Replayed));
    assert_eq!(net.nodes[1].received.len(), 1);
    // The other way round its clock does not matter: the dialler's counts.
    net.run_for(secs(20));
    forget(&mut net, 1);
    net.send(1, 0, b"the other way round");
    net.run_for(secs(1));
    assert_eq!(net.nodes[0].received.last().unwrap().packet, packet(1, 0, b"the other way round"));
}

#[test]
fn a_node_that_starts_anew_gets_in_as_soon_as_its_clock_has_caught_up() {
    let mut net = Net::connected(7);
    start_anew(&mut net, 0);
    net.unix_epoch = UnixTime::new(net.unix_epoch.secs - 60, 0);
    net.send(0, 1, b"at last");
    // The first initiation had stamp 0 s, the clock is at -59 s now.
    net.run_for(secs(58));
    assert_eq!(net.nodes[1].received.len(), 1);
    net.run_for(secs(1).saturating_add(ONE_RETRY));
    assert_eq!(net.nodes[1].received.last().unwrap().packet, packet(0, 1, b"at last"));
}

#[test]
fn a_node_whose_clock_was_far_ahead_and_forgot_it_is_let_in_by_a_peer_that_forgot_it_too() {
    let mut net = Net::mesh(2, 8);
    let honest = net.unix_epoch;
    net.unix_epoch = UnixTime::new(4_000_000_000, 0);
    net.send(0, 1, b"from the future");
    net.run_for(secs(1));
    net.unix_epoch = honest;
    start_anew(&mut net, 0);
    net.send(0, 1, b"today");
    net.run_for(secs(80));
    assert_eq!(net.nodes[1].received.len(), 1);
    assert!(net.nodes[1].refused.iter().all(|why| *why == DecapsulateError::Control(Rejected::Replayed)));
    forget(&mut net, 1);
    net.run_for(ONE_RETRY);
    assert_eq!(net.nodes[1].received.last().unwrap().packet, packet(0, 1, b"today"));
}

/// One packet a second each way, for `seconds`.
fn talk(net: &mut Net, seconds: u64) {
    for n in 0..seconds {
        net.send(0, 1, &n.to_be_bytes());
        net.send(1, 0, &n.to_be_bytes());
        net.run_for(secs(1));
    }
}

/// These nodes sleep. One that stays awake goes on sending meanwhile.
fn sleep(net: &mut Net, who: &[usize], duration: Duration, first: First) {
    who.iter().for_each(|i| net.suspend(*i));
    let end = net.now.saturating_add(duration);
    let awake: Vec<usize> = (0..2).filter(|i| !who.contains(i)).collect();
    for n in 0..duration.as_secs() {
        awake.iter().for_each(|i| net.send(*i, 1 - i, &n.to_be_bytes()));
        net.run_for(secs(1));
    }
    net.run_until(end);
    who.iter().for_each(|i| net.resume(*i, first));
}

/// The process of a node ends and begins anew: it knows what is configured and nothing else.
fn start_anew(net: &mut Net, i: usize) {
    let config = DeviceConfig { private_key: Some(key(i)), mtu_bytes: MTU };
    let mut device = Device::new(config, [0x77; 32]);
    device.add_peer(net.now, peer_config(1 - i)).unwrap();
    net.nodes[i].device = device;
}

/// The peer of a node is removed and added again.
fn forget(net: &mut Net, i: usize) {
    let peer = net.peer(i, 1 - i);
    net.nodes[i].device.remove_peer(peer);
    net.nodes[i].device.add_peer(net.now, peer_config(1 - i)).unwrap();
}

/// Session and counter make the nonce. An index is drawn from 2^32 and tells the sessions of a run apart.
fn no_nonce_was_used_twice(net: &Net) {
    let mut used = BTreeSet::new();
    for sent in &net.wire {
        if let Ok(MessageKind::Transport { receiver, counter }) = classify(&sent.bytes) {
            assert!(used.insert((sent.from, receiver, counter)), "node {} at {:?}", sent.from, sent.at);
        }
    }
}

/// A responder's session begins with its response. An initiator's begins with the response that it gets before its next attempt.
fn nothing_was_accepted_in_a_session_past_its_end(net: &Net) {
    let mut begun: BTreeMap<(usize, u32), (Instant, Duration)> = BTreeMap::new();
    for sent in &net.wire {
        let slack = match classify(&sent.bytes) {
            Ok(MessageKind::Initiation) => REKEY_TIMEOUT + Duration::from_millis(333),
            Ok(MessageKind::Response) => Duration::ZERO,
            Ok(MessageKind::CookieReply | MessageKind::Transport { .. }) | Err(_) => continue,
        };
        let index = u32::from_le_bytes(sent.bytes[4..8].try_into().unwrap());
        begun.insert((sent.from, index), (sent.at, slack));
    }
    let begun: BTreeMap<_, _> =
        begun.into_iter().map(|((node, index), begin)| ((node, SessionIndex::new(index)), begin)).collect();
    for (i, node) in net.nodes.iter().enumerate() {
        for received in &node.received {
            let (at, slack) = begun[&(i, received.session)];
            let age = received.at.saturating_duration_since(at);
            assert!(age < REJECT_AFTER_TIME + slack, "node {i} accepted a packet at the age of {age:?}");
        }
    }
}

/// A second copy of a data packet, of an initiation, or of a response.
fn is_a_duplicate(why: &DecapsulateError) -> bool {
    matches!(
        why,
        DecapsulateError::Replayed | DecapsulateError::Control(Rejected::Replayed | Rejected::Unexpected)
    )
}
