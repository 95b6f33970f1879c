//! What one run of libFuzzer reached, read from its messages.

use std::io::BufRead;

/// Coverage as libFuzzer reports it. Edges of the program, not libFuzzer's features: those are edges with how often
/// each is taken, and grow as long as one waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Growth {
    /// Reached by the inputs there were.
    pub(super) edges_before: u64,
    /// Reached in the end.
    pub(super) edges: u64,
    /// Tried, beyond those there were.
    pub(super) inputs: u64,
    pub(super) inputs_before: u64,
}

impl Growth {
    /// Reads messages until the program ends; what is not about coverage is shown.
    pub(super) fn follow(messages: impl BufRead) -> Growth {
        let mut growth = Growth::default();
        for line in messages.lines().map_while(Result::ok) {
            if !growth.take(&line) && !is_noise(&line) {
                println!("  {line}");
            }
        }
        growth
    }

    /// Whether the line was about coverage.
    fn take(&mut self, line: &str) -> bool {
        let (Some(inputs), Some(edges)) = (number_after(line, "#"), number_after(line, "cov: ")) else {
            return false;
        };
        if line.contains("INITED") {
            (self.edges_before, self.inputs_before) = (edges, inputs);
        }
        self.inputs = inputs.saturating_sub(self.inputs_before);
        self.edges = edges;
        true
    }
}

fn is_noise(line: &str) -> bool {
    let starts =
        ["INFO:", "WARNING: Failed to find function", "stat::", "Dictionary:", "######", "Done ", "\""];
    line.is_empty() || line.contains("NEW_FUNC") || starts.iter().any(|start| line.starts_with(start))
}

fn number_after(line: &str, word: &str) -> Option<u64> {
    let (_, rest) = line.split_once(word)?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_is_read_from_the_fuzzers_lines() {
        let mut growth = Growth::default();
        for line in [
            "#2\tINITED cov: 100 ft: 300 corp: 20/1Kb exec/s: 0 rss: 40Mb",
            "#25\tINITED cov: 100 ft: 300 corp: 20/1Kb exec/s: 0 rss: 40Mb",
            "#90\tNEW    cov: 120 ft: 310 corp: 21/1Kb lim: 4096 exec/s: 45 rss: 41Mb L: 3/9 MS: 1 -",
            "#900\tDONE   cov: 120 ft: 310 corp: 21/1Kb lim: 4096 exec/s: 100 rss: 41Mb",
        ] {
            assert!(growth.take(line), "{line}");
        }
        let expected = Growth { edges_before: 100, edges: 120, inputs: 875, inputs_before: 25 };
        assert_eq!(growth, expected);
        assert!(!growth.take("thread panicked at src/lib.rs:1"));
    }
}
