//! Why a packet passes or does not, as far as policy knows: which session allows it, or what keeps the targets that lead there
//! from being opened. What routers do with it, they say themselves.

use alloc::vec::Vec;
use core::net::IpAddr;

use wg_proto::UnixTime;

use super::approval::Approval;
use super::decide::{Facts, Refused, Request, failures};
use super::end::EndReason;
use super::id::TargetId;
use super::session::{Session, SessionState};
use super::target::Target;
use crate::packet::Protocol;
use crate::rules::SessionId;

/// The first packet of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FirstPacket {
    /// The client IP it comes from.
    pub client_ip: IpAddr,
    /// Where it is sent, before any translation.
    pub destination: IpAddr,
    /// Its protocol.
    pub protocol: Protocol,
    /// The port it is sent to; 0 where the protocol has none.
    pub port: u16,
}

/// What policy says about a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What the sessions on the client IP say. At most one of them means the packet.
    pub passage: Passage,
    /// All targets that lead there, and what keeps each from being opened now.
    pub outlooks: Vec<Outlook>,
}

/// Whether a session allows a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// It passes.
    Allowed {
        /// The session that allows it.
        session: SessionId,
        /// Which of its target's destinations it is for, counted from 0.
        destination: usize,
    },
    /// It will pass when the routers have acknowledged the session.
    Pending {
        /// The session that will allow it.
        session: SessionId,
        /// Which of its target's destinations it is for, counted from 0.
        destination: usize,
    },
    /// It passes no longer, or for moments only.
    Ending {
        /// The session that has allowed it.
        session: SessionId,
        /// Why it ends.
        why: EndReason,
    },
    /// No session means it.
    NotAllowed,
}

/// A target that leads where the packet goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// Which.
    pub target: TargetId,
    /// Which of its destinations means the packet, counted from 0.
    pub destination: usize,
    /// What keeps it from being opened, one for each check that fails. Empty: it can be opened.
    pub failures: Vec<Refused>,
}

/// What policy says about a packet of the facts' user. `targets` are asked whether they lead there; a request for one would
/// have no reason yet, and those of the `approvals` that cover it.
pub fn explain<'a>(
    packet: &FirstPacket,
    facts: &Facts<'_>,
    targets: impl IntoIterator<Item = &'a Target>,
    approvals: &[Approval],
    at: UnixTime,
) -> Explanation {
    let outlooks = targets.into_iter().filter_map(|target| {
        let (destination, _) =
            target.destinations.selecting(packet.destination, packet.protocol, packet.port)?;
        let approval = approvals.iter().find(|approval| approval.covers(facts.user.id, target, at));
        let facts = Facts { target: Some(target), approval, ..*facts };
        let request = Request {
            client_ip: packet.client_ip,
            target: target.name.clone(),
            reason: None,
            duration: None,
        };
        Some(Outlook { target: target.id, destination, failures: failures(&facts, &request, at) })
    });
    Explanation { passage: passage(packet, facts.ongoing, at), outlooks: outlooks.collect() }
}

fn passage(packet: &FirstPacket, sessions: &[Session], at: UnixTime) -> Passage {
    let here = sessions.iter().filter(|session| session.client_ip == packet.client_ip);
    let selecting = |session: &'_ Session| {
        let destinations = &session.target.destinations;
        destinations.selecting(packet.destination, packet.protocol, packet.port).map(|(place, _)| place)
    };
    here.filter_map(|session| Some((session, selecting(session)?)))
        .find_map(|(session, destination)| {
            let expired = session.expires.filter(|expiry| expiry.at <= at);
            match (&session.state, expired) {
                (SessionState::Closed { .. }, _) => None,
                (SessionState::Closing { why, .. }, _) => {
                    Some(Passage::Ending { session: session.id, why: *why })
                }
                (SessionState::Pending { .. } | SessionState::Active { .. }, Some(_)) => {
                    Some(Passage::Ending { session: session.id, why: EndReason::Expired })
                }
                (SessionState::Pending { .. }, None) => {
                    Some(Passage::Pending { session: session.id, destination })
                }
                (SessionState::Active { .. }, None) => {
                    Some(Passage::Allowed { session: session.id, destination })
                }
            }
        })
        .unwrap_or(Passage::NotAllowed)
}

impl Explanation {
    /// What the user is told: targets that do not exist for them are left out.
    #[must_use]
    pub fn disclosed(mut self) -> Explanation {
        let is_unknown =
            |refused: &Refused| matches!(refused.clone().disclosed(), Refused::TargetUnknown { .. });
        self.outlooks.retain(|outlook| !outlook.failures.iter().any(is_unknown));
        self
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::access::tests::{FIRST, SECOND, World, at, ip, length, plain, target};

    fn packet(to: &str, port: u16) -> FirstPacket {
        FirstPacket { client_ip: ip("10.77.0.2"), destination: ip(to), protocol: Protocol::TCP, port }
    }

    fn passage_of(world: &World, packet: FirstPacket, moment: u64) -> Passage {
        explain(&packet, &world.facts(), [], &[], at(moment)).passage
    }

    #[test]
    fn the_session_that_means_a_packet_is_named_in_each_of_its_states() {
        let mut world = World::new();
        world.request.duration = Some(length(100));
        let session = world.session(1);
        let id = session.id;
        world.ongoing = vec![world.session_from(2, "10.77.0.9"), session];
        let (ssh, web) = (packet("10.20.0.5", 22), packet("10.20.0.5", 80));
        assert_eq!(passage_of(&world, ssh, 0), Passage::Pending { session: id, destination: 0 });
        assert_eq!(passage_of(&world, web, 0), Passage::NotAllowed);
        for router in [FIRST, SECOND] {
            let _ = world.ongoing[1].acknowledged(router, at(1));
        }
        assert_eq!(passage_of(&world, ssh, 99), Passage::Allowed { session: id, destination: 0 });
        let expired = Passage::Ending { session: id, why: EndReason::Expired };
        assert_eq!(passage_of(&world, ssh, 100), expired);
        let _ = world.ongoing[1].end(EndReason::UserClosed, at(2));
        let ending = Passage::Ending { session: id, why: EndReason::UserClosed };
        assert_eq!(passage_of(&world, ssh, 2), ending);
        for router in [FIRST, SECOND] {
            let _ = world.ongoing[1].removed(router, at(3));
        }
        assert_eq!(passage_of(&world, ssh, 3), Passage::NotAllowed);
    }

    #[test]
    fn each_target_that_leads_there_says_what_keeps_it_from_being_opened() {
        let mut world = World::new();
        let open = target(1, "open", vec![plain("10.20.0.5", 22)]);
        let mut closed = target(2, "closed", vec![plain("10.20.0.9", 1), plain("10.20.0.0-10.20.0.8", 22)]);
        closed.conditions.require_reason = true;
        closed.exclusive_access = true;
        let elsewhere = target(3, "elsewhere", vec![plain("10.66.0.1", 22)]);
        world.ongoing = vec![world.session_of_bob(9)];
        let ssh = packet("10.20.0.5", 22);
        let targets = [&open, &closed, &elsewhere];
        let explanation = explain(&ssh, &world.facts(), targets, &[], at(0));
        assert_eq!(explanation.outlooks.len(), 2);
        assert_eq!(explanation.outlooks[0], Outlook { target: open.id, destination: 0, failures: vec![] });
        let codes: Vec<&str> = explanation.outlooks[1].failures.iter().map(Refused::code).collect();
        assert_eq!(
            (explanation.outlooks[1].destination, codes),
            (1, vec!["reason-required", "others-present"])
        );
    }

    #[test]
    fn targets_without_a_role_for_them_are_not_disclosed() {
        let world = World::new();
        let mut secret = target(2, "secret", vec![plain("10.20.0.5", 22)]);
        secret.roles = vec![crate::access::RoleId(99)];
        let explanation =
            explain(&packet("10.20.0.5", 22), &world.facts(), [&secret, &world.target], &[], at(0));
        assert_eq!(explanation.outlooks.len(), 2);
        let told = explanation.disclosed();
        assert_eq!(told.outlooks.iter().map(|outlook| outlook.target).collect::<Vec<_>>(), [world.target.id]);
    }

    #[test]
    fn each_target_has_approvals_of_its_own() {
        let mut world = World::new();
        world.target.conditions.require_approval = true;
        let mut other = target(2, "other", vec![plain("10.20.0.5", 22)]);
        other.conditions.require_approval = true;
        let approval = |target: &Target| {
            let (id, carol) = (crate::access::ApprovalId(1), crate::access::UserId(3));
            Approval::new(id, carol, world.user.id, (target.id, target.version), at(100)).unwrap()
        };
        let approvals = [approval(&other)];
        let ssh = packet("10.20.0.5", 22);
        let explanation = explain(&ssh, &world.facts(), [&world.target, &other], &approvals, at(0));
        let failing: Vec<usize> = explanation.outlooks.iter().map(|outlook| outlook.failures.len()).collect();
        assert_eq!(failing, [1, 0]);
    }
}
