//! A whole store, copied into an empty one: from SQLite to PostgreSQL, or back. Row by row, table by table, in one transaction at
//! either end, so that what is copied is one state, and it is there whole or not at all.

use super::sql::{Value, values};
use super::{Store, StoreError, Tx};

/// What a column holds.
#[derive(Debug, Clone, Copy)]
enum Column {
    Int,
    Text,
}

/// A table and its columns, in order.
struct Table {
    name: &'static str,
    columns: &'static [(&'static str, Column)],
}

use Column::{Int, Text};

const TABLES: &[Table] = &[
    Table {
        name: "object",
        columns: &[
            ("id", Text),
            ("kind", Text),
            ("tenant", Text),
            ("name", Text),
            ("version", Int),
            ("created_at", Int),
            ("author", Text),
            ("updated_at", Int),
            ("updated_by", Text),
            ("body", Text),
        ],
    },
    Table { name: "reference", columns: &[("source", Text), ("field", Text), ("object", Text)] },
    Table { name: "claim", columns: &[("what", Text), ("value", Text), ("owner", Text)] },
    Table {
        name: "virtual_port",
        columns: &[("connector", Text), ("port", Int), ("mapping", Text), ("released_at", Int)],
    },
    Table { name: "setting", columns: &[("name", Text), ("value", Text)] },
    Table {
        name: "session",
        columns: &[
            ("id", Text),
            ("state", Text),
            ("tenant", Text),
            ("user_id", Text),
            ("client_ip", Text),
            ("target_id", Text),
            ("target_name", Text),
            ("exclusive", Int),
            ("router", Text),
            ("opened_at", Int),
            ("expires_at", Int),
            ("closed_at", Int),
            ("ending", Text),
            ("bytes_out", Int),
            ("bytes_in", Int),
            ("body", Text),
        ],
    },
    Table {
        name: "session_range",
        columns: &[("session", Text), ("number", Int), ("first", Text), ("last", Text)],
    },
    Table {
        name: "flow",
        columns: &[
            ("seq", Int),
            ("ended_at", Int),
            ("session", Text),
            ("tenant", Text),
            ("user_id", Text),
            ("user_name", Text),
            ("target_id", Text),
            ("target_name", Text),
            ("router", Text),
            ("protocol", Int),
            ("client", Text),
            ("destination", Text),
            ("reached", Text),
            ("bytes_out", Int),
            ("bytes_in", Int),
        ],
    },
    Table {
        name: "audit",
        columns: &[
            ("seq", Int),
            ("at", Int),
            ("number", Int),
            ("action", Text),
            ("actor", Text),
            ("tenant", Text),
            ("object", Text),
            ("outcome", Text),
            ("body", Text),
            ("hash", Text),
        ],
    },
    Table { name: "server", columns: &[("id", Text), ("life", Text), ("beat", Int)] },
    Table { name: "lead", columns: &[("agent", Text), ("server", Text), ("ready", Int)] },
    Table { name: "client_heard", columns: &[("client_ip", Text), ("heard_at", Int)] },
    Table { name: "password", columns: &[("user_id", Text), ("hash", Text), ("changed_at", Int)] },
    Table {
        name: "secret",
        columns: &[
            ("hash", Text),
            ("id", Text),
            ("kind", Text),
            ("owner", Text),
            ("name", Text),
            ("scopes", Text),
            ("created_at", Int),
            ("expires_at", Int),
            ("seen_at", Int),
            ("used_at", Int),
            ("body", Text),
        ],
    },
    Table { name: "attempt", columns: &[("subject", Text), ("failures", Int), ("last_at", Int)] },
    Table {
        name: "idempotent",
        columns: &[
            ("actor", Text),
            ("key", Text),
            ("request", Text),
            ("status", Int),
            ("answer", Text),
            ("created_at", Int),
        ],
    },
    Table {
        name: "approval",
        columns: &[
            ("id", Text),
            ("tenant", Text),
            ("user_id", Text),
            ("target_id", Text),
            ("reason", Text),
            ("target_version", Int),
            ("asked_at", Int),
            ("approver", Text),
            ("decided_at", Int),
            ("granted", Int),
            ("valid_until", Int),
        ],
    },
];

/// Why nothing was copied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    /// What is there would be mixed with what comes.
    #[error("the store to copy into is not empty: it has {rows} rows in {table}")]
    NotEmpty {
        /// The first table that has some.
        table: &'static str,
        /// How many.
        rows: i64,
    },
    /// One of the stores did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Copies everything into an empty store; says how many rows.
    ///
    /// # Errors
    /// The other one is not empty, or one of them fails; then the other one is empty still.
    pub(crate) async fn copy_into(&self, to: &Store) -> Result<u64, TransferError> {
        let (mut from, mut to) = (self.read().await?, to.write().await?);
        for table in TABLES {
            let rows = count(&mut to, table).await?;
            if rows > 0 {
                return Err(TransferError::NotEmpty { table: table.name, rows });
            }
        }
        let mut copied = 0;
        for table in TABLES {
            copied += copy(&mut from, &mut to, table).await?;
        }
        to.commit().await?;
        Ok(copied)
    }
}

async fn count(tx: &mut Tx, table: &Table) -> Result<i64, StoreError> {
    let rows = tx.rows_of(format!("SELECT COUNT(*) FROM {}", table.name), values![]).await?;
    rows.first().map_or(Ok(0), |row| row.int(0))
}

async fn copy(from: &mut Tx, to: &mut Tx, table: &Table) -> Result<u64, StoreError> {
    let names: Vec<_> = table.columns.iter().map(|(name, _)| *name).collect();
    let places: Vec<_> = (1..=names.len()).map(|place| format!("${place}")).collect();
    let names = names.join(", ");
    let insert = format!("INSERT INTO {} ({names}) VALUES ({})", table.name, places.join(", "));
    let mut copied = 0;
    for row in from.rows_of(format!("SELECT {names} FROM {}", table.name), values![]).await? {
        let value = |(column, (_, kind)): (usize, &(&str, Column))| match kind {
            Int => row.int_or_null(column).map(Value::Int),
            Text => row.text_or_null(column).map(Value::Text),
        };
        let given = table.columns.iter().enumerate().map(value).collect::<Result<Vec<_>, _>>()?;
        to.rows_of(insert.clone(), given).await?;
        copied += 1;
    }
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{postgres_store, sqlite_store};
    use super::*;

    /// The list above is the schema, whatever migrations add to it.
    #[tokio::test]
    async fn no_table_and_no_column_is_forgotten() {
        let (_files, store) = sqlite_store().await;
        let mut tx = store.read().await.unwrap();
        let sql = "SELECT m.name, p.name FROM sqlite_master m JOIN pragma_table_info(m.name) p \
                   WHERE m.type = 'table' AND m.name NOT LIKE '\\_sqlx%' ESCAPE '\\' ORDER BY 1, 2";
        let rows = tx.rows(sql, values![]).await.unwrap();
        let schema: Vec<_> = rows.iter().map(|row| (row.text(0).unwrap(), row.text(1).unwrap())).collect();
        let mut listed: Vec<_> = TABLES
            .iter()
            .flat_map(|table| {
                table.columns.iter().map(|(name, _)| (table.name.to_owned(), (*name).to_owned()))
            })
            .collect();
        listed.sort();
        assert_eq!(schema, listed);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_moves_to_postgres_and_back_whole() {
        let Some(postgres) = postgres_store().await else { return };
        let (_files, first) = sqlite_store().await;
        let mut tx = first.write().await.unwrap();
        for table in ["setting", "attempt"] {
            let sql = if table == "setting" {
                "INSERT INTO setting (name, value) VALUES ('a', 'ä''\"')"
            } else {
                "INSERT INTO attempt (subject, failures, last_at) VALUES ('x', 3, 9007199254740993)"
            };
            tx.execute(sql, values![]).await.unwrap();
        }
        let sql =
            "INSERT INTO virtual_port (connector, port, mapping, released_at) VALUES ('c', 40000, NULL, 5)";
        tx.execute(sql, values![]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(first.copy_into(&postgres).await.unwrap(), 3);
        let again = first.copy_into(&postgres).await;
        assert!(
            matches!(again, Err(TransferError::NotEmpty { table: "virtual_port", rows: 1 })),
            "{again:?}"
        );
        let (_files, second) = sqlite_store().await;
        assert_eq!(postgres.copy_into(&second).await.unwrap(), 3);
        let mut tx = second.read().await.unwrap();
        let row = tx.row("SELECT value FROM setting", values![]).await.unwrap().unwrap();
        assert_eq!(row.text(0).unwrap(), "ä'\"");
        let row = tx.row("SELECT last_at FROM attempt", values![]).await.unwrap().unwrap();
        assert_eq!(row.int(0).unwrap(), 9_007_199_254_740_993);
        let row = tx.row("SELECT mapping, released_at FROM virtual_port", values![]).await.unwrap().unwrap();
        assert_eq!((row.text_or_null(0).unwrap(), row.int(1).unwrap()), (None, 5));
    }
}
