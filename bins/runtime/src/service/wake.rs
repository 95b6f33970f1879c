//! What a daemon's main thread waits for. Read first: signal(7), systemd.kill(5). Called by the binaries.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Wakes that may wait. More are dropped: each kind is worth one reaction only.
const WAKES_MAX: usize = 16;

/// Why the main thread wakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wake {
    /// SIGTERM or SIGINT: end cleanly.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
    /// The node cannot go on, and why: its interface is gone, or a worker failed.
    Failed(String),
}

/// Gives a wake to the main thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Waker(SyncSender<Wake>);

/// The main thread's end.
#[derive(Debug)]
pub struct Wakes {
    receiver: Receiver<Wake>,
    waker: Waker,
}

impl Waker {
    /// Never blocks.
    pub fn wake(&self, wake: Wake) {
        // A full queue has wakes enough, a closed one has nobody to wake.
        let _ = self.0.try_send(wake);
    }
}

impl Wakes {
    /// Wakes from signals and from [`Wakes::waker`]. Call before any other thread starts.
    pub fn from_signals() -> io::Result<Wakes> {
        let wakes = Wakes::without_signals();
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        let waker = wakes.waker();
        thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                waker.wake(if signal == SIGHUP { Wake::Reload } else { Wake::Stop });
            }
        })?;
        Ok(wakes)
    }

    /// Wakes from [`Wakes::waker`] alone.
    pub fn without_signals() -> Wakes {
        let (sender, receiver) = sync_channel(WAKES_MAX);
        Wakes { receiver, waker: Waker(sender) }
    }

    /// For the runtime, and for whoever else may end or reload the program.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Waits up to `timeout`; `None` when nothing happened.
    pub fn next(&self, timeout: Duration) -> Option<Wake> {
        self.receiver.recv_timeout(timeout).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_arrives_and_a_quiet_time_ends() {
        let wakes = Wakes::without_signals();
        wakes.waker().wake(Wake::Reload);
        assert_eq!(wakes.next(Duration::from_secs(1)), Some(Wake::Reload));
        assert_eq!(wakes.next(Duration::from_millis(1)), None);
    }

    #[test]
    fn a_flood_of_wakes_blocks_nobody() {
        let wakes = Wakes::without_signals();
        for _ in 0..10 * WAKES_MAX {
            wakes.waker().wake(Wake::Stop);
        }
        assert_eq!(wakes.next(Duration::from_secs(1)), Some(Wake::Stop));
    }

    #[test]
    fn a_hangup_asks_for_a_reload() {
        let wakes = Wakes::from_signals().expect("signals");
        signal_hook::low_level::raise(SIGHUP).expect("raise");
        assert_eq!(wakes.next(Duration::from_secs(5)), Some(Wake::Reload));
    }
}
