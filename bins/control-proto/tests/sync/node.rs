//! A node that only remembers what it was told.

use std::collections::BTreeMap;
use std::sync::Arc;

use control_proto::{Applied, Change, Item, ItemKey, Led, Problem, ServerClock, State};
use router_core::rules::SessionId;
use wg_proto::Instant;

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) items: BTreeMap<ItemKey, Arc<Item>>,
    pub(crate) lease: Instant,
    /// So many times it refuses what it is told.
    pub(crate) refusals: u32,
    pub(crate) wholes: u32,
    pub(crate) steps: usize,
    pub(crate) clock: Option<ServerClock>,
    pub(crate) counted: Vec<u64>,
}

impl Node {
    pub(crate) fn new(now: Instant) -> Node {
        Node {
            items: BTreeMap::new(),
            lease: now,
            refusals: 0,
            wholes: 0,
            steps: 0,
            clock: None,
            counted: Vec::new(),
        }
    }

    /// Whether packets of the session pass.
    pub(crate) fn passes(&self, now: Instant, session: SessionId) -> bool {
        now < self.lease && self.items.contains_key(&ItemKey::Grant(session))
    }

    fn refuses(&mut self) -> Result<(), Problem> {
        match self.refusals.checked_sub(1) {
            None => Ok(()),
            Some(fewer) => {
                self.refusals = fewer;
                Err(Problem::new("not today"))
            }
        }
    }
}

impl Led for Node {
    fn whole(&mut self, state: &State, clock: ServerClock) -> Result<Applied, Problem> {
        self.refuses()?;
        self.wholes += 1;
        self.clock = Some(clock);
        self.items = state.items().map(|item| (item.key(), Arc::clone(item))).collect();
        Ok(Applied { added: self.items.len() as u32, ..Applied::default() })
    }

    /// When it refuses changes, it has made half of them.
    fn part(&mut self, state: &State, changes: &[Change], _: ServerClock) -> Result<Applied, Problem> {
        let refused = self.refuses();
        let made = if refused.is_ok() { changes.len() } else { changes.len() / 2 };
        self.steps += made;
        for change in &changes[..made] {
            match change {
                Change::Put(item) => drop(self.items.insert(item.key(), Arc::clone(item))),
                Change::Remove(key) => drop(self.items.remove(key)),
            }
        }
        refused?;
        assert_eq!(self.items.len(), state.len(), "what was made is what is told");
        Ok(Applied { added: made as u32, ..Applied::default() })
    }

    fn lease(&mut self, until: Instant) {
        assert!(until >= self.lease, "a lease never becomes shorter");
        self.lease = until;
    }

    fn counted(&mut self, report: u64) {
        self.counted.push(report);
    }
}
