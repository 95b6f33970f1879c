//! A desired state: items by what they are called. Whatever stands in one fits together.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use wg_proto::{IpNet, PublicKey};

use crate::item::{Change, Item, ItemKey};
use crate::message::AgentKind;

/// Items of one state at most.
pub const ITEMS_MAX: usize = 262_144;

/// Items that fit together: of the kind that the agent takes, no prefix at two peers, no peer with the agent's own address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    kind: AgentKind,
    items: BTreeMap<ItemKey, Arc<Item>>,
    owners: BTreeMap<IpNet, PublicKey>,
}

/// What items were before the steps that were taken.
pub(crate) type Undo = Vec<(ItemKey, Option<Arc<Item>>)>;

/// Why an item does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateFault {
    /// Connectors have no grants, routers no mappings.
    #[error("{key:?} is nothing for a {kind:?}")]
    NotForKind {
        /// Which item.
        key: ItemKey,
        /// What the agent is.
        kind: AgentKind,
    },
    /// Two peers have the same prefix.
    #[error("{prefix} belongs to the peer {owner} already, so not to {peer}")]
    PrefixTaken {
        /// Which.
        prefix: IpNet,
        /// Whose it is.
        owner: PublicKey,
        /// Who wants it.
        peer: PublicKey,
    },
    /// A peer has an address of the agent's own.
    #[error("{address} is the agent's own address, so not the peer's {peer}")]
    OwnAddress {
        /// Which.
        address: IpAddr,
        /// Who wants it.
        peer: PublicKey,
    },
    /// A grant without a destination, or of mixed IP versions.
    #[error("{key:?}: no destination of the source's IP version")]
    NoDestination {
        /// Which grant.
        key: ItemKey,
    },
    /// More than [`ITEMS_MAX`].
    #[error("more than {ITEMS_MAX} items")]
    TooManyItems,
    /// What is to go is not there.
    #[error("{0:?} is not there to be removed")]
    NotThere(ItemKey),
}

impl State {
    /// Of nothing.
    pub fn new(kind: AgentKind) -> State {
        State { kind, items: BTreeMap::new(), owners: BTreeMap::new() }
    }

    /// Whose it is.
    pub fn kind(&self) -> AgentKind {
        self.kind
    }

    /// The item called so.
    pub fn get(&self, key: &ItemKey) -> Option<&Item> {
        self.items.get(key).map(Arc::as_ref)
    }

    /// All items: identity, peers, then what names peers.
    pub fn items(&self) -> impl ExactSizeIterator<Item = &Arc<Item>> {
        self.items.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Takes one step. Returns the item that went or was replaced.
    ///
    /// # Errors
    /// If that does not fit; nothing has changed then.
    pub fn apply(&mut self, change: &Change) -> Result<Option<Arc<Item>>, StateFault> {
        match change {
            Change::Put(item) => self.put(Arc::clone(item)),
            Change::Remove(key) => self.remove(key).map(Some).ok_or(StateFault::NotThere(*key)),
        }
    }

    /// Takes all steps or none. Returns what it takes to go back.
    pub(crate) fn apply_all(&mut self, changes: &[Change]) -> Result<Undo, StateFault> {
        let mut undo = Vec::with_capacity(changes.len());
        for change in changes {
            match self.apply(change) {
                Ok(before) => undo.push((change.key(), before)),
                Err(fault) => {
                    self.undo(undo);
                    return Err(fault);
                }
            }
        }
        Ok(undo)
    }

    /// Adds or replaces an item. Returns the one replaced.
    ///
    /// # Errors
    /// If it does not fit; nothing has changed then.
    pub fn put(&mut self, item: Arc<Item>) -> Result<Option<Arc<Item>>, StateFault> {
        let key = item.key();
        self.check(&key, &item)?;
        let before = self.remove(&key);
        if let Item::Peer(peer) = item.as_ref() {
            self.owners.extend(peer.allowed_ips.iter().map(|prefix| (prefix.trunc(), peer.key)));
        }
        self.items.insert(key, item);
        Ok(before)
    }

    /// The steps from here to `wanted`: what goes, then what comes. A peer that loses a prefix goes first, so that another may
    /// have it.
    pub fn steps_to(&self, wanted: &State) -> Vec<Change> {
        let leaves = |key: &ItemKey, item: &Item| match (item, wanted.get(key)) {
            (_, None) => true,
            (Item::Peer(was), Some(Item::Peer(becomes))) => {
                was.allowed_ips.iter().any(|prefix| !becomes.allowed_ips.contains(prefix))
            }
            (Item::Identity(_), Some(becomes)) => item != becomes,
            (Item::Peer(_) | Item::Grant(_) | Item::Mapping(_), Some(_)) => false,
        };
        let gone: Vec<ItemKey> =
            self.items.iter().rev().filter(|(key, item)| leaves(key, item)).map(|(key, _)| *key).collect();
        // What leaves to come back comes back as another.
        let come = wanted.items.iter().filter(|(key, item)| self.items.get(key) != Some(item));
        let come = come.map(|(_, item)| item);
        let come: Vec<Change> = come.map(|item| Change::Put(Arc::clone(item))).collect();
        gone.iter().map(|key| Change::Remove(*key)).chain(come).collect()
    }

    fn remove(&mut self, key: &ItemKey) -> Option<Arc<Item>> {
        let item = self.items.remove(key)?;
        if let Item::Peer(peer) = item.as_ref() {
            for prefix in &peer.allowed_ips {
                self.owners.remove(&prefix.trunc());
            }
        }
        Some(item)
    }

    /// Takes steps back, the last one first: each item becomes what it was before its step.
    pub(crate) fn undo(
        &mut self,
        steps: impl IntoIterator<Item = (ItemKey, Option<Arc<Item>>), IntoIter: DoubleEndedIterator>,
    ) {
        for (key, before) in steps.into_iter().rev() {
            match before {
                // It has fitted before.
                Some(item) => drop(self.put(item)),
                None => drop(self.remove(&key)),
            }
        }
    }

    fn check(&self, key: &ItemKey, item: &Item) -> Result<(), StateFault> {
        if self.items.len() >= ITEMS_MAX && !self.items.contains_key(key) {
            return Err(StateFault::TooManyItems);
        }
        match (item, self.kind) {
            (Item::Peer(peer), _) => peer.allowed_ips.iter().try_for_each(|prefix| {
                let prefix = prefix.trunc();
                self.check_owner(prefix, peer.key)?;
                self.check_own(prefix, peer.key, self.own_addresses())
            }),
            (Item::Identity(identity), _) => self
                .owners
                .iter()
                .filter(|(prefix, _)| prefix.prefix_len() == prefix.max_prefix_len())
                .try_for_each(|(prefix, peer)| self.check_own(*prefix, *peer, &identity.addresses)),
            (Item::Grant(grant), AgentKind::Router) => {
                let v4 = grant.source.is_ipv4();
                let fits = grant.destinations.iter().all(|to| to.selector.ip().start().is_ipv4() == v4);
                let is_one = fits && !grant.destinations.is_empty();
                if is_one { Ok(()) } else { Err(StateFault::NoDestination { key: *key }) }
            }
            (Item::Mapping(_), AgentKind::Connector) => Ok(()),
            (Item::Grant(_), AgentKind::Connector) | (Item::Mapping(_), AgentKind::Router) => {
                Err(StateFault::NotForKind { key: *key, kind: self.kind })
            }
        }
    }

    fn check_owner(&self, prefix: IpNet, peer: PublicKey) -> Result<(), StateFault> {
        match self.owners.get(&prefix).filter(|owner| **owner != peer) {
            Some(owner) => Err(StateFault::PrefixTaken { prefix, owner: *owner, peer }),
            None => Ok(()),
        }
    }

    fn check_own(&self, prefix: IpNet, peer: PublicKey, own: &[IpAddr]) -> Result<(), StateFault> {
        let own = own.iter().find(|own| prefix == IpNet::from(**own));
        own.map_or(Ok(()), |address| Err(StateFault::OwnAddress { address: *address, peer }))
    }

    fn own_addresses(&self) -> &[IpAddr] {
        match self.get(&ItemKey::Identity) {
            Some(Item::Identity(identity)) => &identity.addresses,
            Some(Item::Peer(_) | Item::Grant(_) | Item::Mapping(_)) | None => &[],
        }
    }
}
