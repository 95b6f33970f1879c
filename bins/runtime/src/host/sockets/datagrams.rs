//! A client's UDP conversation with one port of a device: a socket of its own, and what the network says of its
//! datagrams. Called by `sockets`; calls `device_socket`.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use router_core::packet::build::{Notice, Unreachable};
use tokio::time::Instant;

use super::Office;
use super::device_socket::{DeviceSocket, Manner, TakeError};
use super::error_queue::Told;
use super::reactions;
use crate::stack::{Datagram, UdpFlow};

// Our own choices.
/// A flow whose port is closed is forgotten after so long, or a scan would hold a socket for each port.
const REFUSED_IDLE: Duration = Duration::from_secs(5);
/// So many datagrams and errors are taken from a socket, then the client has its turn.
const TURN: usize = 64;

/// Serves one flow until it idles for too long or the client's side ends it.
pub(super) async fn serve(office: &Office, mut flow: UdpFlow) {
    let _inside = office.counters.udp.enter();
    let socket = match DeviceSocket::udp(flow.local(), &office.settings.sources) {
        Ok(socket) => socket,
        Err(error) => return refuse(office, &mut flow, &error).await,
    };
    let (last_heard, was_answered, was_refused) = (Instant::now(), false, Cell::new(false));
    Conversation { office, flow, socket, last_heard, was_answered, was_refused }.run().await;
}

/// The first datagram is there already, and its sender is told.
async fn refuse(office: &Office, flow: &mut UdpFlow, error: &io::Error) {
    let notice = office.judge(error).notice();
    if let (Some(datagram), Some(notice)) = (flow.recv().await, notice) {
        office.counters.errors_to_clients.add(1);
        flow.report(notice, None, &datagram.payload);
    }
}

struct Conversation<'a> {
    office: &'a Office,
    flow: UdpFlow,
    socket: DeviceSocket,
    last_heard: Instant,
    /// The device has sent something.
    was_answered: bool,
    /// Nothing listens at the port.
    was_refused: Cell<bool>,
}

impl Conversation<'_> {
    async fn run(&mut self) {
        let idle = tokio::time::sleep_until(self.end());
        tokio::pin!(idle);
        loop {
            tokio::select! {
                datagram = self.flow.recv() => match datagram {
                    Some(datagram) => self.send(&datagram).await,
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

    async fn send(&mut self, datagram: &Datagram) {
        self.last_heard = Instant::now();
        let manner = Manner {
            hop_limit: datagram.hop_limit,
            traffic_class: datagram.traffic_class,
            dont_fragment: datagram.dont_fragment,
        };
        let mut sent = self.socket.send(&datagram.payload, manner).await;
        if sent.is_err() && self.take_errors(DeviceSocket::take_unannounced_error) {
            // It was about an earlier datagram, or about this one and told already; then it fails again.
            sent = self.socket.send(&datagram.payload, manner).await;
        }
        match sent {
            Ok(()) => {
                self.office.counters.datagrams_to_devices.add(1);
                self.office.counters.bytes_to_devices.add(datagram.payload.len() as u64);
            }
            Err(error) => self.not_sent(datagram, &error),
        }
    }

    fn not_sent(&mut self, datagram: &Datagram, error: &io::Error) {
        self.office.counters.datagrams_lost.add(1);
        if !self.take_errors(DeviceSocket::take_unannounced_error)
            && let Some(notice) = reactions::of_send(error)
        {
            self.report(notice, None, &datagram.payload);
        }
    }

    /// Errors first: they came first.
    fn receive(&mut self) {
        self.take_errors(DeviceSocket::take_error);
        for _ in 0..TURN {
            let (flow, counters) = (&self.flow, &self.office.counters);
            let taken = self.socket.receive(|payload| match flow.send(payload) {
                Ok(()) => {
                    counters.datagrams_to_clients.add(1);
                    counters.bytes_to_clients.add(payload.len() as u64);
                }
                Err(_) => counters.datagrams_lost.add(1),
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

    fn report(&self, notice: Notice, offender: Option<std::net::IpAddr>, quoted: &[u8]) {
        self.office.counters.errors_to_clients.add(1);
        self.flow.report(notice, offender, quoted);
    }
}
