//! `wg-proto` with the back end that our programs use.

use std::time::Duration;

use sluice_benches::tunnel::{DATAGRAM_BYTES, MTU_BYTES, Tunnel, endpoint};
use wg_proto::{Decapsulated, Encapsulated};

use crate::timed;

pub(crate) struct Pair {
    tunnel: Tunnel,
    datagram: [u8; DATAGRAM_BYTES],
}

impl crate::Pair for Pair {
    const NAME: &'static str = "wg-proto";

    fn connected() -> Pair {
        Pair { tunnel: Tunnel::connected(), datagram: [0; DATAGRAM_BYTES] }
    }

    fn shake_hands(&mut self) -> Duration {
        timed(|| self.tunnel.shake_hands()).0
    }

    fn carry(&mut self, packet: &[u8]) -> (Duration, usize) {
        let Pair { tunnel, datagram } = self;
        let (now, unix) = (tunnel.now, tunnel.unix());
        timed(|| {
            let sent = tunnel.left.encapsulate(now, tunnel.to_right, packet, MTU_BYTES, datagram);
            let Ok(Encapsulated::Sent(sent)) = sent else { panic!("{sent:?}") };
            let arrived = tunnel.right.decapsulate(now, unix, endpoint(1), &mut datagram[..sent.len]);
            let Ok(Decapsulated::Packet { range, .. }) = arrived else { panic!("{arrived:?}") };
            range.len()
        })
    }
}
