//! Echo: ICQ-1, and our own addresses.

use router_core::sim::wire;
use router_core::{DropReason, Egress};

use crate::desk::*;

#[test]
fn icq_1_the_identifier_is_the_port_and_comes_back_restored() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let (alice, bob, site) = (desk.alice_side(), desk.bob_side(), desk.site_side());
        let first = desk.alice_sends(ping(net.alice, net.machine, 7)).forwarded_to(site);
        let second = desk.bob_sends(ping(net.bob, net.machine, 7)).forwarded_to(site);
        let (first, second) = (ends_of(&first), ends_of(&second));
        assert_eq!(first.addresses, wire::addresses(ip(net.router), ip(net.connector)));
        assert_ne!(first.ports.source, second.ports.source, "identifiers tell replies apart");
        let reply = pong(net.connector, net.router, second.ports.source);
        let reply = desk.site_sends(reply).forwarded_to(bob);
        assert_eq!(reply, wire::with_hop_limit(&pong(net.machine, net.bob, 7), 63));
        let reply = pong(net.connector, net.router, first.ports.source);
        assert_eq!(
            desk.site_sends(reply).forwarded_to(alice),
            wire::with_hop_limit(&pong(net.machine, net.alice, 7), 63)
        );
    }
}

#[test]
fn icq_1_a_reply_opens_nothing() {
    for net in BOTH {
        let mut desk = Desk::ready();
        assert_eq!(desk.alice_sends(pong(net.alice, net.machine, 7)).dropped(), DropReason::NoFlow);
        assert_eq!(desk.site_sends(pong(net.connector, net.router, 7)).dropped(), DropReason::NoFlow);
        assert_eq!(desk.node.flows_used().0, 0);
    }
}

/// Found by the fuzzer. A request's tuple is (identifier, 0) and a reply's (0, identifier): both are (0, 0) for one of 0.
#[test]
fn icq_1_who_answers_pings_of_identifier_zero_may_not_ping() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let alice = desk.alice_side();
        desk.alice_sends(ping(net.alice, net.plain, 0)).forwarded_to(Egress::Tun);
        desk.tun_brings(pong(net.plain, net.alice, 0)).forwarded_to(alice);
        assert_eq!(desk.tun_brings(ping(net.plain, net.alice, 0)).dropped(), DropReason::NoFlow);
        assert_eq!(desk.alice_sends(pong(net.alice, net.plain, 0)).dropped(), DropReason::NoFlow);
        desk.alice_sends(ping(net.alice, net.plain, 0)).forwarded_to(Egress::Tun);
    }
}

#[test]
fn a_ping_needs_a_rule_without_protocol() {
    for net in BOTH {
        let mut desk = Desk::ready();
        assert_prohibited(&desk.alice_sends(ping(net.alice, net.target, 7)).answered());
        desk.alice_sends(ping(net.alice, net.plain, 7)).forwarded_to(Egress::Tun);
    }
}

#[test]
fn our_overlay_addresses_answer_peers() {
    for net in BOTH {
        let mut desk = Desk::new();
        let answer = desk.site_sends(ping(net.connector, net.router, 7)).answered();
        let expected = wire::with_dont_fragment(&pong(net.router, net.connector, 7));
        assert_eq!(answer, wire::with_identification(&expected, 0));
        assert_eq!(desk.node.flows_used().0, 0);
        let corrupted = wire::corrupted(&ping(net.connector, net.router, 7));
        assert_eq!(desk.site_sends(corrupted).dropped(), DropReason::NotServed);
    }
}

#[test]
fn other_icmp_messages_are_not_tracked() {
    let mut desk = Desk::ready();
    let v4 = wire::icmp(&wire::addresses(ip(V4.alice), ip(V4.plain)), 13, 0, [0; 4], &[0; 12]);
    let v6 = wire::icmp(&wire::addresses(ip(V6.alice), ip(V6.plain)), 135, 0, [0; 4], &[0; 16]);
    for packet in [v4, v6] {
        assert_eq!(desk.alice_sends(packet).dropped(), DropReason::IcmpNotTracked);
    }
}
