//! Where a worker without work sleeps. Read first: poll(2), eventfd(2). Called by worker, runtime.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// What is ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) bell: bool,
    pub(super) udp_v4: bool,
    pub(super) udp_v6: bool,
    pub(super) tun: bool,
    pub(super) link: bool,
    pub(super) timer: bool,
}

/// What to wait on.
pub(super) struct Sources<'a> {
    pub(super) bell: &'a Bell,
    pub(super) udp: [Option<BorrowedFd<'a>>; 2],
    pub(super) tun: Option<BorrowedFd<'a>>,
    pub(super) link: Option<BorrowedFd<'a>>,
    pub(super) timer: Option<BorrowedFd<'a>>,
}

/// How long to wait where nothing is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Only look.
    None,
    /// Until something is.
    Endless,
}

/// Wakes a sleeping worker from another thread.
#[derive(Debug)]
pub(crate) struct Bell(OwnedFd);

impl Bell {
    pub(crate) fn new() -> io::Result<Bell> {
        Ok(Bell(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?))
    }

    /// The worker's next wait ends at once.
    pub(crate) fn ring(&self) {
        // It fails only when it has been rung 2^64 times: rung it is.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    pub(super) fn silence(&self) {
        // It fails only when it was not rung.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl Sources<'_> {
    /// Sleeps until a source is ready.
    pub(super) fn wait(&self, patience: Patience) -> io::Result<Ready> {
        let bell = self.bell.0.as_fd();
        // Descriptors that are not there are replaced by the bell, without an event to wait for.
        let entry = |fd: &'_ Option<BorrowedFd<'_>>| fd.map_or(PollFlags::empty(), |_| PollFlags::IN);
        let [v4, v6] = &self.udp;
        let others = [v4, v6, &self.tun, &self.link, &self.timer];
        let [a, b, c, d, e] = others.map(|fd| (fd.unwrap_or(bell), entry(fd)));
        let mut fds = [
            PollFd::from_borrowed_fd(bell, PollFlags::IN),
            PollFd::from_borrowed_fd(a.0, a.1),
            PollFd::from_borrowed_fd(b.0, b.1),
            PollFd::from_borrowed_fd(c.0, c.1),
            PollFd::from_borrowed_fd(d.0, d.1),
            PollFd::from_borrowed_fd(e.0, e.1),
        ];
        let timeout = match patience {
            Patience::None => Some(Timespec { tv_sec: 0, tv_nsec: 0 }),
            Patience::Endless => None,
        };
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => Ok(ready(&fds)),
            Err(rustix::io::Errno::INTR) => Ok(Ready::default()),
            Err(error) => Err(error.into()),
        }
    }
}

fn ready(fds: &[PollFd<'_>; 6]) -> Ready {
    let [bell, udp_v4, udp_v6, tun, link, timer] = fds.each_ref().map(|fd| !fd.revents().is_empty());
    Ready { bell, udp_v4, udp_v6, tun, link, timer }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(bell: &Bell) -> Sources<'_> {
        Sources { bell, udp: [None, None], tun: None, link: None, timer: None }
    }

    #[test]
    fn a_rung_bell_ends_the_wait_once() {
        let bell = Bell::new().expect("eventfd");
        bell.ring();
        bell.ring();
        let ready = sources(&bell).wait(Patience::Endless).expect("poll");
        assert_eq!(ready, Ready { bell: true, ..Ready::default() });
        bell.silence();
        let ready = sources(&bell).wait(Patience::None).expect("poll");
        assert_eq!(ready, Ready::default());
    }
}
