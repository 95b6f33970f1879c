//! Warnings before a session ends by itself.

use core::time::Duration;

use wg_proto::UnixTime;

use super::Session;

/// A warning that a session will end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Notice {
    /// In ten minutes.
    TenMinutes,
    /// In one minute.
    OneMinute,
}

impl Notice {
    /// Both, the earlier one first.
    pub const BOTH: [Notice; 2] = [Notice::TenMinutes, Notice::OneMinute];

    /// How long before the end it is given.
    pub const fn ahead(self) -> Duration {
        match self {
            Notice::TenMinutes => Duration::from_secs(600),
            Notice::OneMinute => Duration::from_secs(60),
        }
    }
}

impl Session {
    /// The next warning that is due after a moment, and when. Warnings that would have come before the session was opened
    /// are not given.
    pub fn next_notice(&self, after: UnixTime) -> Option<(UnixTime, Notice)> {
        let expires = self.expires.filter(|_| self.is_open())?.at;
        let due = |notice: Notice| {
            let secs = expires.secs.checked_sub(notice.ahead().as_secs())?;
            Some((UnixTime { secs, ..expires }, notice))
        };
        let is_next = |(at, _): &(UnixTime, Notice)| *at > after && *at > self.opened;
        Notice::BOTH.into_iter().filter_map(due).find(is_next)
    }
}
