//! What an installation holds: its promises and figures with as much in it as there may be. Each proof runs in small with the
//! other tests; `cargo xtask load` and `cargo xtask revocations` run them in full (`SLUICE_PROOF=full`) and show the figures.

pub(crate) mod agents;
mod load;
pub(crate) mod plant;
mod revocations;

use std::time::{Duration, Instant};

use crate::store::Store;

/// Whether the figures are wanted, or only that it works.
fn in_full() -> bool {
    std::env::var_os("SLUICE_PROOF").is_some_and(|size| size == "full")
}

/// Durations, sorted: what most of them stay below.
struct Spread(Vec<Duration>);

impl Spread {
    fn of(mut durations: Vec<Duration>) -> Spread {
        durations.sort_unstable();
        Spread(durations)
    }

    /// The duration that so many of a thousand do not exceed.
    fn per_mille(&self, share: usize) -> Duration {
        let place = (self.0.len() * share).div_ceil(1000).saturating_sub(1);
        self.0.get(place).copied().unwrap_or_default()
    }

    fn max(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
        write!(
            f,
            "p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms of {}",
            millis(self.per_mille(500)),
            millis(self.per_mille(990)),
            millis(self.max()),
            self.0.len()
        )
    }
}

/// A line of the figures.
fn figure(what: &str, value: impl std::fmt::Display) {
    println!("figure: {what}: {value}");
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < limit, "after {limit:?} not yet: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    began.elapsed()
}

/// How many sessions routers are to open or to close, and have not all confirmed.
async fn unconfirmed(store: &Store) -> i64 {
    let sql = "SELECT COUNT(*) FROM session WHERE closed_at IS NULL AND state <> 'active'";
    let row = store.read().await.unwrap().row(sql, Vec::new()).await.unwrap();
    row.unwrap().int(0).unwrap()
}

/// What this process holds in memory, in MiB.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

#[test]
fn shares_of_a_spread_are_those_of_its_durations() {
    let spread = Spread::of((1..=100).rev().map(Duration::from_millis).collect());
    assert_eq!(spread.per_mille(500), Duration::from_millis(50));
    assert_eq!(spread.per_mille(990), Duration::from_millis(99));
    assert_eq!(spread.max(), Duration::from_millis(100));
}
