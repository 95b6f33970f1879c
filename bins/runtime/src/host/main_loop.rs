//! What the main thread of a router or connector does: it waits for signals and tells the service manager how we are.

use std::time::Duration;

use super::failure::{Exit, Failure};
use crate::service::{Wake, Wakes, notify};

/// Without a watchdog the main thread looks around this often.
const LOOK_AROUND: Duration = Duration::from_secs(60);

/// Reports readiness, then waits: `reload` is called for SIGHUP; `tick` does what is due, now and then, and says whether
/// all is well, without which the watchdog hears nothing. Returns when a signal ends us.
///
/// # Errors
/// If the node cannot go on.
pub fn run(wakes: &Wakes, mut reload: impl FnMut(), mut tick: impl FnMut() -> bool) -> Result<(), Failure> {
    notify::ready();
    let step = notify::watchdog_interval().unwrap_or(LOOK_AROUND).min(LOOK_AROUND);
    loop {
        match wakes.next(step) {
            None => {}
            Some(Wake::Stop) => {
                tracing::info!("ending");
                notify::stopping();
                return Ok(());
            }
            Some(Wake::Reload) => {
                notify::reloading();
                reload();
                notify::ready();
            }
            Some(Wake::Failed(why)) => {
                return Err(Failure::new(Exit::Failed, format!("the node stopped: {why}")));
            }
        }
        if tick() {
            notify::alive();
        }
    }
}
