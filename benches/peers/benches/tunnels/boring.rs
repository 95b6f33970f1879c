//! `boringtun`: ring's AEAD, and x25519-dalek.

use std::sync::Arc;
use std::time::Duration;

use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};

use crate::timed;

pub(crate) struct Pair {
    left: Tunn,
    right: Tunn,
    datagram: [u8; 2048],
    packet: [u8; 2048],
}

impl crate::Pair for Pair {
    const NAME: &'static str = "boringtun";

    fn connected() -> Pair {
        let (left, right) = (end(1, 2), end(2, 1));
        let mut pair = Pair { left, right, datagram: [0; 2048], packet: [0; 2048] };
        pair.shake_hands();
        pair
    }

    fn shake_hands(&mut self) -> Duration {
        let Pair { left, right, datagram, packet } = self;
        timed(|| {
            let initiation = written(left.format_handshake_initiation(datagram, true));
            let response = written(right.decapsulate(None, initiation, packet));
            let keepalive = written(left.decapsulate(None, response, datagram));
            let done = right.decapsulate(None, keepalive, packet);
            assert!(matches!(done, TunnResult::Done), "{done:?}");
        })
        .0
    }

    fn carry(&mut self, inner: &[u8]) -> (Duration, usize) {
        let Pair { left, right, datagram, packet } = self;
        timed(|| {
            let datagram = written(left.encapsulate(inner, datagram));
            match right.decapsulate(None, datagram, packet) {
                TunnResult::WriteToTunnelV4(packet, _) => packet.len(),
                other => panic!("{other:?}"),
            }
        })
    }
}

fn end(ours: u8, theirs: u8) -> Tunn {
    let secret = |byte| StaticSecret::from([byte; 32]);
    let theirs = PublicKey::from(&secret(theirs));
    // Never under load: cookies are not what is compared.
    let limiter = RateLimiter::new(&PublicKey::from(&secret(ours)), u64::MAX);
    Tunn::new(secret(ours), theirs, None, None, ours.into(), Some(Arc::new(limiter)))
}

fn written(result: TunnResult<'_>) -> &mut [u8] {
    match result {
        TunnResult::WriteToNetwork(datagram) => datagram,
        other => panic!("{other:?}"),
    }
}
