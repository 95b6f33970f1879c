//! Sending against receiving, over a real loopback, in a namespace of the test's own.

use std::net::{IpAddr, SocketAddr};

use wg_proto::{Endpoint, Source};

use super::socket::{Binding, SocketPair, bind};
use super::{ReceiveBatch, SendQueue};
use crate::clock;
use crate::net::{HostNetwork, LinkChange, LinkIndex};
use crate::sandbox::in_namespace;

const LOOPBACK: LinkIndex = LinkIndex(1);

fn loopback_up(mtu_bytes: u16) {
    let change = LinkChange { up: Some(true), mtu_bytes: Some(mtu_bytes), ..LinkChange::default() };
    HostNetwork::open().expect("netlink").change_link(LOOPBACK, change).expect("up");
}

fn pair() -> (SocketPair, u16) {
    let mut bound = bind(&Binding { port: 0, fwmark: 0, workers: 1, offload: true }).expect("bind");
    (bound.pairs.remove(0), bound.port)
}

fn to(ip: &str, port: u16) -> Endpoint {
    Endpoint::new(SocketAddr::new(ip.parse().expect("address"), port))
}

/// Queues one datagram per length, each filled with its number, and sends them all.
fn send(queue: &mut SendQueue, sockets: &SocketPair, to: Endpoint, tos: u8, lengths: &[usize]) {
    for (number, len) in lengths.iter().enumerate() {
        queue.reserve(*len).expect("room").fill(number as u8);
        queue.commit(*len, to, tos);
    }
    queue.flush(clock::now(), sockets);
}

struct Arrived {
    datagrams: Vec<(usize, u8)>,
    messages: usize,
    from: Vec<Endpoint>,
    tos: Vec<u8>,
}

fn receive(sockets: &SocketPair, family: usize, datagrams: usize) -> Arrived {
    let mut batch = ReceiveBatch::new();
    let mut arrived = Arrived { datagrams: vec![], messages: 0, from: vec![], tos: vec![] };
    for _ in 0..200 {
        let filled = batch.fill(sockets.each()[family].expect("socket")).expect("receive");
        arrived.messages += filled.messages;
        for message in batch.messages() {
            arrived.from.push(message.from);
            arrived.tos.push(message.tos);
            let bytes = message.datagrams().map(|range| (range.len(), batch.storage()[range.start]));
            arrived.datagrams.extend(bytes);
        }
        if arrived.datagrams.len() >= datagrams {
            return arrived;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("{} of {datagrams} datagrams", arrived.datagrams.len());
}

fn numbered(lengths: &[usize]) -> Vec<(usize, u8)> {
    lengths.iter().enumerate().map(|(number, len)| (*len, number as u8)).collect()
}

#[test]
fn a_run_travels_as_one_message_and_is_cut_at_its_stride() {
    in_namespace(|| {
        loopback_up(65_500);
        for (family, ip) in ["127.0.0.1", "::1"].into_iter().enumerate() {
            let ((a, _), (b, port)) = (pair(), pair());
            let mut queue = SendQueue::new(true);
            let lengths = [vec![1452; 30], vec![300]].concat();
            send(&mut queue, &a, to(ip, port), 0, &lengths);
            let counts = queue.take_counts();
            assert_eq!((counts.messages, counts.datagrams), (1, 31));
            let arrived = receive(&b, family, 31);
            assert_eq!(arrived.datagrams, numbered(&lengths));
            assert_eq!(arrived.messages, 1, "received as one GRO run");
        }
    });
}

#[test]
fn a_longer_datagram_another_class_or_another_peer_starts_a_new_run() {
    in_namespace(|| {
        loopback_up(65_500);
        let ((a, _), (b, port)) = (pair(), pair());
        let mut queue = SendQueue::new(true);
        for (len, to, tos) in [
            (100, to("127.0.0.1", port), 0),
            (101, to("127.0.0.1", port), 0),
            (101, to("127.0.0.1", port), 2),
            (101, to("127.0.0.2", port), 2),
            (100, to("127.0.0.2", port), 2),
            (100, to("127.0.0.2", port), 2),
        ] {
            queue.reserve(len).expect("room").fill(0);
            queue.commit(len, to, tos);
        }
        queue.flush(clock::now(), &a);
        let counts = queue.take_counts();
        assert_eq!((counts.messages, counts.datagrams), (5, 6));
        assert_eq!(receive(&b, 0, 6).datagrams.len(), 6);
    });
}

#[test]
fn class_and_source_address_are_seen_and_can_be_answered_from() {
    in_namespace(|| {
        loopback_up(65_500);
        let ((a, a_port), (b, b_port)) = (pair(), pair());
        let mut queue = SendQueue::new(true);
        send(&mut queue, &a, to("127.0.0.9", b_port), 0x88, &[148]);
        let arrived = receive(&b, 0, 1);
        assert_eq!(arrived.tos, [0x88]);
        let addr: IpAddr = "127.0.0.9".parse().expect("address");
        assert_eq!(arrived.from[0].source, Some(Source { addr, interface: 1 }));
        send(&mut queue, &b, arrived.from[0], 0, &[92]);
        let answer = receive(&a, 0, 1);
        assert_eq!(answer.from[0].remote, SocketAddr::new(addr, b_port));
        assert_ne!(a_port, b_port);
    });
}

#[test]
fn ipv6_carries_its_class_too() {
    in_namespace(|| {
        loopback_up(65_500);
        let ((a, _), (b, port)) = (pair(), pair());
        let mut queue = SendQueue::new(true);
        send(&mut queue, &a, to("::1", port), 0x8b, &[148]);
        assert_eq!(receive(&b, 1, 1).tos, [0x8b]);
    });
}

#[test]
fn a_source_address_that_is_not_ours_any_more_is_given_up_and_reported() {
    in_namespace(|| {
        loopback_up(65_500);
        let ((a, _), (b, port)) = (pair(), pair());
        let mut queue = SendQueue::new(true);
        let source = Some(Source { addr: "192.0.2.1".parse().expect("address"), interface: 0 });
        let stale = Endpoint { source, ..to("127.0.0.1", port) };
        send(&mut queue, &a, stale, 0, &[100, 100, 50]);
        assert_eq!(receive(&b, 0, 3).datagrams, numbered(&[100, 100, 50]));
        assert_eq!(queue.stale_sources().collect::<Vec<_>>(), [stale]);
        assert_eq!(queue.take_counts().datagrams, 3);
    });
}

#[test]
fn a_stride_wider_than_the_path_is_sent_singly_and_smaller_ones_still_together() {
    in_namespace(|| {
        loopback_up(2000);
        let ((a, _), (b, port)) = (pair(), pair());
        let mut queue = SendQueue::new(true);
        for (stride, messages) in [(3000, 3), (3000, 3), (1400, 1)] {
            send(&mut queue, &a, to("127.0.0.1", port), 0, &[stride; 3]);
            assert_eq!(receive(&b, 0, 3).datagrams, numbered(&[stride; 3]));
            let counts = queue.take_counts();
            assert_eq!((counts.messages, counts.datagrams), (messages, 3), "stride {stride}");
        }
    });
}

#[test]
fn forced_off_means_one_message_per_datagram() {
    in_namespace(|| {
        loopback_up(65_500);
        let ((a, _), (b, port)) = (pair(), pair());
        let mut queue = SendQueue::new(false);
        send(&mut queue, &a, to("127.0.0.1", port), 0, &[500; 9]);
        assert_eq!(queue.take_counts().messages, 9);
        assert_eq!(receive(&b, 0, 9).datagrams, numbered(&[500; 9]));
    });
}

#[test]
fn the_kernel_tells_what_a_full_receive_buffer_lost() {
    in_namespace(|| {
        loopback_up(65_500);
        let ((a, _), (b, port)) = (pair(), pair());
        let mut queue = SendQueue::new(false);
        for _ in 0..400 {
            send(&mut queue, &a, to("127.0.0.1", port), 0, &[1400; 60]);
        }
        let sent = queue.take_counts().datagrams;
        let mut batch = ReceiveBatch::new();
        let (mut datagrams, mut lost) = (0, 0);
        loop {
            let filled = batch.fill(b.each()[0].expect("socket")).expect("receive");
            let more: usize = batch.messages().iter().map(|message| message.datagrams().count()).sum();
            if more == 0 {
                break;
            }
            datagrams += more as u64;
            lost = filled.lost.map_or(lost, u64::from);
        }
        // What was lost after the last datagram that fitted is told with the next one.
        send(&mut queue, &a, to("127.0.0.1", port), 0, &[1400]);
        let filled = batch.fill(b.each()[0].expect("socket")).expect("receive");
        lost = filled.lost.map_or(lost, u64::from);
        assert!(lost > 0);
        assert_eq!(datagrams + lost, sent);
    });
}

#[test]
fn what_cannot_be_sent_is_counted_by_reason() {
    in_namespace(|| {
        loopback_up(65_500);
        let (a, port) = pair();
        let mut queue = SendQueue::new(true);
        send(&mut queue, &a, to("198.51.100.1", port), 0, &[100, 100]);
        assert_eq!(queue.take_counts().dropped_unreachable, 2);
        send(&mut queue, &a, to("127.0.0.1", port), 0, &[65_520]);
        assert_eq!(queue.take_counts().dropped_too_big, 1);
    });
}
