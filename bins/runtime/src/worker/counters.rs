//! What each worker counts. Only its worker writes a counter, anyone may read it. Called by worker, runtime.

use std::sync::atomic::{AtomicU64, Ordering};

/// Defines the counters once: a field each, its name, its sentence.
macro_rules! counters {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// One worker's counters, alone on their cache lines.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub(crate) struct WorkerCounters {
            $($(#[$doc])+ pub(crate) $name: Counter,)+
        }

        /// Counters at one moment: of one worker, or added up over all.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct WorkerStats {
            $($(#[$doc])+ pub $name: u64,)+
        }

        impl WorkerCounters {
            pub(crate) fn read(&self) -> WorkerStats {
                WorkerStats { $($name: self.$name.read(),)+ }
            }
        }

        impl WorkerStats {
            /// All counters by name, in the order of their declaration.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)+].into_iter()
            }

            /// The sum of both.
            #[must_use]
            pub fn plus(&self, other: &WorkerStats) -> WorkerStats {
                WorkerStats { $($name: self.$name.wrapping_add(other.$name),)+ }
            }
        }
    };
}

counters! {
    /// Times the worker woke.
    wakes,
    /// Batches read from UDP.
    udp_batches,
    /// Messages in them; one message is a GRO run.
    udp_messages,
    /// Datagrams in them.
    udp_datagrams,
    /// Bytes in them.
    udp_bytes,
    /// Packets opened and accepted.
    opened,
    /// Messages given to UDP; one message is a GSO run.
    sent_messages,
    /// Datagrams in them.
    sent_datagrams,
    /// Bytes in them.
    sent_bytes,
    /// Packets or super-packets read from the TUN.
    tun_reads,
    /// Segments they made.
    tun_segments,
    /// Writes to the TUN.
    tun_writes,
    /// Packets in them.
    tun_packets,
    /// Packets that were merged with others on the way to the TUN.
    tun_merged,
    /// Packets or super-packets that the stack in this process sent.
    stack_reads,
    /// Segments they made.
    stack_segments,
    /// Packets handed to the stack.
    stack_packets,
    /// Packets that were merged with others on the way to it.
    stack_merged,
    /// Handshake and cookie messages handled.
    control_handled,
    /// Dropped: the queue of handshake messages was full.
    dropped_control_full,
    /// Dropped: no WireGuard message.
    dropped_malformed,
    /// Dropped: larger than the receive buffer, or empty.
    dropped_unreadable,
    /// Dropped: for a session we do not know.
    dropped_unknown_session,
    /// Dropped: did not authenticate, or the session has expired.
    dropped_unauthentic,
    /// Dropped: replayed, or too old for the replay window.
    dropped_replayed,
    /// Dropped: the session went while the packet was being opened.
    dropped_session_gone,
    /// Dropped: congestion marked outside, but not capable of it inside (RFC 6040).
    dropped_congestion,
    /// Dropped by the data path; its own counters say why.
    dropped_by_node,
    /// Dropped: the peer has no session and its queue does not take it.
    dropped_not_staged,
    /// Dropped: sealing refused.
    dropped_not_sealed,
    /// Dropped: the TUN handed over something that is no packet.
    dropped_bad_super_packet,
    /// Dropped by the kernel: the receive buffer of our socket was full.
    dropped_receive_full,
    /// Dropped: the send buffer of our socket was full.
    dropped_send_full,
    /// Dropped: too large for UDP or for the path.
    dropped_too_big,
    /// Dropped: no way to the peer from here.
    dropped_unreachable,
    /// Dropped: the TUN did not take it (interface down), or there is no TUN.
    dropped_tun,
    /// Dropped: for the stack, and there is none.
    dropped_no_stack,
}

/// A counter with one writer.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Not a read-modify-write: there is one writer.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_name() {
        let counters = WorkerCounters::default();
        counters.dropped_tun.add(2);
        counters.dropped_tun.add(3);
        let stats = counters.read();
        assert_eq!(stats.iter().find(|(name, _)| *name == "dropped_tun"), Some(("dropped_tun", 5)));
        assert_eq!(stats.plus(&stats).dropped_tun, 10);
    }
}
