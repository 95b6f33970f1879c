//! TCP as a router sees it: TCP-1 to TCP-4, TMO-2, TMO-3, P9.

use std::time::Duration;

use router_core::packet::TcpFlags;
use router_core::{DropReason, Offload, Verdict};

use crate::desk::*;

const SYN_ACK: TcpFlags = TcpFlags::SYN.with(TcpFlags::ACK);

#[test]
fn tcp_4_a_flow_is_not_picked_up_in_the_middle() {
    for net in BOTH {
        let mut desk = Desk::ready();
        for flags in [TcpFlags::ACK, SYN_ACK, TcpFlags::FIN.with(TcpFlags::ACK)] {
            let packet = tcp(&at(net.alice, 5000), &at(net.target, 22), flags, 1, 1, b"");
            assert_prohibited(&desk.alice_sends(packet).answered());
        }
        assert_eq!(desk.dropped(DropReason::TcpNotOpening), 3);
        assert_eq!(desk.node.flows_used().0, 0);
    }
}

#[test]
fn p09_a_reset_ends_a_flow_only_at_the_exact_number() {
    let mut desk = Desk::ready();
    let (alice, site) = (desk.alice_side(), desk.site_side());
    let (from, to) = (at(V4.alice, 5000), at(V4.target, 22));
    let ends = desk.connect(&from, &to);
    let reset = |sequence| segment(&ends.reversed(), TcpFlags::RST, sequence, 0, b"");
    assert_eq!(desk.site_sends(reset(0x7000_0000)).dropped(), DropReason::TcpResetOutsideWindow);
    desk.site_sends(reset(5002)).forwarded_to(alice);
    let phase = desk.node.flows(desk.now).next().unwrap().phase;
    assert_eq!(phase, router_core::flow::Phase::Tcp(router_core::flow::tcp_state::TcpState::Established));
    let data = tcp(&from, &to, TcpFlags::ACK, 1001, 5001, b"still here");
    desk.alice_sends(data).forwarded_to(site);
    desk.site_sends(reset(5001)).forwarded_to(alice);
    let phase = desk.node.flows(desk.now).next().unwrap().phase;
    assert_eq!(phase, router_core::flow::Phase::Tcp(router_core::flow::tcp_state::TcpState::Reset));
}

#[test]
fn tcp_2_segments_outside_the_window_do_not_pass() {
    let mut desk = Desk::ready();
    let (from, to) = (at(V4.alice, 5000), at(V4.target, 22));
    let ends = desk.connect(&from, &to);
    for (sequence, acknowledgment) in [(0x4000_0000, 5001), (1001, 0x4000_0000)] {
        let stray = tcp(&from, &to, TcpFlags::ACK, sequence, acknowledgment, b"x");
        assert_eq!(desk.alice_sends(stray).dropped(), DropReason::TcpOutsideWindow);
    }
    let stray = segment(&ends.reversed(), TcpFlags::ACK, 0x4000_0000, 1001, b"x");
    assert_eq!(desk.site_sends(stray).dropped(), DropReason::TcpOutsideWindow);
}

#[test]
fn tcp_3_a_syn_may_use_an_ended_flow_again() {
    let mut desk = Desk::ready();
    let (alice, site) = (desk.alice_side(), desk.site_side());
    let (from, to) = (at(V4.alice, 5000), at(V4.target, 22));
    let ends = desk.connect(&from, &to);
    let fin = TcpFlags::FIN.with(TcpFlags::ACK);
    desk.alice_sends(tcp(&from, &to, fin, 1001, 5001, b"")).forwarded_to(site);
    desk.site_sends(segment(&ends.reversed(), fin, 5001, 1002, b"")).forwarded_to(alice);
    desk.alice_sends(tcp(&from, &to, TcpFlags::ACK, 1002, 5002, b"")).forwarded_to(site);
    desk.alice_sends(tcp(&from, &to, TcpFlags::SYN, 900_000, 0, b"")).forwarded_to(site);
    let answer = segment(&ends.reversed(), SYN_ACK, 700_000, 900_001, b"");
    desk.site_sends(answer).forwarded_to(alice);
    desk.alice_sends(tcp(&from, &to, TcpFlags::ACK, 900_001, 700_001, b"again")).forwarded_to(site);
}

#[test]
fn tmo_2_established_flows_idle_for_two_hours_and_openings_for_minutes() {
    let mut desk = Desk::ready();
    let (alice, site) = (desk.alice_side(), desk.site_side());
    let ends = desk.connect(&at(V4.alice, 5000), &at(V4.target, 22));
    desk.alice_sends(tcp(&at(V4.alice, 5001), &at(V4.target, 22), TcpFlags::SYN, 1, 0, b""))
        .forwarded_to(site);
    desk.wait(Duration::from_secs(239));
    assert_eq!(desk.node.flows_used().0, 2);
    desk.wait(Duration::from_secs(10));
    assert_eq!(desk.node.flows_used().0, 1);
    desk.wait(Duration::from_secs(7440 - 260));
    let data = segment(&ends.reversed(), TcpFlags::ACK, 5001, 1001, b"late");
    desk.site_sends(data).forwarded_to(alice);
    desk.wait(Duration::from_secs(8100));
    assert_eq!(desk.node.flows_used().0, 0);
}

#[test]
fn segments_of_a_super_packet_are_looked_up_and_tracked_once() {
    let mut desk = Desk::ready();
    let alice = desk.alice_side();
    let mut connect = |from: &str, to: &str| desk.connect(from, to);
    let ends = connect(&at(V4.alice, 5000), &at(V4.lan, 80));
    let data = segment(&ends.reversed(), TcpFlags::ACK, 5001, 1001, &[7; 6000]);
    let offload = Offload::Segments { payload_bytes: 1300 };
    let sent = desk.take_offloaded(router_core::Ingress::Tun, data, offload).forwarded_to(alice);
    assert_eq!(sent.len(), 6040);
    let acknowledgment = tcp(&at(V4.alice, 5000), &at(V4.lan, 80), TcpFlags::ACK, 1001, 11_001, b"");
    desk.alice_sends(acknowledgment).forwarded_to(router_core::Egress::Tun);
    let data = segment(&ends.reversed(), TcpFlags::ACK, 11_001, 1001, &[7; 3000]);
    let too_long = Offload::Segments { payload_bytes: 1460 };
    let outcome = desk.take_offloaded(router_core::Ingress::Tun, data, too_long);
    assert_eq!(outcome.verdict, Verdict::Reply);
    assert_eq!(desk.dropped(DropReason::TooBig), 1);
}
