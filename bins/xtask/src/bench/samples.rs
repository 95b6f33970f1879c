//! Medians and ratios.

use std::fmt;

/// The middle of the values, the lower one of two middles; `None` without values.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get((values.len().max(1) - 1) / 2).copied()
}

/// How two medians compare, and what is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio {
    /// Ours over theirs.
    pub(crate) value: f64,
    /// At least this much, where something is wanted.
    pub(crate) wanted: Option<f64>,
}

impl Ratio {
    /// `None` where either is missing or nothing came through.
    pub(crate) fn new(ours: Option<f64>, theirs: Option<f64>, wanted: Option<f64>) -> Option<Ratio> {
        let theirs = theirs.filter(|&theirs| theirs > 0.0)?;
        Some(Ratio { value: ours? / theirs, wanted })
    }

    /// True where nothing is wanted.
    pub(crate) fn is_met(&self) -> bool {
        self.wanted.is_none_or(|wanted| self.value >= wanted)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ×", self.value)?;
        let Some(wanted) = self.wanted else { return Ok(()) };
        let verdict = if self.is_met() { "met" } else { "not met" };
        write!(f, " (wanted {wanted}: {verdict})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_of_the_sorted_values() {
        for (values, expected) in [
            (vec![], None),
            (vec![3.0], Some(3.0)),
            (vec![9.0, 1.0, 2.0], Some(2.0)),
            (vec![4.0, 1.0, 2.0, 3.0], Some(2.0)),
        ] {
            assert_eq!(median(values.clone()), expected, "{values:?}");
        }
    }

    #[test]
    fn a_ratio_says_whether_it_is_what_is_wanted() {
        for (ours, theirs, wanted, shown) in [
            (Some(10.0), Some(2.0), Some(5.0), Some("5.00 × (wanted 5: met)")),
            (Some(9.9), Some(2.0), Some(5.0), Some("4.95 × (wanted 5: not met)")),
            (Some(3.0), Some(2.0), None, Some("1.50 ×")),
            (Some(3.0), Some(0.0), None, None),
            (None, Some(1.0), Some(5.0), None),
        ] {
            let ratio = Ratio::new(ours, theirs, wanted).map(|ratio| ratio.to_string());
            assert_eq!(ratio.as_deref(), shown);
        }
    }
}
