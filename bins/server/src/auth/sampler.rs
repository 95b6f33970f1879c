//! Misuse that comes in floods: the first of its kind is written at once, the rest of a minute together, with its exact
//! count (P26). A flood of denials must not become a flood of commits.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::store::audit::Event;

// Our own choices.
/// How long events of one kind are taken together.
const WINDOW: SignedDuration = SignedDuration::from_mins(1);
/// Kinds told apart at a time. Beyond, all that come are counted as one.
const KINDS_MAX: usize = 4096;

/// Counts what is not written at once.
#[derive(Default)]
pub(super) struct Sampler {
    windows: Mutex<HashMap<Kind, Window>>,
}

/// What makes events alike. `None`: those that found no room.
type Kind = Option<(u16, String, Option<IpAddr>, Option<String>)>;

struct Window {
    since: Timestamp,
    /// The last of those that were counted only.
    last: Option<Event>,
    more: u64,
}

impl Sampler {
    /// The event, if it is to be written now.
    pub(super) fn take(&self, event: Event, now: Timestamp) -> Option<Event> {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kind = Some((event.number, event.actor.clone(), event.source, event.reason.clone()));
        if windows.len() >= KINDS_MAX && !windows.contains_key(&kind) {
            kind = None;
        }
        match windows.get_mut(&kind) {
            None => {
                windows.insert(kind, Window { since: now, last: None, more: 0 });
                Some(event)
            }
            Some(window) => {
                window.more += 1;
                window.last = Some(event);
                None
            }
        }
    }

    /// What was counted in windows that are over, to be written now; `all`: in the others too.
    pub(super) fn drain(&self, all: bool, now: Timestamp) -> Vec<Event> {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |window: &Window| all || now.duration_since(window.since).abs() >= WINDOW;
        let over = windows.extract_if(|_, window| is_over(window));
        over.filter_map(|(kind, window)| {
            let mut event = window.last?;
            event.details =
                json!({ "count": window.more, "since": window.since, "of_one_kind": kind.is_some() });
            Some(event)
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::audit::Outcome;

    fn event(actor: &str) -> Event {
        Event {
            number: 10_003,
            action: "permission-denied".to_owned(),
            actor: actor.to_owned(),
            tenant: None,
            object: None,
            source: None,
            outcome: Outcome::Refused,
            reason: None,
            details: serde_json::Value::Null,
        }
    }

    #[test]
    fn a_flood_is_written_as_its_first_event_and_the_exact_count_of_the_rest() {
        let sampler = Sampler::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let written = (0..1000).filter_map(|_| sampler.take(event("eve"), at(0))).count();
        assert_eq!(written, 1);
        assert!(sampler.take(event("bob"), at(0)).is_some());
        assert!(sampler.drain(false, at(59)).is_empty());
        let rest = sampler.drain(false, at(60));
        assert_eq!(rest.len(), 1, "nothing more came of bob");
        assert_eq!(rest[0].details["count"], 999);
        assert!(sampler.take(event("eve"), at(61)).is_some(), "a new window");
    }

    #[test]
    fn what_finds_no_room_is_counted_all_the_same() {
        let sampler = Sampler::default();
        let now = Timestamp::UNIX_EPOCH;
        let written = (0..KINDS_MAX + 100).filter_map(|n| sampler.take(event(&n.to_string()), now)).count();
        let counted: u64 =
            sampler.drain(true, now).iter().map(|event| event.details["count"].as_u64().unwrap()).sum();
        assert_eq!(written as u64 + counted, KINDS_MAX as u64 + 100);
    }
}
