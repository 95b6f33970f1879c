//! A client's UDP conversation with one port of a device, by a socket of its own. Called by `sockets`; calls `conversation`.

use std::borrow::Cow;
use std::net::IpAddr;

use router_core::packet::build::Notice;

use super::Office;
use super::conversation::{self, ClientFlow};
use super::device_socket::{DeviceSocket, Manner};
use crate::stack::{Datagram, Full, UdpFlow};

/// Serves one flow to its end.
pub(super) async fn serve(office: &Office, flow: UdpFlow) {
    let _inside = office.counters.udp.enter();
    match DeviceSocket::udp(flow.local(), &office.settings.sources) {
        Ok(socket) => conversation::serve(office, flow, socket).await,
        Err(error) => conversation::refuse(office, flow, &error).await,
    }
}

impl ClientFlow for UdpFlow {
    type Request = Datagram;

    async fn next(&mut self) -> Option<Datagram> {
        self.recv().await
    }

    fn manner(datagram: &Datagram) -> Manner {
        Manner {
            hop_limit: datagram.hop_limit,
            traffic_class: datagram.traffic_class,
            dont_fragment: datagram.dont_fragment,
        }
    }

    fn payload(datagram: &Datagram) -> &[u8] {
        &datagram.payload
    }

    fn message<'a>(&self, datagram: &'a Datagram) -> Cow<'a, [u8]> {
        (*datagram.payload).into()
    }

    fn answer(&self, payload: &[u8]) -> Option<Result<usize, Full>> {
        Some(self.send(payload).map(|()| payload.len()))
    }

    fn report(&self, notice: Notice, offender: Option<IpAddr>, payload: &[u8]) -> bool {
        UdpFlow::report(self, notice, offender, payload);
        true
    }
}
