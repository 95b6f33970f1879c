//! What the stack counts. Read by status.

use std::sync::atomic::{AtomicU64, Ordering};

/// Defines the reasons once: a variant each, its name, its sentence.
macro_rules! lost {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// Why a packet came to nothing, or was answered with a refusal.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Lost {
            $($(#[$doc])+ $variant,)+
        }

        impl Lost {
            /// All reasons, in the order of their declaration.
            pub const ALL: &[Lost] = &[$(Lost::$variant,)+];

            /// The reason as status spells it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Lost::$variant => $name,)+
                }
            }
        }
    };
}

lost! {
    /// It was no packet that a host understands.
    Malformed = "malformed",
    /// A checksum was wrong.
    Checksum = "checksum",
    /// It belonged to no flow, and could open none.
    NoFlow = "no_flow",
    /// Too many connections or flows waited to be taken.
    Backlog = "backlog",
    /// There were as many flows as there may be.
    TableFull = "table_full",
    /// Too many datagrams waited, of its flow or of all.
    Datagrams = "datagrams",
    /// An ICMP error that nobody acts on.
    IcmpError = "icmp_error",
    /// Refused with a reset or an ICMP error.
    Refused = "refused",
}

/// Counters of a stack.
#[derive(Debug, Default)]
pub(super) struct Counters([AtomicU64; Lost::ALL.len()]);

impl Counters {
    pub(super) fn lose(&self, why: Lost) {
        self.0[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Vec<(Lost, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        Lost::ALL.iter().copied().zip(counts).collect()
    }
}

/// A stack at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackStats {
    /// TCP connections, UDP and echo flows, those included that wait to be taken.
    pub flows: usize,
    /// Bytes of TCP buffers.
    pub buffer_bytes: usize,
    /// Bytes of datagrams that wait.
    pub datagram_bytes: usize,
    /// Packets that came to nothing, by reason.
    pub lost: Vec<(Lost, u64)>,
}
