//! How long what may take.

use std::time::Duration;

/// The numbers of a connection. The leader's go to the agent in its welcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long an agent may forward after the heartbeat that the server last answered with a lease. At least 5 s; an agent takes
    /// one longer than a minute for a minute.
    pub lease: Duration,
    /// Between an agent's heartbeats.
    pub heartbeat: Duration,
}

// Our own choices; docs/protocol.md publishes them.
/// The longest lease that an agent takes.
pub(crate) const LEASE_MAX: Duration = Duration::from_secs(60);
/// An end that says nothing for so long is gone.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How long a `hello` or a `welcome` may take.
pub(crate) const GREETING_MAX: Duration = Duration::from_secs(5);
/// When a refused snapshot is tried again.
pub(crate) const RETRY: Duration = Duration::from_secs(2);
/// Heartbeats come no faster and no slower, whatever the leader says.
pub(crate) const HEARTBEAT_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(5);

impl Default for Terms {
    /// A lease of 15 s, heartbeats every 2 s.
    fn default() -> Terms {
        Terms { lease: Duration::from_secs(15), heartbeat: Duration::from_secs(2) }
    }
}
