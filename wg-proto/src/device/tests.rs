//! What cannot be reached from outside in reasonable time: sessions near the end of their counters.

use alloc::vec::Vec;
use core::num::NonZeroU32;

use super::{Device, DeviceConfig, PeerConfig};
use crate::constants::{REJECT_AFTER_MESSAGES, REKEY_AFTER_MESSAGES};
use crate::counter::Counter;
use crate::endpoint::Endpoint;
use crate::error::{NotReady, SealError};
use crate::index::PeerIndex;
use crate::key::PrivateKey;
use crate::message::{MessageKind, classify};
use crate::time::{Instant, UnixTime};

const NOW: Instant = Instant::from_nanos(0);
const UNIX: UnixTime = UnixTime { secs: 1_700_000_000, nanos: 0 };
const ONE: NonZeroU32 = NonZeroU32::MIN;

/// Two devices; the first has a session with the second, which has confirmed it.
struct Pair {
    devices: [Device; 2],
    peers: [PeerIndex; 2],
}

fn pair() -> Pair {
    let key = |i: u8| PrivateKey::from_bytes([i + 1; 32]);
    let device = |i: u8| Device::new(DeviceConfig { private_key: Some(key(i)), mtu_bytes: 0 }, [i; 32]);
    let mut devices = [device(0), device(1)];
    let peers = [0, 1].map(|i| {
        let mut config = PeerConfig::new(key(1 - i).public_key());
        config.endpoint = Some(endpoint(1 - i));
        devices[usize::from(i)].add_peer(NOW, config).unwrap()
    });
    let mut pair = Pair { devices, peers };
    pair.devices[0].stage(NOW, pair.peers[0], &[0x45; 20]).unwrap();
    pair.settle(NOW);
    pair
}

fn endpoint(i: u8) -> Endpoint {
    Endpoint::new(([192, 0, 2, i], 51820).into())
}

impl Pair {
    /// Carries datagrams both ways until nobody sends any; says which kinds node 0 sent.
    fn settle(&mut self, now: Instant) -> Vec<MessageKind> {
        let mut kinds = Vec::new();
        loop {
            let mut sent = false;
            for from in 0..2 {
                let mut buffer = [0; 2048];
                while let Some(out) = self.devices[from].poll_transmit(now, UNIX, &mut buffer) {
                    sent = true;
                    let datagram = &mut buffer[..out.len];
                    if from == 0 {
                        kinds.push(classify(datagram).unwrap());
                    }
                    let _ = self.devices[1 - from].decapsulate(now, UNIX, endpoint(from as u8), datagram);
                }
            }
            if !sent {
                return kinds;
            }
        }
    }

    fn skip_to(&mut self, counter: u64) {
        let peer = self.devices[0].peers.get_mut(self.peers[0]).unwrap();
        peer.sessions.current().unwrap().skip_to(Counter::new(counter));
    }
}

#[test]
fn rekey_after_messages_starts_a_handshake_on_either_side() {
    let mut pair = pair();
    let later = NOW.saturating_add(core::time::Duration::from_secs(10));
    for (sent, rekeys) in [(REKEY_AFTER_MESSAGES - 2, false), (REKEY_AFTER_MESSAGES, true)] {
        pair.skip_to(sent);
        pair.devices[0].begin_send(later, pair.peers[0], ONE, 1).unwrap();
        let kinds = pair.settle(later);
        assert_eq!(kinds.contains(&MessageKind::Initiation), rekeys, "{sent}");
    }
}

#[test]
fn p10_sealing_stops_at_reject_after_messages_and_goes_on_with_a_new_session() {
    let mut pair = pair();
    let later = NOW.saturating_add(core::time::Duration::from_secs(10));
    pair.skip_to(REJECT_AFTER_MESSAGES - 2);
    let two = NonZeroU32::new(2).unwrap();
    let mut batch = pair.devices[0].begin_send(later, pair.peers[0], two, 2).unwrap();
    let mut datagram = [0; 64];
    for counter in [REJECT_AFTER_MESSAGES - 2, REJECT_AFTER_MESSAGES - 1] {
        batch.seal(&mut datagram, 1, 0).unwrap();
        assert_eq!(datagram[8..16], counter.to_le_bytes());
    }
    assert_eq!(batch.seal(&mut datagram, 1, 0), Err(SealError::Exhausted));
    let refused = pair.devices[0].begin_send(later, pair.peers[0], ONE, 1);
    assert_eq!(refused.err(), Some(NotReady::NoSession));
    pair.devices[0].stage(later, pair.peers[0], &[0x45; 20]).unwrap();
    pair.settle(later);
    assert!(pair.devices[0].begin_send(later, pair.peers[0], ONE, 1).is_ok());
}

#[test]
fn p11_the_last_counter_of_a_session_is_accepted_once() {
    let mut pair = pair();
    pair.skip_to(REJECT_AFTER_MESSAGES - 1);
    let mut batch = pair.devices[0].begin_send(NOW, pair.peers[0], ONE, 1).unwrap();
    let mut datagram = [0; 64];
    let len = batch.seal(&mut datagram, 1, 0).unwrap();
    let MessageKind::Transport { receiver, .. } = classify(&datagram[..len]).unwrap() else {
        panic!("sealed packets are transport packets");
    };
    let key = pair.devices[1].rx_key(receiver).unwrap();
    let opened = key.open(&mut datagram[..len]).unwrap();
    for accepted in [true, false] {
        let mut run = [opened];
        pair.devices[1].commit_received(NOW, &key, endpoint(0), &mut run).unwrap();
        assert_eq!(run[0].accepted(), accepted);
    }
}
