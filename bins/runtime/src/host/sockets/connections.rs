//! A client's TCP connection: the device is dialled, then the client answered, then bytes are pumped until both sides
//! are done. Called by `sockets`; calls `dial`, `pump`.
//!
//! The dial begins on the thread of the worker that brings the SYN. A device on this host or behind a fast link has often
//! answered when it returns, and then that worker takes the answer to the client, too.

use router_core::packet::build::{Notice, Unreachable};
use tokio::net::TcpStream as DeviceStream;

use super::Office;
use super::counters::Inside;
use super::dial::{self, Dial, Undialled};
use super::pump::{self, Ending};
use super::reactions::Reaction;
use crate::stack::{NoRoom, PendingTcp, TcpStream};

/// A connection whose device was dialled.
pub(super) struct Begun {
    stage: Stage,
    _inside: Inside,
}

enum Stage {
    /// The device has answered, and so was the client, if there was room.
    Connected(Result<TcpStream, NoRoom>, Dial),
    Dialling(PendingTcp, Dial),
    Failed(PendingTcp, Undialled),
}

/// Dials, without waiting; on a worker's thread.
pub(super) fn begin(office: &Office, client: PendingTcp) -> Begun {
    let inside = office.counters.tcp.enter();
    let stage = match dial::begin(client.local(), &office.settings.sources) {
        Ok(dial) if dial.is_connected() => Stage::Connected(client.accept_at_once(), dial),
        Ok(dial) => Stage::Dialling(client, dial),
        Err(error) => Stage::Failed(client, Undialled::Failed(error)),
    };
    Begun { stage, _inside: inside }
}

/// Serves one connection to its end.
pub(super) async fn serve(office: &Office, begun: Begun) {
    match begun.stage {
        Stage::Connected(client, dial) => match dial.into_stream() {
            Ok(device) => carry(office, client, device).await,
            Err(error) => office.note_exhausted(&error),
        },
        Stage::Dialling(client, dial) => match dial.end(&office.settings, client.gone()).await {
            Ok(device) => carry(office, client.accept(), device).await,
            Err(undialled) => refuse(office, client, &undialled),
        },
        Stage::Failed(client, undialled) => refuse(office, client, &undialled),
    }
}

async fn carry(office: &Office, client: Result<TcpStream, NoRoom>, device: DeviceStream) {
    office.counters.dials_connected.add(1);
    let Ok(client) = client else {
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
