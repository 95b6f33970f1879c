//! A client's pings of one device, by an unprivileged ping socket, which the system lets a group of users have. Read
//! first: icmp(7) on ping_group_range, RFC 792, RFC 4443 section 4. Called by `sockets`; calls `device_socket`.

use std::io;
use std::net::IpAddr;

use router_core::packet::build::Notice;
use tokio::time::Instant;

use super::Office;
use super::device_socket::{DeviceSocket, Manner, TakeError};
use super::error_queue::Told;
use super::reactions;
use crate::stack::{EchoFlow, EchoRequest};

/// So many replies and errors are taken from a socket, then the client has its turn.
const TURN: usize = 64;

// Of the specifications.
const HEADER_BYTES: usize = 8;
const REQUEST_V4: u8 = 8;
const REPLY_V4: u8 = 0;
const REQUEST_V6: u8 = 128;
const REPLY_V6: u8 = 129;

/// Serves one flow until it idles for too long or the client's side ends it.
pub(super) async fn serve(office: &Office, mut flow: EchoFlow) {
    let _inside = office.counters.echo.enter();
    let device = flow.local();
    let socket = match DeviceSocket::ping(device, &office.settings.sources) {
        Ok(socket) => socket,
        Err(error) => return refuse(office, &mut flow, &error).await,
    };
    Conversation { office, v4: device.is_ipv4(), flow, socket, last_heard: Instant::now() }.run().await;
}

/// The first request is there already, and its sender is told.
async fn refuse(office: &Office, flow: &mut EchoFlow, error: &io::Error) {
    if is_forbidden(error) {
        office.note_pings_forbidden(error);
    }
    let notice = office.judge(error).notice();
    if let (Some(request), Some(notice)) = (flow.recv().await, notice) {
        office.counters.errors_to_clients.add(1);
        flow.report(notice, None, request.sequence, &request.payload);
    }
}

/// The system knows the protocol, and not for us.
fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM | libc::EPROTONOSUPPORT))
}

struct Conversation<'a> {
    office: &'a Office,
    v4: bool,
    flow: EchoFlow,
    socket: DeviceSocket,
    last_heard: Instant,
}

impl Conversation<'_> {
    async fn run(&mut self) {
        let idle = tokio::time::sleep_until(self.last_heard + self.office.settings.udp_idle_timeout);
        tokio::pin!(idle);
        loop {
            tokio::select! {
                request = self.flow.recv() => match request {
                    Some(request) => self.send(&request).await,
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

    async fn send(&mut self, request: &EchoRequest) {
        self.last_heard = Instant::now();
        let manner = Manner {
            hop_limit: request.hop_limit,
            traffic_class: request.traffic_class,
            dont_fragment: request.dont_fragment,
        };
        let message = message(self.v4, request.sequence, &request.payload);
        let mut sent = self.socket.send(&message, manner).await;
        if sent.is_err() && self.take_errors(DeviceSocket::take_unannounced_error) {
            sent = self.socket.send(&message, manner).await;
        }
        match sent {
            Ok(()) => {
                self.office.counters.datagrams_to_devices.add(1);
                self.office.counters.bytes_to_devices.add(request.payload.len() as u64);
            }
            Err(error) => self.not_sent(&message, &error),
        }
    }

    fn not_sent(&mut self, message: &[u8], error: &io::Error) {
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
            let (v4, flow, counters) = (self.v4, &self.flow, &self.office.counters);
            let taken = self.socket.receive(|message| {
                let Some((sequence, payload)) = reply(v4, message) else { return };
                match flow.reply(sequence, payload) {
                    Ok(()) => {
                        counters.datagrams_to_clients.add(1);
                        counters.bytes_to_clients.add(payload.len() as u64);
                    }
                    Err(_) => counters.datagrams_lost.add(1),
                }
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

    /// `quoted` is what we sent.
    fn report(&self, notice: Notice, offender: Option<IpAddr>, quoted: &[u8]) {
        let Some((sequence, payload)) = parts(quoted) else { return };
        self.office.counters.errors_to_clients.add(1);
        self.flow.report(notice, offender, sequence, payload);
    }
}

/// A request as a ping socket takes it: the system adds identifier and checksum.
fn message(v4: bool, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let kind = if v4 { REQUEST_V4 } else { REQUEST_V6 };
    let [high, low] = sequence.to_be_bytes();
    [&[kind, 0, 0, 0, 0, 0, high, low][..], payload].concat()
}

/// The sequence number and payload of a reply as a ping socket gives it; `None` for anything else.
fn reply(v4: bool, message: &[u8]) -> Option<(u16, &[u8])> {
    let kind = if v4 { REPLY_V4 } else { REPLY_V6 };
    parts(message).filter(|_| message.first() == Some(&kind))
}

fn parts(message: &[u8]) -> Option<(u16, &[u8])> {
    let (header, payload) = message.split_first_chunk::<HEADER_BYTES>()?;
    Some((u16::from_be_bytes([header[6], header[7]]), payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_and_its_reply_have_one_sequence_number_and_payload() {
        for (v4, reply_kind) in [(true, REPLY_V4), (false, REPLY_V6)] {
            let mut message = message(v4, 0x1234, b"payload");
            assert_eq!(reply(v4, &message), None);
            message[0] = reply_kind;
            assert_eq!(reply(v4, &message), Some((0x1234, &b"payload"[..])));
            assert_eq!(reply(v4, &message[..7]), None);
        }
    }
}
