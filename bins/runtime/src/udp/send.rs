//! Datagrams on their way out: runs for UDP GSO, several runs per system call, fallbacks.
//! Read first: udp(7) UDP_SEGMENT, sendmmsg(2). Called by worker.
//!
//! A run is a stretch of datagrams to one endpoint with one traffic class, all of one size but the last,
//! which may be shorter. A run is one message to the kernel.

use std::io;
use std::time::Duration;

use wg_proto::{Endpoint, Instant};

use super::control::ControlBuffer;
use super::socket::SocketPair;
use super::sys::{self, MESSAGES_MAX, Name, Outgoing};
use crate::offload::GSO_BYTES_MAX;

/// Most datagrams in one `UDP_SEGMENT` send (`UDP_MAX_SEGMENTS` of every kernel).
const GSO_SEGMENTS_MAX: usize = 64;
/// Most bytes in one datagram: an IPv4 packet less its headers.
pub(crate) const DATAGRAM_BYTES_MAX: usize = 65_507;

// Our own choices.
/// Two runs of the largest size: one being filled while one waits.
const ARENA_BYTES: usize = 2 * 65_536;
/// A stride that did not fit the path is tried again after this, in case the route changed.
const STRIDE_RETRY: Duration = Duration::from_secs(5);
/// Datagrams up to this size fit any path, so a refusal of smaller strides is not about size.
const ALWAYS_FITS_BYTES: usize = 1280 - 48;
/// How long a full socket buffer may hold up a worker before it drops.
const FULL_WAIT: Duration = Duration::from_millis(1);

/// What became of datagrams given to [`SendQueue`]; the worker adds them to its counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SendCounts {
    /// Messages the kernel took.
    pub(crate) messages: u64,
    /// Datagrams in them.
    pub(crate) datagrams: u64,
    /// Bytes in them.
    pub(crate) bytes: u64,
    /// Datagrams dropped because the socket buffer was full.
    pub(crate) dropped_full: u64,
    /// Datagrams dropped because they are too large for UDP or for the path.
    pub(crate) dropped_too_big: u64,
    /// Datagrams dropped because the machine has no address of that family or no way there.
    pub(crate) dropped_unreachable: u64,
}

/// An arena of datagrams and the runs they form.
pub(crate) struct SendQueue {
    arena: Box<[u8]>,
    used: usize,
    runs: Vec<Run>,
    outgoing: Vec<Outgoing>,
    gso: Gso,
    counts: SendCounts,
    stale_sources: Vec<Endpoint>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    start: usize,
    end: usize,
    stride: usize,
    datagrams: usize,
    /// A shorter datagram ended it.
    closed: bool,
    to: Endpoint,
    tos: u8,
}

/// What we know about `UDP_SEGMENT` here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gso {
    Works,
    /// Strides from this size on exceed some path's MTU, until the deadline.
    Below {
        stride: usize,
        until: Instant,
    },
    Off,
}

impl SendQueue {
    pub(crate) fn new(offload: bool) -> SendQueue {
        SendQueue {
            arena: vec![0; ARENA_BYTES].into_boxed_slice(),
            used: 0,
            runs: Vec::with_capacity(MESSAGES_MAX),
            outgoing: Vec::with_capacity(MESSAGES_MAX),
            gso: if offload { Gso::Works } else { Gso::Off },
            counts: SendCounts::default(),
            stale_sources: Vec::with_capacity(MESSAGES_MAX),
        }
    }

    /// Room for one datagram of up to `len` bytes, or `None` when a flush must come first.
    pub(crate) fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        if self.runs.len() == MESSAGES_MAX {
            return None;
        }
        self.arena.get_mut(self.used..self.used + len)
    }

    /// The first `len` bytes of the reserved room are a datagram. It joins the last run where it can.
    pub(crate) fn commit(&mut self, len: usize, to: Endpoint, tos: u8) {
        let start = self.used;
        self.used += len;
        match self.runs.last_mut() {
            Some(run) if run.accepts(len, to, tos) => run.extend(len),
            _ => self.runs.push(Run::new(start, len, to, tos)),
        }
    }

    /// Whether sending now is as good as sending later: a good deal waits, and the last run is complete.
    pub(crate) fn is_worth_flushing(&self) -> bool {
        self.used >= ARENA_BYTES / 4 && self.runs.last().is_some_and(Run::is_complete)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Sends everything. Nothing is left behind: what cannot be sent is counted and dropped.
    pub(crate) fn flush(&mut self, now: Instant, sockets: &SocketPair) {
        self.retry_large_strides(now);
        let runs = std::mem::take(&mut self.runs);
        for family_runs in runs.chunk_by(|a, b| a.to.remote.is_ipv4() == b.to.remote.is_ipv4()) {
            self.send_family(now, sockets, family_runs);
        }
        self.runs = runs;
        self.runs.clear();
        self.used = 0;
    }

    /// Counts since the last call.
    pub(crate) fn take_counts(&mut self) -> SendCounts {
        std::mem::take(&mut self.counts)
    }

    /// Endpoints whose source address turned out not to be ours any more; the device should forget it.
    pub(crate) fn stale_sources(&mut self) -> impl Iterator<Item = Endpoint> + '_ {
        self.stale_sources.drain(..)
    }

    fn send_family(&mut self, now: Instant, sockets: &SocketPair, mut runs: &[Run]) {
        while let Some(first) = runs.first() {
            if !self.gso.allows(first) {
                self.send_singly(now, sockets, first);
                runs = &runs[1..];
                continue;
            }
            let together = runs.iter().take_while(|run| self.gso.allows(run)).count();
            let sent = self.send_runs(sockets, &runs[..together]);
            match sent {
                Ok(sent) => {
                    self.count_sent(&runs[..sent]);
                    runs = &runs[sent..];
                }
                Err(error) => {
                    self.recover(now, sockets, first, error);
                    runs = &runs[1..];
                }
            }
        }
    }

    fn send_runs(&mut self, sockets: &SocketPair, runs: &[Run]) -> io::Result<usize> {
        self.outgoing.clear();
        self.outgoing.extend(runs.iter().map(|run| run.outgoing(run.to)));
        self.send_outgoing(sockets, runs[0].to)
    }

    /// One attempt, and a second one after a short wait if the socket buffer was full.
    fn send_outgoing(&self, sockets: &SocketPair, to: Endpoint) -> io::Result<usize> {
        let Some(socket) = sockets.towards(to.remote.ip()) else {
            return Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT));
        };
        match sys::send(socket, &self.arena, &self.outgoing) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait_writable(socket);
                sys::send(socket, &self.arena, &self.outgoing)
            }
            other => other,
        }
    }

    /// The first run of a call was refused: find out why, and send it another way if there is one.
    fn recover(&mut self, now: Instant, sockets: &SocketPair, run: &Run, error: io::Error) {
        let Err(error) = self.retry_without_source(sockets, run, error) else { return };
        if run.datagrams > 1 && self.gso.learn(now, run.stride, &error) {
            self.send_singly(now, sockets, run);
        } else {
            self.count_dropped(run.datagrams as u64, &error);
        }
    }

    /// Sends a run again from whatever address the kernel chooses, if a source address may be to blame.
    fn retry_without_source(&mut self, sockets: &SocketPair, run: &Run, error: io::Error) -> io::Result<()> {
        if run.to.source.is_none() || !source_may_be_stale(&error) {
            return Err(error);
        }
        let to = Endpoint { remote: run.to.remote, source: None };
        self.outgoing.clear();
        self.outgoing.push(run.outgoing(to));
        self.send_outgoing(sockets, to)?;
        self.count_sent(std::slice::from_ref(run));
        if self.stale_sources.len() < MESSAGES_MAX {
            self.stale_sources.push(run.to);
        }
        Ok(())
    }

    /// Without GSO: the run's datagrams as messages of their own, still in one system call.
    fn send_singly(&mut self, now: Instant, sockets: &SocketPair, run: &Run) {
        let mut left = *run;
        while left.datagrams > 0 {
            self.outgoing.clear();
            self.outgoing.extend(left.singles());
            match self.send_outgoing(sockets, run.to) {
                Ok(sent) => {
                    let done = left.split_off_front(sent);
                    self.count_sent(std::slice::from_ref(&done));
                    self.counts.messages += sent as u64 - 1;
                }
                Err(error) => {
                    let failed = left.split_off_front(1);
                    self.recover(now, sockets, &failed, error);
                }
            }
        }
    }

    fn count_sent(&mut self, runs: &[Run]) {
        for run in runs {
            self.counts.messages += 1;
            self.counts.datagrams += run.datagrams as u64;
            self.counts.bytes += (run.end - run.start) as u64;
        }
    }

    fn count_dropped(&mut self, datagrams: u64, error: &io::Error) {
        let counter = match error.raw_os_error() {
            Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => &mut self.counts.dropped_full,
            Some(libc::EMSGSIZE) => &mut self.counts.dropped_too_big,
            _ => &mut self.counts.dropped_unreachable,
        };
        *counter += datagrams;
    }

    fn retry_large_strides(&mut self, now: Instant) {
        if let Gso::Below { until, .. } = self.gso
            && now >= until
        {
            self.gso = Gso::Works;
        }
    }
}

impl Run {
    fn new(start: usize, len: usize, to: Endpoint, tos: u8) -> Run {
        Run { start, end: start + len, stride: len, datagrams: 1, closed: false, to, tos }
    }

    fn accepts(&self, len: usize, to: Endpoint, tos: u8) -> bool {
        !self.closed
            && len <= self.stride
            && self.datagrams < GSO_SEGMENTS_MAX
            && self.end - self.start + len <= GSO_BYTES_MAX
            && self.tos == tos
            && self.to == to
    }

    /// Nothing of its own size fits behind it any more.
    fn is_complete(&self) -> bool {
        !self.accepts(self.stride, self.to, self.tos)
    }

    fn extend(&mut self, len: usize) {
        self.end += len;
        self.datagrams += 1;
        self.closed = len < self.stride;
    }

    fn outgoing(&self, to: Endpoint) -> Outgoing {
        let mut control = ControlBuffer::new();
        if let Some(source) = to.source {
            control.push_source(source);
        }
        if self.tos != 0 {
            control.push_tos(to.remote.is_ipv6(), self.tos);
        }
        if self.datagrams > 1 {
            control.push_segment(self.stride as u16);
        }
        Outgoing { start: self.start, len: self.end - self.start, name: Name::new(to.remote), control }
    }

    fn singles(&self) -> impl Iterator<Item = Outgoing> + use<> {
        let run = *self;
        (run.start..run.end).step_by(run.stride.max(1)).map(move |start| {
            let end = run.end.min(start + run.stride);
            Run { start, end, datagrams: 1, ..run }.outgoing(run.to)
        })
    }

    /// Takes the first `datagrams` off.
    fn split_off_front(&mut self, datagrams: usize) -> Run {
        let end = self.end.min(self.start + datagrams * self.stride);
        let front = Run { end, datagrams, ..*self };
        self.start = end;
        self.datagrams -= datagrams;
        front
    }
}

impl Gso {
    fn allows(&self, run: &Run) -> bool {
        match self {
            _ if run.datagrams == 1 => true,
            Gso::Works => true,
            Gso::Below { stride, .. } => run.stride < *stride,
            Gso::Off => false,
        }
    }

    /// Draws the conclusion from a refused run of several datagrams. False when the refusal was not about GSO.
    ///
    /// EINVAL and EMSGSIZE with a large stride mean that one path is narrower than the stride; EINVAL with
    /// a stride that fits any path, and EIO (a driver without checksum offload), mean that GSO does not
    /// work here at all.
    fn learn(&mut self, now: Instant, stride: usize, error: &io::Error) -> bool {
        match error.raw_os_error() {
            Some(libc::EINVAL | libc::EMSGSIZE) if stride > ALWAYS_FITS_BYTES => {
                *self = Gso::Below { stride, until: now.saturating_add(STRIDE_RETRY) };
                true
            }
            Some(libc::EIO | libc::EINVAL | libc::ENOPROTOOPT | libc::EOPNOTSUPP) => {
                tracing::info!(%error, "UDP segmentation offload refused; it stays off");
                *self = Gso::Off;
                true
            }
            _ => false,
        }
    }
}

/// The kernel's words for "that source address (or interface) is not ours", as far as they can be told from
/// others: a second attempt without it costs one call.
fn source_may_be_stale(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::ENODEV | libc::ENETUNREACH | libc::EADDRNOTAVAIL | libc::EHOSTUNREACH)
    )
}

fn wait_writable(socket: std::os::fd::BorrowedFd<'_>) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let timeout = Timespec { tv_sec: 0, tv_nsec: FULL_WAIT.as_nanos() as _ };
    // A failed wait means that the datagram is dropped a little earlier.
    let _ = poll(&mut [PollFd::new(&socket, PollFlags::OUT)], Some(&timeout));
}
