//! A client's TCP connection: the device is dialled, then the client answered, then bytes are pumped until both sides
//! are done. Called by `sockets`; calls `dial`, `pump`.
//!
//! The dial begins on the thread of the worker that brings the SYN. A device on this host or behind a fast link has often
//! answered when it returns, and then that worker takes the answer to the client, too. No task is woken before the client
//! has heard of it, and answered.

use std::sync::Arc;

use router_core::packet::build::{Notice, Unreachable};
use tokio::net::TcpStream as DeviceStream;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

use super::Office;
use super::counters::Inside;
use super::dial::{self, Dial, Undialled};
use super::pump::{self, Ending};
use super::reactions::Reaction;
use crate::stack::{NoRoom, PendingTcp, TcpStream};

/// One client's connection, and its place among all.
struct Visit {
    office: Arc<Office>,
    _seat: OwnedSemaphorePermit,
    _inside: Inside,
}

/// Dials, without waiting, on a worker's thread. A task serves the connection to its end.
pub(super) fn begin(office: Arc<Office>, tasks: &Handle, client: PendingTcp, seat: OwnedSemaphorePermit) {
    let visit = Visit { _inside: office.counters.tcp.enter(), office, _seat: seat };
    // Dropping a task's handle leaves it alone.
    match dial::begin(client.local(), &visit.office.settings.sources) {
        Ok(dial) if dial.is_connected() => {
            let tasks = tasks.clone();
            client.accept_at_once(move |client| drop(tasks.spawn(visit.connected(client, dial))));
        }
        Ok(dial) => drop(tasks.spawn(visit.dialling(client, dial))),
        Err(error) => visit.refuse(client, &Undialled::Failed(error)),
    }
}

impl Visit {
    async fn connected(self, client: Result<TcpStream, NoRoom>, dial: Dial) {
        match dial.into_stream() {
            Ok(device) => self.carry(client, device).await,
            Err(error) => self.office.note_exhausted(&error),
        }
    }

    async fn dialling(self, client: PendingTcp, dial: Dial) {
        match dial.end(&self.office.settings, client.gone()).await {
            Ok(device) => self.carry(client.accept(), device).await,
            Err(undialled) => self.refuse(client, &undialled),
        }
    }

    async fn carry(&self, client: Result<TcpStream, NoRoom>, device: DeviceStream) {
        let counters = &self.office.counters;
        counters.dials_connected.add(1);
        let Ok(client) = client else {
            counters.no_room.add(1);
            pump::break_off(&device);
            return;
        };
        match pump::run(client, device, counters).await {
            Ending::Closed => {}
            Ending::ClientReset => counters.reset_by_clients.add(1),
            Ending::DeviceReset => counters.reset_by_devices.add(1),
        }
    }

    fn refuse(&self, client: PendingTcp, undialled: &Undialled) {
        let (office, device) = (&self.office, client.local());
        let counters = &office.counters;
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
}
