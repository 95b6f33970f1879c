//! A snapshot on its way: what the state was at one moment, cut into messages.

use std::sync::Arc;

use super::log::{MESSAGE_BYTES_MAX, bytes_of};
use crate::item::Item;
use crate::message::{ENTRIES_MAX, Snapshot};
use crate::position::Generation;
use crate::state::State;

#[derive(Debug)]
pub(super) struct Parts {
    generation: Generation,
    parts: Vec<Vec<Arc<Item>>>,
    next: usize,
}

impl Parts {
    /// Cuts a state, of which nothing is copied.
    pub(super) fn of(state: &State, generation: Generation) -> Parts {
        let (mut parts, mut bytes) = (vec![Vec::new()], 0);
        for item in state.items() {
            let more = bytes_of(item);
            let part = parts.last().map_or(0, Vec::len);
            if part > 0 && (bytes + more > MESSAGE_BYTES_MAX || part >= ENTRIES_MAX) {
                parts.push(Vec::new());
                bytes = 0;
            }
            bytes += more;
            if let Some(part) = parts.last_mut() {
                part.push(Arc::clone(item));
            }
        }
        Parts { generation, parts, next: 0 }
    }

    /// The next part. There is one as long as the last was not handed out.
    pub(super) fn next_part(&mut self) -> Snapshot {
        let items = self.parts.get_mut(self.next).map(std::mem::take).unwrap_or_default();
        let part = self.next as u32;
        self.next += 1;
        Snapshot { generation: self.generation, part, parts: self.parts.len() as u32, items }
    }
}
