//! A query that is put together, condition by condition: which objects, sessions or events to list. Called by the rest of the
//! store; calls sql.

use uuid::Uuid;

use super::StoreError;
use super::sql::{Row, Tx, Value};

/// Our own choice: what is looked up or written in one statement. Databases bound the values that one may have.
pub(crate) const AT_ONCE: usize = 250;

/// `SELECT … FROM …`, with those of its conditions that were asked for.
#[derive(Debug)]
pub(crate) struct Query {
    sql: String,
    values: Vec<Value>,
    joint: &'static str,
}

impl Query {
    /// Without any condition. The text is made of constant pieces only.
    pub(crate) fn new(select: String) -> Query {
        Query { sql: select, values: Vec::new(), joint: " WHERE " }
    }

    /// Adds a condition. Each `?` in it stands for the next of the values.
    pub(crate) fn and(mut self, condition: &'static str, values: impl IntoIterator<Item = Value>) -> Query {
        self.sql += std::mem::replace(&mut self.joint, " AND ");
        let mut values = values.into_iter();
        for piece in condition.split_inclusive('?') {
            match piece.strip_suffix('?') {
                Some(text) => {
                    self.sql += text;
                    self.values.extend(values.next());
                    self.sql += &format!("${}", self.values.len());
                }
                None => self.sql += piece,
            }
        }
        self
    }

    /// Adds a condition about a value, if there is one.
    pub(crate) fn and_if(self, condition: &'static str, value: Option<impl Into<Value>>) -> Query {
        match value {
            Some(value) => self.and(condition, [value.into()]),
            None => self,
        }
    }

    /// Only what a column says is one of these. None of none.
    pub(crate) fn and_among(
        mut self,
        column: &'static str,
        values: impl IntoIterator<Item = String>,
    ) -> Query {
        let mut places = Vec::new();
        for value in values {
            self.values.push(value.into());
            places.push(format!("${}", self.values.len()));
        }
        let places = if places.is_empty() { "NULL".to_owned() } else { places.join(", ") };
        self.sql += &format!("{}{column} IN ({places})", std::mem::replace(&mut self.joint, " AND "));
        self
    }

    /// Only what belongs to one of these tenants, if that is asked.
    pub(crate) fn and_tenants(self, tenants: Option<&[Option<Uuid>]>) -> Query {
        match tenants {
            Some(tenants) => self.and_among("tenant", tenants.iter().map(|tenant| tenant_text(*tenant))),
            None => self,
        }
    }

    /// At most `limit` rows in this order.
    pub(crate) async fn rows(self, tx: &mut Tx, order: &str, limit: u32) -> Result<Vec<Row>, StoreError> {
        let Query { mut sql, mut values, .. } = self;
        values.push(i64::from(limit).into());
        sql += &format!(" ORDER BY {order} LIMIT ${}", values.len());
        tx.rows_of(sql, values).await
    }
}

/// `''` stands for the installation: unique constraints do not see NULLs.
pub(crate) fn tenant_text(tenant: Option<Uuid>) -> String {
    tenant.map_or(String::new(), |tenant| tenant.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_joined_and_their_values_numbered() {
        let query = Query::new("SELECT a FROM b".to_owned())
            .and_if("c = ?", None::<i64>)
            .and("(c > ? OR (c = ? AND d < ?))", [1, 2, 3].map(Value::from))
            .and("e IS NULL", [])
            .and_among("f", ["x", "y"].map(str::to_owned))
            .and_tenants(Some(&[]))
            .and_if("g = ?", Some("z"));
        assert_eq!(
            query.sql,
            "SELECT a FROM b WHERE (c > $1 OR (c = $2 AND d < $3)) AND e IS NULL AND f IN ($4, $5) AND tenant IN (NULL) \
             AND g = $6"
        );
        assert_eq!(query.values.len(), 6);
    }
}
