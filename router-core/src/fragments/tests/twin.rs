//! The slow twin: a list, scanned from the front, with every rule written out. Same operations, same outcomes.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

const LIMITS: FragmentLimits = FragmentLimits {
    datagrams_max: 4,
    datagrams_per_subject_max: 3,
    parked_bytes_max: 40,
    parked_bytes_per_subject_max: 25,
    lifetime: Duration::from_secs(15),
};

/// A datagram of the twin: what it is, what was seen, what waits.
#[derive(Debug, Clone)]
struct Slow {
    subject: u8,
    id: u32,
    seen: Vec<Span>,
    parked: Vec<(u16, Vec<u8>)>,
    verdict: Option<u32>,
    poisoned: bool,
    deadline: Instant,
    /// Age, for "oldest": ties in time go by key, as in the real one.
    key: (u8, Datagram),
}

#[derive(Debug, Default)]
struct Twin {
    datagrams: Vec<Slow>,
    released: Vec<(u8, u32, Vec<u8>)>,
    /// Nothing new of these until then.
    sealed: Vec<(u8, Instant)>,
}

impl Twin {
    fn expire(&mut self, now: Instant) {
        self.datagrams.retain(|slow| slow.deadline > now);
        self.sealed.retain(|(_, until)| *until > now);
    }

    fn find(&self, subject: u8, id: u32) -> Option<usize> {
        self.datagrams.iter().position(|slow| slow.subject == subject && slow.id == id)
    }

    fn parked(&self, subject: Option<u8>) -> usize {
        let mine = |of: u8| subject.is_none_or(|subject| subject == of);
        let waiting = self.datagrams.iter().filter(|slow| mine(slow.subject)).flat_map(|slow| &slow.parked);
        let leaving = self.released.iter().filter(|(of, ..)| mine(*of));
        waiting.map(|(_, bytes)| bytes.len()).sum::<usize>()
            + leaving.map(|(.., bytes)| bytes.len()).sum::<usize>()
    }

    fn has_room(&self, subject: u8) -> bool {
        let mine = self.datagrams.iter().filter(|slow| slow.subject == subject).count();
        let is_sealed = self.sealed.iter().any(|(of, _)| *of == subject);
        !is_sealed && self.datagrams.len() < LIMITS.datagrams_max && mine < LIMITS.datagrams_per_subject_max
    }

    fn displace_if_full(&mut self) {
        if self.datagrams.len() < LIMITS.datagrams_max {
            return;
        }
        let waiting =
            self.datagrams.iter().enumerate().filter(|(_, slow)| slow.verdict.is_none() && !slow.poisoned);
        if let Some((at, _)) = waiting.min_by_key(|(_, slow)| (slow.deadline, slow.key)) {
            self.datagrams.remove(at);
        }
    }

    /// Bytes as a set, ends as a rule: nothing behind the last byte, one last byte.
    fn judge(&mut self, now: Instant, at: usize, span: Span) -> Result<(), Refused> {
        let slow = &mut self.datagrams[at];
        if slow.poisoned {
            return Err(Refused::Poisoned);
        }
        if slow.seen.contains(&span) {
            return Err(Refused::Duplicate);
        }
        let shares_bytes = |other: &Span| other.offset() < span.end() && span.offset() < other.end();
        let ends_before = |last: &Span, other: &Span| !last.more() && other.end() > last.end();
        let two_ends = |other: &Span| !span.more() && !other.more();
        let clash = |other: &Span| {
            shares_bytes(other) || ends_before(other, &span) || ends_before(&span, other) || two_ends(other)
        };
        if slow.seen.iter().any(clash) {
            (slow.poisoned, slow.verdict) = (true, None);
            slow.deadline = now.saturating_add(LIMITS.lifetime);
            slow.parked.clear();
            slow.seen.clear();
            return Err(Refused::Overlap);
        }
        Ok(())
    }

    fn track(&mut self, now: Instant, subject: u8, piece: Piece) -> usize {
        self.datagrams.push(Slow {
            subject,
            id: piece.datagram.identification,
            seen: vec![],
            parked: vec![],
            verdict: None,
            poisoned: false,
            deadline: now.saturating_add(LIMITS.lifetime),
            key: (subject, piece.datagram),
        });
        self.datagrams.len() - 1
    }

    fn forget_if_complete(&mut self, at: usize) {
        let seen = &self.datagrams[at].seen;
        let have: u32 = seen.iter().map(|span| u32::from(span.byte_len())).sum();
        if seen.iter().any(|span| !span.more() && u32::from(span.end()) == have) {
            self.datagrams.remove(at);
        }
    }

    fn first(&mut self, now: Instant, subject: u8, piece: Piece, verdict: u32) -> Result<(), Refused> {
        self.expire(now);
        let at = match self.find(subject, piece.datagram.identification) {
            Some(at) => self.judge(now, at, piece.span).map(|()| at)?,
            None => {
                self.displace_if_full();
                if !self.has_room(subject) {
                    return Err(Refused::TooManyDatagrams);
                }
                self.track(now, subject, piece)
            }
        };
        let slow = &mut self.datagrams[at];
        slow.seen.push(piece.span);
        slow.verdict = Some(verdict);
        slow.deadline = now.saturating_add(LIMITS.lifetime);
        slow.parked.sort();
        self.released.extend(slow.parked.drain(..).map(|(_, bytes)| (subject, verdict, bytes)));
        self.forget_if_complete(at);
        Ok(())
    }

    fn later(
        &mut self,
        now: Instant,
        subject: u8,
        piece: Piece,
        packet: &[u8],
    ) -> Result<Later<u32>, Refused> {
        self.expire(now);
        let found = self.find(subject, piece.datagram.identification);
        if let Some(at) = found {
            self.judge(now, at, piece.span)?;
            if let Some(verdict) = self.datagrams[at].verdict {
                self.datagrams[at].seen.push(piece.span);
                self.forget_if_complete(at);
                return Ok(Later::Follow(verdict));
            }
        }
        if self.parked(Some(subject)) + packet.len() > LIMITS.parked_bytes_per_subject_max
            || self.parked(None) + packet.len() > LIMITS.parked_bytes_max
        {
            return Err(Refused::ParkingFull);
        }
        if found.is_none() && !self.has_room(subject) {
            return Err(Refused::TooManyDatagrams);
        }
        let at = found.unwrap_or_else(|| self.track(now, subject, piece));
        self.datagrams[at].seen.push(piece.span);
        self.datagrams[at].parked.push((piece.span.offset(), packet.to_vec()));
        Ok(Later::Parked)
    }

    fn poison(&mut self, now: Instant, subject: u8, piece: Piece) {
        self.expire(now);
        let at = match self.find(subject, piece.datagram.identification) {
            Some(at) => at,
            None => {
                self.displace_if_full();
                if !self.has_room(subject) {
                    self.sealed.push((subject, now.saturating_add(LIMITS.lifetime)));
                    return;
                }
                self.track(now, subject, piece)
            }
        };
        let slow = &mut self.datagrams[at];
        (slow.poisoned, slow.verdict) = (true, None);
        slow.deadline = now.saturating_add(LIMITS.lifetime);
        slow.parked.clear();
        slow.seen.clear();
    }

    fn forget(&mut self, subject: u8) {
        self.datagrams.retain(|slow| slow.subject != subject);
        self.released.retain(|(of, ..)| *of != subject);
    }

    fn pop_released(&mut self) -> Option<(u32, Vec<u8>)> {
        if self.released.is_empty() {
            return None;
        }
        let (_, verdict, bytes) = self.released.remove(0);
        Some((verdict, bytes))
    }
}

#[derive(Debug, Clone)]
enum Op {
    Piece { subject: u8, id: u32, offset: u16, len: usize, last: bool },
    Poison { subject: u8, id: u32 },
    Pop,
    Forget { subject: u8 },
    Advance { secs: u64 },
}

fn any_op() -> impl Strategy<Value = Op> {
    let piece = (0u8..3, 0u32..3, 0u16..5, 1usize..3, proptest::bool::weighted(0.3));
    prop_oneof![
        20 => piece.prop_map(|(subject, id, words, len, last)| Op::Piece {
            subject, id, offset: words * 8, len: len * 8, last
        }),
        2 => (0u8..3, 0u32..6).prop_map(|(subject, id)| Op::Poison { subject, id }),
        4 => Just(Op::Pop),
        1 => (0u8..3).prop_map(|subject| Op::Forget { subject }),
        4 => (0u64..9).prop_map(|secs| Op::Advance { secs }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn p04_fragments_behave_like_their_slow_twin(ops in proptest::collection::vec(any_op(), 1..120)) {
        let mut fragments = Fragments::<u8, u32>::new(LIMITS);
        let mut twin = Twin::default();
        let mut now = at(0);
        for (verdict, op) in (0u32..).zip(ops) {
            match op {
                Op::Piece { subject, id, offset: 0, len, last } => {
                    let piece = piece(id, 0, len, !last);
                    let real = fragments.first(now, subject, piece, verdict);
                    prop_assert_eq!(real, twin.first(now, subject, piece, verdict));
                }
                Op::Piece { subject, id, offset, len, last } => {
                    let piece = piece(id, offset, len, !last);
                    let packet = vec![verdict as u8; len];
                    let real = fragments.later(now, subject, piece, &packet);
                    prop_assert_eq!(real, twin.later(now, subject, piece, &packet));
                }
                Op::Poison { subject, id } => {
                    let piece = piece(id, 0, 8, true);
                    fragments.poison(now, subject, piece.datagram);
                    twin.poison(now, subject, piece);
                }
                Op::Pop => {
                    let real = fragments.pop_released().map(|gone| (gone.verdict, gone.packet.into_vec()));
                    prop_assert_eq!(real, twin.pop_released());
                }
                Op::Forget { subject } => {
                    fragments.forget(|of, _| *of == subject);
                    twin.forget(subject);
                }
                Op::Advance { secs } => {
                    now = now.saturating_add(Duration::from_secs(secs));
                    fragments.handle_timeout(now);
                    twin.expire(now);
                }
            }
            prop_assert_eq!(fragments.datagrams_used(), twin.datagrams.len());
            prop_assert_eq!(fragments.parked_bytes_used(), twin.parked(None));
            prop_assert_eq!(fragments.poll_timeout(), twin.datagrams.iter().map(|slow| slow.deadline).min());
        }
    }

    /// Safety: of one datagram no byte passes twice, and nothing passes before its first piece.
    #[test]
    fn p04_no_byte_of_a_datagram_passes_twice(
        pieces in proptest::collection::vec((0u16..8, 1usize..4, proptest::bool::weighted(0.1)), 1..40),
    ) {
        let mut fragments = Fragments::<u8, u32>::new(FragmentLimits::default());
        let (mut passed, mut is_decided) = ([false; 16], false);
        let mut pass = |offset: usize, len: usize| {
            let words = &mut passed[offset / 8..][..len / 8];
            prop_assert!(words.iter().all(|word| !*word), "a byte passed twice");
            words.fill(true);
            Ok(())
        };
        for (words, len, last) in pieces {
            let (offset, len) = (words * 8, len * 8);
            let piece = piece(1, offset, len, !last);
            let follows = if offset == 0 {
                let passes = fragments.first(at(0), 1, piece, 0).is_ok();
                is_decided |= passes;
                passes
            } else {
                fragments.later(at(0), 1, piece, &[offset as u8, len as u8]) == Ok(Later::Follow(0))
            };
            prop_assert!(!follows || is_decided);
            if follows {
                pass(usize::from(offset), len)?;
            }
            for (_, early) in released(&mut fragments) {
                pass(usize::from(early[0]), usize::from(early[1]))?;
            }
            if fragments.datagrams_used() == 0 {
                break; // complete: what follows is another datagram
            }
        }
    }
}
