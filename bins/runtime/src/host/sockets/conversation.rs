//! One client's conversation with one device through a socket of datagrams: what both say, what the network says of it, and when
//! nobody has said anything for too long. Called by `sockets` with flows; calls `device_socket`. What differs between UDP and
//! pings stands in `datagrams` and `ping`.

use std::borrow::Cow;
use std::cell::Cell;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use router_core::packet::build::{Notice, Unreachable};
use tokio::time::Instant;

use super::Office;
use super::device_socket::{DeviceSocket, Manner, TakeError};
use super::error_queue::Told;
use super::reactions;
use crate::stack::Full;

// Our own choices.
/// A flow whose port is closed is forgotten after so long, or a scan would hold a socket for each port.
const REFUSED_IDLE: Duration = Duration::from_secs(5);
/// So many datagrams and errors are taken from a socket, then the client has its turn.
const TURN: usize = 64;

/// The client's side.
pub(super) trait ClientFlow {
    /// What a client sends.
    type Request;

    /// The next one; `None` when the client's side has ended.
    async fn next(&mut self) -> Option<Self::Request>;

    /// How it travels.
    fn manner(request: &Self::Request) -> Manner;

    /// What the client put in it.
    fn payload(request: &Self::Request) -> &[u8];

    /// As the device's socket takes it.
    fn message<'a>(&self, request: &'a Self::Request) -> Cow<'a, [u8]>;

    /// Hands on what the device's socket gave, and says how much payload that was; `None` if it is nothing for a client.
    fn answer(&self, message: &[u8]) -> Option<Result<usize, Full>>;

    /// Passes on what the network says of a message that was sent. Says whether it could.
    fn report(&self, notice: Notice, offender: Option<IpAddr>, message: &[u8]) -> bool;
}

/// Serves one flow until it idles for too long or the client's side ends it.
pub(super) async fn serve<F: ClientFlow>(office: &Office, flow: F, socket: DeviceSocket) {
    let (last_heard, was_answered, was_refused) = (Instant::now(), false, Cell::new(false));
    Conversation { office, flow, socket, last_heard, was_answered, was_refused }.run().await;
}

/// There is no socket for it. The first message is there already, and its sender is told.
pub(super) async fn refuse<F: ClientFlow>(office: &Office, mut flow: F, error: &io::Error) {
    let notice = office.judge(error).notice();
    if let (Some(request), Some(notice)) = (flow.next().await, notice) {
        let message = flow.message(&request);
        if flow.report(notice, None, &message) {
            office.counters.errors_to_clients.add(1);
        }
    }
}

struct Conversation<'a, F> {
    office: &'a Office,
    flow: F,
    socket: DeviceSocket,
    last_heard: Instant,
    /// The device has sent something.
    was_answered: bool,
    /// Nothing listens at the port.
    was_refused: Cell<bool>,
}

impl<F: ClientFlow> Conversation<'_, F> {
    async fn run(&mut self) {
        let idle = tokio::time::sleep_until(self.end());
        tokio::pin!(idle);
        loop {
            tokio::select! {
                request = self.flow.next() => match request {
                    Some(request) => self.send(&request).await,
                    None => return,
                },
                ready = self.socket.ready() => match ready {
                    Ok(_) => self.receive(),
                    Err(_) => return,
                },
                () = &mut idle => {
                    if self.end() <= Instant::now() {
                        return;
                    }
                    idle.as_mut().reset(self.end());
                }
            }
            if self.end() < idle.deadline() {
                idle.as_mut().reset(self.end());
            }
        }
    }

    /// When it has idled for too long.
    fn end(&self) -> Instant {
        let is_closed = self.was_refused.get() && !self.was_answered;
        self.last_heard + if is_closed { REFUSED_IDLE } else { self.office.settings.udp_idle_timeout }
    }

    async fn send(&mut self, request: &F::Request) {
        self.last_heard = Instant::now();
        let (message, manner) = (self.flow.message(request), F::manner(request));
        let mut sent = self.socket.send(&message, manner).await;
        if sent.is_err() && self.take_errors(DeviceSocket::take_unannounced_error) {
            // It was about an earlier datagram, or about this one and told already; then it fails again.
            sent = self.socket.send(&message, manner).await;
        }
        match sent {
            Ok(()) => {
                self.office.counters.datagrams_to_devices.add(1);
                self.office.counters.bytes_to_devices.add(F::payload(request).len() as u64);
            }
            Err(error) => self.not_sent(&message, &error),
        }
    }

    fn not_sent(&self, message: &[u8], error: &io::Error) {
        self.office.counters.datagrams_lost.add(1);
        if !self.take_errors(DeviceSocket::take_unannounced_error)
            && let Some(notice) = reactions::of_send(error)
        {
            self.report(notice, None, message);
        }
    }

    /// Errors first: they came first.
    fn receive(&mut self) {
        self.take_errors(DeviceSocket::take_error);
        for _ in 0..TURN {
            let (flow, counters) = (&self.flow, &self.office.counters);
            let taken = self.socket.receive(|message| match flow.answer(message) {
                Some(Ok(payload_bytes)) => {
                    counters.datagrams_to_clients.add(1);
                    counters.bytes_to_clients.add(payload_bytes as u64);
                }
                Some(Err(_)) => counters.datagrams_lost.add(1),
                None => {}
            });
            match taken {
                Ok(true) => (self.last_heard, self.was_answered) = (Instant::now(), true),
                Ok(false) => return,
                // The error queue says it, too.
                Err(_) => drop(self.take_errors(DeviceSocket::take_error)),
            }
        }
    }

    /// Passes on what the network says. Says whether there was anything.
    fn take_errors(&self, take: TakeError) -> bool {
        let mut taken = 0;
        while taken < TURN && take(&self.socket, &mut |told| self.pass_on(&told)) {
            taken += 1;
        }
        taken > 0
    }

    fn pass_on(&self, told: &Told<'_>) {
        if let Some(notice) = told.notice {
            if notice == Notice::Unreachable(Unreachable::Port) {
                self.was_refused.set(true);
            }
            self.report(notice, told.offender, &self.socket.about(notice, told.quoted));
        }
    }

    /// `message` is what we sent, as far as it is known.
    fn report(&self, notice: Notice, offender: Option<IpAddr>, message: &[u8]) {
        if self.flow.report(notice, offender, message) {
            self.office.counters.errors_to_clients.add(1);
        }
    }
}
