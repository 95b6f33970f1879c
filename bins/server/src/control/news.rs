//! What agents tell. Called by control; calls engine.

use std::sync::Arc;
use std::time::Duration;

use control_proto::{FlowRecord, News, PeerReport, Refusal, SessionCounters};
use jiff::Timestamp;
use router_core::access::RouterId;
use sluice_runtime::host::control::AgentNews;
use tokio::sync::mpsc::Receiver;
use uuid::Uuid;

use super::{Control, Seat, lock};
use crate::engine::{Carried, Passed, RefusedPackets};
use crate::store::objects::Kind;

/// Takes what agents tell, as long as there is anybody to tell it.
pub(super) async fn take(control: Control, mut told: Receiver<AgentNews>) {
    while let Some(AgentNews { agent, news }) = told.recv().await {
        let seat = control.all_seats().into_iter().find(|seat| seat.leadership.agent() == agent);
        if let Some(seat) = seat {
            take_one(&control, &seat, news).await;
        }
    }
}

async fn take_one(control: &Control, seat: &Arc<Seat>, news: News) {
    lock(&seat.said).heard = Some(Timestamp::now());
    match news {
        News::Arrived { software, resumes, .. } => {
            tracing::info!(agent = %seat.id, %software, resumes, "agent connected");
            lock(&seat.said).software = Some(software.to_string());
            lock(&seat.presence).arrived(software.as_str());
            control.tell_presence();
        }
        News::Acknowledged(ack) => {
            lock(&seat.said).problem = None;
            lock(&seat.presence).acknowledged(&ack);
            control.tell_presence();
            control.confirm(seat).await;
        }
        News::Refused { generation, problem } => {
            tracing::error!(agent = %seat.id, %generation, %problem, "an agent refuses what it is to have");
            lock(&seat.presence).refused(Timestamp::now(), generation.0, &problem);
            lock(&seat.said).problem = Some(problem.to_string());
        }
        News::Peers(report) if seat.kind == Kind::Router => heard(control, &report),
        News::Peers(_) | News::Health(_) => {}
        News::Flows(report) if seat.kind == Kind::Router => {
            if report.lost > 0 {
                tracing::warn!(agent = %seat.id, lost = report.lost, "a router could not keep all flows");
            }
            let passed: Vec<_> = report.flows.iter().map(Passed::from).collect();
            let router = RouterId(seat.id.as_u128());
            if let Err(why) = control.engine().passed(Timestamp::now(), router, &passed).await {
                tracing::error!(%why, "cannot store which flows there were");
            }
        }
        News::Refusals(report) if seat.kind == Kind::Router => {
            let refused = report.refusals.into_iter().map(|refusal| control.refused(refusal)).collect();
            control.engine().refused(RouterId(seat.id.as_u128()), refused);
        }
        // What a connector refuses came from a router.
        News::Flows(_) | News::Refusals(_) => {}
        News::Counters(report) => {
            *lock(&seat.report) = Some(report);
            control.store_report(seat).await;
        }
        News::Left(bye) => {
            tracing::info!(agent = %seat.id, reason = %bye.reason, "agent goes");
            control.tell_presence();
        }
    }
}

impl Control {
    /// Stores what an agent has told of sessions, then answers for it. What cannot be stored now is stored later.
    pub(super) async fn store_report(&self, seat: &Seat) {
        let Some(report) = lock(&seat.report).clone() else { return };
        let counted: Vec<_> = report.sessions.iter().map(Carried::from).collect();
        match self.engine().count(Timestamp::now(), RouterId(seat.id.as_u128()), &counted).await {
            Ok(()) => {
                lock(&seat.report).take_if(|stored| *stored == report);
                seat.leadership.with(|leader, _| leader.counted(report.report));
            }
            Err(why) => tracing::error!(%why, "cannot store what sessions carried; trying again"),
        }
    }
}

/// Whose tunnels were heard, by the keys of their devices.
fn heard(control: &Control, report: &PeerReport) {
    let now = Timestamp::now();
    for peer in &report.peers {
        let ago = peer.handshake_ms.and_then(|ago| i64::try_from(ago).ok());
        let handshake = ago.and_then(|ago| Timestamp::from_millisecond(now.as_millisecond() - ago).ok());
        control.heard(peer.key, peer.bytes[0], handshake, now);
        if let Some(at) = handshake {
            control.shook_hands(peer.key, at);
        }
    }
}

impl From<&SessionCounters> for Carried {
    fn from(counters: &SessionCounters) -> Carried {
        let SessionCounters { session, packets, bytes, flows, idle_ms, closed: _ } = counters;
        Carried {
            session: Uuid::from_u128(session.0),
            packets: *packets,
            bytes: *bytes,
            flows: *flows,
            idle: idle_ms.map(Duration::from_millis),
        }
    }
}

impl From<&FlowRecord> for Passed {
    fn from(flow: &FlowRecord) -> Passed {
        let FlowRecord { session, protocol, client, destination, reached, bytes, idle_ms } = *flow;
        Passed {
            session: Uuid::from_u128(session.0),
            protocol,
            client,
            destination,
            reached,
            bytes,
            idle: Duration::from_millis(idle_ms),
        }
    }
}

impl Control {
    /// What a router refused, with the client's address in place of its key.
    fn refused(&self, refusal: Refusal) -> RefusedPackets {
        let Refusal { from, packets, reason, protocol, source, destination } = refusal;
        let client = from.and_then(|key| lock(&self.shared.clients).get(&key).map(|client| client.address));
        RefusedPackets { client, packets, reason: reason.to_string(), protocol, source, destination }
    }
}
