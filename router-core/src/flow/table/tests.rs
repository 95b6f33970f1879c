use core::net::Ipv4Addr;
use core::time::Duration;

use super::*;
use crate::flow::tcp_state::TcpTrack;
use crate::flow::tick::ticks;
use crate::flow::{
    ECHO_TIMEOUT, ESTABLISHED_TIMEOUT, Leg, Opening, SessionRef, TRANSITORY_TIMEOUT, UDP_TIMEOUT,
};
use crate::packet::{Protocol, TcpFlags};

const NOW: Tick = Tick(1_000_000);

#[test]
fn both_tuples_find_the_flow_and_say_which_way() {
    let mut table = table(4);
    let flow = udp(1);
    let id = table.insert(NOW, &flow).unwrap();
    assert_eq!(table.lookup(&flow.original), Some((id, Direction::Original)));
    assert_eq!(table.lookup(&flow.reply), Some((id, Direction::Reply)));
    assert_eq!(table.lookup(&flow.original.inverse()), None, "the untranslated answer is no answer");
    assert!(table.is_of(id, Direction::Reply, &flow.reply));
    assert!(!table.is_of(id, Direction::Original, &flow.reply));
}

#[test]
fn outgoing_is_the_other_directions_answer() {
    let mut table = table(4);
    let flow = udp(1);
    let id = table.insert(NOW, &flow).unwrap();
    let stored = table.flow(id).unwrap();
    assert_eq!(stored.outgoing(Direction::Original), flow.reply.inverse());
    assert_eq!(stored.outgoing(Direction::Reply), flow.original.inverse());
    assert_eq!(stored.incoming(Direction::Original), flow.original);
    assert_eq!(stored.meta(), flow.meta);
}

#[test]
fn nat_iff_a_tuple_of_another_flow_is_refused_in_either_role() {
    let mut table = table(8);
    let first = udp(1);
    table.insert(NOW, &first).unwrap();
    let other = udp(2);
    for clash in [
        NewFlow { original: first.original, ..other },
        NewFlow { original: first.reply, ..other },
        NewFlow { reply: first.original, ..other },
        NewFlow { reply: first.reply, ..other },
        NewFlow { reply: other.original, ..other },
    ] {
        assert_eq!(table.insert(NOW, &clash), Err(InsertError::TupleTaken));
    }
    assert_eq!(table.flows_used(), 1);
    assert!(table.insert(NOW, &other).is_ok(), "a refusal leaves nothing behind");
}

#[test]
fn a_full_table_refuses_and_a_removal_makes_room() {
    let mut table = table(2);
    let id = table.insert(NOW, &udp(1)).unwrap();
    table.insert(NOW, &udp(2)).unwrap();
    assert_eq!(table.insert(NOW, &udp(3)), Err(InsertError::Full));
    assert_eq!(table.remove(id).map(|removed| removed.original), Some(udp(1).original));
    assert_eq!(table.remove(id), None);
    assert_eq!(table.flow(id).map(|flow| flow.meta()), None);
    table.insert(NOW, &udp(3)).unwrap();
    assert_eq!(table.lookup(&udp(1).original), None);
}

#[test]
fn p27_a_table_for_no_flows_works() {
    let mut table = table(0);
    assert_eq!(table.insert(NOW, &udp(1)), Err(InsertError::Full));
    assert_eq!(table.lookup(&udp(1).original), None);
    assert!(table.evict(NOW, |_| Standing::Dead).is_none());
}

#[test]
fn flows_expire_after_their_timeout_and_not_before() {
    for (flow, timeout) in [(udp(1), UDP_TIMEOUT), (echo(1), ECHO_TIMEOUT), (tcp(1), TRANSITORY_TIMEOUT)] {
        let mut table = table(4);
        table.insert(NOW, &flow).unwrap();
        let almost = Tick(NOW.0 + ticks(timeout) - 1);
        assert!(expired(&mut table, almost).is_empty(), "{timeout:?}");
        let then = Tick(NOW.0 + ticks(timeout) + 1);
        assert_eq!(expired(&mut table, then), [flow.original], "{timeout:?}");
        assert_eq!(table.next_expiry(), None);
    }
}

#[test]
fn tmo_2_idle_flows_go_within_a_second_of_their_timeouts_however_long_those_are() {
    let mut table = table(4);
    table.insert(NOW, &udp(1)).unwrap();
    established(&mut table, NOW, 2);
    for (timeout, gone) in [(UDP_TIMEOUT, udp(1)), (ESTABLISHED_TIMEOUT, tcp(2))] {
        let almost = Tick(NOW.0 + ticks(timeout));
        // As a driver does: it wakes up when it was told to, and not otherwise.
        while let Some(due) = table.next_expiry().filter(|due| *due <= almost) {
            assert!(expired(&mut table, due).is_empty(), "{timeout:?}");
        }
        let due = table.next_expiry().unwrap();
        assert!(due.since(almost) <= ticks(Duration::from_secs(1)));
        assert_eq!(expired(&mut table, due), [gone.original], "{timeout:?}");
    }
}

#[test]
fn tmo_1_outbound_packets_refresh_a_udp_flow_and_so_do_its_answers() {
    for direction in Direction::BOTH {
        let mut table = table(4);
        let id = table.insert(NOW, &udp(1)).unwrap();
        let mut now = NOW;
        for _ in 0..20 {
            now = Tick(now.0 + ticks(UDP_TIMEOUT) - 1);
            assert!(expired(&mut table, now).is_empty());
            table.datagram(now, id, direction).unwrap();
        }
    }
}

#[test]
fn tmo_2_an_established_flow_outlives_the_transitory_timer_and_a_closed_one_does_not() {
    let mut table = table(4);
    let id = established(&mut table, NOW, 1);
    let quiet = Tick(NOW.0 + ticks(ESTABLISHED_TIMEOUT) - 1);
    assert!(expired(&mut table, quiet).is_empty());
    let rst = table.tcp(quiet, id, Direction::Original, &segment(TcpFlags::RST, 101)).unwrap();
    assert_eq!(rst.phase, Phase::Tcp(crate::flow::tcp_state::TcpState::Reset));
    let then = Tick(quiet.0 + ticks(TRANSITORY_TIMEOUT) + 1);
    assert_eq!(expired(&mut table, then).len(), 1, "an earlier deadline is armed at once");
}

#[test]
fn tmo_5_what_changes_no_state_refreshes_nothing() {
    let mut table = table(4);
    let id = established(&mut table, NOW, 1);
    let later = Tick(NOW.0 + 500);
    for segment in [segment(TcpFlags::RST, 150), segment(TcpFlags::SYN, 7), segment(TcpFlags::ACK, 9_000_000)]
    {
        table.tcp(later, id, Direction::Original, &segment).unwrap();
    }
    assert_eq!(table.flow(id).unwrap().last_seen(), NOW);
    table.tcp(later, id, Direction::Original, &segment(TcpFlags::ACK, 101)).unwrap();
    assert_eq!(table.flow(id).unwrap().last_seen(), later);
}

#[test]
fn expiry_looks_at_no_more_timers_than_its_budget() {
    let mut table = table(100);
    for number in 0..100 {
        table.insert(NOW, &udp(number)).unwrap();
    }
    let late = Tick(NOW.0 + 100_000);
    let mut budget = 30;
    let mut removed = 0;
    while table.expire(late, &mut budget).is_some() {
        removed += 1;
    }
    assert_eq!((removed, budget, table.flows_used()), (30, 0, 70));
    assert!(table.next_expiry().unwrap() <= late, "the rest is still due");
}

#[test]
fn cap_eviction_goes_by_expired_half_open_unreplied_closing_and_spares_the_established() {
    let mut table = table(5);
    let old = Tick(NOW.0 - ticks(Duration::from_secs(3600)));
    table.insert(old, &udp(0)).unwrap();
    established(&mut table, NOW, 1);
    let closing = established(&mut table, NOW, 2);
    table.tcp(NOW, closing, Direction::Original, &segment(TcpFlags::RST, 101)).unwrap();
    table.insert(NOW, &udp(3)).unwrap();
    table.insert(NOW, &tcp(4)).unwrap();
    let mut evict = || table.evict(NOW, |_| Standing::WithinShare).map(|removed| removed.original);
    assert_eq!(evict(), Some(udp(0).original), "expired");
    assert_eq!(evict(), Some(tcp(4).original), "half open");
    assert_eq!(evict(), Some(udp(3).original), "unreplied");
    assert_eq!(evict(), Some(tcp(2).original), "closing");
    assert_eq!(evict(), None, "established, within its share");
}

#[test]
fn cap_the_oldest_handshake_goes_first_and_a_refreshed_one_is_passed_over() {
    let mut table = table(50);
    for number in 0..50 {
        table.insert(Tick(NOW.0 + u32::from(number) * 40), &tcp(number)).unwrap();
    }
    let now = Tick(NOW.0 + 50 * 40);
    let (refreshed, _) = table.lookup(&tcp(0).original).unwrap();
    table.tcp(now, refreshed, Direction::Original, &segment(TcpFlags::SYN, 100)).unwrap();
    let gone = table.evict(now, |_| Standing::WithinShare).unwrap();
    assert_eq!(gone.original, tcp(1).original);
}

#[test]
fn cap_an_established_flow_goes_only_from_a_session_over_its_share_or_closed() {
    for (standing, goes) in
        [(Standing::Dead, true), (Standing::OverShare, true), (Standing::WithinShare, false)]
    {
        let mut table = table(40);
        for number in 0..40 {
            established(&mut table, NOW, number);
        }
        let of_one = |meta: &FlowMeta| if meta.session.slot == 29 { standing } else { Standing::WithinShare };
        // A bounded number is looked at each time; repeated attempts come round to all.
        let gone = (0..8).find_map(|_| table.evict(NOW, of_one));
        assert_eq!(gone.map(|removed| removed.original), goes.then(|| tcp(29).original), "{standing:?}");
    }
}

#[test]
fn counters_are_exact_past_four_gibibytes() {
    let mut table = table(1);
    let id = table.insert(NOW, &udp(1)).unwrap();
    for _ in 0..70_000 {
        table.count(id, Direction::Reply, 65_535);
    }
    assert_eq!(table.flow(id).unwrap().bytes(Direction::Reply), 70_000 * 65_535);
    assert_eq!(table.flow(id).unwrap().bytes(Direction::Original), 0);
}

#[test]
fn path_mtu_is_remembered_until_the_flow_goes() {
    let mut table = table(1);
    let id = table.insert(NOW, &udp(1)).unwrap();
    assert_eq!(table.flow(id).unwrap().path_mtu_bytes(), None);
    table.set_path_mtu(id, 1280);
    assert_eq!(table.flow(id).unwrap().path_mtu_bytes(), Some(1280));
    table.remove(id);
    let id = table.insert(NOW, &udp(1)).unwrap();
    assert_eq!(table.flow(id).unwrap().path_mtu_bytes(), None);
}

#[test]
fn all_flows_can_be_walked_in_pieces_while_they_change() {
    let mut table = table(10);
    for number in 0..10 {
        table.insert(NOW, &udp(number)).unwrap();
    }
    table.remove(table.id(3).unwrap());
    let mut seen = 0;
    for number in 0..table.numbers() {
        let Some(id) = table.id(number) else { continue };
        assert_eq!(id.number(), number);
        seen += 1;
        if seen % 2 == 0 {
            table.remove(id);
        }
    }
    assert_eq!((seen, table.numbers()), (9, 10));
    assert_eq!((table.flows_used(), table.iter().count()), (5, 5));
}

#[test]
fn memory_per_flow_is_within_the_contract() {
    // Records, two of three index entries a flow, one timer link.
    let shared = size_of::<Cold>() + 3 * size_of::<u64>() + 2 * size_of::<u32>();
    assert!(size_of::<Hot<Ipv4Addr>>() + shared <= 128);
    assert!(size_of::<Hot<core::net::Ipv6Addr>>() + shared <= 192);
}

#[test]
fn v6_flows_work_like_v4_ones() {
    let (host, far, outside) = (1_u128, 2_u128, 3_u128);
    let at = core::net::Ipv6Addr::from_bits;
    let mut table = FlowTable::new(2, &[7; 16]);
    let flow = NewFlow {
        original: Tuple::ports(Protocol::UDP, (at(host), 1), (at(far), 2)),
        reply: Tuple::ports(Protocol::UDP, (at(far), 2), (at(outside), 3)),
        meta: meta(1),
        opening: Opening::Datagram,
    };
    let id = table.insert(NOW, &flow).unwrap();
    assert_eq!(table.lookup(&flow.reply), Some((id, Direction::Reply)));
    assert_eq!(table.datagram(NOW, id, Direction::Reply).unwrap().phase, Phase::Replied);
    assert!(table.remove(id).is_some());
    assert_eq!(table.lookup(&flow.reply), None);
}

fn expired(table: &mut FlowTable<Ipv4Addr>, now: Tick) -> alloc::vec::Vec<Tuple<Ipv4Addr>> {
    core::iter::from_fn(|| table.expire(now, &mut 1000)).map(|removed| removed.original).collect()
}

fn established(table: &mut FlowTable<Ipv4Addr>, now: Tick, number: u16) -> FlowId {
    let id = table.insert(now, &tcp(number)).unwrap();
    let answer = Segment { ack: 101, ..segment(TcpFlags::SYN.with(TcpFlags::ACK), 500) };
    table.tcp(now, id, Direction::Reply, &answer).unwrap();
    let step = table.tcp(now, id, Direction::Original, &segment(TcpFlags::ACK, 101)).unwrap();
    assert_eq!(step.phase.rank(), Rank::Settled);
    id
}

pub(super) fn segment(flags: TcpFlags, seq: u32) -> Segment {
    Segment {
        flags,
        seq,
        ack: 501,
        window: 1000,
        payload_len: 0,
        window_scale: None,
        sack_permitted: false,
        sack_edge: None,
    }
}

pub(super) fn table(flows_max: u32) -> FlowTable<Ipv4Addr> {
    FlowTable::new(flows_max, &[7; 16])
}

fn meta(number: u16) -> FlowMeta {
    let session = SessionRef { slot: u32::from(number), generation: u64::MAX - 1 };
    FlowMeta { session, ingress: Leg(1), egress: Leg(2) }
}

fn new_flow(protocol: Protocol, number: u16, opening: Opening) -> NewFlow<Ipv4Addr> {
    let (host, virtual_one) = (Ipv4Addr::new(10, 77, 0, 2), Ipv4Addr::new(10, 20, 0, 5));
    let (device, outside) = (Ipv4Addr::new(10, 99, 0, 2), Ipv4Addr::new(10, 99, 0, 1));
    NewFlow {
        original: Tuple::ports(protocol, (host, number), (virtual_one, 22)),
        reply: Tuple::ports(protocol, (device, 40000), (outside, number)),
        meta: meta(number),
        opening,
    }
}

pub(super) fn udp(number: u16) -> NewFlow<Ipv4Addr> {
    new_flow(Protocol::UDP, number, Opening::Datagram)
}

fn echo(number: u16) -> NewFlow<Ipv4Addr> {
    new_flow(Protocol::ICMP, number, Opening::Datagram)
}

pub(super) fn tcp(number: u16) -> NewFlow<Ipv4Addr> {
    let track = TcpTrack::open(&segment(TcpFlags::SYN, 100), false).unwrap();
    new_flow(Protocol::TCP, number, Opening::Tcp(track))
}
