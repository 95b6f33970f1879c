//! One target, fuzzed in rounds until it is flat.

use std::fmt;
use std::time::Duration;

use anyhow::Result;

use super::growth::Growth;
use super::program;

/// So many rounds in a row must reach nothing new. Each starts over from all inputs, with another seed.
const QUIET_ROUNDS: usize = 3;
/// And so many inputs must be tried in them: a slow target is not flat only because it tried little.
const QUIET_INPUTS: u64 = 50_000;

/// The rounds of one target.
pub(super) struct Campaign {
    pub(super) target: String,
    rounds: Vec<Round>,
    is_broken: bool,
}

#[derive(Clone, Copy)]
struct Round {
    growth: Growth,
    took: Duration,
}

/// What is known of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// New edges may be a round away.
    Growing,
    /// Much was tried, and nothing new was reached.
    Flat,
    /// An input broke a promise.
    Broken,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Growing => "growing",
            State::Flat => "flat",
            State::Broken => "BROKEN",
        })
    }
}

impl Campaign {
    pub(super) fn new(target: &str) -> Campaign {
        Campaign { target: target.to_owned(), rounds: Vec::new(), is_broken: false }
    }

    /// One more round.
    pub(super) fn run(&mut self, seconds: u64) -> Result<()> {
        let run = program::run(&self.target, seconds)?;
        self.is_broken |= !run.passed;
        self.rounds.push(Round { growth: run.growth, took: run.took });
        Ok(())
    }

    pub(super) fn is_over(&self, rounds_max: usize) -> bool {
        self.rounds.len() >= rounds_max || self.state() != State::Growing
    }

    pub(super) fn state(&self) -> State {
        let quiet = self.quiet_rounds();
        let inputs: u64 = self.rounds.iter().rev().take(quiet).map(|round| round.growth.inputs).sum();
        match (self.is_broken, quiet >= QUIET_ROUNDS && inputs >= QUIET_INPUTS) {
            (true, _) => State::Broken,
            (false, true) => State::Flat,
            (false, false) => State::Growing,
        }
    }

    /// How many of the last rounds, in a row, reached no edge that those before them had not.
    pub(super) fn quiet_rounds(&self) -> usize {
        let (mut best, mut quiet) = (self.edges_before(), 0);
        for round in &self.rounds {
            quiet = if round.growth.edges > best { 0 } else { quiet + 1 };
            best = best.max(round.growth.edges);
        }
        quiet
    }

    pub(super) fn edges_before(&self) -> u64 {
        self.rounds.first().map_or(0, |first| first.growth.edges_before)
    }

    pub(super) fn edges(&self) -> u64 {
        self.rounds.iter().map(|round| round.growth.edges).max().unwrap_or(0)
    }

    pub(super) fn inputs(&self) -> u64 {
        self.rounds.iter().map(|round| round.growth.inputs).sum()
    }

    pub(super) fn inputs_per_second(&self) -> u64 {
        let took: Duration = self.rounds.iter().map(|round| round.took).sum();
        self.inputs() / took.as_secs().max(1)
    }

    pub(super) fn rounds(&self) -> usize {
        self.rounds.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds that end with so many edges, of so many inputs each; ten edges were reached before them.
    fn campaign(edges: &[u64], inputs: u64) -> Campaign {
        let round = |edges: &u64| Round {
            growth: Growth { edges_before: 10, edges: *edges, inputs, ..Growth::default() },
            took: Duration::from_secs(60),
        };
        Campaign { target: "any".to_owned(), rounds: edges.iter().map(round).collect(), is_broken: false }
    }

    #[test]
    fn a_target_is_flat_after_three_rounds_in_a_row_without_a_new_edge() {
        for (edges, state) in [
            (&[] as &[u64], State::Growing),
            (&[10, 10], State::Growing),
            (&[10, 10, 10], State::Flat),
            (&[12, 12, 12], State::Growing),
            (&[12, 12, 12, 12], State::Flat),
            (&[12, 12, 12, 13], State::Growing),
            (&[12, 11, 12, 12], State::Flat),
        ] {
            assert_eq!(campaign(edges, 20_000).state(), state, "{edges:?}");
        }
    }

    #[test]
    fn a_slow_target_is_not_flat_before_it_has_tried_enough() {
        assert_eq!(campaign(&[10, 10, 10], 10_000).state(), State::Growing);
        assert_eq!(campaign(&[10, 10, 10, 10, 10], 10_000).state(), State::Flat);
    }

    #[test]
    fn a_broken_target_is_not_flat() {
        let broken = Campaign { is_broken: true, ..campaign(&[10, 10, 10], 20_000) };
        assert_eq!(broken.state(), State::Broken);
        assert!(broken.is_over(30));
    }
}
