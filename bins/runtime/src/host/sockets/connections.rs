//! A client's TCP connection: the device is dialled, then the client answered, then bytes are pumped until both sides
//! are done. Called by `sockets`; calls `dial`, `pump`.

use router_core::packet::build::{Notice, Unreachable};
use tokio::net::TcpStream;

use super::Office;
use super::dial::{Undialled, dial};
use super::pump::{self, Ending};
use super::reactions::Reaction;
use crate::stack::PendingTcp;

/// Serves one connection to its end.
pub(super) async fn serve(office: &Office, client: PendingTcp) {
    let _inside = office.counters.tcp.enter();
    let device = client.local();
    match dial(device, &office.settings, client.gone()).await {
        Ok(stream) => carry(office, client, stream).await,
        Err(undialled) => refuse(office, client, &undialled),
    }
}

async fn carry(office: &Office, client: PendingTcp, device: TcpStream) {
    office.counters.dials_connected.add(1);
    let Ok(client) = client.accept() else {
        office.counters.no_room.add(1);
        pump::break_off(&device);
        return;
    };
    match pump::run(client, device, &office.counters).await {
        Ending::Closed => {}
        Ending::ClientReset => office.counters.reset_by_clients.add(1),
        Ending::DeviceReset => office.counters.reset_by_devices.add(1),
    }
}

fn refuse(office: &Office, client: PendingTcp, undialled: &Undialled) {
    let (counters, device) = (&office.counters, client.local());
    let reaction = match undialled {
        Undialled::Abandoned => return counters.dials_abandoned.add(1),
        Undialled::TimedOut => {
            counters.dials_timed_out.add(1);
            Reaction::Notice(Notice::Unreachable(Unreachable::Host))
        }
        Undialled::Failed(error) => {
            let reaction = office.judge(error);
            counters.dial_failed(reaction);
            tracing::debug!(%device, %error, "a device is not reached");
            reaction
        }
    };
    match reaction.notice() {
        None => client.reset(),
        Some(notice) => client.unreachable(notice, None),
    }
}
