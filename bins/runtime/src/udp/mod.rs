//! UDP as WireGuard needs it: sticky source addresses, traffic classes, GSO and GRO, many datagrams per call.
//! Read first: ip(7), ipv6(7), udp(7). Called by worker.

mod control;
mod receive;
mod send;
mod socket;
mod sys;
#[cfg(test)]
mod tests;

pub(crate) use self::receive::{ReceiveBatch, Received};
pub(crate) use self::send::{DATAGRAM_BYTES_MAX, SendQueue};
pub(crate) use self::socket::{Binding, Bound, SocketPair, bind};
