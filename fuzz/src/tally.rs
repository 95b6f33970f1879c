//! What inputs reached, so that a target that only ever sees its input refused is noticed.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Write};

/// Counts of outcomes, by name.
#[derive(Debug, Default)]
pub struct Tally(BTreeMap<String, u64>);

impl Tally {
    /// One more of this outcome.
    pub fn count(&mut self, outcome: &str) {
        self.add(outcome, 1);
    }

    /// So many more.
    pub fn add(&mut self, outcome: &str, count: u64) {
        if count == 0 {
            return;
        }
        match self.0.get_mut(outcome) {
            Some(counted) => *counted += count,
            None => _ = self.0.insert(outcome.to_owned(), count),
        }
    }

    /// One more of this variant of what an enumeration says, without what the variant holds. Where it holds another
    /// enumeration, that one's variant as well: `Control(Malformed(…` is `Control Malformed`.
    pub fn variant(&mut self, value: &(impl Debug + ?Sized)) {
        let mut names = Names::default();
        // Ends with an error as soon as the names are read.
        let _ = write!(names, "{value:?}");
        self.count(names.text.trim_end());
    }

    /// How often.
    pub fn of(&self, outcome: &str) -> u64 {
        self.0.get(outcome).copied().unwrap_or(0)
    }

    /// All that was counted, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(outcome, count)| (outcome.as_str(), *count))
    }
}

/// Names of variants from the front of a debug text, up to the first value.
#[derive(Default)]
struct Names {
    text: String,
    is_inside: bool,
}

impl Write for Names {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            match letter {
                '(' => {
                    self.text.push(' ');
                    self.is_inside = false;
                }
                _ if self.is_inside && letter.is_ascii_alphanumeric() => self.text.push(letter),
                'A'..='Z' => {
                    self.text.push(letter);
                    self.is_inside = true;
                }
                _ => return Err(fmt::Error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::alloc::Layout;
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_variant_is_counted_by_its_names_alone() {
        let mut tally = Tally::default();
        tally.variant(&Some(7));
        tally.variant(&Some(Some("Words")));
        tally.variant(&Some(Duration::from_secs(1)));
        tally.variant(&Err::<(), _>(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        tally.variant(&Layout::new::<u8>());
        let counted: Vec<(&str, u64)> = tally.iter().collect();
        assert_eq!(counted, [("Err", 1), ("Layout", 1), ("Some", 2), ("Some Some", 1)]);
    }
}
