//! Two connections over a link in virtual time: delay, loss, reordering, duplication, all from a seed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use router_core::packet::PacketMut;
use wg_proto::Instant;

use crate::offload::{SuperPacket, complete_checksum};
use crate::stack::budget::Budget;
use crate::stack::connection::{Connection, Ending, Means, Over};
use crate::stack::obstacle::Obstacle;
use crate::stack::packet::is_intact;
use crate::stack::segment::Header;
use crate::stack::wire::Outgoing;
use crate::tun::VirtioHeader;

const MTU_BYTES: u16 = 1420;
const START: Instant = Instant::from_nanos(1_000_000_000_000);
const MS: Duration = Duration::from_millis(1);
/// Steps after which something turns in circles.
const STEPS_MAX: usize = 2_000_000;

/// What the way between the two does to packets.
#[derive(Clone, Copy, Debug)]
struct Link {
    delay: Duration,
    /// Later packets may come up to so much earlier.
    jitter: Duration,
    loss_percent: u64,
    duplicate_percent: u64,
    /// Super-packets arrive as they left.
    is_merging: bool,
    is_cut: bool,
    /// SYNs lose the offer to acknowledge selectively.
    is_plain: bool,
    /// The narrowest place passes so many bytes each millisecond, and before it as many bytes wait at most; what comes to
    /// more is lost.
    queue: Option<Queue>,
}

#[derive(Clone, Copy, Debug)]
struct Queue {
    bytes_per_ms: u64,
    bytes_max: u64,
}

const CLEAN: Link = Link {
    delay: Duration::from_millis(10),
    jitter: Duration::ZERO,
    loss_percent: 0,
    duplicate_percent: 0,
    is_merging: false,
    is_cut: false,
    is_plain: false,
    queue: None,
};

const ROUGH: Link = Link { jitter: Duration::from_millis(8), loss_percent: 3, duplicate_percent: 2, ..CLEAN };

/// One end, and what its user does.
struct End {
    connection: Option<Connection>,
    local: SocketAddr,
    /// What is still to be written.
    script: Vec<u8>,
    written: usize,
    finishes: bool,
    is_finished: bool,
    /// Reads from then on.
    reads_from: Instant,
    heard: Vec<u8>,
    /// How reading ended.
    over: Option<Over>,
}

struct Sim {
    now: Instant,
    link: Link,
    budget: Arc<Budget>,
    buffer_bytes: usize,
    random: u64,
    agenda: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    sent: u64,
    /// When the narrowest place is free again, in either direction.
    free_at: [Instant; 2],
    ends: [End; 2],
    /// Payload bytes of the longest segment since it was last looked at, and how many with data there were.
    longest: usize,
    segments: usize,
    /// Payload bytes that were sent, and that were lost on their way.
    payload_sent: usize,
    payload_lost: usize,
}

fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    std::iter::repeat_with(|| next(&mut state).to_le_bytes()).flatten().take(len).collect()
}

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Puts padding in the place of the option that offers selective acknowledgments.
fn refuse_selective(syn: &mut [u8]) {
    const OFFER: [u8; 2] = [4, 2];
    let options = if syn[0] >> 4 == 4 { 40 } else { 60 };
    let at = syn[options..].windows(2).position(|pair| pair == OFFER);
    if let Some(at) = at {
        syn[options + at..][..2].fill(1);
    }
}

fn means(budget: &Arc<Budget>, buffer_bytes: usize, seed: u64) -> Means {
    Means { buffers: budget.exactly(buffer_bytes).unwrap(), mtu_bytes: MTU_BYTES, seed }
}

impl Sim {
    /// The first end opens.
    fn new(link: Link, is_v4: bool, buffer_bytes: usize, seed: u64) -> Sim {
        let [a, b]: [SocketAddr; 2] = match is_v4 {
            true => ["10.0.0.1:4000".parse().unwrap(), "10.0.0.2:80".parse().unwrap()],
            false => ["[fd00::1]:4000".parse().unwrap(), "[fd00::2]:80".parse().unwrap()],
        };
        // What both ends leave is kept.
        let budget = Arc::new(Budget::new(64 * buffer_bytes));
        let mut random = seed;
        let means = means(&budget, buffer_bytes, next(&mut random));
        let active = Connection::active(START, a, b, means);
        let end = |connection, local| End {
            connection,
            local,
            script: Vec::new(),
            written: 0,
            finishes: false,
            is_finished: false,
            reads_from: START,
            heard: Vec::new(),
            over: None,
        };
        let ends = [end(Some(active), a), end(None, b)];
        Sim {
            now: START,
            link,
            budget,
            buffer_bytes,
            random,
            agenda: BTreeMap::new(),
            sent: 0,
            free_at: [START; 2],
            ends,
            longest: 0,
            segments: 0,
            payload_sent: 0,
            payload_lost: 0,
        }
    }

    /// Both ends write this and finish.
    fn talk(mut self, bytes: [usize; 2]) -> Sim {
        for (number, end) in self.ends.iter_mut().enumerate() {
            end.script = pattern(number as u64 + 7, bytes[number]);
            end.finishes = true;
        }
        self
    }

    fn work(&mut self, which: usize, work: impl FnOnce(&mut Connection, Instant, &mut Outgoing)) {
        let mut out = Outgoing::default();
        if let Some(connection) = &mut self.ends[which].connection {
            work(connection, self.now, &mut out);
        }
        let packets: Vec<_> = out.packets().map(|(packet, header)| (packet.to_vec(), header)).collect();
        for (packet, header) in packets {
            for segment in self.cut(packet, header) {
                self.send(1 - which, segment);
            }
        }
    }

    fn cut(&mut self, mut packet: Vec<u8>, header: VirtioHeader) -> Vec<Vec<u8>> {
        let Some(gso) = header.gso else {
            complete_checksum(&mut packet, header.checksum.unwrap()).unwrap();
            self.note(&packet);
            return vec![packet];
        };
        let parts = SuperPacket::parse(&packet, gso, header.checksum).unwrap();
        let segments: Vec<_> = (0..parts.segments())
            .map(|number| {
                let mut segment = vec![0; 65_535];
                let len = parts.write_segment(number, &mut segment);
                segment.truncate(len);
                segment
            })
            .collect();
        segments.iter().for_each(|segment| self.note(segment));
        if self.link.is_merging { vec![packet] } else { segments }
    }

    fn note(&mut self, segment: &[u8]) {
        let mut copy = segment.to_vec();
        let parsed = PacketMut::parse(&mut copy).unwrap();
        assert!(is_intact(&parsed) && segment.len() <= usize::from(MTU_BYTES), "{} bytes", segment.len());
        let payload = Header::read(segment).unwrap().payload_bytes;
        self.longest = self.longest.max(payload);
        self.segments += usize::from(payload > 0);
        self.payload_sent += payload;
    }

    fn send(&mut self, to: usize, mut segment: Vec<u8>) {
        let header = Header::read(&segment).unwrap();
        let lot = next(&mut self.random) % 100;
        let is_lost = self.link.is_cut || lot < self.link.loss_percent;
        let passed = if is_lost { None } else { self.pass(to, segment.len() as u64) };
        let Some(passed) = passed else {
            self.payload_lost += header.payload_bytes;
            return;
        };
        if self.link.is_plain && header.flags.syn() {
            refuse_selective(&mut segment);
        }
        let copies = 1 + usize::from(next(&mut self.random) % 100 < self.link.duplicate_percent);
        for _ in 0..copies {
            let jitter = self.link.jitter.as_nanos() as u64;
            let late = if jitter == 0 { 0 } else { next(&mut self.random) % jitter };
            let at = passed.saturating_add(self.link.delay).saturating_add(Duration::from_nanos(late));
            self.sent += 1;
            self.agenda.insert((at, self.sent), (to, segment.clone()));
        }
    }

    /// When it has passed the narrowest place; `None` if there is no room before it.
    fn pass(&mut self, to: usize, len: u64) -> Option<Instant> {
        let Some(queue) = self.link.queue else { return Some(self.now) };
        let nanos = |bytes| Duration::from_nanos(bytes * 1_000_000 / queue.bytes_per_ms);
        let free_at = self.free_at[to].max(self.now);
        if free_at.saturating_duration_since(self.now) > nanos(queue.bytes_max) {
            return None;
        }
        self.free_at[to] = free_at.saturating_add(nanos(len));
        Some(self.free_at[to])
    }

    fn arrive(&mut self, to: usize, mut segment: Vec<u8>) {
        let now = self.now;
        let end = &mut self.ends[to];
        if end.connection.is_none() && Header::read(&segment).unwrap().is_opening() {
            let means = means(&self.budget, self.buffer_bytes, next(&mut self.random));
            end.connection = Some(Connection::passive(now, end.local, means));
        }
        self.work(to, |connection, now, out| connection.receive(now, &mut segment, out));
    }

    /// What the users do.
    fn use_ends(&mut self) {
        for which in 0..2 {
            self.work(which, |connection, now, out| connection.poll(now, out));
            let now = self.now;
            let end = &mut self.ends[which];
            let Some(connection) = &mut end.connection else { continue };
            while end.written < end.script.len() {
                let rest = &end.script[end.written..];
                let put = |room: &mut [u8]| {
                    let len = room.len().min(rest.len());
                    room[..len].copy_from_slice(&rest[..len]);
                    (len, len)
                };
                match connection.write(put) {
                    Ok(Some(len)) => end.written += len,
                    Ok(None) | Err(_) => break,
                }
            }
            if end.finishes && end.written == end.script.len() && !end.is_finished {
                end.is_finished = true;
                connection.finish();
            }
            while now >= end.reads_from && end.over.is_none() {
                let heard = &mut end.heard;
                match connection.read(|bytes| {
                    heard.extend_from_slice(bytes);
                    (bytes.len(), ())
                }) {
                    Ok(Some(())) => {}
                    Ok(None) => break,
                    Err(over) => end.over = Some(over),
                }
            }
            self.work(which, |connection, now, out| connection.poll(now, out));
        }
    }

    /// Runs until it holds; says whether it ever did before `limit`.
    fn run_until(&mut self, limit: Duration, holds: impl Fn(&Sim) -> bool) -> bool {
        let end = self.now.saturating_add(limit);
        for _ in 0..STEPS_MAX {
            self.use_ends();
            if holds(self) {
                return true;
            }
            let now = self.now;
            let packet = self.agenda.first_key_value().map(|((at, _), _)| *at);
            let deadlines = self.ends.iter_mut().filter_map(|end| end.connection.as_mut()?.deadline(now));
            let calls = deadlines.map(|at| at.max(now.saturating_add(MS))).min();
            let users = self.ends.iter().map(|end| end.reads_from).filter(|at| *at > now).min();
            let Some(at) = [packet, calls, users].into_iter().flatten().min().filter(|at| *at <= end) else {
                self.now = end;
                return false;
            };
            self.now = at.max(now);
            while let Some(entry) = self.agenda.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (to, segment) = entry.remove();
                self.arrive(to, segment);
            }
        }
        panic!("it turns in circles");
    }

    fn is_said(&self) -> bool {
        self.ends.iter().all(|end| end.over.is_some())
    }

    fn assert_heard_all(&self) {
        for (end, other) in [(&self.ends[0], &self.ends[1]), (&self.ends[1], &self.ends[0])] {
            assert_eq!(end.over, Some(Over::Finished));
            assert!(end.heard == other.script, "{} of {} bytes", end.heard.len(), other.script.len());
        }
    }

    /// Ends both, and looks at what is kept of them for others.
    fn assert_nothing_stays(mut self) {
        self.ends.iter_mut().for_each(|end| end.connection = None);
        let kept = self.budget.kept();
        assert_eq!(kept.len(), 2);
        assert!(kept.iter().all(|memory| memory.iter().all(|byte| *byte == 0)), "something is left");
    }

    fn connection(&mut self, which: usize) -> &mut Connection {
        self.ends[which].connection.as_mut().unwrap()
    }

    fn established(mut self) -> Sim {
        assert!(self.run_until(Duration::from_secs(60), |sim| {
            let stands = |end: &End| end.connection.as_ref().is_some_and(Connection::is_established);
            sim.ends.iter().all(stands)
        }));
        self
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn every_byte_arrives_once_and_in_order_over_a_rough_link() {
    for seed in 0..200 {
        let mut sim = Sim::new(ROUGH, seed % 2 == 0, 128 * 1024, seed).talk([300_000, 200_000]);
        assert!(sim.run_until(HOUR, Sim::is_said), "seed {seed}");
        sim.assert_heard_all();
        sim.assert_nothing_stays();
    }
}

#[test]
fn nothing_stays_of_connections_that_are_broken_off() {
    for seed in 0..200 {
        // Shorter than the buffers, and longer; with gaps where segments were lost.
        let bytes = [1, 3000, 40_000, 300_000][seed as usize % 4];
        let mut sim = Sim::new(ROUGH, seed % 2 == 0, 64 * 1024, seed).talk([bytes, bytes]);
        sim.ends[0].reads_from = START.saturating_add(HOUR);
        sim.run_until(Duration::from_millis(15 * (seed % 20)), |_| false);
        let both = sim.ends.iter().all(|end| end.connection.is_some());
        if both {
            sim.assert_nothing_stays();
        }
    }
}

#[test]
fn a_long_clean_way_is_filled_within_a_few_round_trips() {
    for (is_v4, is_merging) in [(true, false), (false, false), (true, true), (false, true)] {
        let link = Link { is_merging, ..CLEAN };
        let mut sim = Sim::new(link, is_v4, 4 << 20, 1).talk([1 << 20, 0]);
        assert!(sim.run_until(HOUR, Sim::is_said));
        sim.assert_heard_all();
        let round_trips = sim.now.saturating_duration_since(START).as_millis() / 20;
        assert!(round_trips <= 9, "{round_trips} round trips, merging {is_merging}");
    }
}

/// 200 Mbit/s, which is 25 bytes a microsecond.
fn narrow(delay_us: u64, queue_kib: u64) -> Link {
    let queue = Queue { bytes_per_ms: 25_000, bytes_max: queue_kib * 1024 };
    Link { delay: Duration::from_micros(delay_us), queue: Some(queue), ..CLEAN }
}

impl Sim {
    /// Runs until all is said and heard, and says at how many Mbit/s.
    fn rate(&mut self) -> u128 {
        assert!(self.run_until(HOUR, Sim::is_said), "{:?}", self.link);
        self.assert_heard_all();
        let bytes: usize = self.ends.iter().map(|end| end.script.len()).sum();
        8 * bytes as u128 / self.now.saturating_duration_since(START).as_micros()
    }
}

#[test]
fn most_of_a_link_is_used_though_its_queue_overflows_and_what_arrived_is_not_sent_again() {
    const BYTES: usize = 16 << 20;
    for (delay_us, queue_kib) in [(200, 64), (200, 200), (2000, 200), (10_000, 200), (10_000, 1000)] {
        for (bytes, is_merging) in [([BYTES, 0], false), ([0, BYTES], false), ([BYTES, 0], true)] {
            let link = Link { is_merging, ..narrow(delay_us, queue_kib) };
            let mut sim = Sim::new(link, true, 4 << 20, 1).talk(bytes);
            let rate = sim.rate();
            assert!(rate >= 120, "{rate} of 200 Mbit/s, {link:?}");
            // smoltcp remembers 32 gaps, and refuses what would make more of them.
            let in_vain_max = if is_merging { BYTES / 512 } else { BYTES / 10 };
            let in_vain = sim.payload_sent - BYTES - sim.payload_lost;
            assert!(in_vain <= in_vain_max, "{in_vain} bytes in vain, {link:?}");
        }
    }
}

#[test]
fn lost_segments_cost_a_connection_no_more_than_the_path_is_worth() {
    // RFC 5348 section 3.1 allows 6.9 Mbit/s to Reno on average.
    for (seed, is_plain) in (0..6).flat_map(|seed| [(seed, false), (seed, true)]) {
        let link = Link { loss_percent: 1, is_plain, ..CLEAN };
        let mut sim = Sim::new(link, seed % 4 < 2, 4 << 20, seed).talk([4 << 20, 0]);
        let rate = sim.rate();
        assert!(rate >= 5, "{rate} Mbit/s, {is_plain} seed {seed}");
        let in_vain = sim.payload_sent - (4 << 20) - sim.payload_lost;
        assert!(is_plain || in_vain <= (4 << 20) / 512, "{in_vain} bytes in vain, seed {seed}");
    }
}

#[test]
fn an_end_that_does_not_acknowledge_selectively_gets_every_byte() {
    for seed in 0..200 {
        let link = Link { is_plain: true, ..ROUGH };
        Sim::new(link, seed % 2 == 0, 128 * 1024, seed).talk([300_000, 200_000]).rate();
    }
    for (delay_us, queue_kib) in [(200, 64), (200, 200), (2000, 200), (10_000, 200), (10_000, 1000)] {
        let link = Link { is_plain: true, ..narrow(delay_us, queue_kib) };
        let rate = Sim::new(link, true, 4 << 20, 1).talk([8 << 20, 0]).rate();
        assert!(rate >= 30, "{rate} of 200 Mbit/s, {link:?}");
    }
}

#[test]
fn the_first_flight_is_ten_segments() {
    for is_v4 in [true, false] {
        let mut sim = Sim::new(CLEAN, is_v4, 1 << 20, 1).established();
        sim.ends[1].script = pattern(1, 100_000);
        sim.use_ends();
        assert_eq!((sim.segments, sim.longest), (10, usize::from(MTU_BYTES) - if is_v4 { 40 } else { 60 }));
    }
}

#[test]
fn either_end_may_go_on_after_the_other_is_done() {
    for first in [0, 1] {
        let mut sim = Sim::new(ROUGH, true, 64 * 1024, 5).established();
        sim.ends[first].script = pattern(7, 1000);
        sim.ends[first].finishes = true;
        assert!(sim.run_until(HOUR, |sim| sim.ends[1 - first].over.is_some()));
        sim.ends[1 - first].script = pattern(8, 100_000);
        sim.ends[1 - first].finishes = true;
        assert!(sim.run_until(HOUR, Sim::is_said));
        sim.assert_heard_all();
    }
}

#[test]
fn an_end_that_is_finished_before_it_stands_is_finished_once_it_stands() {
    for bytes in [[0, 0], [5000, 0], [0, 5000]] {
        let mut sim = Sim::new(CLEAN, true, 64 * 1024, 5).talk(bytes);
        assert!(sim.run_until(HOUR, Sim::is_said), "{bytes:?}");
        sim.assert_heard_all();
    }
}

#[test]
fn nobody_is_lost_behind_closed_windows() {
    for seed in 0..100 {
        let mut sim = Sim::new(ROUGH, seed % 2 == 0, 32 * 1024, seed).talk([200_000, 200_000]);
        for end in &mut sim.ends {
            end.reads_from = START.saturating_add(Duration::from_secs(90));
        }
        sim.run_until(Duration::from_secs(89), |_| false);
        for end in &sim.ends {
            assert!(end.written < end.script.len() && end.heard.is_empty(), "it was held back");
        }
        assert!(sim.run_until(HOUR, Sim::is_said), "seed {seed}");
        sim.assert_heard_all();
    }
}

#[test]
fn one_end_reads_only_after_it_has_written_all() {
    let mut sim = Sim::new(CLEAN, true, 32 * 1024, 3).talk([300_000, 300_000]);
    sim.ends[0].reads_from = START.saturating_add(HOUR);
    assert!(sim.run_until(HOUR, |sim| sim.ends[0].is_finished), "the other end's reading frees it");
}

#[test]
fn a_reset_is_read_behind_what_came_before() {
    let mut sim = Sim::new(CLEAN, true, 64 * 1024, 5).established();
    sim.ends[0].script = pattern(7, 1000);
    sim.ends[1].reads_from = START.saturating_add(Duration::from_secs(30));
    sim.run_until(Duration::from_secs(1), |_| false);
    sim.connection(0).abort();
    assert!(sim.run_until(Duration::from_secs(1), |sim| {
        sim.ends[1].connection.as_ref().unwrap().ending().is_some()
    }));
    assert!(sim.run_until(HOUR, |sim| sim.ends[1].over.is_some()));
    assert_eq!(sim.ends[1].over, Some(Over::Broken(Ending::Reset)));
    assert_eq!(sim.ends[1].heard, sim.ends[0].script);
    assert_eq!(sim.ends[0].over, Some(Over::Broken(Ending::Aborted)));
}

#[test]
fn an_end_that_has_probed_a_closed_window_can_break_off() {
    let mut sim = Sim::new(CLEAN, true, 32 * 1024, 5).established();
    sim.ends[0].script = pattern(7, 100_000);
    sim.ends[1].reads_from = START.saturating_add(HOUR);
    sim.run_until(Duration::from_secs(600), |_| false);
    sim.connection(0).abort();
    sim.run_until(Duration::from_secs(1), |_| false);
    assert_eq!(sim.connection(1).ending(), Some(Ending::Reset));
}

#[test]
fn what_both_ends_finished_can_be_read_an_hour_later() {
    for late in [0, 1] {
        let mut sim = Sim::new(CLEAN, true, 64 * 1024, 5).talk([3000, 3000]);
        sim.ends[late].reads_from = START.saturating_add(HOUR);
        assert!(sim.run_until(2 * HOUR, Sim::is_said));
        sim.assert_heard_all();
    }
}

#[test]
fn an_end_that_lets_go_with_unread_data_resets() {
    let mut sim = Sim::new(CLEAN, true, 64 * 1024, 5).established();
    sim.ends[0].finishes = true;
    sim.ends[0].reads_from = START.saturating_add(HOUR);
    sim.run_until(Duration::from_secs(1), |_| false);
    let now = sim.now;
    sim.connection(0).let_go(now);
    sim.ends[1].script = pattern(1, 1000);
    assert!(sim.run_until(Duration::from_secs(1), |sim| {
        sim.ends[1].connection.as_ref().unwrap().ending() == Some(Ending::Reset)
    }));
}

#[test]
fn a_finished_end_that_is_let_go_waits_a_minute_for_the_other_and_then_resets() {
    let mut sim = Sim::new(CLEAN, true, 64 * 1024, 5).established();
    sim.ends[0].finishes = true;
    sim.run_until(Duration::from_secs(1), |_| false);
    let now = sim.now;
    sim.connection(0).let_go(now);
    sim.run_until(Duration::from_secs(55), |_| false);
    assert_eq!(sim.connection(1).ending(), None);
    sim.run_until(Duration::from_secs(10), |_| false);
    assert_eq!(sim.connection(1).ending(), Some(Ending::Reset));
}

#[test]
fn a_let_go_end_sends_all_it_has_however_long_that_takes() {
    let mut sim = Sim::new(CLEAN, true, 64 * 1024, 5).talk([30_000, 0]);
    sim.ends[0].reads_from = START.saturating_add(HOUR);
    assert!(sim.run_until(HOUR, |sim| sim.ends[0].is_finished));
    let now = sim.now;
    sim.connection(0).let_go(now);
    sim.link.delay = Duration::from_secs(25);
    assert!(sim.run_until(HOUR, |sim| sim.ends[1].over.is_some()));
    assert_eq!((sim.ends[1].over, sim.ends[1].heard.len()), (Some(Over::Finished), 30_000));
}

#[test]
fn silence_ends_a_connection_only_where_an_answer_is_owed() {
    let mut sim = Sim::new(CLEAN, true, 64 * 1024, 5).established();
    assert!(!sim.run_until(30 * HOUR, |sim| sim.ends.iter().any(|end| end.over.is_some())), "it is idle");
    sim.link.is_cut = true;
    sim.ends[0].script = pattern(1, 10);
    let since = sim.now;
    assert!(sim.run_until(HOUR, |sim| sim.ends[0].over.is_some()));
    assert_eq!(sim.ends[0].over, Some(Over::Broken(Ending::TimedOut)));
    assert_eq!(sim.now.saturating_duration_since(since).as_secs(), 120);
    assert!(sim.run_until(3 * HOUR, |sim| sim.ends[1].over.is_some()), "keep-alives notice it");
    assert_eq!(sim.ends[1].over, Some(Over::Broken(Ending::TimedOut)));
}

#[test]
fn a_lost_keepalive_does_not_end_a_connection() {
    let mut sim = Sim::new(CLEAN, true, 64 * 1024, 5).established();
    sim.link.is_cut = true;
    sim.run_until(2 * HOUR + Duration::from_secs(300), |_| false);
    sim.link.is_cut = false;
    assert!(!sim.run_until(10 * HOUR, |sim| sim.ends.iter().any(|end| end.over.is_some())));
}

#[test]
fn nobody_there_is_found_out_and_no_way_at_once() {
    let mut sim = Sim::new(Link { is_cut: true, ..CLEAN }, true, 64 * 1024, 5);
    assert!(sim.run_until(HOUR, |sim| sim.ends[0].over.is_some()));
    assert_eq!(sim.ends[0].over, Some(Over::Broken(Ending::TimedOut)));
    let mut sim = Sim::new(Link { is_cut: true, ..CLEAN }, true, 64 * 1024, 5);
    sim.use_ends();
    sim.connection(0).unreachable(Obstacle::Host);
    assert_eq!(sim.connection(0).ending(), Some(Ending::Unreachable(Obstacle::Host)));
    let mut sim = Sim::new(CLEAN, true, 64 * 1024, 5).established();
    sim.connection(0).unreachable(Obstacle::Host);
    assert_eq!(sim.connection(0).ending(), None, "it stands already");
}

#[test]
fn a_client_that_resets_before_the_connection_stands_leaves_nothing() {
    let mut sim = Sim::new(CLEAN, true, 64 * 1024, 5);
    sim.run_until(Duration::from_millis(15), |_| false);
    sim.connection(0).unreachable(Obstacle::Host);
    let mut syn = None;
    sim.work(1, |connection, _, _| syn = connection.ending());
    assert_eq!(syn, None);
    assert!(sim.run_until(HOUR, |sim| sim.ends[1].connection.as_ref().unwrap().ending().is_some()));
    assert_eq!(sim.connection(1).ending(), Some(Ending::Reset));
}

#[test]
fn segments_are_no_longer_than_the_path_was_found_to_take() {
    for (is_v4, told, payload) in
        [(true, 1300, 1260), (false, 1300, 1240), (true, 0, 536), (false, 600, 1220)]
    {
        let mut sim = Sim::new(CLEAN, is_v4, 1 << 20, 1).established();
        sim.connection(0).lower_mtu(told);
        sim.ends[0].script = pattern(1, 300_000);
        sim.ends[0].finishes = true;
        sim.ends[1].finishes = true;
        assert!(sim.run_until(HOUR, Sim::is_said));
        sim.assert_heard_all();
        assert_eq!(sim.longest, payload, "{told}");
    }
}
