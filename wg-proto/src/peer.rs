//! What the device knows of one peer. Its verbs live in `device`; here is what they share.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use core::num::NonZeroU16;
use core::time::Duration;

use ipnet::IpNet;

use crate::constants::{INITIATION_INTERVAL, REKEY_TIMEOUT};
use crate::cookie::CookieJar;
use crate::crypto::Secret;
use crate::endpoint::Endpoint;
use crate::handshake::Handshake;
use crate::key::{PresharedKey, PublicKey};
use crate::slots::Slots;
use crate::staging::Staging;
use crate::tai64n::Tai64n;
use crate::time::{Instant, UnixTime};
use crate::timers::Timers;

/// One peer. Boxed in its slot; what only some peers have is boxed again.
pub(crate) struct Peer {
    pub(crate) public_key: PublicKey,
    pub(crate) preshared_key: Option<Box<PresharedKey>>,
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) persistent_keepalive: Option<NonZeroU16>,
    /// The same prefixes as in the device's table, for listing and removal.
    pub(crate) allowed_ips: BTreeSet<IpNet>,
    pub(crate) static_secret: StaticSecret,
    pub(crate) handshake: Handshake,
    pub(crate) sessions: Slots,
    pub(crate) staged: Staging,
    pub(crate) cookies: CookieJar,
    pub(crate) timers: Timers,
    pub(crate) wants: Wants,
    /// The time stamp of the last initiation we sent.
    pub(crate) stamp_sent: Tai64n,
    /// The time stamp of the last initiation we accepted.
    pub(crate) stamp_received: Tai64n,
    /// When an initiation was last accepted.
    pub(crate) initiation_at: Option<Instant>,
    /// When an initiation or response was last sent.
    pub(crate) handshake_sent_at: Option<Instant>,
    pub(crate) last_handshake: Option<(Instant, UnixTime)>,
    pub(crate) rx_bytes: u64,
    pub(crate) tx_bytes: u64,
}

/// The agreement of both static keys: computed at the first handshake, then kept as long as our key is.
pub(crate) enum StaticSecret {
    /// Not needed yet.
    NotComputed,
    /// The peer's key is a low-order point: no handshake is possible.
    LowOrder,
    /// What both sides share.
    Shared(Secret),
}

/// What `poll_transmit` is to build for a peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    pub(crate) initiation: bool,
    pub(crate) keepalive: bool,
    /// The peer stands in the device's outbox.
    pub(crate) queued: bool,
}

impl Peer {
    pub(crate) fn new(public_key: PublicKey) -> Peer {
        Peer {
            public_key,
            preshared_key: None,
            endpoint: None,
            persistent_keepalive: None,
            allowed_ips: BTreeSet::new(),
            static_secret: StaticSecret::NotComputed,
            handshake: Handshake::Idle,
            sessions: Slots::default(),
            staged: Staging::default(),
            cookies: CookieJar::default(),
            timers: Timers::new(),
            wants: Wants::default(),
            stamp_sent: Tai64n::ZERO,
            stamp_received: Tai64n::ZERO,
            initiation_at: None,
            handshake_sent_at: None,
            last_handshake: None,
            rx_bytes: 0,
            tx_bytes: 0,
        }
    }

    /// The preshared key's bytes; all zero without one, as the whitepaper has it.
    pub(crate) fn preshared_bytes(&self) -> &[u8; 32] {
        self.preshared_key.as_ref().map_or(&[0; 32], |key| key.as_bytes())
    }

    /// When the next handshake message may be sent: [`REKEY_TIMEOUT`] after the last one.
    pub(crate) fn initiation_allowed_at(&self) -> Option<Instant> {
        self.handshake_sent_at.map(|at| at.saturating_add(REKEY_TIMEOUT))
    }

    /// Whether an initiation at `now` comes too soon after the last one accepted.
    pub(crate) fn is_flooded(&self, now: Instant) -> bool {
        self.initiation_at.is_some_and(|at| now.saturating_duration_since(at) < INITIATION_INTERVAL)
    }

    /// Anything authenticated passed, either way.
    pub(crate) fn traversed(&mut self, now: Instant) {
        self.timers.traversed(now, self.keepalive_interval());
    }

    /// Anything authenticated is sent.
    pub(crate) fn authenticated_sent(&mut self, now: Instant) {
        self.timers.authenticated_sent();
        self.traversed(now);
    }

    /// Anything authenticated was received.
    pub(crate) fn authenticated_received(&mut self, now: Instant) {
        self.timers.authenticated_received();
        self.traversed(now);
    }

    pub(crate) fn forget_source(&mut self) {
        self.endpoint = self.endpoint.map(Endpoint::without_source);
    }

    fn keepalive_interval(&self) -> Option<Duration> {
        self.persistent_keepalive.map(|seconds| Duration::from_secs(seconds.get().into()))
    }
}
