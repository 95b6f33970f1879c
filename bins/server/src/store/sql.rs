//! One way to speak to both databases: statements are written once, values and rows say their types. Called by the rest
//! of the store; calls sqlx.
//!
//! The schema keeps to two types that mean the same in both: BIGINT, and TEXT (identities, addresses and hashes in
//! hexadecimal digits of a fixed length, so that they sort as what they stand for).

use std::sync::Arc;
use std::time::Instant;

use sqlx::postgres::{PgArguments, PgPool, PgRow};
use sqlx::sqlite::{SqliteArguments, SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Postgres, Row as _, Sqlite, Transaction};

use super::Watch;
use super::error::StoreError;

/// Held by whoever writes, on PostgreSQL: decisions are made one after the other, whichever server makes them.
const WRITER_LOCK: &str = "SELECT pg_advisory_xact_lock(6131955)";
/// For SQLite the same: nobody else writes from here on.
const BEGIN_WRITING: &str = "BEGIN IMMEDIATE";

/// What a statement is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// A number, or nothing.
    Int(Option<i64>),
    /// A text, or nothing.
    Text(Option<String>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(Some(value))
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Value::Int(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::Text(Some(value.to_owned()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::Text(Some(value))
    }
}

impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        Value::Text(value)
    }
}

/// The values of a statement, in the order of `$1`, `$2`, …
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::store::sql::Value::from($value)),*] };
}
pub(crate) use values;

/// What a statement found, column by column.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// A number.
    pub(crate) fn int(&self, column: usize) -> Result<i64, StoreError> {
        Ok(match self {
            Row::Sqlite(row) => row.try_get(column)?,
            Row::Postgres(row) => row.try_get(column)?,
        })
    }

    /// A number, or nothing.
    pub(crate) fn int_or_null(&self, column: usize) -> Result<Option<i64>, StoreError> {
        Ok(match self {
            Row::Sqlite(row) => row.try_get(column)?,
            Row::Postgres(row) => row.try_get(column)?,
        })
    }

    /// A text.
    pub(crate) fn text(&self, column: usize) -> Result<String, StoreError> {
        Ok(match self {
            Row::Sqlite(row) => row.try_get(column)?,
            Row::Postgres(row) => row.try_get(column)?,
        })
    }

    /// A text, or nothing.
    pub(crate) fn text_or_null(&self, column: usize) -> Result<Option<String>, StoreError> {
        Ok(match self {
            Row::Sqlite(row) => row.try_get(column)?,
            Row::Postgres(row) => row.try_get(column)?,
        })
    }
}

/// A transaction: all of it happens, or nothing. Dropped without [`commit`](Tx::commit), nothing does.
pub(crate) struct Tx {
    inner: Inner,
    watch: Arc<Watch>,
    /// Actions and decisions among the events written so far: counted when they are committed.
    recorded: Vec<(String, Option<String>)>,
}

enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    fn new(inner: Inner, watch: &Arc<Watch>) -> Tx {
        Tx { inner, watch: Arc::clone(watch), recorded: Vec::new() }
    }

    /// Begins to write. Waits until whoever writes has ended.
    pub(super) async fn write_sqlite(pool: &SqlitePool, watch: &Arc<Watch>) -> Result<Tx, StoreError> {
        Ok(Tx::new(Inner::Sqlite(pool.begin_with(BEGIN_WRITING).await?), watch))
    }

    /// Begins to read: sees one state throughout.
    pub(super) async fn read_sqlite(pool: &SqlitePool, watch: &Arc<Watch>) -> Result<Tx, StoreError> {
        Ok(Tx::new(Inner::Sqlite(pool.begin().await?), watch))
    }

    /// As [`write_sqlite`](Tx::write_sqlite).
    pub(super) async fn write_postgres(pool: &PgPool, watch: &Arc<Watch>) -> Result<Tx, StoreError> {
        let mut transaction = pool.begin().await?;
        sqlx::query(WRITER_LOCK).execute(&mut *transaction).await?;
        Ok(Tx::new(Inner::Postgres(transaction), watch))
    }

    /// As [`read_sqlite`](Tx::read_sqlite).
    pub(super) async fn read_postgres(pool: &PgPool, watch: &Arc<Watch>) -> Result<Tx, StoreError> {
        let begun = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        Ok(Tx::new(Inner::Postgres(begun), watch))
    }

    /// Whether there may be other servers on the database.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.inner, Inner::Postgres(_))
    }

    /// An event was written, and a decision if it is one.
    pub(super) fn note_recorded(&mut self, action: &str, decision: Option<&str>) {
        self.recorded.push((action.to_owned(), decision.map(str::to_owned)));
    }

    /// Runs a statement; says how many rows it changed.
    pub(crate) async fn execute(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, StoreError> {
        let done = match &mut self.inner {
            Inner::Sqlite(tx) => {
                sqlite(sql.to_owned(), values).execute(&mut **tx).await.map(|done| done.rows_affected())
            }
            Inner::Postgres(tx) => {
                postgres(sql.to_owned(), values).execute(&mut **tx).await.map(|done| done.rows_affected())
            }
        };
        self.seen(done)
    }

    /// Runs a query.
    pub(crate) async fn rows(
        &mut self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        self.rows_of(sql.to_owned(), values).await
    }

    /// Runs a query whose text was put together, of constant pieces only.
    pub(crate) async fn rows_of(&mut self, sql: String, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let found = match &mut self.inner {
            Inner::Sqlite(tx) => sqlite(sql, values)
                .fetch_all(&mut **tx)
                .await
                .map(|rows| rows.into_iter().map(Row::Sqlite).collect()),
            Inner::Postgres(tx) => postgres(sql, values)
                .fetch_all(&mut **tx)
                .await
                .map(|rows| rows.into_iter().map(Row::Postgres).collect()),
        };
        self.seen(found)
    }

    /// Runs a query that finds one row at most.
    pub(crate) async fn row(
        &mut self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// Makes it durable: what returned `Ok` survives a crash right after.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        let began = Instant::now();
        let Tx { inner, watch, recorded } = self;
        let done = match inner {
            Inner::Sqlite(tx) => tx.commit().await,
            Inner::Postgres(tx) => tx.commit().await,
        };
        done.map_err(StoreError::from).inspect_err(|why| watch.failed(why))?;
        watch.meter.committed(began.elapsed());
        for (action, decision) in &recorded {
            watch.meter.recorded(action, decision.as_deref());
        }
        Ok(())
    }

    fn seen<T>(&self, result: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        result.map_err(StoreError::from).inspect_err(|why| self.watch.failed(why))
    }
}

fn sqlite(sql: String, values: Vec<Value>) -> sqlx::query::Query<'static, Sqlite, SqliteArguments> {
    values.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, value| match value {
        Value::Int(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
    })
}

fn postgres(sql: String, values: Vec<Value>) -> sqlx::query::Query<'static, Postgres, PgArguments> {
    values.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, value| match value {
        Value::Int(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
    })
}
