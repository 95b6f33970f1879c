//! Two devices and everything that a network may do to what they say: reorder, repeat, lose, reflect, change, also with
//! `mac1` made right again. Whatever it does, a refused message changes nothing, no nonce comes twice, each packet
//! arrives once and as it was sent, and once the network behaves, both sides hear each other again (P9 to P12, P14).

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use wg_proto::{
    DecapsulateError, Decapsulated, Encapsulated, Handled, Instant, MessageKind, QueueLoad, SessionIndex,
    classify,
};

use crate::pair::{FULL, Pair, looked_at, outcome, sign, wall};
use crate::{Input, Tally, Target};

pub(crate) const TARGET: Target = Target {
    name: "handshake_pair",
    run: handshake_pair,
    outcomes: &[
        "Control CookieReply",
        "Control CookieSent",
        "Control Flood",
        "Control Initiation",
        "Control Mac1",
        "Control Malformed ReservedBytes",
        "Control Malformed UnknownType",
        "Control Malformed WrongLength",
        "Control NotAuthentic",
        "Control RateLimited",
        "Control Replayed",
        "Control Response",
        "Control Unexpected",
        "Gone Expired",
        "Keepalive",
        "Open NotAuthentic",
        "Packet",
        "Replayed",
        "UnknownSession",
        "together again",
    ],
};

const STEPS_MAX: usize = 128;
/// Datagrams under way; the oldest are lost.
const FLYING_MAX: usize = 32;
/// Waits that meet the protocol's timers and miss them by little.
const WAITS_MILLIS: [u64; 12] =
    [1, 20, 1_000, 5_001, 5_334, 9_999, 11_000, 25_000, 121_000, 166_000, 181_000, 541_000];
/// An initiator gives up after 90 s and starts over with the next packet.
const RECOVERY_SECS: u64 = 120;

/// Each four bytes are one step: what, which datagram, where and how it is changed.
fn handshake_pair(data: &[u8], tally: &mut Tally) {
    let mut input = Input::new(data);
    let mut net = Net::new(tally);
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        let [what, which, at, change] = input.array();
        net.step(what, usize::from(which), usize::from(at), change);
    }
    net.recover();
}

struct Net<'a> {
    tally: &'a mut Tally,
    pair: Pair,
    flying: Vec<Flying>,
    /// Every receiver index and counter that a side put on the wire.
    nonces: HashSet<(bool, SessionIndex, u64)>,
    /// What each side sent, by the number in it, and whether it arrived.
    sent: HashMap<(bool, u32), bool>,
    number: u32,
}

#[derive(Clone)]
struct Flying {
    bytes: Vec<u8>,
    to_left: bool,
}

impl Net<'_> {
    fn new(tally: &mut Tally) -> Net<'_> {
        let (pair, flying, nonces) = (Pair::new(), Vec::new(), HashSet::new());
        Net { tally, pair, flying, nonces, sent: HashMap::new(), number: 0 }
    }

    fn step(&mut self, what: u8, which: usize, at: usize, change: u8) {
        let flying = which.checked_rem(self.flying.len());
        match (what % 16, flying) {
            (0..4, _) => _ = self.send(what % 4 < 2),
            (4, _) => self.wait(WAITS_MILLIS[which % WAITS_MILLIS.len()]),
            (_, None) => {}
            (5..9, Some(index)) => {
                let flying = self.flying.remove(index);
                self.deliver(&flying, QueueLoad::IDLE);
            }
            (9, Some(index)) => _ = self.deliver(&self.flying[index].clone(), QueueLoad::IDLE),
            (10, Some(index)) => drop(self.flying.remove(index)),
            (11, Some(index)) => _ = self.deliver(&self.flying[index].clone(), FULL),
            (12, Some(index)) => self.reflect(index),
            (13, Some(index)) => self.deliver_changed(index, at, change, false),
            (_, Some(index)) => self.deliver_changed(index, at, change, true),
        }
        while self.flying.len() > FLYING_MAX {
            self.flying.remove(0);
        }
    }

    /// One side sends a packet with a number of its own.
    fn send(&mut self, from_left: bool) -> u32 {
        self.number += 1;
        let packet = packet(from_left, self.number);
        self.sent.insert((from_left, self.number), false);
        let (now, mut bytes) = (self.pair.now, vec![0; 256]);
        let (side, _) = self.pair.side(from_left);
        if let Ok(Encapsulated::Sent(sent)) =
            side.device.encapsulate(now, side.peer, &packet, 1420, &mut bytes)
        {
            bytes.truncate(sent.len);
            self.launch(from_left, bytes);
        }
        self.drain(from_left);
        self.number
    }

    fn launch(&mut self, from_left: bool, bytes: Vec<u8>) {
        if let Ok(MessageKind::Transport { receiver, counter }) = classify(&bytes) {
            assert!(self.nonces.insert((from_left, receiver, counter.get())), "no nonce comes twice");
        }
        self.flying.push(Flying { bytes, to_left: !from_left });
    }

    fn drain(&mut self, from_left: bool) {
        let now = self.pair.now;
        for _ in 0..1024 {
            let mut bytes = vec![0; 2048];
            let (side, _) = self.pair.side(from_left);
            while side.device.poll_event().is_some() {}
            let Some(sent) = side.device.poll_transmit(now, wall(now), &mut bytes) else { return };
            bytes.truncate(sent.len);
            self.launch(from_left, bytes);
        }
        panic!("a device has something to say without end");
    }

    /// Says whether it was taken.
    fn deliver(&mut self, flying: &Flying, load: QueueLoad) -> bool {
        let (now, mut bytes) = (self.pair.now, flying.bytes.clone());
        let (side, src) = self.pair.side(flying.to_left);
        let state = side.state(now);
        let taken = if matches!(classify(&bytes), Ok(MessageKind::Transport { .. })) {
            side.device.decapsulate(now, wall(now), src, &mut bytes)
        } else {
            let handled = side.device.handle_control(now, wall(now), src, &mut bytes, load);
            handled.map(Decapsulated::Control).map_err(DecapsulateError::Control)
        };
        outcome(self.tally, &taken);
        match &taken {
            Err(_) => {
                assert_eq!(state, side.state(now), "what is refused changes nothing");
                assert!(side.is_silent(now), "what is refused is not answered");
            }
            Ok(Decapsulated::Control(Handled::CookieSent)) => {
                assert_eq!(state, side.state(now), "who is asked for a cookie changes nothing");
            }
            Ok(Decapsulated::Packet { range, .. }) => self.arrive(flying.to_left, &bytes[range.clone()]),
            Ok(Decapsulated::Keepalive { .. } | Decapsulated::Control(_)) => {}
        }
        self.drain(flying.to_left);
        taken.is_ok_and(|taken| taken != Decapsulated::Control(Handled::CookieSent))
    }

    fn arrive(&mut self, at_left: bool, packet: &[u8]) {
        let number = u32::from_be_bytes(packet[20..].try_into().expect("packets end with their number"));
        assert_eq!(packet, self::packet(!at_left, number), "as it was sent");
        let arrived = self.sent.get_mut(&(!at_left, number)).expect("nothing arrives that was not sent");
        assert!(!std::mem::replace(arrived, true), "each packet arrives once");
    }

    /// A device does not take what it said itself.
    fn reflect(&mut self, index: usize) {
        let flying = &self.flying[index];
        let reflected = Flying { bytes: flying.bytes.clone(), to_left: !flying.to_left };
        assert!(!self.deliver(&reflected, QueueLoad::IDLE), "nobody takes what is for the other");
    }

    /// Delivers a changed copy. Where `mac1` is made right, only what the handshake itself protects is changed.
    fn deliver_changed(&mut self, index: usize, at: usize, change: u8, signed: bool) {
        let mut changed = self.flying[index].clone();
        let genuine = changed.bytes.clone();
        let is_handshake = matches!(classify(&genuine), Ok(MessageKind::Initiation | MessageKind::Response));
        let places = if signed && is_handshake { 8..genuine.len() - 32 } else { 0..genuine.len() };
        changed.bytes[places.start + at % places.len()] ^= change;
        if signed {
            let (receiver, _) = self.pair.side(changed.to_left);
            sign(&mut changed.bytes, &receiver.device.public_key().expect("it has a private key"));
        }
        let is_same = looked_at(&changed.bytes) == looked_at(&genuine);
        let taken = self.deliver(&changed, QueueLoad::IDLE);
        assert!(is_same || !taken, "nothing changed is taken");
    }

    fn wait(&mut self, millis: u64) {
        let end = self.pair.now.saturating_add(Duration::from_millis(millis));
        for _ in 0..256 {
            let deadline = [true, false].into_iter().filter_map(|left| self.deadline(left)).min();
            let Some(at) = deadline.filter(|at| *at <= end) else { break };
            self.pair.now = at.max(self.pair.now);
            self.time_out();
        }
        self.pair.now = end;
        self.time_out();
    }

    fn deadline(&mut self, left: bool) -> Option<Instant> {
        self.pair.side(left).0.device.poll_timeout().map(|(at, _)| at)
    }

    fn time_out(&mut self) {
        let now = self.pair.now;
        for left in [true, false] {
            self.pair.side(left).0.device.handle_timeout(now);
            self.drain(left);
        }
    }

    /// From now on the network behaves: packets get through in both directions, on keys both agree on.
    fn recover(&mut self) {
        for _ in 0..RECOVERY_SECS {
            let numbers = [true, false].map(|left| (left, self.send(left)));
            for _ in 0..FLYING_MAX * 8 {
                if self.flying.is_empty() {
                    break;
                }
                let flying = self.flying.remove(0);
                self.deliver(&flying, QueueLoad::IDLE);
            }
            if numbers.iter().all(|sent| self.sent[sent]) {
                return self.tally.count("together again");
            }
            self.wait(1_000);
        }
        panic!("the devices do not find together again");
    }
}

/// IPv4 from the sender's inner address to the other's, with a number as payload.
fn packet(from_left: bool, number: u32) -> Vec<u8> {
    let (from, to) = if from_left { (1, 2) } else { (2, 1) };
    let mut packet = vec![0x45, 0, 0, 24, 0, 0, 0, 0, 64, 59, 0, 0, 10, 0, 0, from, 10, 0, 0, to];
    packet.extend(number.to_be_bytes());
    packet
}
