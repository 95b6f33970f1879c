//! Secrets, as hashes only. Long random ones are looked up by SHA-256, passwords are compared by Argon2id elsewhere.

use jiff::Timestamp;
use uuid::Uuid;

use super::sql::{Row, Tx, values};
use super::{StoreError, moment_of, uuid_of};

/// What a long random secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretKind {
    /// Programs show it with each request.
    Api,
    /// A browser's cookie.
    Browser,
    /// The one-time link that makes the first administrator.
    Admin,
}

impl SecretKind {
    fn name(self) -> &'static str {
        match self {
            SecretKind::Api => "api",
            SecretKind::Browser => "browser",
            SecretKind::Admin => "admin",
        }
    }
}

/// A secret as it is stored: everything but itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretRecord {
    /// SHA-256 of it, in hexadecimal digits.
    pub(crate) hash: String,
    pub(crate) id: Uuid,
    pub(crate) kind: SecretKind,
    /// Whose rights it carries, or what it enrols.
    pub(crate) owner: Uuid,
    /// What people call it.
    pub(crate) name: String,
    /// What it is good for; empty: all that its owner may.
    pub(crate) scopes: Vec<String>,
    pub(crate) created: Timestamp,
    pub(crate) expires: Timestamp,
    /// When it was last shown.
    pub(crate) seen: Option<Timestamp>,
    /// When it was redeemed, if it can be redeemed once.
    pub(crate) used: Option<Timestamp>,
    /// The rest, as JSON.
    pub(crate) body: String,
}

const COLUMNS: &str = "hash, id, owner, name, scopes, created_at, expires_at, seen_at, used_at, body";

impl Tx {
    /// Stores a secret's hash.
    pub(crate) async fn insert_secret(&mut self, secret: &SecretRecord) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO secret (hash, id, kind, owner, name, scopes, created_at, expires_at, seen_at, used_at, body) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            values![
                secret.hash.as_str(),
                secret.id.to_string(),
                secret.kind.name(),
                secret.owner.to_string(),
                secret.name.as_str(),
                secret.scopes.join(" "),
                secret.created.as_microsecond(),
                secret.expires.as_microsecond(),
                secret.seen.map(Timestamp::as_microsecond),
                secret.used.map(Timestamp::as_microsecond),
                secret.body.as_str(),
            ],
        )
        .await?;
        Ok(())
    }

    /// The secret of this hash, expired and used ones too.
    pub(crate) async fn secret(
        &mut self,
        kind: SecretKind,
        hash: &str,
    ) -> Result<Option<SecretRecord>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM secret WHERE hash = $1 AND kind = $2");
        self.rows_of(sql, values![hash, kind.name()]).await?.first().map(|row| record(kind, row)).transpose()
    }

    /// The secrets of an owner, newest first.
    pub(crate) async fn secrets_of(
        &mut self,
        kind: SecretKind,
        owner: Uuid,
    ) -> Result<Vec<SecretRecord>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM secret WHERE owner = $1 AND kind = $2 ORDER BY created_at DESC, id DESC"
        );
        let rows = self.rows_of(sql, values![owner.to_string(), kind.name()]).await?;
        rows.iter().map(|row| record(kind, row)).collect()
    }

    /// Redeems a secret that redeems once: says whether it was this call that did. Of any number at once, one does.
    pub(crate) async fn redeem(
        &mut self,
        kind: SecretKind,
        hash: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let changed = self
            .execute(
                "UPDATE secret SET used_at = $3 WHERE hash = $1 AND kind = $2 AND used_at IS NULL AND expires_at > $3",
                values![hash, kind.name(), now.as_microsecond()],
            )
            .await?;
        Ok(changed == 1)
    }

    /// A secret was shown.
    pub(crate) async fn touch_secret(&mut self, hash: &str, now: Timestamp) -> Result<(), StoreError> {
        self.execute("UPDATE secret SET seen_at = $2 WHERE hash = $1", values![hash, now.as_microsecond()])
            .await?;
        Ok(())
    }

    /// Forgets a secret. Says whether there was one.
    pub(crate) async fn delete_secret(&mut self, id: Uuid) -> Result<bool, StoreError> {
        Ok(self.execute("DELETE FROM secret WHERE id = $1", values![id.to_string()]).await? == 1)
    }

    /// Forgets all secrets of one kind that an owner has; says how many.
    pub(crate) async fn delete_secrets_of(
        &mut self,
        kind: SecretKind,
        owner: Uuid,
    ) -> Result<u64, StoreError> {
        self.execute(
            "DELETE FROM secret WHERE owner = $1 AND kind = $2",
            values![owner.to_string(), kind.name()],
        )
        .await
    }

    /// Forgets secrets that expired before `before`; says how many.
    pub(crate) async fn delete_expired_secrets(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        self.execute("DELETE FROM secret WHERE expires_at < $1", values![before.as_microsecond()]).await
    }

    /// The Argon2id hash of a user's password, in PHC form.
    pub(crate) async fn password(&mut self, user: Uuid) -> Result<Option<String>, StoreError> {
        let found =
            self.row("SELECT hash FROM password WHERE user_id = $1", values![user.to_string()]).await?;
        found.map(|row| row.text(0)).transpose()
    }

    /// Sets or replaces it.
    pub(crate) async fn set_password(
        &mut self,
        user: Uuid,
        hash: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO password (user_id, hash, changed_at) VALUES ($1, $2, $3) \
             ON CONFLICT (user_id) DO UPDATE SET hash = excluded.hash, changed_at = excluded.changed_at",
            values![user.to_string(), hash, now.as_microsecond()],
        )
        .await?;
        Ok(())
    }

    /// Failed attempts on a subject since its last success, and when the last was.
    pub(crate) async fn failures(&mut self, subject: &str) -> Result<Option<(u64, Timestamp)>, StoreError> {
        let found =
            self.row("SELECT failures, last_at FROM attempt WHERE subject = $1", values![subject]).await?;
        found.map(|row| Ok((row.int(0)?.unsigned_abs(), moment_of(row.int(1)?)?))).transpose()
    }

    /// One more failed attempt.
    pub(crate) async fn count_failure(&mut self, subject: &str, now: Timestamp) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO attempt (subject, failures, last_at) VALUES ($1, 1, $2) \
             ON CONFLICT (subject) DO UPDATE SET failures = attempt.failures + 1, last_at = excluded.last_at",
            values![subject, now.as_microsecond()],
        )
        .await?;
        Ok(())
    }

    /// One failed attempt less: it was none.
    pub(crate) async fn take_back_failure(&mut self, subject: &str) -> Result<(), StoreError> {
        self.execute(
            "UPDATE attempt SET failures = failures - 1 WHERE subject = $1 AND failures > 0",
            values![subject],
        )
        .await?;
        Ok(())
    }

    /// Forgets all attempts on subjects of which the last was before `before`; says of how many.
    pub(crate) async fn forget_old_failures(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        self.execute("DELETE FROM attempt WHERE last_at < $1", values![before.as_microsecond()]).await
    }

    /// Forgets the attempts on a subject.
    pub(crate) async fn forget_failures(&mut self, subject: &str) -> Result<(), StoreError> {
        self.execute("DELETE FROM attempt WHERE subject = $1", values![subject]).await?;
        Ok(())
    }
}

fn record(kind: SecretKind, row: &Row) -> Result<SecretRecord, StoreError> {
    let moment = |column| row.int_or_null(column)?.map(moment_of).transpose();
    Ok(SecretRecord {
        hash: row.text(0)?,
        id: uuid_of(row, 1)?,
        kind,
        owner: uuid_of(row, 2)?,
        name: row.text(3)?,
        scopes: row.text(4)?.split_whitespace().map(str::to_owned).collect(),
        created: moment_of(row.int(5)?)?,
        expires: moment_of(row.int(6)?)?,
        seen: moment(7)?,
        used: moment(8)?,
        body: row.text(9)?,
    })
}
