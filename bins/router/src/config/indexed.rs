//! A list whose elements are found by a key as well: files may have tens of thousands of clients and sessions.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// A list and an index over keys of its elements. Of two elements with one key the first is found.
#[derive(Clone)]
pub(crate) struct Indexed<K, T> {
    items: Vec<T>,
    positions: HashMap<K, usize>,
}

impl<K: Hash + Eq, T> Indexed<K, T> {
    /// The list `items`, each found by all its `keys`.
    pub(crate) fn new<I: IntoIterator<Item = K>>(items: Vec<T>, keys: impl Fn(&T) -> I) -> Self {
        let mut positions = HashMap::new();
        for (position, item) in items.iter().enumerate() {
            for key in keys(item) {
                positions.entry(key).or_insert(position);
            }
        }
        Self { items, positions }
    }

    /// The element with this key.
    pub(crate) fn get<Q>(&self, key: &Q) -> Option<&T>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.items.get(*self.positions.get(key)?)
    }

    /// All elements, in the list's order.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.items.iter()
    }

    /// How many elements there are.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_found_by_each_of_its_keys_and_the_first_wins() {
        let indexed = Indexed::new(vec!["ab", "bc"], |text: &&str| text.chars());
        for (key, found) in [('a', Some("ab")), ('b', Some("ab")), ('c', Some("bc")), ('d', None)] {
            assert_eq!(indexed.get(&key).copied(), found, "{key}");
        }
        assert_eq!((indexed.len(), indexed.iter().count()), (2, 2));
    }
}
