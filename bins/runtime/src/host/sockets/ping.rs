//! A client's pings of one device, by an unprivileged ping socket, which the system lets a group of users have. Read
//! first: icmp(7) on ping_group_range, RFC 792, RFC 4443 section 4. Called by `sockets`; calls `conversation`.

use std::borrow::Cow;
use std::io;
use std::net::IpAddr;

use router_core::packet::build::Notice;

use super::Office;
use super::conversation::{self, ClientFlow};
use super::device_socket::{DeviceSocket, Manner};
use crate::stack::{EchoFlow, EchoRequest, Full};

// Of the specifications.
const HEADER_BYTES: usize = 8;
const REQUEST_V4: u8 = 8;
const REPLY_V4: u8 = 0;
const REQUEST_V6: u8 = 128;
const REPLY_V6: u8 = 129;

/// Serves one flow to its end.
pub(super) async fn serve(office: &Office, flow: EchoFlow) {
    let _inside = office.counters.echo.enter();
    match DeviceSocket::ping(flow.local(), &office.settings.sources) {
        Ok(socket) => conversation::serve(office, flow, socket).await,
        Err(error) => {
            if is_forbidden(&error) {
                office.note_pings_forbidden(&error);
            }
            conversation::refuse(office, flow, &error).await;
        }
    }
}

/// The system knows the protocol, and not for us.
fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM | libc::EPROTONOSUPPORT))
}

impl ClientFlow for EchoFlow {
    type Request = EchoRequest;

    async fn next(&mut self) -> Option<EchoRequest> {
        self.recv().await
    }

    fn manner(request: &EchoRequest) -> Manner {
        Manner {
            hop_limit: request.hop_limit,
            traffic_class: request.traffic_class,
            dont_fragment: request.dont_fragment,
        }
    }

    fn payload(request: &EchoRequest) -> &[u8] {
        &request.payload
    }

    fn message<'a>(&self, request: &'a EchoRequest) -> Cow<'a, [u8]> {
        message(self.local().is_ipv4(), request.sequence, &request.payload).into()
    }

    fn answer(&self, message: &[u8]) -> Option<Result<usize, Full>> {
        let (sequence, payload) = reply(self.local().is_ipv4(), message)?;
        Some(EchoFlow::reply(self, sequence, payload).map(|()| payload.len()))
    }

    fn report(&self, notice: Notice, offender: Option<IpAddr>, message: &[u8]) -> bool {
        let Some((sequence, payload)) = parts(message) else { return false };
        EchoFlow::report(self, notice, offender, sequence, payload);
        true
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
