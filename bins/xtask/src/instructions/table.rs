//! The committed counts: `benches/instructions.toml`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::Counted;
use crate::cargo::root;

const HEADER: &str = "\
# Instructions per operation, counted by callgrind: cargo xtask instructions
# The cipher and the C library are not in them. A deliberate change: cargo xtask instructions --bless, in the same commit.
# The router's packets have 64 bytes over IPv4; batched are those that are looked ahead for, 32 at a time.

";

/// The counts, and how far off is let pass.
#[derive(Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    /// Small changes elsewhere move inlining a little.
    tolerance_percent: u64,
    instructions: BTreeMap<String, u64>,
}

impl Table {
    pub(super) fn read() -> Result<Table> {
        let path = path();
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("read {}", path.display()))
    }

    /// Keeps what was counted as what is expected from now on.
    pub(super) fn bless(&mut self, counted: Counted) -> Result<()> {
        self.instructions = counted.into_iter().collect();
        let path = path();
        let text = HEADER.to_owned() + &toml::to_string(self)?;
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    /// What is wrong with the counts, if anything. A scenario that is missing on either side is, and so is one that became
    /// cheaper: a table that is not kept up lets it grow back unseen.
    pub(super) fn complaint(&self, counted: &Counted) -> Option<String> {
        let (mut grown, mut shrunk, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        for (name, count) in counted {
            match self.expected(name) {
                None => unknown.push(name.as_str()),
                Some(expected) if *count * 100 > expected * (100 + self.tolerance_percent) => {
                    grown.push(name)
                }
                Some(expected) if *count * 100 < expected * (100 - self.tolerance_percent) => {
                    shrunk.push(name)
                }
                Some(_) => {}
            }
        }
        let gone = |name: &&String| !counted.iter().any(|(counted, _)| counted == *name);
        unknown.extend(self.instructions.keys().filter(gone).map(String::as_str));
        let parts = [
            sentence("More instructions than benches/instructions.toml allows", &grown),
            sentence("Fewer instructions than it has", &shrunk),
            sentence("Only in it, or not in it", &unknown),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| {
            let advice = "Where that is meant: `cargo xtask instructions --bless`, and commit the table.";
            format!("{} {advice}", parts.join(" "))
        })
    }

    /// All counts beside what the table has.
    pub(super) fn compare(&self, counted: &Counted) -> String {
        let mut text = format!("{:<28} {:>8} {:>8}\n", "instructions per operation", "now", "table");
        for (name, count) in counted {
            let (expected, change) = match self.expected(name) {
                Some(expected) => (expected.to_string(), change(*count, expected)),
                None => ("new".to_owned(), String::new()),
            };
            let _ = writeln!(text, "{name:<28} {count:>8} {expected:>8} {change}");
        }
        text
    }

    fn expected(&self, name: &str) -> Option<u64> {
        self.instructions.get(name).copied()
    }
}

fn sentence(what: &str, names: &[impl AsRef<str>]) -> Option<String> {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    (!names.is_empty()).then(|| format!("{what}: {}.", names.join(", ")))
}

fn change(count: u64, expected: u64) -> String {
    if count == expected {
        return String::new();
    }
    format!("{:+.1} %", (count as f64 / expected.max(1) as f64 - 1.0) * 100.0)
}

fn path() -> PathBuf {
    root().join("benches/instructions.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let instructions = [("seal".to_owned(), 1000), ("open".to_owned(), 200)].into();
        Table { tolerance_percent: 3, instructions }
    }

    fn counted(seal: u64, open: u64) -> Counted {
        vec![("seal".to_owned(), seal), ("open".to_owned(), open)]
    }

    #[test]
    fn a_change_within_the_tolerance_passes_and_any_more_is_told_by_name_and_direction() {
        for (seal, open, expected) in [
            (1000, 200, None),
            (1030, 206, None),
            (970, 194, None),
            (1031, 200, Some("More instructions than benches/instructions.toml allows: seal. Where")),
            (1000, 207, Some("More instructions than benches/instructions.toml allows: open. Where")),
            (969, 193, Some("Fewer instructions than it has: seal, open. Where")),
        ] {
            let complaint = table().complaint(&counted(seal, open));
            match expected {
                Some(text) => assert!(complaint.is_some_and(|it| it.starts_with(text)), "{seal} {open}"),
                None => assert_eq!(complaint, None, "{seal} {open}"),
            }
        }
    }

    #[test]
    fn a_scenario_that_appears_or_disappears_is_noticed() {
        let mut more = counted(1000, 200);
        more.push(("new".to_owned(), 1));
        assert!(table().complaint(&more).is_some_and(|it| it.contains("not in it: new.")));
        let fewer = counted(1000, 200)[..1].to_vec();
        assert!(table().complaint(&fewer).is_some_and(|it| it.contains("not in it: open.")));
    }

    #[test]
    fn the_committed_table_can_be_read() {
        let table = Table::read().expect("it is in the repository");
        assert!(!table.instructions.is_empty() && table.tolerance_percent <= 3);
    }
}
