//! Receive keys a worker has seen lately, so that a batch of data needs no lock before it is opened.
//! Called by worker.
//!
//! A key in here may be of a session that is gone: opening with it is harmless, because nothing opened
//! counts before the device has committed it.

use std::time::Duration;

use wg_proto::{Instant, RxKey, SessionIndex};

// Our own choices.
/// Places; session indices are random, so their low bits choose one.
const PLACES: usize = 256;
/// Keys are forgotten this often, so that a wiped session's key does not live on here.
const LIFE: Duration = Duration::from_secs(5);

/// A direct-mapped cache.
pub(super) struct KeyCache {
    places: Box<[Option<(SessionIndex, RxKey)>]>,
    used: bool,
    forget_at: Instant,
}

impl KeyCache {
    pub(super) fn new(now: Instant) -> KeyCache {
        KeyCache {
            places: vec![None; PLACES].into_boxed_slice(),
            used: false,
            forget_at: now.saturating_add(LIFE),
        }
    }

    pub(super) fn get(&self, receiver: SessionIndex) -> Option<&RxKey> {
        match &self.places[place(receiver)] {
            Some((index, key)) if *index == receiver => Some(key),
            _ => None,
        }
    }

    pub(super) fn put(&mut self, receiver: SessionIndex, key: RxKey) {
        self.places[place(receiver)] = Some((receiver, key));
        self.used = true;
    }

    pub(super) fn forget(&mut self, receiver: SessionIndex) {
        self.places[place(receiver)] = None;
    }

    /// When there is something to forget: a worker without traffic must wake for it.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.used.then_some(self.forget_at)
    }

    /// Forgets everything every few seconds. Called once per wake.
    pub(super) fn forget_old(&mut self, now: Instant) {
        if now >= self.forget_at {
            self.places.fill(None);
            self.used = false;
            self.forget_at = now.saturating_add(LIFE);
        }
    }
}

fn place(receiver: SessionIndex) -> usize {
    receiver.get() as usize % PLACES
}
