//! Metrics for Prometheus, on a listener of their own: OpenMetrics text at `/metrics`, and whether we are well at `/healthz` and
//! `/readyz`. Read first: OpenMetrics 1.0, Prometheus' naming practices. Called by operations and the programs.
//!
//! What is counted anyway is read at each scrape. Labels are reasons, states and the like, each of a closed set: never a secret,
//! a user, a target or an address.

mod listener;
mod node;

use std::fmt;

use prometheus_client::encoding::text;
pub use prometheus_client::registry::Registry;

pub use self::listener::{Bound, Listening};
pub use self::node::{NodeCollector, NodeNumbers};

/// What is served.
pub struct Site {
    registry: Registry,
    ready: Readiness,
}

/// Whether the program can do its work, and if not, why.
pub type Readiness = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

impl Site {
    /// Serves what `fill` puts into a registry whose names begin with `sluice_`.
    pub fn new(fill: impl FnOnce(&mut Registry), ready: Readiness) -> Site {
        let mut registry = Registry::with_prefix("sluice");
        fill(&mut registry);
        Site { registry, ready }
    }

    /// All metrics as they are now.
    ///
    /// # Errors
    /// If one cannot be written.
    pub fn metrics(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }

    fn ready(&self) -> Result<(), String> {
        (self.ready)()
    }
}
