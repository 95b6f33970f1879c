//! Lines of a log that nobody expects.

/// What a run may log at WARN or above. Nothing: what the churn does is ordinary operation.
const EXPECTED: [&str; 0] = [];

/// The lines of WARN and ERROR that are not expected.
pub(crate) fn unexpected(log: &str) -> Vec<&str> {
    let is_expected = |line: &&str| EXPECTED.iter().any(|text: &&str| line.contains(*text));
    log.lines().filter(|line| is_alarming(line)).filter(|line| !is_expected(line)).collect()
}

/// `2026-01-01T00:00:00Z  WARN module: text`: the level is the second word.
fn is_alarming(line: &str) -> bool {
    matches!(line.split_whitespace().nth(1), Some("WARN" | "ERROR")) || line.contains("panicked at")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_counts_and_not_the_word() {
        let log = "2026-01-01T00:00:00Z  INFO sluice_runtime: no ERROR here\n\
                   2026-01-01T00:00:01Z  WARN sluice_runtime: queue is full\n\
                   thread 'worker' panicked at src/worker.rs:1\n";
        assert_eq!(unexpected(log), log.lines().skip(1).collect::<Vec<_>>());
    }
}
