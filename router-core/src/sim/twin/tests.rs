//! The twin is not blind: verdicts that were right are changed, and it must notice each change.

use crate::nat::PoolId;
use crate::packet::{PacketMut, TcpFlags, Transport};
use crate::sim::station::{Passage, Station};
use crate::sim::{Chain, Sim, names, wire};
use crate::{DropReason, Egress, Forward, Ingress, Verdict};

use super::judge::Opinion;

/// A chain that has carried one datagram and its answer.
fn chain() -> Chain {
    let mut chain = Sim::chain().start();
    chain.sim.send_udp(chain.users[0], 5000, names::dns(0, true), b"query");
    chain.sim.run_secs(1);
    chain
}

/// What the router said about the query, and about the answer.
fn passages(chain: &Chain) -> [Passage; 2] {
    let forwarded = chain.sim.station(chain.router).passages.iter();
    let forwarded: alloc::vec::Vec<_> =
        forwarded.filter(|passage| matches!(passage.verdict, Verdict::Forward(_))).cloned().collect();
    forwarded.try_into().expect("a query and its answer")
}

fn opinion(chain: &mut Chain, passage: &Passage) -> Opinion {
    let Station { node, twin, .. } = chain.sim.station_mut(chain.router);
    twin.as_mut().unwrap().opinion(node.device(), passage)
}

fn is_wrong(chain: &mut Chain, passage: &Passage) -> bool {
    matches!(opinion(chain, passage), Opinion::Wrong(_))
}

fn forwarded_to(passage: &Passage, egress: Egress) -> Verdict {
    Verdict::Forward(Forward { egress, len: passage.after.len(), fragment_to: None })
}

#[test]
fn agrees_with_what_was_right() {
    let mut chain = chain();
    for passage in passages(&chain) {
        assert_eq!(opinion(&mut chain, &passage), Opinion::Right);
    }
    let twin = chain.sim.station(chain.router).twin.as_ref().unwrap();
    assert_eq!(twin.judged[0], 2);
}

#[test]
fn notices_another_destination_source_port_or_egress() {
    let mut chain = chain();
    for passage in passages(&chain) {
        for at in [12, 15, 16, 19, 20, 23] {
            let mut changed = passage.clone();
            changed.after[at] ^= 1;
            // Right sums, so that nothing but the address or port is wrong.
            let mut after = wire::with_hop_limit(&changed.after, changed.after[8]);
            let ends = PacketMut::parse(&mut after).unwrap().ends();
            changed.after = wire::with_hop_limit(&wire::udp(&ends, &after[28..]), after[8]);
            assert!(is_wrong(&mut chain, &changed), "byte {at}");
        }
        let elsewhere = forwarded_to(&passage, Egress::Tun);
        assert!(is_wrong(&mut chain, &Passage { verdict: elsewhere, ..passage }));
    }
}

#[test]
fn notices_a_source_that_belongs_to_another_side() {
    let mut chain = chain();
    let [query, answer] = passages(&chain);
    let swapped = [
        Passage { ingress: answer.ingress, ..query.clone() },
        Passage { ingress: query.ingress, ..answer.clone() },
        Passage { ingress: Ingress::Tun, ..query },
    ];
    for passage in swapped {
        assert!(is_wrong(&mut chain, &passage), "{:?}", passage.ingress);
    }
}

#[test]
fn notices_a_wrong_hop_limit_checksum_length_or_payload() {
    let mut chain = chain();
    for passage in passages(&chain) {
        let changes = [
            wire::with_hop_limit(&passage.after, passage.before[8]),
            wire::corrupted(&passage.after),
            passage.after[..passage.after.len() - 1].to_vec(),
            wire::without_udp_checksum(&wire::corrupted(&passage.after)),
        ];
        for after in changes {
            assert!(is_wrong(&mut chain, &Passage { after, ..passage.clone() }));
        }
    }
}

#[test]
fn notices_that_something_was_refused_which_must_pass() {
    let mut chain = chain();
    for passage in passages(&chain) {
        for verdict in [Verdict::Drop(DropReason::NotAllowed), Verdict::Reply, Verdict::Parked] {
            let refused = Passage { verdict, ..passage.clone() };
            assert!(matches!(opinion(&mut chain, &refused), Opinion::MustPass(_)), "{verdict:?}");
        }
    }
}

#[test]
fn notices_what_passes_after_a_session_has_ended() {
    let mut chain = chain();
    let both = passages(&chain);
    chain.sim.close_session(chain.router, Chain::session(0, 0, true));
    for passage in &both {
        assert!(is_wrong(&mut chain, passage));
    }
    let rule = chain.router_rules(&Chain::shape()).rules.remove(0);
    chain.sim.open_session(chain.router, &rule);
    assert_eq!(rule.snat, crate::nat::Snat::Pool(PoolId(1)));
    assert_eq!(opinion(&mut chain, &both[0]), Opinion::Right, "a new session allows the query anew");
    let lapsed = chain.sim.now();
    chain.sim.set_node_lease(chain.router, Some(lapsed));
    for passage in &both {
        assert!(is_wrong(&mut chain, &Passage { at: lapsed, ..passage.clone() }));
    }
}

/// A chain that has carried a connection's handshake and data, and what its router said about the data segment.
fn chain_with_tcp() -> (Chain, Passage) {
    let mut chain = Sim::chain().start();
    let connection = chain.sim.connect(chain.users[0], 41_000, names::ssh(0, true));
    chain.sim.run_secs(1);
    chain.sim.write(connection, b"data", false);
    chain.sim.run_secs(1);
    // The first to carry it came from the client; the other one is the echo.
    let carries_data = |passage: &&Passage| passage.before.windows(4).any(|bytes| bytes == b"data");
    let data = chain.sim.station(chain.router).passages.iter().find(carries_data).cloned();
    (chain, data.expect("the data was forwarded"))
}

/// The segment with other numbers and flags, whose checksums are right, and nothing behind its header.
fn with_numbers(passage: &Passage, flags: TcpFlags, further: u32, acknowledges_more: u32) -> Passage {
    let changed = |packet: &[u8]| {
        let mut bytes = packet.to_vec();
        let parsed = PacketMut::parse(&mut bytes).unwrap();
        let Transport::Tcp(tcp) = parsed.transport() else { panic!("it is TCP") };
        let header = wire::Segment {
            flags,
            sequence: tcp.sequence.wrapping_add(u32::from(tcp.payload_len)).wrapping_add(further),
            acknowledgment: tcp.acknowledgment.wrapping_add(acknowledges_more),
            window: tcp.window,
            mss: None,
        };
        wire::with_hop_limit(&wire::tcp(&parsed.ends(), &header, b""), parsed.hop_limit())
    };
    let mut changed =
        Passage { before: changed(&passage.before), after: changed(&passage.after), ..passage.clone() };
    if let Verdict::Forward(forward) = passage.verdict {
        changed.verdict = Verdict::Forward(Forward { len: changed.after.len(), ..forward });
    }
    changed
}

#[test]
fn notices_segments_beyond_their_window_and_acknowledgements_of_what_was_not_sent() {
    for (flags, further, acknowledges_more, is_right) in [
        (TcpFlags::ACK, 0, 0, true),
        (TcpFlags::ACK, 65_000, 0, true),
        (TcpFlags::ACK, 66_000, 0, false),
        (TcpFlags::ACK, 0, 1000, false),
        (TcpFlags::RST, 66_000, 0, false),
        (TcpFlags::FIN.with(TcpFlags::ACK), 0x7000_0000, 0, false),
    ] {
        let (mut chain, data) = chain_with_tcp();
        // The echo has been acknowledged; all numbers count from the data on.
        let forwarded = with_numbers(&data, flags, further, acknowledges_more);
        let opinion = opinion(&mut chain, &forwarded);
        assert_eq!(
            opinion == Opinion::Right,
            is_right,
            "{flags:?} {further} {acknowledges_more}: {opinion:?}"
        );
    }
}

#[test]
fn notices_that_the_next_segment_was_refused_also_after_a_reset_that_was_not_exact() {
    let (mut chain, data) = chain_with_tcp();
    let refused =
        |passage: Passage| Passage { verdict: Verdict::Drop(DropReason::TcpOutsideWindow), ..passage };
    let next = refused(with_numbers(&data, TcpFlags::ACK, 0, 4));
    assert!(matches!(opinion(&mut chain, &next), Opinion::MustPass(_)));
    let blind = with_numbers(&data, TcpFlags::RST, 9, 0);
    assert_eq!(opinion(&mut chain, &blind), Opinion::Right);
    assert!(matches!(opinion(&mut chain, &next), Opinion::MustPass(_)), "P9");
    let exact = with_numbers(&data, TcpFlags::RST, 0, 0);
    assert_eq!(opinion(&mut chain, &exact), Opinion::Right);
    assert_eq!(opinion(&mut chain, &next), Opinion::None);
}
