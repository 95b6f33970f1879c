//! Waiting with a deadline.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at while it is waited for.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Waits until `condition` holds, at most `limit`; `what` names it in the error.
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    retry(what, limit, || Ok(condition()?.then_some(())))
}

/// Waits until `attempt` has a value, at most `limit`. An error ends the wait at once; `Ok(None)` goes on.
pub fn retry<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = attempt()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("waited {limit:.1?} in vain for: {what}");
        }
        sleep(POLL_INTERVAL);
    }
}
