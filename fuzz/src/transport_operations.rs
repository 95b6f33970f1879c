//! Any sequence of sealing, opening and committing on one session against a model that remembers everything: a nonce is
//! used once, what is opened is what was sealed, a packet counts once and only within the window, and nothing passes on
//! an expired session (P9, P10, P11).

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use wg_proto::constants::{REJECT_AFTER_TIME, REPLAY_WINDOW};
use wg_proto::{
    Counter, Endpoint, HEADER_BYTES, Instant, MessageKind, NotReady, OVERHEAD_BYTES, Opened, RxKey,
    SessionGone, TxBatch, classify, padded_len,
};

use crate::pair::{Pair, Side, endpoint};
use crate::{Input, Tally, Target};

pub(crate) const TARGET: Target = Target {
    name: "transport_operations",
    run: transport_operations,
    outcomes: &[
        "Malformed ReservedBytes",
        "Malformed UnknownType",
        "NotAuthentic",
        "WrongSession",
        "a replay",
        "accepted",
        "not committed: expired",
        "not sealed: nothing reserved",
        "nothing reserved: expired",
        "opened",
        "reserved",
        "sealed",
        "the peer moved",
    ],
};

const STEPS_MAX: usize = 256;
/// Reserved at once, to get past the replay window in few steps.
const LEAPS: [u32; 4] = [64, 4064, 8128, 9000];

/// The session's sides take turns as the input says; each four bytes are one step: what, and three numbers.
fn transport_operations(data: &[u8], tally: &mut Tally) {
    let mut input = Input::new(data);
    let mut run = Run::new();
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            return;
        }
        let [what, a, b, c] = input.array();
        run.step(what, [a, b, c], tally);
    }
}

struct Run {
    pair: Pair,
    since: Instant,
    /// What left sends to right, and what right sends to left.
    roads: [Road; 2],
}

/// One direction of the session.
struct Road {
    to_left: bool,
    key: RxKey,
    batch: Option<TxBatch>,
    /// The nonce that the next reserved packet gets, and the one that the batch is at.
    reserve_next: u64,
    seal_next: u64,
    sealed: Vec<Sealed>,
    opened: Vec<Opened>,
    /// Counters that were accepted.
    seen: BTreeSet<u64>,
    /// Where the receiver sends to.
    endpoint: Endpoint,
}

struct Sealed {
    bytes: Vec<u8>,
    counter: u64,
    payload: Vec<u8>,
}

impl Run {
    fn new() -> Run {
        let mut pair = Pair::new();
        let first = pair.transport().bytes;
        let since = pair.now;
        let right_key = key_for(&pair.right, &first);
        pair.right.takes(since, pair.left.addr, &mut first.clone()).expect("the first packet is genuine");
        let back = batch(&mut pair.right, since, 1).expect("the session is confirmed");
        let left_key = pair.left.device.rx_key(back.receiver()).expect("both agree on the index");
        // The first packet took nonce 0 on the way right, the batch took it on the way left.
        let mut right = Road::new(false, right_key, pair.left.addr);
        right.seen.insert(0);
        let left = Road::new(true, left_key, pair.right.addr);
        Run { pair, since, roads: [right, left] }
    }

    fn step(&mut self, what: u8, [a, b, c]: [u8; 3], tally: &mut Tally) {
        let is_live = self.pair_is_live();
        let pair = &mut self.pair;
        let road = &mut self.roads[usize::from(what >> 7)];
        match what & 15 {
            0..2 => road.reserve(pair, 1 + u32::from(a % 8), is_live, tally),
            2 => road.reserve(pair, LEAPS[usize::from(a) % LEAPS.len()], is_live, tally),
            3..7 => road.seal(usize::from(a) * 4, u16::from(b) * 4, c, tally),
            7..10 => road.open(a, (b, c), tally),
            10..14 => road.commit(pair, [a, b, c], is_live, tally),
            14 => self.roads.iter_mut().for_each(|road| road.batch = None),
            _ => pair.now = pair.now.saturating_add(Duration::from_secs(u64::from(a))),
        }
    }

    fn pair_is_live(&self) -> bool {
        self.pair.now < self.since.saturating_add(REJECT_AFTER_TIME)
    }
}

impl Road {
    fn new(to_left: bool, key: RxKey, endpoint: Endpoint) -> Road {
        Road {
            to_left,
            key,
            batch: None,
            reserve_next: 1,
            seal_next: 1,
            sealed: Vec::new(),
            opened: Vec::new(),
            seen: BTreeSet::new(),
            endpoint,
        }
    }

    fn reserve(&mut self, pair: &mut Pair, count: u32, is_live: bool, tally: &mut Tally) {
        let now = pair.now;
        let (sender, _) = pair.side(!self.to_left);
        match batch(sender, now, count) {
            Ok(batch) => {
                tally.count("reserved");
                assert!(is_live, "no nonce of an expired session");
                assert_eq!(batch.remaining(), count);
                assert_eq!(batch.receiver(), self.key.index());
                (self.seal_next, self.batch) = (self.reserve_next, Some(batch));
                self.reserve_next += u64::from(count);
            }
            Err(refused) => {
                assert_eq!(refused, NotReady::NoSession);
                tally.count("nothing reserved: expired");
                assert!(!is_live, "a live session has nonces");
            }
        }
    }

    fn seal(&mut self, len: usize, mtu_bytes: u16, fill: u8, tally: &mut Tally) {
        let Some(batch) = &mut self.batch else { return };
        let payload = vec![fill; len];
        let mut bytes = vec![0xee; padded_len(len, mtu_bytes) + OVERHEAD_BYTES];
        bytes[HEADER_BYTES..HEADER_BYTES + len].copy_from_slice(&payload);
        let has_nonce = batch.remaining() > 0;
        let sealed = batch.seal(&mut bytes, len, mtu_bytes);
        assert_eq!(sealed.ok(), has_nonce.then_some(bytes.len()));
        tally.count(if has_nonce { "sealed" } else { "not sealed: nothing reserved" });
        if !has_nonce {
            return;
        }
        let (counter, receiver) = (Counter::new(self.seal_next), self.key.index());
        assert_eq!(classify(&bytes), Ok(MessageKind::Transport { receiver, counter }), "each nonce in turn");
        self.seal_next += 1;
        self.sealed.push(Sealed { bytes, counter: counter.get(), payload });
    }

    /// Opens a sealed packet, or one with a byte changed.
    fn open(&mut self, which: u8, (at, change): (u8, u8), tally: &mut Tally) {
        let Some(sealed) = self.sealed.get(usize::from(which) % self.sealed.len().max(1)) else { return };
        let mut bytes = sealed.bytes.clone();
        let at = usize::from(at) % bytes.len();
        let change = if change < 128 { 0 } else { change };
        bytes[at] ^= change;
        let opened = match self.key.open(&mut bytes) {
            Ok(opened) => opened,
            Err(why) => {
                tally.variant(&why);
                return assert_ne!(change, 0, "what was sealed can be opened");
            }
        };
        tally.count("opened");
        assert_eq!(change, 0, "what was changed cannot be opened");
        assert_eq!((opened.counter().get(), opened.accepted()), (sealed.counter, false));
        let inner = &bytes[HEADER_BYTES..HEADER_BYTES + opened.len()];
        let (payload, padding) = inner.split_at(sealed.payload.len());
        assert_eq!(payload, sealed.payload);
        assert!(padding.iter().all(|byte| *byte == 0) && padding.len() < 16);
        self.opened.push(opened);
    }

    /// Commits some of what was opened, from one of two places.
    fn commit(&mut self, pair: &mut Pair, [first, count, place]: [u8; 3], is_live: bool, tally: &mut Tally) {
        let first = usize::from(first) % self.opened.len().max(1);
        let mut run: Vec<Opened> =
            self.opened.iter().skip(first).take(usize::from(count % 8)).copied().collect();
        let src = endpoint(if place & 1 == 0 { "198.51.100.1:1" } else { "198.51.100.2:2" });
        let now = pair.now;
        let (receiver, _) = pair.side(self.to_left);
        let done = receiver.device.commit_received(now, &self.key, src, &mut run);
        if !is_live {
            assert_eq!(done, Err(SessionGone::Expired));
            tally.count("not committed: expired");
            return assert!(run.iter().all(|packet| !packet.accepted()));
        }
        assert_eq!(done, Ok(receiver.peer));
        let mut moves = false;
        for packet in run {
            let (accepted, newest) = self.remember(packet.counter().get());
            assert_eq!(packet.accepted(), accepted, "{packet:?}");
            tally.count(if accepted { "accepted" } else { "a replay" });
            moves |= newest;
        }
        tally.add("the peer moved", u64::from(moves && src != self.endpoint));
        self.endpoint = if moves { src } else { self.endpoint };
        let told = receiver.device.peer(receiver.peer).and_then(|peer| peer.endpoint());
        assert_eq!(told, Some(self.endpoint), "the newest packet says where the peer is");
    }

    /// Whether a packet with this counter is new, and whether it is the newest.
    fn remember(&mut self, counter: u64) -> (bool, bool) {
        let newest = self.seen.last().copied();
        if newest.is_some_and(|newest| counter + REPLAY_WINDOW < newest) {
            return (false, false);
        }
        let is_new = self.seen.insert(counter);
        (is_new, is_new && newest.is_none_or(|newest| counter > newest))
    }
}

fn batch(side: &mut Side, now: Instant, count: u32) -> Result<TxBatch, NotReady> {
    let count = NonZeroU32::new(count).expect("callers count from one");
    side.device.begin_send(now, side.peer, count, 0)
}

fn key_for(side: &Side, datagram: &[u8]) -> RxKey {
    let Ok(MessageKind::Transport { receiver, .. }) = classify(datagram) else {
        panic!("the handshake ended")
    };
    side.device.rx_key(receiver).expect("the session is there before its first packet")
}
