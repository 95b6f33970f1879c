//! Telling the service manager how we are. Read first: sd_notify(3), systemd.service(5) Type=notify-reload.
//! Called by the binaries. Without a service manager nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;

/// Start-up is complete (also: a reload is complete).
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// A reload began; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

/// The end began.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// We are alive. Call it from the loop whose hanging should be noticed, every [`watchdog_interval`].
pub fn alive() {
    notify(&[NotifyState::Watchdog]);
}

/// One line for `systemctl status`.
pub fn status(line: &str) {
    notify(&[NotifyState::Status(line)]);
}

/// How often the service manager wants to hear [`alive`]: half its limit. `None` if it does not care.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
