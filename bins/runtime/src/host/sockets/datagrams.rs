//! A client's UDP conversation with one port of a device: a socket of its own, and what the network says of its
//! datagrams. Called by `sockets`; calls `device_socket`.

use std::io;

use router_core::packet::build::Notice;
use tokio::time::Instant;

use super::Office;
use super::device_socket::{DeviceSocket, Manner, TakeError};
use super::error_queue::Told;
use super::reactions;
use crate::stack::{Datagram, UdpFlow};

/// So many datagrams and errors are taken from a socket, then the client has its turn.
const TURN: usize = 64;

/// Serves one flow until it idles for too long or the client's side ends it.
pub(super) async fn serve(office: &Office, mut flow: UdpFlow) {
    let _inside = office.counters.udp.enter();
    let socket = match DeviceSocket::udp(flow.local(), &office.settings.sources) {
        Ok(socket) => socket,
        Err(error) => return refuse(office, &mut flow, &error).await,
    };
    Conversation { office, flow, socket, last_heard: Instant::now() }.run().await;
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
}

impl Conversation<'_> {
    async fn run(&mut self) {
        let idle = tokio::time::sleep_until(self.last_heard + self.office.settings.udp_idle_timeout);
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
                    let end = self.last_heard + self.office.settings.udp_idle_timeout;
                    if end <= Instant::now() {
                        return;
                    }
                    idle.as_mut().reset(end);
                }
            }
        }
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
                Ok(true) => self.last_heard = Instant::now(),
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
            self.report(notice, told.offender, &self.socket.about(notice, told.quoted));
        }
    }

    fn report(&self, notice: Notice, offender: Option<std::net::IpAddr>, quoted: &[u8]) {
        self.office.counters.errors_to_clients.add(1);
        self.flow.report(notice, offender, quoted);
    }
}
