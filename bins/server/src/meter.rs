//! What is counted for metrics, of all that is not counted anyway. Called by whoever does something; read by the metrics
//! listener. Labels are of closed sets: never a user, a target, an address, a secret.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use sluice_runtime::host::metrics::Registry;

use crate::store::StoreError;

/// From what a disk that keeps up takes, to the limit after which one is told that the store is busy.
const COMMIT_BUCKETS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 5.0];
const TICK_BUCKETS: [f64; 8] = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Counts. Cloning it is cheap, and both are the same.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    decisions: Family<Outcome, Counter>,
    audit_events: Family<Action, Counter>,
    commits: Histogram,
    store_failures: Family<Kind, Counter>,
    ticks: Histogram,
    requests: Family<Status, Counter>,
    sessions: Family<State, Gauge>,
    clock_steps: Counter,
    exported: Family<Output, Counter>,
    export_lost: Family<Output, Counter>,
    export_behind: Family<Output, Gauge>,
    export_up: Family<Output, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Action {
    action: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Output {
    output: &'static str,
}

/// The states of sessions that have not ended.
const STATES: [&str; 3] = ["pending", "active", "closing"];

impl Default for Meter {
    fn default() -> Meter {
        Meter {
            decisions: Family::default(),
            audit_events: Family::default(),
            commits: Histogram::new(COMMIT_BUCKETS),
            store_failures: Family::default(),
            ticks: Histogram::new(TICK_BUCKETS),
            requests: Family::default(),
            sessions: Family::default(),
            clock_steps: Counter::default(),
            exported: Family::default(),
            export_lost: Family::default(),
            export_behind: Family::default(),
            export_up: Family::default(),
        }
    }
}

impl Meter {
    /// Has all of it told.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("decisions", "Requests for access by what became of them", self.decisions.clone());
        registry.register("audit_events", "Audit events written by this server", self.audit_events.clone());
        registry.register("store_commit_seconds", "How long commits of the store took", self.commits.clone());
        registry.register(
            "store_failures",
            "What the store did not do, by kind",
            self.store_failures.clone(),
        );
        registry.register(
            "tick_seconds",
            "How long it took to look which sessions must end",
            self.ticks.clone(),
        );
        registry.register("http_requests", "Requests answered, by status", self.requests.clone());
        registry.register("sessions", "Sessions that have not ended", self.sessions.clone());
        registry.register("clock_steps", "Times that somebody set the clock", self.clock_steps.clone());
        registry.register("audit_exported_events", "Audit events told to others", self.exported.clone());
        registry.register(
            "audit_export_lost",
            "Audit events that an output was too far behind for",
            self.export_lost.clone(),
        );
        registry.register(
            "audit_export_behind",
            "Audit events that an output has not taken yet",
            self.export_behind.clone(),
        );
        registry.register("audit_export_up", "Whether an output takes audit events", self.export_up.clone());
    }

    /// An audit event was committed; a decision has an outcome as well.
    pub(crate) fn recorded(&self, action: &str, decision: Option<&str>) {
        self.audit_events.get_or_create(&Action { action: action.to_owned() }).inc();
        if let Some(outcome) = decision {
            self.decisions.get_or_create(&Outcome { outcome: outcome.to_owned() }).inc();
        }
    }

    /// A commit took so long.
    pub(crate) fn committed(&self, took: Duration) {
        self.commits.observe(took.as_secs_f64());
    }

    /// The store did not do something.
    pub(crate) fn store_failed(&self, why: &StoreError) {
        let kind = match why {
            StoreError::Unavailable(_) => "unavailable",
            StoreError::Full(_) => "full",
            StoreError::Io(_) => "io",
            // Whoever asked for it is told, and the store is well.
            StoreError::Taken(_) => return,
            StoreError::Unreadable { .. } => "unreadable",
            StoreError::Migration(_) => "migration",
            StoreError::Other(_) => "other",
        };
        self.store_failures.get_or_create(&Kind { kind }).inc();
    }

    /// A look at all sessions took so long.
    pub(crate) fn ticked(&self, took: Duration) {
        self.ticks.observe(took.as_secs_f64());
    }

    /// A request was answered.
    pub(crate) fn answered(&self, status: u16) {
        self.requests.get_or_create(&Status { status }).inc();
    }

    /// Somebody set the clock.
    pub(crate) fn clock_stepped(&self) {
        self.clock_steps.inc();
    }

    /// An output took so many events, and so many are left.
    pub(crate) fn exported(&self, output: &'static str, events: u64, behind: u64) {
        self.exported.get_or_create(&Output { output }).inc_by(events);
        drop(self.export_lost.get_or_create(&Output { output }));
        self.export_behind.get_or_create(&Output { output }).set(i64::try_from(behind).unwrap_or(i64::MAX));
    }

    /// An output never gets so many events.
    pub(crate) fn export_lost(&self, output: &'static str, events: u64) {
        self.export_lost.get_or_create(&Output { output }).inc_by(events);
    }

    /// Whether an output takes events.
    pub(crate) fn set_export(&self, output: &'static str, is_up: bool) {
        self.export_up.get_or_create(&Output { output }).set(is_up.into());
    }

    /// So many sessions there are, by state.
    pub(crate) fn set_sessions(&self, census: &[(String, i64)]) {
        for state in STATES {
            let count = census.iter().find(|(name, _)| name == state).map_or(0, |(_, count)| *count);
            self.sessions.get_or_create(&State { state }).set(count);
        }
    }
}
