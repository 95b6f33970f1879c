//! Behaviour over time: rekey, retry, keepalive, expiry. All in virtual time.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod net;

use std::num::NonZeroU16;
use std::time::Duration;

use net::*;
use wg_proto::{Event, Timer};

/// Times, in milliseconds, at which datagrams of a kind were sent.
fn times(net: &Net, from: usize, is: fn(&wg_proto::MessageKind, usize) -> bool) -> Vec<u64> {
    net.sent(from, is).iter().map(|sent| sent.at.as_nanos() / 1_000_000).collect()
}

/// One packet a second from node `from`, for `seconds`.
fn stream(net: &mut Net, from: usize, to: usize, seconds: u64) {
    for n in 0..seconds {
        net.send(from, to, &n.to_be_bytes());
        net.run_for(secs(1));
    }
}

#[test]
fn the_initiator_renews_a_session_after_120_seconds_and_nothing_is_lost() {
    let mut net = Net::connected(1);
    stream(&mut net, 0, 1, 400);
    assert_eq!(net.nodes[1].received.len(), 401);
    let initiations = times(&net, 0, is_initiation);
    assert_eq!(initiations.len(), 4, "{initiations:?}");
    for pair in initiations.windows(2) {
        assert!((120_000..122_000).contains(&(pair[1] - pair[0])), "{initiations:?}");
    }
    assert_eq!(times(&net, 1, is_initiation), []);
}

#[test]
fn only_the_initiator_renews_by_age_while_both_send() {
    let mut net = Net::connected(2);
    for n in 0..400u64 {
        net.send(0, 1, &n.to_be_bytes());
        net.send(1, 0, &n.to_be_bytes());
        net.run_for(secs(1));
    }
    assert_eq!((net.nodes[0].received.len(), net.nodes[1].received.len()), (400, 401));
    assert_eq!((times(&net, 0, is_initiation).len(), times(&net, 1, is_initiation).len()), (4, 0));
}

#[test]
fn a_one_way_stream_causes_no_spurious_rekey() {
    let mut net = Net::connected(3);
    stream(&mut net, 0, 1, 118);
    assert_eq!(times(&net, 0, is_initiation).len(), 1);
    assert_eq!(times(&net, 1, is_initiation).len(), 0);
    // The receiver answers by a keepalive every ten seconds, counted from the first unanswered packet.
    let keepalives = times(&net, 1, is_keepalive);
    assert!((9..=12).contains(&keepalives.len()), "{keepalives:?}");
}

#[test]
fn one_way_streams_from_the_responder_cause_no_spurious_rekey() {
    let mut net = Net::connected(4);
    stream(&mut net, 1, 0, 400);
    assert_eq!(times(&net, 1, is_initiation).len(), 0);
    // The initiator only sends keepalives; the first of them past 120 s renews.
    let initiations = times(&net, 0, is_initiation);
    assert!((3..=4).contains(&initiations.len()), "{initiations:?}");
    for pair in initiations.windows(2) {
        assert!((120_000..132_000).contains(&(pair[1] - pair[0])), "{initiations:?}");
    }
    assert_eq!(net.nodes[0].received.len(), 400);
}

#[test]
fn data_received_past_165_seconds_renews_the_session_once_and_only_on_its_initiator() {
    let mut net = Net::connected(21);
    for millis in [164_000, 166_000, 167_000] {
        net.run_until(at(Duration::from_millis(millis)));
        net.filter = Box::new(move |sent| millis == 166_000 && sent.bytes[0] == 1);
        net.send(1, 0, b"late");
        net.run_for(Duration::from_millis(100));
        net.filter = Box::new(|_| false);
        let expected = if millis == 164_000 { 1 } else { 2 };
        assert_eq!(times(&net, 0, is_initiation).len(), expected, "{millis}");
    }
    assert_eq!(times(&net, 1, is_initiation).len(), 0);
    // The one that was lost is retried like any other.
    net.run_for(secs(10));
    assert_eq!(times(&net, 0, is_initiation).len(), 3);
}

#[test]
fn received_data_is_answered_after_10_seconds_from_the_first_packet() {
    let mut net = Net::connected(5);
    net.run_for(secs(30));
    let before = times(&net, 1, is_keepalive).len();
    let start = net.now.as_nanos() / 1_000_000;
    for _ in 0..9 {
        net.send(0, 1, b"data");
        net.run_for(secs(1));
    }
    net.run_for(secs(30));
    let keepalives = times(&net, 1, is_keepalive);
    assert_eq!(keepalives[before..], [start + 20 + 10_000]);
}

#[test]
fn keepalives_are_not_answered_by_keepalives() {
    let mut net = Net::connected(6);
    net.run_for(secs(100));
    // The initiator's first packet is data, so the responder answers once; that answer is not answered.
    assert_eq!(times(&net, 0, is_keepalive).len(), 0);
    assert_eq!(times(&net, 1, is_keepalive).len(), 1);
}

#[test]
fn an_idle_tunnel_is_silent() {
    let mut net = Net::connected(7);
    net.run_for(secs(60));
    let before = net.wire.len();
    net.run_for(secs(3600));
    assert_eq!(net.wire.len(), before);
}

#[test]
fn silence_after_sent_data_starts_a_handshake_15_seconds_after_the_first_packet() {
    let mut net = Net::connected(8);
    net.run_for(secs(30));
    net.filter = Box::new(|sent| sent.from == 1);
    let start = net.now.as_nanos() / 1_000_000;
    for _ in 0..14 {
        net.send(0, 1, b"data");
        net.run_for(secs(1));
    }
    net.run_for(secs(5));
    let initiations = times(&net, 0, is_initiation);
    assert!((start + 15_000..=start + 15_333).contains(&initiations[1]), "{start} {initiations:?}");
}

#[test]
fn initiations_are_retried_every_5_seconds_and_given_up_after_90() {
    let mut net = Net::mesh(2, 9);
    net.filter = Box::new(|_| true);
    net.send(0, 1, b"anybody there?");
    net.run_for(secs(89));
    assert_eq!(net.nodes[0].device.peer(net.peer(0, 1)).unwrap().staged_packets(), 1);
    net.run_for(secs(500));
    let initiations = times(&net, 0, is_initiation);
    assert!((17..=19).contains(&initiations.len()), "{initiations:?}");
    for pair in initiations.windows(2) {
        assert!((5_000..=5_333).contains(&(pair[1] - pair[0])), "{initiations:?}");
    }
    let peer = net.peer(0, 1);
    let events: Vec<_> = net.nodes[0].events.iter().map(|(_, event)| *event).collect();
    assert_eq!(events, [Event::PeerUnreachable { peer }]);
    assert_eq!(net.nodes[0].device.counters().staged_abandoned, 1);
    assert_eq!(net.nodes[0].device.session_indices_used(), 0);
}

#[test]
fn retries_carry_jitter() {
    let mut net = Net::mesh(2, 10);
    net.filter = Box::new(|_| true);
    net.send(0, 1, b"anybody there?");
    net.run_for(secs(89));
    let initiations: Vec<u64> = net.sent(0, is_initiation).iter().map(|sent| sent.at.as_nanos()).collect();
    let mut gaps: Vec<u64> = initiations.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_unstable();
    gaps.dedup();
    assert!(gaps.len() > 10);
}

#[test]
fn a_packet_after_the_attempts_were_given_up_starts_over() {
    let mut net = Net::mesh(2, 11);
    net.filter = Box::new(|_| true);
    net.send(0, 1, b"lost");
    net.run_for(secs(200));
    net.filter = Box::new(|_| false);
    net.send(0, 1, b"found");
    net.run_for(secs(1));
    assert_eq!(net.nodes[1].received.len(), 1);
}

#[test]
fn packets_staged_meanwhile_prolong_the_attempts() {
    let mut net = Net::mesh(2, 12);
    net.filter = Box::new(|_| true);
    for _ in 0..20 {
        net.send(0, 1, b"still wanted");
        net.run_for(secs(10));
    }
    assert!(net.nodes[0].events.is_empty());
    net.filter = Box::new(|_| false);
    net.run_for(secs(6));
    assert_eq!(net.nodes[1].received.len(), 20);
}

#[test]
fn a_failed_attempt_series_leaves_a_valid_session_alone() {
    let mut net = Net::connected(13);
    net.run_for(secs(50));
    // The peer hears everything, but only its data and keepalives come back.
    net.filter = Box::new(|sent| sent.bytes[0] == 2 || sent.bytes.len() == 32);
    net.send(0, 1, b"unanswered");
    net.run_for(secs(110));
    assert!(net.nodes[0].events.iter().any(|(_, event)| matches!(event, Event::PeerUnreachable { .. })));
    let peer = net.peer(0, 1);
    assert!(net.nodes[0].device.peer(peer).unwrap().has_session(net.now));
    net.send(0, 1, b"the old session still works");
    net.run_for(secs(1));
    assert_eq!(net.nodes[1].received.len(), 3);
}

#[test]
fn a_late_response_is_accepted_until_the_next_attempt() {
    let mut net = Net::mesh(2, 14);
    net.link.latency = millis(2_450);
    net.send(0, 1, b"slow");
    net.run_for(millis(2_450 * 3));
    assert_eq!(times(&net, 0, is_initiation).len(), 1);
    assert_eq!(net.nodes[1].received.len(), 1);
}

#[test]
fn keys_are_wiped_9_minutes_after_the_last_session() {
    let mut net = Net::connected(15);
    net.run_until(at(Duration::from_millis(540_000)));
    assert_eq!(net.nodes[0].device.session_indices_used(), 1);
    net.run_until(at(Duration::from_millis(540_041)));
    for i in 0..2 {
        assert_eq!(net.nodes[i].device.session_indices_used(), 0, "node {i}");
        let expired = net.nodes[i].events.iter().filter(|(_, e)| matches!(e, Event::SessionExpired { .. }));
        assert_eq!(expired.count(), 1);
        assert_eq!(net.nodes[i].device.poll_timeout(), None);
    }
}

#[test]
fn a_session_is_not_used_from_180_seconds_on_even_if_no_timer_was_handled() {
    let mut net = Net::connected(16);
    let peer = net.peer(0, 1);
    // The initiator derived the session at 40 ms. No timer is handled on the way.
    for (millis, usable) in [(180_039, true), (180_040, false)] {
        net.now = at(Duration::from_millis(millis));
        assert_eq!(net.nodes[0].device.peer(peer).unwrap().has_session(net.now), usable);
        let one = std::num::NonZeroU32::MIN;
        assert_eq!(net.nodes[0].device.begin_send(net.now, peer, one, 1).is_ok(), usable);
    }
}

#[test]
fn a_persistent_keepalive_greets_at_once_and_keeps_the_path_open() {
    let mut net = Net::mesh(2, 17);
    let (peer, every) = (net.peer(0, 1), NonZeroU16::new(25));
    net.nodes[0].device.set_persistent_keepalive(net.now, peer, every).unwrap();
    net.run_for(secs(100));
    assert_eq!(times(&net, 0, is_initiation), [0]);
    assert_eq!(times(&net, 0, is_keepalive), [40, 25_040, 50_040, 75_040]);
    assert_eq!(times(&net, 1, is_keepalive), []);
}

#[test]
fn a_persistent_keepalive_is_silent_on_a_busy_tunnel() {
    let mut net = Net::connected(18);
    let (peer, every) = (net.peer(0, 1), NonZeroU16::new(5));
    stream(&mut net, 0, 1, 2);
    net.nodes[0].device.set_persistent_keepalive(net.now, peer, every).unwrap();
    net.run_for(millis(100));
    let before = times(&net, 0, is_keepalive).len();
    stream(&mut net, 0, 1, 60);
    // Received traffic counts as well.
    stream(&mut net, 1, 0, 9);
    assert_eq!(times(&net, 0, is_keepalive).len(), before);
}

#[test]
fn a_persistent_keepalive_renews_an_expired_session_and_tries_for_ever() {
    let mut net = Net::mesh(2, 19);
    let peer = net.peer(0, 1);
    net.nodes[0].device.set_persistent_keepalive(net.now, peer, NonZeroU16::new(25)).unwrap();
    net.run_for(secs(1000));
    assert!(net.nodes[0].device.peer(peer).unwrap().has_session(net.now));
    net.filter = Box::new(|_| true);
    net.run_for(secs(1000));
    net.filter = Box::new(|_| false);
    net.run_for(secs(60));
    assert!(net.nodes[0].device.peer(peer).unwrap().has_session(net.now));
    net.nodes[0].device.set_persistent_keepalive(net.now, peer, None).unwrap();
    net.run_for(secs(30));
    let before = net.wire.len();
    net.run_for(secs(1000));
    assert_eq!(net.wire.len(), before);
}

#[test]
fn poll_timeout_says_which_timer_it_is() {
    let mut net = Net::mesh(2, 20);
    assert_eq!(net.nodes[0].device.poll_timeout(), None);
    net.send(0, 1, b"data");
    let (at, wake) = net.nodes[0].device.poll_timeout().unwrap();
    assert_eq!((wake.peer, wake.timer), (net.peer(0, 1), Timer::Retransmit));
    assert!((5_000..=5_333).contains(&(at.as_nanos() / 1_000_000)));
    net.run_for(secs(1));
    let (at, wake) = net.nodes[0].device.poll_timeout().unwrap();
    assert_eq!(wake.timer, Timer::NewHandshake);
    assert!((15_040..=15_373).contains(&(at.as_nanos() / 1_000_000)));
    let (at, wake) = net.nodes[1].device.poll_timeout().unwrap();
    assert_eq!((wake.timer, at.as_nanos() / 1_000_000), (Timer::Keepalive, 10_060));
}

#[test]
fn packets_survive_rekeys_under_loss_reordering_and_duplication() {
    for seed in 0..20 {
        let mut net = Net::mesh(3, 1000 + seed);
        net.link = Link { latency: millis(30), jitter: millis(40), loss: 0.1, duplicates: 0.05 };
        for n in 0..500u64 {
            for (from, to) in [(0, 1), (1, 0), (1, 2), (2, 0)] {
                net.send(from, to, &n.to_be_bytes());
            }
            net.run_for(secs(1));
        }
        net.run_for(secs(30));
        for node in &net.nodes {
            let mut seen: Vec<_> =
                node.received.iter().map(|received| (received.from, &received.packet)).collect();
            let all = seen.len();
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len(), all, "a duplicate came through, seed {seed}");
        }
        let received: usize = net.nodes.iter().map(|node| node.received.len()).sum();
        assert!(received > 2000 * 85 / 100, "only {received} of 2000, seed {seed}");
    }
}

#[test]
fn a_handshake_gets_through_heavy_loss() {
    for seed in 0..50 {
        let mut net = Net::mesh(2, 2000 + seed);
        net.link.loss = 0.5;
        net.send(0, 1, b"at last");
        net.run_for(secs(60));
        net.link.loss = 0.0;
        net.run_for(secs(20));
        let peer = net.peer(0, 1);
        assert!(net.nodes[0].device.peer(peer).unwrap().has_session(net.now), "seed {seed}");
    }
}
