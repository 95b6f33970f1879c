//! Callgrind's output, read for one number. Read first: valgrind manual, «Callgrind Format Specification».
//!
//! Counted are the instructions of our program's own functions, each by itself. Not counted is the C library, which chooses its
//! `memcpy` by the processor it runs on: every machine shall count the same.

use std::collections::HashMap;

/// Parts of the names of files that are not our program.
const OTHER_OBJECTS: [&str; 3] = ["/libc", "/libm", "/ld-linux"];

/// The sum over all functions that count. `None` if nothing was collected.
pub(super) fn instructions(profile: &str) -> Option<u64> {
    let (mut objects, mut in_program, mut total) = (Objects::default(), false, 0);
    let mut lines = profile.lines();
    while let Some(line) = lines.next() {
        match line.split_once('=') {
            Some(("ob", object)) => in_program = !is_other(objects.name(object)),
            Some(("cob", object)) => drop(objects.name(object)),
            // What a call cost stands in the next line, and again in the functions that were called.
            Some(("calls", _)) => drop(lines.next()),
            Some(_) => {}
            None if in_program => total += cost(line).unwrap_or(0),
            None => {}
        }
    }
    (total > 0).then_some(total)
}

/// Names are written out once, `(7) name`, and later only as `(7)`.
#[derive(Default)]
struct Objects<'a>(HashMap<&'a str, &'a str>);

impl<'a> Objects<'a> {
    fn name(&mut self, text: &'a str) -> &'a str {
        match text.split_once(' ') {
            Some((number, name)) => {
                self.0.insert(number, name);
                name
            }
            None => self.0.get(text).copied().unwrap_or(text),
        }
    }
}

fn is_other(object: &str) -> bool {
    OTHER_OBJECTS.iter().any(|part| object.contains(part))
}

/// The cost in a line `POSITION COST`, the position being a number, a difference, or `*`.
fn cost(line: &str) -> Option<u64> {
    let (position, cost) = line.split_once(' ')?;
    let is_position = position.starts_with(['+', '-', '*']) || position.parse::<u64>().is_ok();
    is_position.then(|| cost.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = "\
version: 1
positions: line
events: Ir
summary: 1111

ob=(1) /somewhere/instructions
fl=(1) src/main.rs
fn=(1) instructions::counted_section
10 5
+2 7
cob=(2) /usr/lib/libc.so.6
cfn=(2) __memcpy_avx_unaligned
calls=3 0
12 900
cob=(1)
cfn=(3) wg_proto::batch::TxBatch::seal
calls=1 0
* 800
fi=(2) inlined.rs
-3 11

fn=(3)
5 800

ob=(2)
fn=(2)
0 900

ob=(1)
fn=(1)
14 100
";

    #[test]
    fn only_our_own_functions_count_and_each_once() {
        assert_eq!(instructions(PROFILE), Some(5 + 7 + 11 + 800 + 100));
    }

    #[test]
    fn a_profile_without_the_counted_section_is_refused() {
        assert_eq!(instructions("version: 1\nevents: Ir\nsummary: 0\n"), None);
    }
}
