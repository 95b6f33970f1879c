//! How a led node stands with its server, for whoever watches it. Written by the task that follows, read by anyone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use wg_proto::Instant;

use crate::clock;

/// Cloning it is cheap, and both are the same.
#[derive(Clone, Debug, Default)]
pub struct Link(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    connected: AtomicBool,
    connections: AtomicU64,
    /// Nanoseconds of boot time.
    lease: AtomicU64,
}

/// A link at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// Whether the control connection is up.
    pub connected: bool,
    /// How many there have been.
    pub connections: u64,
    /// What is left of the lease; without any nothing passes.
    pub lease: Duration,
}

impl Link {
    /// How it stands now.
    pub fn state(&self) -> LinkState {
        let lease = Instant::from_nanos(self.0.lease.load(Ordering::Relaxed));
        LinkState {
            connected: self.0.connected.load(Ordering::Relaxed),
            connections: self.0.connections.load(Ordering::Relaxed),
            lease: lease.saturating_duration_since(clock::now()),
        }
    }

    /// Whether the node may do its work.
    ///
    /// # Errors
    /// Why not.
    pub fn ready(&self) -> Result<(), String> {
        let state = self.state();
        if state.lease.is_zero() {
            return Err("the lease lapsed: nothing passes until the server renews it".to_owned());
        }
        Ok(())
    }

    pub(super) fn set_connected(&self, connected: bool) {
        self.0.connected.store(connected, Ordering::Relaxed);
        if connected {
            self.0.connections.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn set_lease(&self, until: Instant) {
        self.0.lease.store(until.as_nanos(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_ready_while_its_lease_lasts() {
        let link = Link::default();
        assert!(link.ready().is_err());
        link.set_lease(clock::now().saturating_add(Duration::from_secs(60)));
        assert!(link.ready().is_ok() && link.state().lease > Duration::from_secs(50));
        link.set_lease(clock::now());
        assert!(link.ready().is_err());
    }
}
