//! The same packets through the kernel's NAT and through ours. What differs must stand in `differences.rs`, and in
//! docs/kernel-nat-differences.md with its reason; anything else is a defect of one of the two.

mod differences;
mod generate;
mod golden;
mod kernel;
mod play;
mod rng;
mod step;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use anyhow::{Result, anyhow, bail, ensure};
use sluice_lab::{Lab, lab_test};

use differences::{Case, Difference, Found};
use generate::Sequence;
use kernel::KernelWorld;
use play::{Seen, World, play};
use router_core::DropReason;
use router_core::sim::border::{Border, RuleSet};

/// Sequences for each set of rules; `SLUICE_DIFFERENTIAL_SEEDS` asks for more.
const SEEDS: u64 = 400;
/// Sequences for each kernel namespace: pieces that it still waits for are not to meet those of a later sequence under the
/// same identification, of which there are 65 536.
const SEEDS_PER_KERNEL: u64 = 1000;

#[test]
fn translated_sources_are_what_the_kernel_makes_of_them() {
    compare_all(RuleSet::ALL[0]);
}

#[test]
fn translated_destinations_are_what_the_kernel_makes_of_them() {
    compare_all(RuleSet::ALL[1]);
}

#[test]
fn both_translations_together_are_what_the_kernel_makes_of_them() {
    compare_all(RuleSet::ALL[2]);
}

#[test]
fn what_is_not_translated_passes_as_through_the_kernel() {
    compare_all(RuleSet::ALL[3]);
}

fn compare_all(rules: RuleSet) {
    let seeds =
        std::env::var("SLUICE_DIFFERENTIAL_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    lab_test(|lab| {
        let mut tally = Tally::default();
        for first in (1..=seeds).step_by(SEEDS_PER_KERNEL as usize) {
            let last = seeds.min(first + SEEDS_PER_KERNEL - 1);
            in_own_thread(|| compare_seeds(lab, rules, first..=last, &mut tally))?;
        }
        eprintln!("{rules:?}: {tally:?}");
        tally.check()
    });
}

/// A thread that moves into a namespace does not come back.
fn in_own_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| scope.spawn(work).join())
        .map_err(|_| anyhow!("the thread in the namespace panicked"))?
}

fn compare_seeds(lab: &Lab, rules: RuleSet, seeds: RangeInclusive<u64>, tally: &mut Tally) -> Result<()> {
    let mut kernel = KernelWorld::new(lab, &format!("nat{}", seeds.start()), rules)?;
    for seed in seeds {
        let sequence = generate::sequence(seed);
        if let Some(found) = compare(&mut kernel, rules, seed, &sequence, tally)? {
            let least = shrunk(&mut kernel, rules, seed, sequence, &found)?;
            bail!("seed {seed}, {rules:?}:\n{least}");
        }
    }
    Ok(())
}

/// What was compared.
#[derive(Debug, Default)]
struct Tally {
    forwarded_alike: u64,
    stopped_alike: u64,
    answered_alike: u64,
    /// Of those stopped alike: errors to another address than the quoted packet's source.
    misaddressed: u64,
    after_a_difference: u64,
    differences: BTreeMap<Difference, u64>,
}

impl Tally {
    /// A comparison in which nothing passes proves nothing.
    fn check(&self) -> Result<()> {
        let steps = self.forwarded_alike + self.stopped_alike + self.answered_alike;
        let differing: u64 = self.differences.values().sum::<u64>() + self.after_a_difference;
        ensure!(
            self.forwarded_alike > steps / 4 && self.answered_alike > 0 && self.misaddressed > 0,
            "hardly anything passes: {self:?}"
        );
        ensure!(differing < steps, "more differences than agreement: {self:?}");
        Ok(())
    }

    fn note(&mut self, found: &Found, seen: &Seen) {
        let is_misaddressed = seen.reasons.contains(&DropReason::IcmpErrorMisaddressed);
        self.misaddressed += u64::from(is_misaddressed && matches!(found, Found::Alike));
        match found {
            Found::Alike if !seen.answers.is_empty() => self.answered_alike += 1,
            Found::Alike if seen.forwarded.is_empty() => self.stopped_alike += 1,
            Found::Alike => self.forwarded_alike += 1,
            Found::Aftermath => self.after_a_difference += 1,
            Found::Intended(difference) => *self.differences.entry(*difference).or_default() += 1,
            Found::Defect(_) => {}
        }
    }
}

/// Plays a sequence in both worlds; what comes back is the first thing that should not be.
fn compare(
    kernel: &mut KernelWorld,
    rules: RuleSet,
    seed: u64,
    sequence: &Sequence,
    tally: &mut Tally,
) -> Result<Option<String>> {
    kernel.forget()?;
    let first_id = kernel.fresh_ids();
    let ours = play(&mut World::Node(Box::new(Border::new(rules, seed))), rules, sequence, first_id)?;
    let theirs = play(&mut World::Kernel(kernel), rules, sequence, first_id)?;
    let mut is_apart = vec![false; sequence.flows.len()];
    let mut was_reset = is_apart.clone();
    let mut syn_acks = vec![0; sequence.flows.len()];
    for ((step, ours), theirs) in sequence.steps.iter().zip(&ours).zip(&theirs) {
        let flow = &sequence.flows[step.flow];
        // Two flows of a sequence may be the same conversation.
        let same = sequence.flows.iter().position(|other| other == flow).unwrap_or(step.flow);
        let case = Case {
            step,
            flow,
            ours,
            theirs,
            is_after_reset: was_reset[same],
            is_after_second_syn_ack: syn_acks[same] > 1,
            is_apart: is_apart[step.flow],
        };
        let found = differences::judge(&case);
        was_reset[same] |= case.is_reset();
        syn_acks[same] += u32::from(case.is_syn_ack());
        tally.note(&found, ours);
        match found {
            Found::Defect(text) => return Ok(Some(text)),
            // Two flows may want the same port: what one world lacks, the other's flows may hold.
            Found::Intended(difference) if difference.parts_states() => is_apart.fill(true),
            Found::Alike | Found::Aftermath | Found::Intended(_) => {}
        }
        if case.is_reset_on_its_last_hop() {
            is_apart.fill(true);
        }
    }
    Ok(None)
}

/// The sequence without the steps that the mismatch does not need.
fn shrunk(
    kernel: &mut KernelWorld,
    rules: RuleSet,
    seed: u64,
    mut sequence: Sequence,
    found: &str,
) -> Result<String> {
    let mut text = found.to_owned();
    let mut at = sequence.steps.len();
    while at > 0 {
        at -= 1;
        let mut shorter = sequence.clone();
        shorter.steps.remove(at);
        if let Some(found) = compare(kernel, rules, seed, &shorter, &mut Tally::default())? {
            (text, sequence) = (found, shorter);
            at = at.min(sequence.steps.len());
        }
    }
    let steps: Vec<String> = sequence
        .steps
        .iter()
        .map(|step| format!("{:?} {:?} of {:?}", step.from, step.action, sequence.flows[step.flow]))
        .collect();
    Ok(format!("{}\n{text}", steps.join("\n")))
}
