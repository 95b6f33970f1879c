//! What servers on one PostgreSQL tell each other: a notice comes with the commit that it is about. SQLite has one server, and
//! nobody to tell.

use sqlx::postgres::{PgListener, PgPool};

use super::StoreError;
use super::sql::{Tx, values};

/// Where they are sent. All servers of a database hear all.
const CHANNEL: &str = "sluice";
/// A notice holds less than 8000 bytes.
pub(crate) const NOTICE_BYTES_MAX: usize = 7000;

/// Hears notices.
pub(crate) struct Notices(PgListener);

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A notice.
    Notice(String),
    /// Nobody knows what: the connection was lost meanwhile.
    Missed,
}

impl Notices {
    pub(super) async fn of(pool: &PgPool) -> Result<Notices, StoreError> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(Notices(listener))
    }

    /// The next notice.
    ///
    /// # Errors
    /// The database does not answer; asked again, the connection is made anew.
    pub(crate) async fn next(&mut self) -> Result<Heard, StoreError> {
        Ok(match self.0.try_recv().await? {
            Some(notice) => Heard::Notice(notice.payload().to_owned()),
            None => Heard::Missed,
        })
    }
}

impl Tx {
    /// Tells the other servers, once this is committed.
    pub(crate) async fn notify(&mut self, notice: &str) -> Result<(), StoreError> {
        if self.is_shared() {
            self.rows("SELECT pg_notify($1, $2)", values![CHANNEL, notice]).await?;
        }
        Ok(())
    }
}
