//! How long a session may be.

use core::fmt;
use core::time::Duration;

/// A length in whole seconds: one second to [`SessionLength::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionLength {
    secs: u32,
}

/// A length out of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session lasts at least one second and at most {}", SessionLength::MAX)]
pub struct SessionLengthError;

impl SessionLength {
    /// Our own choice: what should last longer than a year is no session.
    pub const MAX: SessionLength = SessionLength { secs: 366 * 24 * 60 * 60 };

    /// This many seconds.
    pub const fn from_secs(secs: u32) -> Result<SessionLength, SessionLengthError> {
        if secs == 0 || secs > SessionLength::MAX.secs {
            Err(SessionLengthError)
        } else {
            Ok(SessionLength { secs })
        }
    }

    /// As a duration.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.secs as u64)
    }
}

impl TryFrom<Duration> for SessionLength {
    type Error = SessionLengthError;

    /// A part of a second is cut off.
    fn try_from(duration: Duration) -> Result<SessionLength, SessionLengthError> {
        u32::try_from(duration.as_secs()).map_err(|_| SessionLengthError).and_then(SessionLength::from_secs)
    }
}

impl fmt::Display for SessionLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, hours) = (self.secs / 86_400, self.secs / 3600 % 24);
        let parts = [(days, "d"), (hours, "h"), (self.secs / 60 % 60, "min"), (self.secs % 60, "s")];
        let mut separator = "";
        for (number, unit) in parts.into_iter().filter(|(number, _)| *number > 0) {
            write!(f, "{separator}{number} {unit}")?;
            separator = " ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_length_is_a_second_to_a_year() {
        let day = 86_400;
        for (duration, secs) in [
            (Duration::ZERO, None),
            (Duration::from_millis(999), None),
            (Duration::from_millis(1999), Some(1)),
            (Duration::from_secs(366 * day), Some(366 * day)),
            (Duration::from_secs(366 * day + 1), None),
            (Duration::MAX, None),
        ] {
            let length = SessionLength::try_from(duration).ok();
            assert_eq!(length.map(|length| length.duration().as_secs()), secs, "{duration:?}");
        }
    }

    #[test]
    fn a_length_prints_without_what_is_nothing() {
        for (secs, text) in [(1, "1 s"), (3600, "1 h"), (5430, "1 h 30 min 30 s"), (90_000, "1 d 1 h")] {
            assert_eq!(SessionLength::from_secs(secs).unwrap().to_string(), text);
        }
        assert!(SessionLengthError.to_string().ends_with("366 d"));
    }
}
