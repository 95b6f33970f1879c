//! How long this machine takes to fetch one cache line that no prefetcher expects: what bounds lookups in large tables.

use std::time::{Duration, Instant};

use crate::Scattered;

/// Lines of memory, each of which says which one to read next: all of them in one circle, in random order.
pub struct Chase {
    lines: Vec<Line>,
    at: u32,
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line {
    next: u32,
}

impl Chase {
    /// A circle through this much memory.
    pub fn through(bytes: usize) -> Chase {
        let count = (bytes / size_of::<Line>()) as u32;
        let mut order: Vec<u32> = (0..count).collect();
        let mut scattered = Scattered::below(count);
        (0..count as usize).for_each(|at| order.swap(at, scattered.draw() as usize));
        let mut lines = vec![Line { next: 0 }; order.len()];
        for (from, to) in order.iter().zip(order.iter().cycle().skip(1)) {
            lines[*from as usize].next = *to;
        }
        Chase { lines, at: 0 }
    }

    /// Reads as many lines, each found through the one before.
    pub fn run(&mut self, reads: u64) -> Duration {
        let started = Instant::now();
        for _ in 0..reads {
            self.at = self.lines[self.at as usize].next;
        }
        std::hint::black_box(self.at);
        started.elapsed()
    }
}
