//! What the control plane remembers. Read first: migrations/. One statement set for SQLite and PostgreSQL.
//!
//! Everything that decides happens in one writing transaction at a time, so two decisions never pass each other by:
//! SQLite has one writer (`BEGIN IMMEDIATE`), PostgreSQL an advisory lock. Commits are durable when they return
//! (`synchronous=FULL`).

pub(crate) mod approvals;
pub(crate) mod audit;
mod error;
pub(crate) mod flows;
pub(crate) mod idempotency;
pub(crate) mod leads;
pub(crate) mod notices;
pub(crate) mod objects;
pub(crate) mod ports;
mod query;
pub(crate) mod secrets;
pub(crate) mod session_body;
pub(crate) mod sessions;
pub(crate) mod sql;
mod touch;
mod transfer;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::Connection as _;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::sync::Notify;
use uuid::Uuid;
use wg_proto::UnixTime;

pub(crate) use self::error::StoreError;
use self::notices::Notices;
pub(crate) use self::sql::Tx;
use crate::meter::Meter;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

// Our own choices.
/// Connections that read.
const READERS_MAX: u32 = 8;
/// How long one waits for the other who writes. Commits take milliseconds; whoever waits longer is told so.
const WAIT_LIMIT: Duration = Duration::from_secs(5);

/// Where the store is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum StoreUrl {
    /// A file of SQLite.
    Sqlite(PathBuf),
    /// A PostgreSQL database, `postgres://user@host/name`. Passwords come from `PGPASSFILE` or `PGPASSWORD`.
    Postgres(String),
}

/// Why a text does not say where the store is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no store: write sqlite:PATH or postgres://USER@HOST/DATABASE")]
pub(crate) struct NoStoreUrl(String);

impl FromStr for StoreUrl {
    type Err = NoStoreUrl;

    fn from_str(text: &str) -> Result<Self, NoStoreUrl> {
        match text.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() => Ok(StoreUrl::Sqlite(path.into())),
            Some(("postgres" | "postgresql", _)) => Ok(StoreUrl::Postgres(text.to_owned())),
            _ => Err(NoStoreUrl(text.to_owned())),
        }
    }
}

impl std::fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl std::fmt::Display for StoreUrl {
    /// Without a password, whoever wrote one into it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreUrl::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            StoreUrl::Postgres(url) => {
                let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", url));
                let (user, place) =
                    rest.split_once('@').map_or((None, rest), |(user, place)| (Some(user), place));
                let user = user.map(|user| user.split(':').next().unwrap_or_default());
                match user {
                    Some(user) => write!(f, "{scheme}://{user}@{place}"),
                    None => write!(f, "{scheme}://{place}"),
                }
            }
        }
    }
}

/// An open store. Cloning it is cheap, and both are the same.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pools: Pools,
    watch: Arc<Watch>,
}

#[derive(Debug, Clone)]
enum Pools {
    Sqlite { writer: SqlitePool, readers: SqlitePool },
    Postgres(PgPool),
}

impl Store {
    /// Opens the store, makes it if it is a file that is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// It cannot be reached, or a newer version wrote it.
    pub(crate) async fn open(url: &StoreUrl) -> Result<Store, StoreError> {
        let pools = match url {
            StoreUrl::Sqlite(path) => open_sqlite(path).await?,
            StoreUrl::Postgres(url) => open_postgres(url).await?,
        };
        Ok(Store { pools, watch: Arc::default() })
    }

    /// Whether other servers may be at work on it: then what this one last read need not be what is so.
    pub(crate) fn is_shared(&self) -> bool {
        match &self.pools {
            Pools::Sqlite { .. } => false,
            Pools::Postgres(_) => true,
        }
    }

    /// Begins to write; nobody else writes until it ends.
    pub(crate) async fn write(&self) -> Result<Tx, StoreError> {
        let begun = match &self.pools {
            Pools::Sqlite { writer, .. } => Tx::write_sqlite(writer, &self.watch).await,
            Pools::Postgres(pool) => Tx::write_postgres(pool, &self.watch).await,
        };
        begun.inspect_err(|why| self.watch.failed(why))
    }

    /// Begins to read one state.
    pub(crate) async fn read(&self) -> Result<Tx, StoreError> {
        let begun = match &self.pools {
            Pools::Sqlite { readers, .. } => Tx::read_sqlite(readers, &self.watch).await,
            Pools::Postgres(pool) => Tx::read_postgres(pool, &self.watch).await,
        };
        begun.inspect_err(|why| self.watch.failed(why))
    }

    /// What is counted of it, and of what is done with it.
    pub(crate) fn meter(&self) -> &Meter {
        &self.watch.meter
    }

    /// Resolves when what was written may not be what is there: the server must end, whoever wrote it.
    pub(crate) async fn broken(&self) {
        self.watch.broken.notified().await;
    }

    /// What other servers tell from now on; `None`: there can be none.
    pub(crate) async fn notices(&self) -> Result<Option<Notices>, StoreError> {
        match &self.pools {
            Pools::Sqlite { .. } => Ok(None),
            Pools::Postgres(pool) => Notices::of(pool).await.map(Some),
        }
    }

    /// Writes a copy of a SQLite store, as it is at one moment, into a new file; others may go on writing.
    ///
    /// # Errors
    /// The file exists, cannot be written, or the store is PostgreSQL (use pg_dump there).
    pub(crate) async fn backup(&self, to: &Path) -> Result<(), BackupError> {
        let Pools::Sqlite { readers, .. } = &self.pools else { return Err(BackupError::NotSqlite) };
        if to.exists() {
            return Err(BackupError::Exists(to.to_owned()));
        }
        let path = to.to_str().ok_or_else(|| BackupError::Path(to.to_owned()))?;
        let done = sqlx::query("VACUUM INTO $1").bind(path.to_owned()).execute(readers).await;
        done.map_err(StoreError::from)?;
        Ok(())
    }

    /// Ends all connections, having written what is to be written.
    pub(crate) async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }
}

/// Sees how the store does.
#[derive(Debug, Default)]
struct Watch {
    meter: Meter,
    broken: Notify,
}

impl Watch {
    fn failed(&self, why: &StoreError) {
        self.meter.store_failed(why);
        if matches!(why, StoreError::Io(_)) {
            // Kept for whoever waits next, if nobody does now.
            self.broken.notify_one();
        }
    }
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    /// PostgreSQL has tools of its own for this.
    #[error("only a SQLite store is backed up by this program; use pg_dump for PostgreSQL")]
    NotSqlite,
    /// Nothing is overwritten.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// The name of the file is no text.
    #[error("{0:?} is no name that SQLite can take")]
    Path(PathBuf),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

async fn open_sqlite(path: &Path) -> Result<Pools, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // What does not fit into memory while sorting would go to files outside of our directory.
        .pragma("temp_store", "memory")
        .busy_timeout(WAIT_LIMIT);
    let pool = |size| {
        SqlitePoolOptions::new().max_connections(size).acquire_timeout(WAIT_LIMIT).before_acquire(
            // A commit that failed for want of room has ended its transaction, which the connection does not know.
            |connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }),
        )
    };
    let writer = pool(1).connect_with(options.clone()).await?;
    MIGRATIONS.run(&writer).await?;
    let readers = pool(READERS_MAX).connect_with(options.read_only(true)).await?;
    Ok(Pools::Sqlite { writer, readers })
}

async fn open_postgres(url: &str) -> Result<Pools, StoreError> {
    let options = PgConnectOptions::from_str(url)?.application_name("sluice-server");
    let pool = PgPoolOptions::new().max_connections(READERS_MAX + 2).acquire_timeout(WAIT_LIMIT);
    let pool = pool.connect_with(options).await?;
    MIGRATIONS.run(&pool).await?;
    Ok(Pools::Postgres(pool))
}

/// A moment, from microseconds since 1970.
pub(crate) fn moment_of(micros: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros).map_err(|why| StoreError::unreadable("a moment", why))
}

/// For decisions, which reckon in Unix time. What was before 1970 is 1970.
pub(crate) fn unix_time(moment: Timestamp) -> UnixTime {
    let micros = u64::try_from(moment.as_microsecond()).unwrap_or(0);
    let nanos = u32::try_from(micros % 1_000_000).unwrap_or(0) * 1000;
    UnixTime::new(micros / 1_000_000, nanos)
}

/// The other way round. What no calendar reaches is the calendar's end.
pub(crate) fn timestamp(time: UnixTime) -> Timestamp {
    let micros = i128::from(time.secs) * 1_000_000 + i128::from(time.nanos / 1000);
    let micros = i64::try_from(micros).unwrap_or(i64::MAX);
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX)
}

pub(crate) fn uuid_of(row: &sql::Row, column: usize) -> Result<Uuid, StoreError> {
    let text = row.text(column)?;
    text.parse().map_err(|why| StoreError::unreadable(format!("the identity {text:?}"), why))
}

#[cfg(test)]
pub(crate) mod tests;
