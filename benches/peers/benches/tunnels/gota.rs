//! `gotatun`: aws-lc-rs as AEAD, and x25519-dalek. Its packets own their buffers: the first is made before the clock starts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gotatun::noise::index_table::IndexTable;
use gotatun::noise::rate_limiter::RateLimiter;
use gotatun::noise::{Tunn, TunnResult};
use gotatun::packet::{Packet, WgKind};
use gotatun::x25519::{PublicKey, StaticSecret};

use crate::timed;

pub(crate) struct Pair {
    left: End,
    right: End,
}

struct End {
    tunnel: Tunn,
    limiter: Arc<RateLimiter>,
}

impl crate::Pair for Pair {
    const NAME: &'static str = "gotatun";

    fn connected() -> Pair {
        let mut pair = Pair { left: End::new(1, 2), right: End::new(2, 1) };
        pair.shake_hands();
        pair
    }

    fn shake_hands(&mut self) -> Duration {
        let Pair { left, right } = self;
        timed(|| {
            let initiation = left.tunnel.format_handshake_initiation(true).expect("it was forced");
            let response = written(right.receive(WgKind::HandshakeInit(initiation)));
            let keepalive = written(left.receive(response));
            let done = right.receive(keepalive);
            assert!(matches!(&done, TunnResult::WriteToTunnel(packet) if packet.is_empty()), "{done:?}");
        })
        .0
    }

    fn carry(&mut self, inner: &[u8]) -> (Duration, usize) {
        let Pair { left, right } = self;
        let packet = Packet::copy_from(inner);
        timed(|| {
            let datagram = left.tunnel.handle_outgoing_packet(packet, None).expect("there is a session");
            match right.receive(datagram) {
                TunnResult::WriteToTunnel(packet) => packet.len(),
                other => panic!("{other:?}"),
            }
        })
    }
}

impl End {
    fn new(ours: u8, theirs: u8) -> End {
        let secret = |byte| StaticSecret::from([byte; 32]);
        let theirs = PublicKey::from(&secret(theirs));
        // Never under load: cookies are not what is compared.
        let limiter = Arc::new(RateLimiter::new(&PublicKey::from(&secret(ours)), u64::MAX));
        let table = IndexTable::from_os_rng();
        End { tunnel: Tunn::new(secret(ours), theirs, None, None, table, limiter.clone()), limiter }
    }

    /// As its device does it: parse and check a datagram, then hand it to the tunnel.
    fn receive(&mut self, datagram: WgKind) -> TunnResult {
        let from = SocketAddr::from(([192, 0, 2, 1], 51820));
        match self.limiter.verify_packet(from, datagram.into()) {
            Ok(packet) => self.tunnel.handle_incoming_packet(packet),
            Err(refused) => refused,
        }
    }
}

fn written(result: TunnResult) -> WgKind {
    match result {
        TunnResult::WriteToNetwork(datagram) => datagram,
        other => panic!("{other:?}"),
    }
}
