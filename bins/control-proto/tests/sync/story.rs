//! What happens in which case.

use std::time::Duration;

use control_proto::{
    AgentKind, BootId, Bye, Change, FromAgent, FromServer, Generation, Hello, Item, ItemKey, Leader, Name,
    News, Standing, StateFault, Terms, Version, Versions, Violation,
};
use wg_proto::{Instant, UnixTime};

use crate::items::{close, grant, identity, key, open, peer, session};
use crate::pair::Pair;

const SECOND: Duration = Duration::from_secs(1);

fn pair_with(sessions: u32) -> Pair {
    let mut pair = Pair::new();
    let changes = [Change::put(identity()), Change::put(peer(1, 1))];
    pair.leader.change(changes.into_iter().chain((0..sessions).map(open))).unwrap();
    pair.known = sessions;
    pair.run(5 * SECOND);
    pair.assert_in_step();
    pair
}

#[test]
fn p17_a_snapshot_brings_an_agent_everything_and_changes_only_what_changes() {
    let mut pair = pair_with(3);
    let (wholes, steps) = (pair.node.wholes, pair.node.steps);
    pair.leader.change([close(1), open(3)]).unwrap();
    pair.known = 4;
    pair.run(SECOND);
    pair.assert_in_step();
    assert_eq!((pair.node.wholes - wholes, pair.node.steps - steps), (0, 2));
}

#[test]
fn p15_a_session_is_closing_until_the_agent_has_answered() {
    let mut pair = pair_with(2);
    pair.is_stalled = true;
    pair.leader.change([close(0)]).unwrap();
    assert_eq!((pair.standing(0), pair.passes(0)), (Standing::Closing, true));
    pair.is_stalled = false;
    pair.run(SECOND);
    assert_eq!((pair.standing(0), pair.passes(0)), (Standing::Closed, false));
    assert_eq!((pair.standing(1), pair.passes(1)), (Standing::Open, true));
}

#[test]
fn p16_without_the_server_everything_ends_within_fifteen_seconds() {
    let mut pair = pair_with(1);
    pair.sleep(15 * SECOND);
    assert!(!pair.passes(0));
    assert_eq!(pair.node.items.len(), 3, "what is there waits for a lease");
    pair.run(2 * SECOND);
    pair.assert_in_step();
}

#[test]
fn p16_leases_end_with_the_word_of_whoever_decides() {
    let mut pair = pair_with(1);
    // The server goes on talking, but what it decides is not decided any more.
    let vouched = pair.now;
    pair.leader.vouch(vouched);
    pair.run(10 * SECOND);
    assert!(pair.passes(0));
    pair.run(6 * SECOND);
    assert!(!pair.passes(0) && pair.leader.lapses_at() <= vouched.saturating_add(15 * SECOND));
    pair.leader.vouch(pair.now);
    pair.run(3 * SECOND);
    assert!(pair.passes(0));
}

#[test]
fn p16_a_lease_that_was_late_on_its_way_is_no_longer_for_that() {
    let mut pair = pair_with(1);
    pair.latency = 6 * SECOND;
    pair.run(40 * SECOND);
    // The pair checks at each step that no lease is longer than the server thinks.
    assert!(pair.node.lease < pair.agent_now().saturating_add(15 * SECOND - pair.latency));
}

#[test]
fn p16_no_lease_is_renewed_while_a_revocation_waits_for_its_answer() {
    let mut pair = pair_with(2);
    let lease = pair.node.lease;
    // It refuses the change, and then the snapshot that follows, again and again.
    pair.node.refusals = 1000;
    pair.leader.change([close(0)]).unwrap();
    pair.run(14 * SECOND);
    assert!(pair.node.lease <= lease.saturating_add(2 * SECOND), "at most the one that was under way");
    pair.run(2 * SECOND);
    assert_eq!((pair.passes(0), pair.passes(1), pair.standing(0)), (false, false, Standing::Closed));
    let refused = pair.news.iter().filter(|news| matches!(news, News::Refused { .. })).count();
    assert!((4..12).contains(&refused), "{refused} refusals in 16 s");
    pair.node.refusals = 0;
    pair.run(3 * SECOND);
    pair.assert_in_step();
}

#[test]
fn an_agent_whose_leases_are_withheld_learns_of_changes_but_stops_when_its_lease_is_over() {
    let mut pair = pair_with(2);
    pair.leader.withhold_leases(true);
    pair.leader.change([close(0)]).unwrap();
    pair.run(SECOND);
    assert_eq!((pair.passes(0), pair.passes(1)), (false, true));
    pair.run(16 * SECOND);
    assert!(!pair.passes(1));
    pair.leader.withhold_leases(false);
    pair.run(3 * SECOND);
    assert!(pair.passes(1));
    pair.assert_in_step();
}

#[test]
fn new_sessions_that_wait_do_not_hold_up_the_lease_of_others() {
    let mut pair = pair_with(1);
    pair.latency = Duration::from_millis(900);
    for number in 1..30 {
        pair.leader.change([open(number)]).unwrap();
        pair.known = number + 1;
        pair.run(SECOND);
        assert!(pair.passes(0), "after {number} s");
    }
    pair.run(5 * SECOND);
    pair.assert_in_step();
}

#[test]
fn a_connection_that_breaks_goes_on_where_it_was() {
    let mut pair = pair_with(5);
    let wholes = pair.node.wholes;
    pair.cut();
    pair.leader.change([close(2), close(3)]).unwrap();
    pair.run(3 * SECOND);
    pair.assert_in_step();
    assert_eq!(pair.node.wholes, wholes);
    assert!(matches!(
        pair.news.iter().rfind(|news| matches!(news, News::Arrived { .. })),
        Some(News::Arrived { resumes: true, .. })
    ));
}

#[test]
fn p17_a_server_that_was_started_anew_tells_everything_and_what_it_does_not_know_goes() {
    let mut pair = pair_with(5);
    let (wholes, known) = (pair.node.wholes, pair.known);
    pair.restart_server();
    pair.leader.change([close(4)]).unwrap();
    assert_eq!(pair.standing(4), Standing::Closing, "nobody knows what the agent has");
    pair.run(3 * SECOND);
    pair.assert_in_step();
    assert_eq!((pair.node.wholes, known), (wholes + 1, 5));
}

#[test]
fn an_agent_that_was_started_anew_forwards_nothing_before_its_snapshot() {
    let mut pair = pair_with(5);
    pair.restart_agent();
    assert!(!pair.passes(0));
    pair.run(3 * SECOND);
    pair.assert_in_step();
}

#[test]
fn p17_a_change_that_went_wrong_half_way_is_healed_by_a_snapshot() {
    let mut pair = pair_with(5);
    let wholes = pair.node.wholes;
    pair.node.refusals = 1;
    pair.leader.change([close(0), close(1), open(5), open(6)]).unwrap();
    pair.known = 7;
    pair.run(SECOND);
    pair.assert_in_step();
    assert_eq!(pair.node.wholes, wholes + 1);
}

#[test]
fn a_snapshot_longer_than_a_frame_comes_in_parts_and_none_of_it_before_the_last() {
    let mut pair = Pair::new();
    let grants = (0..10_000).map(|number| Change::put(grant(number, 4)));
    pair.leader.change([Change::put(identity()), Change::put(peer(1, 1))].into_iter().chain(grants)).unwrap();
    pair.restart_agent();
    pair.run(3 * SECOND);
    assert!(pair.leader.is_synced());
    assert_eq!((pair.node.items.len(), pair.node.wholes), (10_002, 1));
    assert!(pair.frame_bytes_max <= (256 << 10) + 2048, "{} bytes", pair.frame_bytes_max);
    // The rest of what the connection carried is small.
    assert!((10..60).contains(&pair.frames), "{} frames", pair.frames);
}

#[test]
fn an_agent_that_lacks_more_than_is_remembered_gets_a_snapshot() {
    let mut pair = pair_with(1);
    let wholes = pair.node.wholes;
    pair.cut();
    for _ in 0..10_000 {
        pair.leader.change([open(1)]).unwrap();
        pair.leader.change([close(1)]).unwrap();
    }
    pair.run(3 * SECOND);
    pair.assert_in_step();
    assert_eq!(pair.node.wholes, wholes + 1);
}

#[test]
fn a_thousand_changes_while_nothing_moves_go_together() {
    let mut pair = pair_with(1);
    pair.is_stalled = true;
    for number in 1..1001 {
        pair.leader.change([open(number)]).unwrap();
    }
    let frames = pair.frames;
    pair.is_stalled = false;
    pair.run(SECOND);
    pair.known = 1001;
    pair.assert_in_step();
    assert!(pair.frames - frames < 10, "{} frames", pair.frames - frames);
}

#[test]
fn expiries_are_told_by_the_servers_clock_from_when_hello_was_sent() {
    let mut pair = Pair::new();
    let dialled = pair.agent_now();
    pair.latency = 2 * SECOND;
    pair.run(10 * SECOND);
    let clock = pair.node.clock.unwrap();
    assert_eq!(clock.unix, UnixTime::new(1_790_000_000, 0));
    assert_eq!(clock.boot, dialled);
}

#[test]
fn what_is_so_already_makes_no_generation_and_what_does_not_fit_changes_nothing() {
    let mut pair = pair_with(2);
    let generation = pair.leader.generation();
    assert_eq!(pair.leader.change([open(0), Change::put(peer(1, 1)), close(9)]), Ok(generation));
    let before = pair.leader.desired().clone();
    let refused = pair.leader.change([open(2), close(0), Change::put(peer(1, 7)), Change::put(peer(2, 7))]);
    assert!(matches!(refused, Err(StateFault::PrefixTaken { owner, .. }) if owner == key(1)), "{refused:?}");
    assert_eq!((pair.leader.desired(), pair.leader.generation()), (&before, generation));
    let own = Change::put(peer_with_our_address());
    assert!(matches!(pair.leader.change([own]), Err(StateFault::OwnAddress { .. })));
}

fn peer_with_our_address() -> Item {
    let Item::Peer(mut peer) = peer(3, 1) else { panic!("a peer") };
    peer.allowed_ips = vec!["10.99.0.1/32".parse().unwrap()];
    Item::Peer(peer)
}

#[test]
fn p17_replacing_everything_makes_as_few_changes_as_that_takes_and_lets_addresses_move() {
    let mut pair = pair_with(3);
    pair.leader.change([Change::put(peer(2, 2))]).unwrap();
    let before = pair.leader.generation();
    // The address of peer 2 moves to peer 1, session 0 goes, 3 comes.
    let wanted = [identity(), peer(1, 2), grant(1, 1), grant(2, 1), grant(3, 1)];
    let after = pair.leader.replace(wanted.clone()).unwrap();
    pair.known = 4;
    assert_eq!(
        after.changes_since(before),
        Some(5),
        "peers 1 and 2 and session 0 go, peer 1 and session 3 come"
    );
    assert_eq!(pair.leader.replace(wanted), Ok(after));
    pair.run(SECOND);
    pair.assert_in_step();
    assert!(pair.leader.desired().get(&ItemKey::Peer(key(2))).is_none());
}

fn hello(first: u16, last: u16) -> FromAgent {
    FromAgent::Hello(Hello {
        versions: Versions::new(Version(first), Version(last)).unwrap(),
        kind: AgentKind::Router,
        software: Name::cut("test"),
        boot_id: BootId(1),
        applied: None,
    })
}

const NOW: Instant = Instant::from_nanos(0);

fn lone_leader() -> Leader {
    let mut leader = Leader::new(NOW, AgentKind::Router, control_proto::Epoch(1), Terms::default());
    leader.connected(NOW);
    leader
}

#[test]
fn versions_are_agreed_on_or_the_connection_ends_with_a_reason() {
    for (first, last) in [(1, 1), (1, 2), (0, 1)] {
        let mut leader = lone_leader();
        let news = leader.receive(NOW, hello(first, last)).unwrap();
        assert!(matches!(news, Some(News::Arrived { version: Version(1), resumes: false, .. })));
        let welcome = leader.poll_transmit(NOW, UnixTime::new(1, 0));
        assert!(matches!(welcome, Some(FromServer::Welcome(welcome)) if welcome.version == Version(1)));
    }
    let mut leader = lone_leader();
    assert!(matches!(leader.receive(NOW, hello(2, 3)), Err(Violation::NoCommonVersion { .. })));
    let bye = "no version in common: the server speaks 1, the agent 2 to 3";
    assert_eq!(leader.poll_transmit(NOW, UnixTime::new(1, 0)), Some(FromServer::Bye(Bye::because(bye))));
    assert!(leader.is_ending() && leader.poll_transmit(NOW, UnixTime::new(1, 0)).is_none());
}

#[test]
fn messages_out_of_their_place_end_the_connection() {
    let ack = |generation| {
        FromAgent::Ack(control_proto::Ack {
            generation: Generation(generation),
            applied: control_proto::Applied::default(),
        })
    };
    let mut leader = lone_leader();
    assert_eq!(leader.receive(NOW, ack(0)), Err(Violation::OutOfPlace { word: "ack" }));
    let mut leader = lone_leader();
    leader.receive(NOW, hello(1, 1)).unwrap();
    assert_eq!(leader.receive(NOW, hello(1, 1)), Err(Violation::OutOfPlace { word: "hello" }));
    let mut leader = lone_leader();
    leader.receive(NOW, hello(1, 1)).unwrap();
    assert!(matches!(leader.receive(NOW, ack(9)), Err(Violation::NeverSent { .. })));
    let mut pair = Pair::new();
    pair.run(SECOND);
    let counted = FromServer::Delta(control_proto::Delta {
        base: Generation(0),
        generation: Generation(2),
        changes: vec![close(0)],
    });
    let now = pair.agent_now();
    assert!(matches!(
        pair.follower.receive(now, counted, &mut pair.node),
        Err(Violation::DeltaLength { changes: 1, .. })
    ));
    assert!(matches!(pair.follower.poll_transmit(now), Some(FromAgent::Bye(_))));
}

#[test]
fn an_end_that_says_nothing_is_left() {
    let mut leader = lone_leader();
    assert_eq!(leader.poll_timeout(), Some(NOW.saturating_add(5 * SECOND)));
    leader.handle_timeout(NOW.saturating_add(5 * SECOND));
    assert!(leader.is_ending());
    let mut pair = pair_with(1);
    pair.is_stalled = true;
    pair.run(9 * SECOND);
    assert!(!pair.leader.is_ending() && !pair.follower.is_ending());
    pair.run(2 * SECOND);
    assert!(pair.leader.is_ending() && pair.follower.is_ending());
}

#[test]
fn sessions_unheard_of_are_closed_once_no_lease_can_be_left() {
    let leader = lone_leader();
    assert_eq!(leader.standing(NOW, session(1)), Standing::Closing);
    assert_eq!(leader.standing(NOW.saturating_add(15 * SECOND), session(1)), Standing::Closed);
}
