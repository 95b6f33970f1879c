//! Any sequence of fragments: bounds hold, no byte of a datagram passes twice, nothing passes before its first piece
//! (P4, FRG-1 to FRG-3, P27).

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use router_core::fragments::{FragmentLimits, Fragments, Later};
use router_core::packet::checksum::Sum;
use router_core::packet::{PacketMut, Piece};
use wg_proto::Instant;

use crate::{Input, Tally, Target};

pub(crate) const TARGET: Target = Target {
    name: "fragment_sequence",
    run: fragment_sequence,
    outcomes: &[
        "Duplicate",
        "Overlap",
        "ParkingFull",
        "Poisoned",
        "TooManyDatagrams",
        "complete",
        "expired",
        "first passes",
        "later follows",
        "parked",
        "released",
    ],
};

const LIMITS: FragmentLimits = FragmentLimits {
    datagrams_max: 6,
    datagrams_per_subject_max: 4,
    parked_bytes_max: 400,
    parked_bytes_per_subject_max: 200,
    lifetime: Duration::from_secs(15),
};

/// Each five bytes are one step: what, whose, which datagram, where, how long.
fn fragment_sequence(data: &[u8], tally: &mut Tally) {
    let mut input = Input::new(data);
    let mut run = Run {
        fragments: Fragments::new(LIMITS),
        now: Instant::from_nanos(0),
        verdict: 0,
        receivers: HashMap::new(),
        tally,
    };
    while !input.is_empty() {
        let [what, subject, id, words, len] = input.array();
        run.step(what, subject % 3, id % 4, words % 24, len % 16);
    }
}

struct Run<'a> {
    fragments: Fragments<u8, u64>,
    now: Instant,
    /// Counts first pieces; each one's verdict is its number.
    verdict: u64,
    receivers: HashMap<(u8, u8), Receiver>,
    tally: &'a mut Tally,
}

/// What the receiver has of one datagram.
struct Receiver {
    since: Instant,
    words: HashSet<u16>,
    bytes: u16,
    end: Option<u16>,
}

impl Run<'_> {
    fn step(&mut self, what: u8, subject: u8, id: u8, words: u8, len: u8) {
        match what % 16 {
            0 => self.advance(Duration::from_secs(u64::from(len))),
            1 => self.fragments.poison(self.now, subject, piece(subject, id, 0, 8, true).0.datagram),
            2 => self.close(subject),
            other => {
                self.offer(subject, id, u16::from(words) * 8, usize::from(len.max(1)) * 8, other % 4 != 0)
            }
        }
        self.drain();
        assert!(self.fragments.datagrams_used() <= LIMITS.datagrams_max);
        assert!(self.fragments.parked_bytes_used() <= LIMITS.parked_bytes_max);
        assert_eq!(self.fragments.poll_timeout().is_none(), self.fragments.datagrams_used() == 0);
    }

    fn advance(&mut self, time: Duration) {
        self.now = self.now.saturating_add(time);
        let before = self.fragments.datagrams_used();
        self.fragments.handle_timeout(self.now);
        self.tally.add("expired", (before - self.fragments.datagrams_used()) as u64);
        assert!(self.fragments.poll_timeout().is_none_or(|deadline| deadline > self.now));
    }

    fn close(&mut self, subject: u8) {
        self.fragments.forget(|of, _| *of == subject);
        self.receivers.retain(|(of, _), _| *of != subject);
    }

    fn offer(&mut self, subject: u8, id: u8, offset: u16, len: usize, more: bool) {
        let (piece, bytes) = piece(subject, id, offset, len, more || offset == 0);
        let followed = if piece.is_first() {
            self.verdict += 1;
            self.fragments.first(self.now, subject, piece, self.verdict).map(|()| Later::Follow(self.verdict))
        } else {
            self.fragments.later(self.now, subject, piece, &bytes)
        };
        match followed {
            Ok(Later::Parked) => self.tally.count("parked"),
            Ok(Later::Follow(_)) => {
                self.tally.count(if piece.is_first() { "first passes" } else { "later follows" });
                self.pass(subject, id, piece);
            }
            Err(refused) => self.tally.variant(&refused),
        }
    }

    fn drain(&mut self) {
        while let Some(released) = self.fragments.pop_released() {
            assert_eq!(released.verdict, self.verdict, "released by the first piece that just came");
            let mut bytes = released.packet.into_vec();
            let (subject, id) = (bytes[15], bytes[5]);
            let piece = PacketMut::parse(&mut bytes).expect("parked as received").piece().expect("a piece");
            self.tally.count("released");
            self.pass(subject, id, piece);
        }
    }

    fn pass(&mut self, subject: u8, id: u8, piece: Piece) {
        let key = (subject, id);
        if self.receivers.get(&key).is_some_and(|old| old.since.saturating_add(LIMITS.lifetime) <= self.now) {
            self.receivers.remove(&key);
        }
        let now = self.now;
        let receiver = self.receivers.entry(key).or_insert_with(|| {
            assert!(piece.is_first(), "nothing passes before the first piece");
            Receiver { since: now, words: HashSet::new(), bytes: 0, end: None }
        });
        receiver.take(piece);
        if receiver.end == Some(receiver.bytes) {
            self.tally.count("complete");
            self.receivers.remove(&key);
        }
    }
}

impl Receiver {
    fn take(&mut self, piece: Piece) {
        let span = piece.span;
        for word in span.offset() / 8..span.end().div_ceil(8) {
            assert!(self.words.insert(word), "no byte passes twice");
            assert!(self.end.is_none_or(|end| word * 8 < end), "nothing passes behind the end");
        }
        self.bytes += span.byte_len();
        if !span.more() {
            self.end = Some(span.end());
        }
    }
}

/// A UDP piece, parsed, and its bytes.
fn piece(subject: u8, id: u8, offset: u16, len: usize, more: bool) -> (Piece, Vec<u8>) {
    let mut bytes = vec![0; 20 + len];
    bytes[0] = 0x45;
    bytes[2..4].copy_from_slice(&((20 + len) as u16).to_be_bytes());
    bytes[6..8].copy_from_slice(&((offset / 8) | (u16::from(more) << 13)).to_be_bytes());
    (bytes[5], bytes[8], bytes[9], bytes[12], bytes[15], bytes[16]) = (id, 64, 17, 10, subject, 11);
    let checksum = Sum::default().bytes(&bytes[..20]).checksum();
    bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
    bytes[25] = 8; // UDP length, where this is a first piece
    let piece = PacketMut::parse(&mut bytes).expect("a packet").piece().expect("a piece");
    (piece, bytes)
}
