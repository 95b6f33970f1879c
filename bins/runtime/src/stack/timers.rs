//! When connections want to be polled. One task for all; a deadline that only moves to later is not touched, the call comes
//! early then and asks anew. Called by flow.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;
use wg_proto::Instant;

use super::flow::TcpFlow;
use crate::clock;

/// Calls to make, soonest first, one for each flow at most.
#[derive(Default)]
pub(super) struct Timers {
    calls: Mutex<BTreeMap<(Instant, u64), Weak<TcpFlow>>>,
    sooner: Notify,
}

impl Timers {
    /// Calls flow `number` at that moment.
    pub(super) fn call(&self, at: Instant, number: u64, flow: Weak<TcpFlow>) {
        let mut calls = self.lock();
        let is_soonest = calls.first_key_value().is_none_or(|((soonest, _), _)| at < *soonest);
        calls.insert((at, number), flow);
        drop(calls);
        if is_soonest {
            self.sooner.notify_one();
        }
    }

    /// Does not call the flow, if it was to be called at that moment.
    pub(super) fn cancel(&self, at: Option<Instant>, number: u64) {
        if let Some(at) = at {
            self.lock().remove(&(at, number));
        }
    }

    /// Makes the calls, as long as the task lives.
    pub(super) async fn run(&self) {
        loop {
            let now = clock::now();
            while let Some(flow) = self.pop_due(now) {
                if let Some(flow) = flow.upgrade() {
                    flow.tick();
                }
            }
            let next = self.lock().first_key_value().map(|((at, _), _)| *at);
            match next {
                None => self.sooner.notified().await,
                Some(at) => {
                    let wait = at.saturating_duration_since(clock::now());
                    // Too late or sooner, both lead to looking again.
                    let _ = tokio::time::timeout(wait, self.sooner.notified()).await;
                }
            }
        }
    }

    fn pop_due(&self, now: Instant) -> Option<Weak<TcpFlow>> {
        let mut calls = self.lock();
        let soonest = calls.first_entry().filter(|soonest| soonest.key().0 <= now)?;
        Some(soonest.remove())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Instant, u64), Weak<TcpFlow>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
