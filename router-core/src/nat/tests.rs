use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::twin::world::{META, POOL, World, far, host, host_of, outside, sent_to, udp};
use super::*;
use crate::flow::{FlowId, FlowTable, NewFlow, Opening, Tick, Tuple};
use crate::packet::Protocol;

const PER_DESTINATION: Mapping = Mapping::PerDestination;
const ENDPOINT_INDEPENDENT: Mapping = Mapping::EndpointIndependent;

#[test]
fn map_1_endpoint_independent_mapping_is_the_same_towards_every_far_end() {
    let mut world = World::new(&[outside(1)], ENDPOINT_INDEPENDENT);
    let ports: Vec<u16> =
        (1..50).map(|n| world.open(&udp(host(1), 5000, far(n), 53)).unwrap().reply.dst_port).collect();
    assert!(ports.iter().all(|port| *port == ports[0]));
}

#[test]
fn map_1_endpoint_independent_mapping_lives_until_its_last_flow() {
    let mut world = World::new(&[outside(1)], ENDPOINT_INDEPENDENT);
    let first = world.open(&udp(host(1), 5000, far(1), 53)).unwrap();
    let second = world.open(&udp(host(1), 5000, far(2), 53)).unwrap();
    world.close(&first);
    let third = world.open(&udp(host(1), 5000, far(3), 53)).unwrap();
    assert_eq!(third.reply.dst_port, second.reply.dst_port);
    world.close(&second);
    world.close(&third);
    assert_eq!(world.nat.inside_of(Protocol::UDP, outside(1), 5000), None);
    let after = world.open(&udp(host(2), 5000, far(1), 53)).unwrap();
    assert_ne!(after.reply.dst_port, 5000, "held");
}

#[test]
fn map_1_endpoint_independent_ports_belong_to_one_inside_end() {
    let mut world = World::new(&[outside(1)], ENDPOINT_INDEPENDENT);
    let mut ports: Vec<u16> =
        (1..200).map(|n| world.open(&udp(host(n), 5000, far(n), 53)).unwrap().reply.dst_port).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 199);
}

#[test]
fn map_2_one_host_keeps_one_external_address_whatever_it_talks_to() {
    for mapping in [PER_DESTINATION, ENDPOINT_INDEPENDENT] {
        let addresses: Vec<_> = (1..9).map(outside).collect();
        let mut world = World::new(&addresses, mapping);
        let mut used = Vec::new();
        for number in 1..100 {
            let mut address_of = |original| world.open(&original).unwrap().reply.dst;
            let address = address_of(udp(host(number), 5000, far(1), 53));
            for n in 2..6 {
                assert_eq!(address_of(udp(host(number), 5000 + u16::from(n), far(n), 53)), address);
                assert_eq!(address_of(tcp(host(number), 5000 + u16::from(n), far(n), 53)), address);
            }
            used.push(address);
        }
        used.sort_unstable();
        used.dedup();
        assert_eq!(used.len(), addresses.len(), "and hosts are spread over all of them");
    }
}

#[test]
fn map_2_an_address_added_to_the_pool_moves_few_hosts() {
    let mut world = World::new(&[outside(1), outside(2), outside(3)], PER_DESTINATION);
    let address_of = |world: &mut World, n| world.open(&udp(host(n), 5000, far(1), 53)).unwrap().reply.dst;
    let before: Vec<_> = (0..100).map(|n| address_of(&mut world, n)).collect();
    world.nat.set_pool(POOL, &[outside(1), outside(2), outside(3), outside(4)], PER_DESTINATION).unwrap();
    let mut again = World { flows: FlowTable::new(1000, &[1; 16]), ..world };
    let moved = (0..100).filter(|n| address_of(&mut again, *n) != before[usize::from(*n)]).count();
    assert!((5..50).contains(&moved), "{moved}");
}

#[test]
fn map_3_a_port_is_never_used_twice_towards_one_far_end() {
    let mut world = World::new(&[outside(1)], PER_DESTINATION);
    let mut replies: Vec<_> =
        (0..1023).map(|n| world.open(&udp(host_of(n), 1000, far(1), 53)).unwrap().reply).collect();
    replies.sort_unstable();
    replies.dedup();
    assert_eq!(replies.len(), 1023, "all low ports, each once");
    let refused = world.open(&udp(host(255), 1000, far(1), 53));
    assert_eq!(refused, Err(NatError::PortsExhausted));
    let elsewhere = world.open(&udp(host(255), 1000, far(2), 53)).unwrap();
    assert_eq!(elsewhere.reply.dst_port, 1000, "shared towards another far end, source port first");
}

#[test]
fn map_4_the_port_class_is_kept() {
    let mut world = World::new(&[outside(1)], PER_DESTINATION);
    for n in 0..200 {
        for (port, low) in [(0, true), (1, true), (1023, true), (1024, false), (65535, false)] {
            let got = world.open(&udp(host(n), port, far(1), 53)).unwrap().reply.dst_port;
            assert_eq!(got < 1024, low, "{port} became {got}");
            assert_ne!(got, 0, "nobody can answer port 0");
        }
    }
}

#[test]
fn map_5_the_source_port_is_kept_where_it_is_free() {
    let mut world = World::new(&[outside(1)], PER_DESTINATION);
    for port in [1, 53, 1023, 1024, 33333, 65535] {
        assert_eq!(world.open(&udp(host(1), port, far(1), 53)).unwrap().reply.dst_port, port);
        assert_ne!(world.open(&udp(host(2), port, far(1), 53)).unwrap().reply.dst_port, port);
        assert_eq!(
            world.open(&tcp(host(2), port, far(1), 53)).unwrap().reply.dst_port,
            port,
            "another protocol"
        );
    }
}

#[test]
fn p07_ports_that_cannot_be_kept_are_random_and_never_sequential() {
    let ports = |seed: u8| -> Vec<u16> {
        let mut world = World::seeded(seed, &[outside(1)], PER_DESTINATION);
        (0..200)
            .map(|n| world.open(&udp(host(n), 5000, far(1), 53)).unwrap().reply.dst_port)
            .skip(1)
            .collect()
    };
    let first = ports(1);
    let close = first.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 256).count();
    assert!(close < 10, "{close} of 198 lie near the one before");
    let spread: Vec<_> =
        (0..4).map(|part| first.iter().filter(|port| **port >> 14 == part).count()).collect();
    assert!(spread.iter().all(|count| *count > 25), "{spread:?}");
    assert_eq!(first, ports(1), "from the seed only");
    assert_ne!(first, ports(2));
}

#[test]
fn map_6_a_freed_port_is_not_given_out_for_120_seconds() {
    let mut world = World::new(&[outside(1)], PER_DESTINATION);
    let flow = world.open(&udp(host(1), 5000, far(1), 53)).unwrap();
    world.close(&flow);
    world.wait_secs(119);
    assert_ne!(world.open(&udp(host(1), 5000, far(1), 53)).unwrap().reply.dst_port, 5000);
    world.wait_secs(2);
    assert_eq!(world.open(&udp(host(2), 5000, far(1), 53)).unwrap().reply.dst_port, 5000);
}

#[test]
fn map_6_a_shared_port_is_held_towards_the_far_end_it_was_used_towards() {
    let mut world = World::new(&[outside(1)], PER_DESTINATION);
    for n in 0..1023 {
        assert!(world.open(&udp(host_of(n), 1000, far(1), 53)).is_ok());
    }
    let shared = world.open(&udp(host(255), 7, far(2), 53)).unwrap();
    assert_eq!(shared.reply.dst_port, 7);
    world.close(&shared);
    assert_ne!(world.open(&udp(host(254), 7, far(2), 53)).unwrap().reply.dst_port, 7, "held towards there");
    assert_eq!(
        world.open(&udp(host(254), 7, far(3), 53)).unwrap().reply.dst_port,
        7,
        "not towards elsewhere"
    );
    world.wait_secs(121);
    assert_eq!(world.open(&udp(host(253), 7, far(2), 53)).unwrap().reply.dst_port, 7);
}

#[test]
fn map_6_a_shared_port_is_free_once_its_last_flow_is_gone_and_held() {
    let mut world = World::new(&[outside(1)], PER_DESTINATION);
    let mut flows: Vec<_> =
        (0..1023).map(|n| world.open(&udp(host_of(n), 1000, far(1), 53)).unwrap()).collect();
    flows.extend((2..6).map(|n| world.open(&udp(host(n), 7, far(n), 53)).unwrap()));
    assert!(flows[1023..].iter().all(|flow| flow.reply.dst_port == 7));
    flows.iter().for_each(|flow| world.close(flow));
    world.wait_secs(121);
    world.nat.let_go_all(world.now);
    let fresh = world.open(&udp(host(1), 7, far(1), 53)).unwrap();
    assert_eq!(fresh.reply.dst_port, 7, "kept as a port nobody has");
    assert_ne!(world.open(&udp(host(2), 7, far(2), 53)).unwrap().reply.dst_port, 7, "and taken whole");
}

#[test]
fn map_6_a_tcp_flow_that_was_seen_to_end_needs_no_second_wait() {
    use crate::flow::{Direction, tcp_state::TcpTrack};
    use crate::packet::TcpFlags;
    let mut world = World::new(&[outside(1)], PER_DESTINATION);
    let original = tcp(host(1), 5000, far(1), 80);
    let syn = segment(TcpFlags::SYN, 100);
    let track = TcpTrack::open(&syn, false).unwrap();
    let id = world.open_as(&original, Opening::Tcp(track)).unwrap();
    let rst = world.flows.tcp(world.now, id, Direction::Original, &segment(TcpFlags::RST, 101)).unwrap();
    assert!(rst.left.is_some());
    let removed = world.flows.remove(id).unwrap();
    world.wait_secs(240);
    world.nat.release(world.now, &removed);
    assert_eq!(world.open(&tcp(host(2), 5000, far(1), 80)).unwrap().reply.dst_port, 5000);
}

#[test]
fn map_7_exhaustion_is_refused_and_counted_and_overwrites_nothing() {
    for mapping in [PER_DESTINATION, ENDPOINT_INDEPENDENT] {
        let mut world = World::new(&[outside(1)], mapping);
        let flows: Vec<_> =
            (0..1023).map(|n| world.open(&udp(host_of(n), 1000, far(1), 53)).unwrap()).collect();
        for n in 0..5 {
            assert_eq!(world.open(&udp(host(200 + n), 1000, far(1), 53)), Err(NatError::PortsExhausted));
        }
        assert_eq!(world.nat.counters().ports_exhausted, 5);
        assert!(flows.iter().all(|flow| world.flows.lookup(&flow.reply).is_some()));
    }
}

#[test]
fn map_9_hairpin_leaves_with_the_external_source() {
    let mut world = World::new(&[outside(1)], ENDPOINT_INDEPENDENT);
    let callee = world.open(&udp(host(2), 6000, far(1), 3478)).unwrap().reply;
    let (address, port) = world.nat.inside_of(Protocol::UDP, callee.dst, callee.dst_port).unwrap();
    assert_eq!((address, port), (host(2), 6000));
    let dnat = Dnat::new(
        &(callee.dst..=callee.dst),
        Some(&(callee.dst_port..=callee.dst_port)),
        &(address..=address),
        Some(&(port..=port)),
    );
    let call = udp(host(1), 7000, callee.dst, callee.dst_port);
    let translation = world.open_with(&call, Some(&dnat.unwrap()), Snat::Pool(POOL)).unwrap();
    let sent = translation.reply.inverse();
    assert_eq!((sent.src, sent.dst, sent.dst_port), (outside(1), host(2), 6000));
}

#[test]
fn map_9_a_host_may_reach_itself_through_the_outside() {
    let mut world = World::new(&[outside(1)], PER_DESTINATION);
    let own = Dnat::new(&(far(9)..=far(9)), None, &(host(1)..=host(1)), None).unwrap();
    let sent =
        world.open_with(&tcp(host(1), 80, far(9), 80), Some(&own), Snat::Pool(POOL)).unwrap().reply.inverse();
    assert_eq!((sent.src, sent.dst, sent.dst_port), (outside(1), host(1), 80));
}

#[test]
fn the_likely_reply_is_the_reply_of_every_host_that_can_keep_its_port() {
    let addresses: Vec<_> = (1..9).map(outside).collect();
    let mut world = World::new(&addresses, PER_DESTINATION);
    let collapse = Dnat::new(&(far(8)..=far(9)), None, &(far(1)..=far(1)), None).unwrap();
    for (dnat, snat) in [(None, Snat::Off), (Some(&collapse), Snat::Off), (Some(&collapse), Snat::Pool(POOL))]
    {
        for number in 1..50 {
            let original = udp(host(number), 5000 + u16::from(number), far(9), 53);
            let likely = world.nat.likely_reply(&original, sent_to(&original, dnat), snat);
            let translation = world.translate(&original, dnat, snat).unwrap();
            assert_eq!(translation.reply, likely);
            world.nat.cancel(&original, &translation);
        }
    }
}

#[test]
fn dnat_conflict_gets_another_port_and_the_reply_is_restored_exactly() {
    let mut world = World::new(&[outside(1)], PER_DESTINATION);
    let collapse = Dnat::new(&(far(8)..=far(9)), None, &(far(1)..=far(1)), None).unwrap();
    let (to_8, to_9) = (tcp(host(1), 5000, far(8), 22), tcp(host(1), 5000, far(9), 22));
    let first = world.open_with(&to_8, Some(&collapse), Snat::Off).unwrap();
    let second = world.open_with(&to_9, Some(&collapse), Snat::Off).unwrap();
    assert_eq!(first.reply, tcp(far(1), 22, host(1), 5000));
    assert_eq!((second.reply.src, second.reply.dst), (far(1), host(1)));
    assert_ne!(second.reply.dst_port, 5000);
    for (original, translation) in [(to_8, first), (to_9, second)] {
        let (id, direction) = world.flows.lookup(&translation.reply).unwrap();
        assert_eq!(world.flows.flow(id).unwrap().outgoing(direction), original.inverse());
    }
}

#[test]
fn without_source_translation_the_source_stays_whatever_its_port() {
    let mut world = World::new(&[outside(1)], PER_DESTINATION);
    for port in [0, 1, 1023, 1024, 65535] {
        let original = udp(host(1), port, far(1), 53);
        let translation = world.open_with(&original, None, Snat::Off).unwrap();
        assert_eq!(translation.reply, original.inverse());
        assert!(!translation.holds_port);
    }
}

#[test]
fn dnat_conflict_that_no_port_solves_is_refused_and_counted() {
    let mut world = World::new(&[outside(1)], PER_DESTINATION);
    let collapse = Dnat::new(&(far(8)..=far(9)), None, &(far(1)..=far(1)), None).unwrap();
    let refused = (0..2000)
        .map(|_| tcp(host(1), 1000, far(8), 22))
        .filter_map(|original| world.open_raw(&original, Some(&collapse), Snat::Off).err())
        .next();
    assert_eq!(refused, Some(NatError::TupleTaken));
    assert_eq!(world.nat.counters().tuple_taken, 1);
}

#[test]
fn any_protocol_without_ports_is_translated_by_address_and_the_second_host_is_refused() {
    let mut world = World::new(&[outside(1)], PER_DESTINATION);
    for protocol in [Protocol::GRE, Protocol::ESP, Protocol::SCTP] {
        let first = world.open(&Tuple::portless(protocol, host(1), far(1))).unwrap();
        assert_eq!(first.reply, Tuple::portless(protocol, far(1), outside(1)));
        assert!(!first.holds_port);
        assert_eq!(world.open(&Tuple::portless(protocol, host(2), far(1))), Err(NatError::PairTaken));
        assert!(world.open(&Tuple::portless(protocol, host(2), far(2))).is_ok());
        world.close(&first);
        assert!(world.open(&Tuple::portless(protocol, host(2), far(1))).is_ok(), "no port, nothing to hold");
    }
    assert_eq!(world.nat.counters().pair_taken, 3);
}

#[test]
fn icq_1_echo_identifiers_are_translated_like_ports_without_classes() {
    let mut world = World::new(&[outside(1)], PER_DESTINATION);
    let first = world.open(&Tuple::echo_request(host(1), far(1), 7)).unwrap();
    assert_eq!(first.reply, Tuple::echo_reply(far(1), outside(1), 7));
    let ids: Vec<u16> = (2..200)
        .map(|n| world.open(&Tuple::echo_request(host(n), far(1), 7)).unwrap().reply.dst_port)
        .collect();
    assert!(!ids.contains(&7));
    assert!(ids.iter().any(|id| *id > 1023));
    assert_eq!(
        world.open(&Tuple::echo_request(host(1), far(1), 0)).unwrap().reply.dst_port,
        0,
        "0 is an identifier"
    );
}

#[test]
fn nat_iff_two_users_one_destination_one_source_port_one_address_never_cross() {
    let mut world = World::new(&[outside(1)], PER_DESTINATION);
    let (a, b) = (tcp(host(1), 40_000, far(1), 22), tcp(host(2), 40_000, far(1), 22));
    let (to_a, to_b) = (world.open(&a).unwrap().reply, world.open(&b).unwrap().reply);
    assert_ne!(to_a, to_b);
    for (reply, original) in [(to_a, a), (to_b, b)] {
        let (id, direction) = world.flows.lookup(&reply).unwrap();
        assert_eq!(world.flows.flow(id).unwrap().outgoing(direction), original.inverse());
    }
}

#[test]
fn nat_iff_a_pool_that_is_removed_and_added_again_does_not_give_out_what_lives_on() {
    let mut world = World::new(&[outside(1)], PER_DESTINATION);
    let lives_on = world.open(&udp(host(1), 5000, far(1), 53)).unwrap();
    world.nat.remove_pool(POOL);
    assert_eq!(world.open(&udp(host(2), 5000, far(1), 53)), Err(NatError::UnknownPool));
    world.nat.set_pool(POOL, &[outside(1)], PER_DESTINATION).unwrap();
    assert_ne!(world.open(&udp(host(2), 5000, far(2), 53)).unwrap().reply.dst_port, 5000);
    world.close(&lives_on);
    world.wait_secs(121);
    assert_eq!(world.open(&udp(host(3), 5000, far(1), 53)).unwrap().reply.dst_port, 5000);
}

#[test]
fn pools_with_one_address_and_two_mappings_are_refused() {
    let mut world = World::new(&[outside(1)], PER_DESTINATION);
    let shared = [outside(2), outside(1)];
    assert_eq!(world.nat.set_pool(PoolId(2), &shared, ENDPOINT_INDEPENDENT), Err(PoolError::MappingDiffers));
    assert_eq!(world.nat.set_pool(PoolId(2), &shared, PER_DESTINATION), Ok(()));
    assert_eq!(
        world.nat.set_pool(PoolId(3), &[outside(1); 257], PER_DESTINATION),
        Err(PoolError::TooManyAddresses)
    );
}

#[test]
fn pools_without_an_address_of_this_version_refuse() {
    let mut world = World::new(&[], PER_DESTINATION);
    assert_eq!(world.open(&udp(host(1), 5000, far(1), 53)), Err(NatError::NoAddress));
    assert_eq!(world.nat.counters().no_address, 1);
}

#[test]
fn a_cancelled_translation_leaves_its_port_free_at_once() {
    for mapping in [PER_DESTINATION, ENDPOINT_INDEPENDENT] {
        let mut world = World::new(&[outside(1)], mapping);
        let original = udp(host(1), 5000, far(1), 53);
        let translation = world.translate(&original, None, Snat::Pool(POOL)).unwrap();
        assert!(translation.holds_port);
        world.nat.cancel(&original, &translation);
        assert_eq!(world.open(&udp(host(2), 5000, far(1), 53)).unwrap().reply.dst_port, 5000);
    }
}

#[test]
fn v6_sources_are_translated_the_same_way() {
    let at = |last: u128| Ipv6Addr::from_bits(0xfd07 << 112 | last);
    let mut nat = Nat::new([3; 32]);
    let mut flows = FlowTable::new(10, &[3; 16]);
    nat.set_pool(POOL, &[at(0x200)], PER_DESTINATION).unwrap();
    let mut ports = Vec::new();
    for number in 1..4 {
        let original = Tuple::ports(Protocol::TCP, (at(number), 5000), (at(0x100), 22));
        let to = (original.dst, original.dst_port);
        let translation = nat.translate(Tick(0), &flows, &original, to, Snat::Pool(POOL)).unwrap();
        assert_eq!(translation.reply.dst, at(0x200));
        ports.push(translation.reply.dst_port);
        let flow = NewFlow { original, reply: translation.reply, meta: META, opening: Opening::Datagram };
        flows.insert(Tick(0), &flow).unwrap();
    }
    assert_eq!(ports[0], 5000);
    assert!(ports[1] != 5000 && ports[2] != 5000 && ports[1] != ports[2]);
}

impl World {
    fn new(addresses: &[Ipv4Addr], mapping: Mapping) -> World {
        World::seeded(1, addresses, mapping)
    }

    fn seeded(seed: u8, addresses: &[Ipv4Addr], mapping: Mapping) -> World {
        World::sized(seed, 70_000, addresses, mapping)
    }

    /// Opens under an original tuple that nothing else uses, as if the host had sent to ever new destinations.
    fn open_raw(
        &mut self,
        original: &Tuple<Ipv4Addr>,
        dnat: Option<&Dnat<Ipv4Addr>>,
        snat: Snat,
    ) -> Result<Translation<Ipv4Addr>, NatError> {
        let translation = self.translate(original, dnat, snat)?;
        let number = self.flows.flows_used();
        let unlike = Tuple { dst: Ipv4Addr::from_bits(number), ..*original };
        let flow =
            NewFlow { original: unlike, reply: translation.reply, meta: META, opening: Opening::Datagram };
        self.flows.insert(self.now, &flow).unwrap();
        Ok(translation)
    }

    fn open_as(&mut self, original: &Tuple<Ipv4Addr>, opening: Opening) -> Option<FlowId> {
        let translation = self.translate(original, None, Snat::Pool(POOL)).ok()?;
        let flow = NewFlow { original: *original, reply: translation.reply, meta: META, opening };
        self.flows.insert(self.now, &flow).ok()
    }
}

fn tcp(src: Ipv4Addr, src_port: u16, dst: Ipv4Addr, dst_port: u16) -> Tuple<Ipv4Addr> {
    Tuple::ports(Protocol::TCP, (src, src_port), (dst, dst_port))
}

fn segment(flags: crate::packet::TcpFlags, seq: u32) -> crate::flow::tcp_state::Segment {
    crate::flow::tcp_state::Segment {
        flags,
        seq,
        ack: 0,
        window: 1000,
        payload_len: 0,
        window_scale: None,
        sack_permitted: false,
        sack_edge: None,
    }
}
