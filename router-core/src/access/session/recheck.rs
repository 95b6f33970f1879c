//! Whether an open session still has its rights. Asked at every relevant change, and periodically as a net.

use core::time::Duration;

use wg_proto::UnixTime;

use super::Session;
use crate::access::approval::Approval;
use crate::access::decide::{self, Client, Facts, Refused};
use crate::access::end::EndReason;
use crate::access::target::Target;

/// When a session's client was last heard of, and how long it may be silent. DESIGN decision 5: 180 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientSeen {
    /// The last authenticated packet of its tunnel; `None`: none since the session was opened.
    pub at: Option<UnixTime>,
    /// How long it may be silent.
    pub silence_max: Duration,
}

impl Session {
    /// Why it has to end now, if it has to. Checks 1 to 5 are made again with the facts as they are; checks 6 to 8 hold as long
    /// as the session is ongoing.
    ///
    /// Whether the user is still logged in makes no difference. Clients behind another gateway have no tunnel to be heard in.
    pub fn recheck(&self, facts: &Facts<'_>, seen: ClientSeen, at: UnixTime) -> Option<EndReason> {
        if !self.is_open() {
            return None;
        }
        self.lost_right(facts, at)
            .err()
            .or_else(|| self.is_lost(seen, at).then_some(EndReason::ConnectivityLost))
    }

    /// When it has to be checked again although nothing is changed: it expires, or its user's roles change by time.
    pub fn next_recheck(&self, facts: &Facts<'_>, at: UnixTime) -> Option<UnixTime> {
        let expires = self.expires.map(|expiry| expiry.at);
        expires.into_iter().chain(facts.user.next_change(at)).filter(|next| *next > at).min()
    }

    fn lost_right(&self, facts: &Facts<'_>, at: UnixTime) -> Result<(), EndReason> {
        let ends = |is_over: bool, why| if is_over { Err(why) } else { Ok(()) };
        ends(self.expires.is_some_and(|expiry| expiry.at <= at), EndReason::Expired)?;
        ends(facts.user.disabled || facts.user.id != self.user, EndReason::UserDisabled)?;
        self.same_place(facts)?;
        let target = facts.target.filter(|target| target.id == self.target.id);
        let target =
            target.filter(|target| facts.user.may_know(target.tenant)).ok_or(EndReason::TargetRemoved)?;
        ends(target.disabled, EndReason::TargetDisabled)?;
        ends(!target.is_enforced_like(&self.target), EndReason::TargetEdited)?;
        let max = target.conditions.max_duration.map(|length| self.opened.saturating_add(length.duration()));
        ends(max.is_some_and(|max| max <= at), EndReason::Expired)?;
        decide::roles(facts.user, target, at).map_err(|_| EndReason::RoleLost)?;
        self.same_terms(facts, target, at)
    }

    /// Check 2 finds what it found before, at least in part: a group may have got smaller or larger.
    fn same_place(&self, facts: &Facts<'_>) -> Result<(), EndReason> {
        match decide::place(facts, self.user, self.client_ip) {
            Ok(place) if place.client != self.client => Err(EndReason::DeviceRemoved),
            Ok(place) if place.routers.iter().any(|router| self.routers.contains(router)) => Ok(()),
            Err(Refused::ClientIpNotYours { .. }) => Err(EndReason::DeviceRemoved),
            Ok(_) | Err(_) => Err(EndReason::RoutersChanged),
        }
    }

    /// Check 5, with the target as it is now.
    fn same_terms(&self, facts: &Facts<'_>, target: &Target, at: UnixTime) -> Result<(), EndReason> {
        match decide::terms(target, self.reason.as_ref(), self.approval_among(facts, target, at), at) {
            Ok(_) => Ok(()),
            Err(Refused::ReasonRequired { .. }) => Err(EndReason::ReasonRequired),
            Err(Refused::ApprovalNeeded { .. }) => Err(EndReason::ApprovalLost),
            Err(_) => Err(EndReason::ScheduleClosed),
        }
    }

    /// The approval, if it is about the target as it is, or as it was when the session was opened: edits that change what the
    /// session leads to have ended it.
    pub(in crate::access) fn approval_among<'a>(
        &self,
        facts: &Facts<'a>,
        target: &Target,
        at: UnixTime,
    ) -> Option<&'a Approval> {
        let is_about = |approval: &&Approval| {
            [target, &self.target].into_iter().any(|target| approval.covers(self.user, target, at))
        };
        facts.approval.filter(is_about)
    }

    fn is_lost(&self, seen: ClientSeen, at: UnixTime) -> bool {
        let last = seen.at.map_or(self.opened, |last| last.max(self.opened));
        match self.client {
            Client::Device(_) => last.saturating_add(seen.silence_max) <= at,
            Client::External => false,
        }
    }
}
