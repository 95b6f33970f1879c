//! What can go wrong with the store, by what follows from it.

use thiserror::Error;

/// Why the store did not do it. Nothing was changed.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    /// Somebody else holds it, or it does not answer: the same may work later.
    #[error("the store is not available now: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// There is no room.
    #[error("the store is full: {0}")]
    Full(#[source] sqlx::Error),
    /// What was written may not be what is there. The process must end: another try would only assume.
    #[error("the store failed to write: {0}")]
    Io(#[source] sqlx::Error),
    /// A value that must be unique is taken already.
    #[error("already taken: {0}")]
    Taken(#[source] sqlx::Error),
    /// What is stored cannot be read: another version wrote it, or it was changed by hand.
    #[error("{what} in the store cannot be read: {why}")]
    Unreadable {
        /// Which record.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The schema could not be brought up to date.
    #[error("the schema cannot be brought up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// Anything else.
    #[error("the store refused: {0}")]
    Other(#[source] sqlx::Error),
}

impl StoreError {
    /// A record that cannot be read.
    pub(crate) fn unreadable(what: impl Into<String>, why: impl std::fmt::Display) -> Self {
        StoreError::Unreadable { what: what.into(), why: why.to_string() }
    }
}

impl From<sqlx::Error> for StoreError {
    // sqlx may add kinds; what is unknown is refused.
    #[allow(clippy::wildcard_enum_match_arm)]
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(cause) if cause.is_unique_violation() => StoreError::Taken(error),
            sqlx::Error::Database(cause) => match kind_of(&cause.code().unwrap_or_default()) {
                Kind::Unavailable => StoreError::Unavailable(error),
                Kind::Full => StoreError::Full(error),
                Kind::Io => StoreError::Io(error),
                Kind::Other => StoreError::Other(error),
            },
            // The connection, not the disk under it: whoever asked does not know whether it was done, and asks again.
            sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => StoreError::Unavailable(error),
            _ => StoreError::Other(error),
        }
    }
}

enum Kind {
    Unavailable,
    Full,
    Io,
    Other,
}

/// By SQLite's result codes (extended ones hold the primary one in their low byte), and by the classes of SQLSTATE.
fn kind_of(code: &str) -> Kind {
    // SQLSTATE has five characters; those of SQLite are shorter, or numbers too small for any class used here.
    if code.len() == 5 {
        return match &code[..2] {
            "08" | "40" | "55" | "57" => Kind::Unavailable,
            "53" => Kind::Full,
            "58" => Kind::Io,
            _ => Kind::Other,
        };
    }
    match code.parse::<u32>().map(|code| code & 0xff) {
        // SQLITE_BUSY, SQLITE_LOCKED, SQLITE_CANTOPEN.
        Ok(5 | 6 | 14) => Kind::Unavailable,
        // SQLITE_FULL.
        Ok(13) => Kind::Full,
        // SQLITE_IOERR, SQLITE_CORRUPT, SQLITE_NOTADB.
        Ok(10 | 11 | 26) => Kind::Io,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_databases_say_what_follows() {
        for (code, fatal) in
            [("5", false), ("261", false), ("13", false), ("1034", true), ("10", true), ("58030", true)]
        {
            assert_eq!(matches!(kind_of(code), Kind::Io), fatal, "{code}");
        }
        assert!(matches!(kind_of("53100"), Kind::Full));
        assert!(matches!(kind_of("57P03"), Kind::Unavailable));
        assert!(matches!(kind_of("22001"), Kind::Other));
    }
}
