//! Answers to requests that carry an idempotency key.

use jiff::Timestamp;

use super::sql::{Row, Tx, values};
use super::{StoreError, moment_of};

/// A key that was taken, and what became of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// A hash of the request.
    pub(crate) request: String,
    /// `None`: it is not answered yet.
    pub(crate) status: Option<u16>,
    /// The document that it was answered with.
    pub(crate) text: String,
    pub(crate) created: Timestamp,
}

impl Tx {
    /// What became of the request that this actor sent with this key.
    pub(crate) async fn answer(&mut self, actor: &str, key: &str) -> Result<Option<Answer>, StoreError> {
        let found = self
            .row(
                "SELECT request, status, answer, created_at FROM idempotent WHERE actor = $1 AND key = $2",
                values![actor, key],
            )
            .await?;
        found.as_ref().map(answer).transpose()
    }

    /// Takes a key that has no answer.
    pub(crate) async fn take_key(
        &mut self,
        actor: &str,
        key: &str,
        request: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO idempotent (actor, key, request, status, answer, created_at) VALUES ($1, $2, $3, 0, '', $4) \
             ON CONFLICT (actor, key) DO UPDATE SET request = excluded.request, created_at = excluded.created_at",
            values![actor, key, request, now.as_microsecond()],
        )
        .await?;
        Ok(())
    }

    /// The request was answered.
    pub(crate) async fn set_answer(
        &mut self,
        actor: &str,
        key: &str,
        status: u16,
        text: &str,
    ) -> Result<(), StoreError> {
        self.execute(
            "UPDATE idempotent SET status = $3, answer = $4 WHERE actor = $1 AND key = $2",
            values![actor, key, i64::from(status), text],
        )
        .await?;
        Ok(())
    }

    /// The request came to nothing: its key is free.
    pub(crate) async fn free_key(&mut self, actor: &str, key: &str) -> Result<(), StoreError> {
        self.execute("DELETE FROM idempotent WHERE actor = $1 AND key = $2", values![actor, key]).await?;
        Ok(())
    }

    /// Forgets answers older than `before`; says how many.
    pub(crate) async fn forget_answers(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        self.execute("DELETE FROM idempotent WHERE created_at < $1", values![before.as_microsecond()]).await
    }
}

fn answer(row: &Row) -> Result<Answer, StoreError> {
    let status = u16::try_from(row.int(1)?).map_err(|why| StoreError::unreadable("a status", why))?;
    Ok(Answer {
        request: row.text(0)?,
        status: (status != 0).then_some(status),
        text: row.text(2)?,
        created: moment_of(row.int(3)?)?,
    })
}
