//! When connections want to be polled. One task for all; a deadline that only moves to later is not touched, the call comes
//! early then and asks anew. Called by flow.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;
use wg_proto::Instant;

use super::flow::TcpFlow;
use crate::clock;

/// Calls to make, soonest first. A connection has a few at most: each is earlier than the one before, or the one before was
/// made.
#[derive(Default)]
pub(super) struct Timers {
    calls: Mutex<BinaryHeap<Reverse<Call>>>,
    sooner: Notify,
}

struct Call {
    at: Instant,
    flow: Weak<TcpFlow>,
}

impl Timers {
    /// Calls `flow` at that moment.
    pub(super) fn call(&self, at: Instant, flow: Weak<TcpFlow>) {
        let mut calls = self.lock();
        let is_soonest = calls.peek().is_none_or(|Reverse(call)| at < call.at);
        calls.push(Reverse(Call { at, flow }));
        drop(calls);
        if is_soonest {
            self.sooner.notify_one();
        }
    }

    /// Makes the calls, as long as the task lives.
    pub(super) async fn run(&self) {
        loop {
            let now = clock::now();
            while let Some(call) = self.pop_due(now) {
                if let Some(flow) = call.flow.upgrade() {
                    flow.tick();
                }
            }
            let next = self.lock().peek().map(|Reverse(call)| call.at);
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

    fn pop_due(&self, now: Instant) -> Option<Call> {
        let mut calls = self.lock();
        calls.peek().filter(|Reverse(call)| call.at <= now)?;
        calls.pop().map(|Reverse(call)| call)
    }

    fn lock(&self) -> MutexGuard<'_, BinaryHeap<Reverse<Call>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialEq for Call {
    fn eq(&self, other: &Call) -> bool {
        self.at == other.at
    }
}

impl Eq for Call {}

impl PartialOrd for Call {
    fn partial_cmp(&self, other: &Call) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Call {
    fn cmp(&self, other: &Call) -> Ordering {
        self.at.cmp(&other.at)
    }
}
