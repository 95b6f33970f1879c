//! Doubly linked lists through one array: each element stands in at most one list, eight bytes an element.

use alloc::vec::Vec;

/// Set in a link that leads to a list's end instead of another element; the rest is the list's number.
const END: u32 = 1 << 31;

/// Many lists over elements numbered from 0.
#[derive(Debug)]
pub(crate) struct Lists {
    links: Vec<Link>,
    ends: Vec<Link>,
}

/// For an element: its neighbours. For a list: `next` is the first element, `previous` the last.
#[derive(Clone, Copy, Debug)]
struct Link {
    previous: u32,
    next: u32,
}

impl Lists {
    /// `lists` empty lists, with room reserved for `elements_max` elements.
    pub(crate) fn new(lists: u32, elements_max: u32) -> Lists {
        let ends = (0..lists).map(|list| Link { previous: END | list, next: END | list }).collect();
        Lists { links: Vec::with_capacity(elements_max as usize), ends }
    }

    /// The next unused element number, in no list yet.
    pub(crate) fn add_element(&mut self) -> u32 {
        let element = u32::try_from(self.links.len()).expect("fewer than 2^31 elements");
        self.links.push(Link { previous: element, next: element });
        element
    }

    /// The list's first element.
    pub(crate) fn first(&self, list: u32) -> Option<u32> {
        let next = self.ends[list as usize].next;
        (next & END == 0).then_some(next)
    }

    /// Appends an element that stands in no list.
    pub(crate) fn push_back(&mut self, list: u32, element: u32) {
        let last = self.ends[list as usize].previous;
        self.links[element as usize] = Link { previous: last, next: END | list };
        self.link_mut(last).next = element;
        self.ends[list as usize].previous = element;
    }

    /// Takes an element out of its list. Returns the list if that has become empty.
    pub(crate) fn unlink(&mut self, element: u32) -> Option<u32> {
        let Link { previous, next } = self.links[element as usize];
        self.links[element as usize] = Link { previous: element, next: element };
        if previous == element {
            return None;
        }
        self.link_mut(previous).next = next;
        self.link_mut(next).previous = previous;
        (previous == next).then_some(previous & !END)
    }

    /// Takes the first element out.
    pub(crate) fn pop_front(&mut self, list: u32) -> Option<u32> {
        let element = self.first(list)?;
        self.unlink(element);
        Some(element)
    }

    fn link_mut(&mut self, link: u32) -> &mut Link {
        if link & END == 0 { &mut self.links[link as usize] } else { &mut self.ends[(link & !END) as usize] }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::VecDeque;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_plain_queues_under_the_same_operations(
            operations in prop::collection::vec((0..3_u8, 0..3_u32, 0..6_u32), 0..100)
        ) {
            let mut lists = Lists::new(3, 6);
            let mut queues: Vec<VecDeque<u32>> = vec![VecDeque::new(); 3];
            for _ in 0..6 {
                lists.add_element();
            }
            for (operation, list, element) in operations {
                let place = queues.iter().position(|queue| queue.contains(&element));
                match (operation, place) {
                    (0, None) => {
                        lists.push_back(list, element);
                        queues[list as usize].push_back(element);
                    }
                    (1, _) => {
                        let emptied = lists.unlink(element);
                        let queue = place.map(|place| &mut queues[place]);
                        let now_empty = queue.is_some_and(|queue| {
                            queue.retain(|other| *other != element);
                            queue.is_empty()
                        });
                        prop_assert_eq!(emptied.map(|list| list as usize), place.filter(|_| now_empty));
                    }
                    (2, _) => prop_assert_eq!(lists.pop_front(list), queues[list as usize].pop_front()),
                    (_, _) => {}
                }
                for list in 0..3 {
                    prop_assert_eq!(lists.first(list), queues[list as usize].front().copied());
                }
            }
        }
    }
}
