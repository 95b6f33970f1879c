//! Whether a series of samples grows. The first third is warm-up: tables get their size then.

use std::fmt;

/// Samples at even distances.
#[derive(Clone, Debug, Default)]
pub struct Series(Vec<u64>);

/// How a series behaved after its first third.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flatness {
    /// By how much the line of least squares rises from the first to the last sample.
    pub rise: f64,
    /// The largest sample less the smallest.
    pub spread: f64,
}

impl Flatness {
    /// One leaked flow or rule a second shows within an hour: 3600 times 300 bytes. An allocator's pages move by less.
    pub const MEMORY_KIB: Flatness = Flatness { rise: 1024.0, spread: 4096.0 };
    /// A reload and an operator's question hold one or two for a moment.
    pub const DESCRIPTORS: Flatness = Flatness { rise: 1.0, spread: 4.0 };
    /// With a socket for every flow the number follows the bursts. Of a line through 800 samples that scatter by 150 the rise
    /// is known to 18 or so; what leaks less shows when the flows are gone.
    pub const DESCRIPTORS_OF_FLOWS: Flatness = Flatness { rise: 60.0, spread: 1500.0 };

    /// True if neither figure is above that of `limits`.
    pub fn holds(&self, limits: Flatness) -> bool {
        self.rise <= limits.rise && self.spread <= limits.spread
    }
}

impl fmt::Display for Flatness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rise {:.1}, spread {:.0} after the first third", self.rise, self.spread)
    }
}

impl Series {
    /// Adds a sample.
    pub(crate) fn push(&mut self, sample: u64) {
        self.0.push(sample);
    }

    /// A sample by number; 0 if there is none.
    pub(crate) fn get(&self, index: usize) -> u64 {
        self.0.get(index).copied().unwrap_or(0)
    }

    /// The newest sample; 0 if there is none.
    pub fn last(&self) -> u64 {
        self.0.last().copied().unwrap_or(0)
    }

    /// How the last two thirds behave.
    pub fn flatness(&self) -> Flatness {
        let samples: Vec<f64> = self.0[self.0.len() / 3..].iter().map(|&sample| sample as f64).collect();
        let largest = samples.iter().copied().fold(0.0, f64::max);
        let smallest = samples.iter().copied().fold(largest, f64::min);
        let distance = samples.len().saturating_sub(1) as f64;
        Flatness { rise: slope(&samples) * distance, spread: largest - smallest }
    }
}

/// Of the line of least squares, per sample; 0 for fewer than two samples.
fn slope(samples: &[f64]) -> f64 {
    let count = samples.len() as f64;
    let (middle, mean) = ((count - 1.0) / 2.0, samples.iter().sum::<f64>() / count);
    let (mut product, mut square) = (0.0, 0.0);
    for (index, sample) in samples.iter().enumerate() {
        let offset = index as f64 - middle;
        product += offset * (sample - mean);
        square += offset * offset;
    }
    if square > 0.0 { product / square } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(sample: impl Fn(u64) -> u64) -> Series {
        Series((0..900).map(sample).collect())
    }

    #[test]
    fn growth_in_the_first_third_is_forgiven() {
        let flatness = series(|n| 9000 + n.min(250) * 100).flatness();
        assert!(flatness.holds(Flatness::MEMORY_KIB), "{flatness}");
    }

    #[test]
    fn a_slow_leak_is_found_in_spite_of_noise() {
        let flatness = series(|n| 9000 + n * 2 + (n * 7919) % 500).flatness();
        assert!(!flatness.holds(Flatness::MEMORY_KIB), "{flatness}");
        assert!((1100.0..1300.0).contains(&flatness.rise), "{flatness}");
    }

    #[test]
    fn noise_alone_is_flat_and_a_single_jump_is_not() {
        assert!(series(|n| 9000 + (n * 7919) % 500).flatness().holds(Flatness::MEMORY_KIB));
        assert!(!series(|n| if n == 700 { 19_000 } else { 9000 }).flatness().holds(Flatness::MEMORY_KIB));
    }

    #[test]
    fn one_descriptor_that_is_never_closed_per_reload_is_found() {
        assert!(series(|n| 20 + n % 3).flatness().holds(Flatness::DESCRIPTORS));
        assert!(!series(|n| 20 + n / 100).flatness().holds(Flatness::DESCRIPTORS));
    }

    #[test]
    fn few_samples_are_no_growth() {
        for samples in [vec![], vec![5], vec![5, 5]] {
            assert_eq!(Series(samples).flatness(), Flatness { rise: 0.0, spread: 0.0 });
        }
    }
}
