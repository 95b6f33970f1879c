//! Numbers of the protocol. The first block is the specification's and cannot be changed without breaking
//! peers; the second is ours.

use core::time::Duration;

// ---- Specification: whitepaper §6.1, and the Linux kernel where it is silent ----

/// After this many packets on a session a new handshake starts. Whitepaper §6.1.
pub const REKEY_AFTER_MESSAGES: u64 = 1 << 60;
/// No packet with this counter or a higher one is sealed or accepted. Whitepaper §6.1.
pub const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);
/// The initiator of a session older than this starts a new handshake when it sends. Whitepaper §6.1.
pub const REKEY_AFTER_TIME: Duration = Duration::from_secs(120);
/// A session this old is neither sent nor received on. Whitepaper §6.1.
pub const REJECT_AFTER_TIME: Duration = Duration::from_secs(180);
/// Attempts at a handshake end this long after the last time somebody asked for one. Whitepaper §6.1.
pub const REKEY_ATTEMPT_TIME: Duration = Duration::from_secs(90);
/// At least this long lies between two handshake messages to a peer. Whitepaper §6.1.
pub const REKEY_TIMEOUT: Duration = Duration::from_secs(5);
/// Received data is answered after this long, if by nothing else then by a keepalive. Whitepaper §6.1.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The initiator renews a session this old when it receives. Whitepaper §6.2.
pub const REKEY_ON_RECEIVE_AFTER: Duration =
    REJECT_AFTER_TIME.saturating_sub(KEEPALIVE_TIMEOUT).saturating_sub(REKEY_TIMEOUT);
/// Keys are wiped this long after the last session was derived. Whitepaper §6.3.
pub const ZERO_KEYS_AFTER: Duration = REJECT_AFTER_TIME.saturating_mul(3);
/// A secret that cookies are made from lives this long. Whitepaper §5.4.7.
pub const COOKIE_SECRET_LIFE: Duration = Duration::from_secs(120);
/// A received cookie is used this long: the secret's life less 5 s on the way. Linux `COOKIE_SECRET_LATENCY`.
pub const COOKIE_USED_FOR: Duration = Duration::from_secs(115);
/// Upper bound of the random delay added to retries. Linux `REKEY_TIMEOUT_JITTER_MAX`: a third of a second.
pub const JITTER_MAX: Duration = Duration::from_millis(333);
/// Initiations of one peer are accepted this far apart: at most 50 a second. Linux `INITIATIONS_PER_SECOND`.
pub const INITIATION_INTERVAL: Duration = Duration::from_millis(20);
/// Sent time stamps are rounded down to this many nanoseconds, so that they do not tell our clock. Linux
/// rounds to the power of two below [`INITIATION_INTERVAL`].
pub const TIMESTAMP_GRAIN_NANOS: u32 = 1 << 24;
/// We are under load when the control queue is at least one part in this many full. Linux.
pub const LOAD_FRACTION: u32 = 8;
/// Being under load is held this long after the queue last was that full. Linux.
pub const LOAD_HELD_FOR: Duration = Duration::from_secs(1);
/// Handshake messages a second that one source may send under load. Linux ratelimiter.
pub const LOAD_MESSAGES_PER_SECOND: u32 = 20;
/// Handshake messages one source may send at once under load. Linux ratelimiter.
pub const LOAD_BURST: u32 = 5;
/// Counters the replay window can tell apart behind the newest. RFC 6479 with 64-bit words.
pub const REPLAY_WINDOW: u64 = 8192 - 64;
/// Packets staged per peer while there is no session. Linux `MAX_STAGED_PACKETS`.
pub const STAGED_PACKETS_MAX: usize = 128;
/// TOS byte of handshake messages: DSCP AF41. Linux `HANDSHAKE_DSCP`.
pub const HANDSHAKE_TOS: u8 = 0x88;

// ---- Our own choices ----

/// Peers a device holds: as many as the kernel allows.
pub const PEERS_MAX: usize = 1 << 20;
/// Sources the rate limiter remembers (about 40 bytes each). When full, new sources are refused until
/// idle ones are forgotten, which is a second later at most.
pub const LOAD_SOURCES_MAX: usize = 1 << 14;
/// Answers to control messages that wait for `poll_transmit`. A caller that drains after each input needs
/// one; when full, further answers are dropped and counted.
pub const REPLIES_MAX: usize = 256;
/// Events that wait for `poll_event`. When full, the oldest is dropped and counted.
pub const EVENTS_MAX: usize = 1024;
/// Bytes staged per peer. A peer's share of memory, not of the pool datagrams are received into, so staged
/// packets can never keep a handshake from completing. When full, the oldest are dropped.
pub const STAGED_BYTES_MAX: usize = 1 << 20;
/// Longest packet that can be staged or encapsulated: what fits a UDP datagram after our overhead.
pub const PACKET_BYTES_MAX: usize = 65_535 - 32;

// ---- Memory, as it was measured: see docs/performance.md ----

/// Bytes of memory that a peer with one prefix takes as long as nobody has spoken to it.
pub const PEER_BYTES: usize = 864;
/// Bytes of memory that each of a peer's sessions takes on top, of which there are three at most: a kilobyte is the replay window,
/// another the two keyed ciphers.
pub const SESSION_BYTES: usize = 2688;
