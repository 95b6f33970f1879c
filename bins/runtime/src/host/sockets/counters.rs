//! What goes through sockets, counted. Gauges go down again when what they count ends, whatever ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::reactions::Reaction;

/// A number that many tasks change.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All counts.
#[derive(Debug, Default)]
pub struct SocketsCounters {
    pub(super) tcp: Gauge,
    pub(super) udp: Gauge,
    pub(super) echo: Gauge,
    pub(super) bytes_to_devices: Count,
    pub(super) bytes_to_clients: Count,
    /// A device accepted.
    pub(super) dials_connected: Count,
    /// A device, or its network, reset.
    pub(super) dials_refused: Count,
    /// The network said that it does not reach the device.
    pub(super) dials_unreachable: Count,
    /// Nobody said anything.
    pub(super) dials_timed_out: Count,
    /// No descriptor, port or memory.
    pub(super) dials_exhausted: Count,
    /// The client went away meanwhile.
    pub(super) dials_abandoned: Count,
    /// A device accepted, and there was no room for the client's buffers.
    pub(super) no_room: Count,
    /// More flows than there may be.
    pub(super) turned_away: Count,
    /// Connections that an end broke off.
    pub(super) reset_by_clients: Count,
    pub(super) reset_by_devices: Count,
    /// Datagrams, pings among them.
    pub(super) datagrams_to_devices: Count,
    pub(super) datagrams_to_clients: Count,
    /// What the network said of datagrams, passed on.
    pub(super) errors_to_clients: Count,
    /// Datagrams for which the system had no room, or the client's side none.
    pub(super) datagrams_lost: Count,
    /// Pings that the system does not let us send.
    pub(super) pings_forbidden: Count,
}

impl SocketsCounters {
    /// TCP connections, UDP flows, ping flows.
    pub fn open(&self) -> [u64; 3] {
        [&self.tcp, &self.udp, &self.echo].map(|gauge| gauge.0.get())
    }

    /// Payload to devices and to clients.
    pub fn bytes(&self) -> [u64; 2] {
        [&self.bytes_to_devices, &self.bytes_to_clients].map(Count::get)
    }

    /// All else by its name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("dials_connected", &self.dials_connected),
            ("dials_refused", &self.dials_refused),
            ("dials_unreachable", &self.dials_unreachable),
            ("dials_timed_out", &self.dials_timed_out),
            ("dials_exhausted", &self.dials_exhausted),
            ("dials_abandoned", &self.dials_abandoned),
            ("no_room", &self.no_room),
            ("turned_away", &self.turned_away),
            ("reset_by_clients", &self.reset_by_clients),
            ("reset_by_devices", &self.reset_by_devices),
            ("datagrams_to_devices", &self.datagrams_to_devices),
            ("datagrams_to_clients", &self.datagrams_to_clients),
            ("errors_to_clients", &self.errors_to_clients),
            ("datagrams_lost", &self.datagrams_lost),
            ("pings_forbidden", &self.pings_forbidden),
        ]
        .into_iter()
        .map(|(name, count)| (name, count.get()))
    }

    /// A dial that failed so.
    pub(super) fn dial_failed(&self, reaction: Reaction) {
        match reaction {
            Reaction::Reset => &self.dials_refused,
            Reaction::Notice(_) => &self.dials_unreachable,
            Reaction::Exhausted => &self.dials_exhausted,
        }
        .add(1);
    }
}

/// How many of something there are now.
#[derive(Debug, Default)]
pub(super) struct Gauge(Arc<Count>);

impl Gauge {
    /// One more, until the value returned is dropped.
    pub(super) fn enter(&self) -> Inside {
        self.0.add(1);
        Inside(Arc::clone(&self.0))
    }
}

/// One of those that a gauge counts.
#[derive(Debug)]
pub(super) struct Inside(Arc<Count>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_goes_down_with_what_it_counts() {
        let counters = SocketsCounters::default();
        let (one, two) = (counters.tcp.enter(), counters.tcp.enter());
        assert_eq!(counters.open(), [2, 0, 0]);
        drop(one);
        assert_eq!(counters.open(), [1, 0, 0]);
        drop(two);
        assert_eq!(counters.open(), [0, 0, 0]);
    }
}
