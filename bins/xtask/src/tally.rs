//! Counting tests from their runners' closing lines.

/// How many tests passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Tally {
    /// Adds up all closing lines in a log: nextest's `Summary […] 3 tests run: 2 passed, 1 failed` and the built-in runner's
    /// `test result: ok. 3 passed; 0 failed; …`.
    pub(crate) fn read(log: &str) -> Tally {
        let mut tally = Tally::default();
        for line in log.lines() {
            let is_nextest = line.trim_start().starts_with("Summary [") && line.contains(" run: ");
            // Indented ones are part of a single test's output, which nextest counts itself.
            if is_nextest || line.starts_with("test result: ") {
                tally.add(&Tally { passed: number_before(line, " passed"), failed: failures(line) });
            }
        }
        tally
    }

    pub(crate) fn add(&mut self, other: &Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.passed + self.failed == 0
    }
}

/// A test that ran out of time failed as well.
fn failures(line: &str) -> u64 {
    number_before(line, " failed") + number_before(line, " timed out")
}

fn number_before(line: &str, word: &str) -> u64 {
    let Some(end) = line.find(word) else { return 0 };
    let digits = line[..end].rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_both_runners_are_added_up() {
        let log = "     Summary [   3.681s] 7 tests run: 3 passed (1 slow), 2 failed, 1 timed out, 0 skipped\n\
                   test result: ok. 5 passed; 0 failed; 0 ignored\ntest result: FAILED. 1 passed; 1 failed; 0 ignored\n";
        assert_eq!(Tally::read(log), Tally { passed: 9, failed: 4 });
    }

    #[test]
    fn other_lines_do_not_count() {
        assert!(Tally::read("12 passed\nrunning 3 tests\nSummary of things: 4 passed\n    test result: ok. 1 passed; 0 failed").is_empty());
    }
}
