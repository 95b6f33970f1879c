//! Connections in TIME-WAIT, oldest first: they hold a place in the table and nothing else, and give way to new flows when it
//! is full. Called by flow, stack.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::flow::TcpFlow;

/// As all wait for the same time, the oldest is the first to end. At most as many as there are flows, and those that have
/// ended since something was put there.
#[derive(Default)]
pub(super) struct Waiting(Mutex<VecDeque<Weak<TcpFlow>>>);

impl Waiting {
    /// Puts a flow there that has begun to wait.
    pub(super) fn push(&self, flow: &Arc<TcpFlow>) {
        let mut waiting = self.lock();
        while waiting.front().is_some_and(|oldest| !oldest.upgrade().is_some_and(|flow| flow.is_waiting())) {
            waiting.pop_front();
        }
        waiting.push_back(Arc::downgrade(flow));
    }

    /// Has the oldest give way, if there is one.
    pub(super) fn shorten(&self) {
        loop {
            let oldest = self.lock().pop_front();
            let Some(oldest) = oldest else { return };
            if oldest.upgrade().is_some_and(|flow| flow.give_way()) {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Weak<TcpFlow>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
