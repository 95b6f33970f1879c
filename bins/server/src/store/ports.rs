//! Virtual ports of connectors: given out lowest first, kept through restarts, not reused within a quarantine.

use jiff::Timestamp;
use uuid::Uuid;

use super::StoreError;
use super::sql::{Tx, values};

/// A virtual port that is not free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeldPort {
    pub(crate) port: u16,
    /// When it was given back; `None`: it is in use.
    pub(crate) released: Option<Timestamp>,
}

impl Tx {
    /// The ports of a connector that are in use or were, lowest first.
    pub(crate) async fn held_ports(&mut self, connector: Uuid) -> Result<Vec<HeldPort>, StoreError> {
        let rows = self
            .rows(
                "SELECT port, released_at FROM virtual_port WHERE connector = $1 ORDER BY port",
                values![connector.to_string()],
            )
            .await?;
        let held = |row: &super::sql::Row| {
            let port =
                u16::try_from(row.int(0)?).map_err(|why| StoreError::unreadable("a virtual port", why))?;
            let released = row.int_or_null(1)?.map(super::moment_of).transpose()?;
            Ok(HeldPort { port, released })
        };
        rows.iter().map(held).collect()
    }

    /// Gives a port to a mapping.
    pub(crate) async fn take_port(
        &mut self,
        connector: Uuid,
        port: u16,
        mapping: Uuid,
    ) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO virtual_port (connector, port, mapping, released_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (connector, port) DO UPDATE SET mapping = excluded.mapping, released_at = NULL",
            values![connector.to_string(), i64::from(port), mapping.to_string(), None::<i64>],
        )
        .await?;
        Ok(())
    }

    /// Takes the port of a mapping back: its quarantine begins.
    pub(crate) async fn release_port(&mut self, mapping: Uuid, now: Timestamp) -> Result<(), StoreError> {
        self.execute(
            "UPDATE virtual_port SET mapping = NULL, released_at = $2 WHERE mapping = $1",
            values![mapping.to_string(), now.as_microsecond()],
        )
        .await?;
        Ok(())
    }

    /// Forgets the ports of a connector that is gone.
    pub(crate) async fn forget_ports(&mut self, connector: Uuid) -> Result<(), StoreError> {
        self.execute("DELETE FROM virtual_port WHERE connector = $1", values![connector.to_string()]).await?;
        Ok(())
    }
}
