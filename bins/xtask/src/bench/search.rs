//! How much a lane carries with next to no loss: the throughput of RFC 2544 §26.1, with a tolerance, since the sender and
//! the receiver run on the same two cores.
//!
//! A sender that sends what it can says more about the receiver's socket than about the tunnel: most of it is lost there.

use anyhow::{Result, bail};

/// The largest share of datagrams that may be lost.
pub(crate) const LOST_PERCENT_MAX: f64 = 1.0;
/// From one offered rate to the next while looking for the first that is too much, or the first that is not.
const STRIDE: f64 = 1.5;
const STRIDES_MAX: u32 = 6;
/// Then the gap is halved, on a logarithmic scale, this many times: rates are found to within a tenth.
const HALVINGS: u32 = 2;

/// What a trial at an offered rate found.
pub(crate) trait Trial {
    fn lost_percent(&self) -> f64;
}

/// Finds the best trial that lost little, starting from a rate that is about right. Every rate is in bits per second.
pub(crate) fn highest<T: Trial>(start: f64, mut offer: impl FnMut(f64) -> Result<T>) -> Result<T> {
    let mut is_carried =
        |rate: f64| offer(rate).map(|trial| (trial.lost_percent() <= LOST_PERCENT_MAX, trial));
    let (mut carried, mut too_much) = (None, None);
    let mut rate = start;
    for _ in 0..STRIDES_MAX {
        match is_carried(rate)? {
            (true, trial) => carried = Some((rate, trial)),
            (false, _) => too_much = Some(rate),
        }
        if carried.is_some() && too_much.is_some() {
            break;
        }
        rate = if too_much.is_some() { rate / STRIDE } else { rate * STRIDE };
    }
    let Some((mut low, mut best)) = carried else {
        bail!("even {:.1} Mbit/s lose more than {LOST_PERCENT_MAX} %", rate / 1e6)
    };
    let Some(mut high) = too_much else { return Ok(best) };
    for _ in 0..HALVINGS {
        let middle = (low * high).sqrt();
        match is_carried(middle)? {
            (true, trial) => (low, best) = (middle, trial),
            (false, _) => high = middle,
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Offered {
        rate: f64,
        lost_percent: f64,
    }

    impl Trial for Offered {
        fn lost_percent(&self) -> f64 {
            self.lost_percent
        }
    }

    /// A lane that carries so much and loses the rest.
    fn lane(capacity: f64) -> impl FnMut(f64) -> Result<Offered> {
        move |rate| Ok(Offered { rate, lost_percent: (rate - capacity).max(0.0) / rate * 100.0 })
    }

    #[test]
    fn the_capacity_is_found_from_below_and_from_above() {
        for start in [30.0, 90.0, 100.0, 250.0, 600.0] {
            let found = highest(start, lane(100.0)).expect("found").rate;
            assert!((88.0..=101.1).contains(&found), "from {start}: {found}");
        }
    }

    #[test]
    fn a_lane_that_carries_nothing_is_an_error_and_one_without_end_is_not() {
        assert!(highest(100.0, lane(0.0)).is_err());
        assert_eq!(highest(1.0, lane(1e9)).expect("found").rate, STRIDE.powi(STRIDES_MAX as i32 - 1));
    }

    #[test]
    fn trials_are_few() {
        for start in [10.0, 100.0, 1000.0] {
            let mut trials = 0;
            let mut offer = lane(100.0);
            let _ = highest(start, |rate| {
                trials += 1;
                offer(rate)
            });
            assert!(trials <= STRIDES_MAX + HALVINGS, "{trials}");
        }
    }
}
