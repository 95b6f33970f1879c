//! Which servers are at work, and whom each of them leads. Read first: docs/adr/0011.

use std::net::IpAddr;

use jiff::Timestamp;
use uuid::Uuid;

use super::query::{AT_ONCE, Query};
use super::sql::{Row, Tx, Value, values};
use super::{StoreError, moment_of, uuid_of};

/// A server at work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerRecord {
    /// Of its embedded router.
    pub(crate) id: Uuid,
    /// Drawn anew at each start.
    pub(crate) life: Uuid,
    /// One more with each sign of life.
    pub(crate) beat: i64,
}

/// Who leads an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeadRecord {
    pub(crate) agent: Uuid,
    pub(crate) server: Uuid,
    /// It is connected, and has what it is to have.
    pub(crate) ready: bool,
}

/// A server, in one of its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Myself {
    pub(crate) id: Uuid,
    pub(crate) life: Uuid,
}

impl Tx {
    /// A server is at work from now on. What another life of it led is its own at once.
    pub(crate) async fn enter_server(&mut self, server: Myself) -> Result<(), StoreError> {
        let Myself { id, life } = server;
        self.execute(
            "INSERT INTO server (id, life, beat) VALUES ($1, $2, 0) \
             ON CONFLICT (id) DO UPDATE SET life = excluded.life, beat = server.beat + 1",
            values![id.to_string(), life.to_string()],
        )
        .await?;
        self.execute("UPDATE lead SET ready = 0 WHERE server = $1", values![id.to_string()]).await?;
        Ok(())
    }

    /// A server gives a sign of life. Says whether it still is one of those at work.
    pub(crate) async fn beat(&mut self, server: Myself) -> Result<bool, StoreError> {
        let Myself { id, life } = server;
        let changed = self
            .execute(
                "UPDATE server SET beat = beat + 1 WHERE id = $1 AND life = $2",
                values![id.to_string(), life.to_string()],
            )
            .await?;
        Ok(changed == 1)
    }

    /// A server is at work no more. Says whether it was.
    pub(crate) async fn leave_server(&mut self, server: Myself) -> Result<bool, StoreError> {
        let Myself { id, life } = server;
        let sql = "DELETE FROM server WHERE id = $1 AND life = $2";
        Ok(self.execute(sql, values![id.to_string(), life.to_string()]).await? == 1)
    }

    /// All that are at work.
    pub(crate) async fn servers(&mut self) -> Result<Vec<ServerRecord>, StoreError> {
        let rows = self.rows("SELECT id, life, beat FROM server ORDER BY id", Vec::new()).await?;
        let record =
            |row: &Row| Ok(ServerRecord { id: uuid_of(row, 0)?, life: uuid_of(row, 1)?, beat: row.int(2)? });
        rows.iter().map(record).collect()
    }

    /// Who leads whom.
    pub(crate) async fn leads(&mut self) -> Result<Vec<LeadRecord>, StoreError> {
        let rows = self.rows("SELECT agent, server, ready FROM lead ORDER BY agent", Vec::new()).await?;
        let record = |row: &Row| {
            Ok(LeadRecord { agent: uuid_of(row, 0)?, server: uuid_of(row, 1)?, ready: row.int(2)? != 0 })
        };
        rows.iter().map(record).collect()
    }

    /// A server leads an agent from now on, whoever did before.
    pub(crate) async fn take_lead(&mut self, agent: Uuid, server: Uuid) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO lead (agent, server, ready) VALUES ($1, $2, 0) \
             ON CONFLICT (agent) DO UPDATE SET server = excluded.server, ready = 0",
            values![agent.to_string(), server.to_string()],
        )
        .await?;
        Ok(())
    }

    /// Whether an agent is connected, and has what it is to have.
    pub(crate) async fn set_lead_ready(&mut self, agent: Uuid, ready: bool) -> Result<(), StoreError> {
        let sql = "UPDATE lead SET ready = $2 WHERE agent = $1";
        self.execute(sql, values![agent.to_string(), i64::from(ready)]).await?;
        Ok(())
    }

    /// Nobody leads what is no agent any more.
    pub(crate) async fn forget_leads(&mut self) -> Result<(), StoreError> {
        self.execute("DELETE FROM lead WHERE agent NOT IN (SELECT id FROM object)", Vec::new()).await?;
        Ok(())
    }

    /// Whether this life of a server leads an agent.
    pub(crate) async fn is_led_by(&mut self, agent: Uuid, server: Myself) -> Result<bool, StoreError> {
        let found = self
            .row(
                "SELECT 1 FROM lead JOIN server ON server.id = lead.server \
                 WHERE lead.agent = $1 AND lead.server = $2 AND server.life = $3",
                values![agent.to_string(), server.id.to_string(), server.life.to_string()],
            )
            .await?;
        Ok(found.is_some())
    }

    /// The agents that are ready at other servers.
    pub(crate) async fn ready_elsewhere(&mut self, server: Uuid) -> Result<Vec<Uuid>, StoreError> {
        let sql = "SELECT lead.agent FROM lead JOIN server ON server.id = lead.server \
                   WHERE lead.ready = 1 AND lead.server <> $1";
        self.rows(sql, values![server.to_string()]).await?.iter().map(|row| uuid_of(row, 0)).collect()
    }

    /// Clients were heard. What another server heard later stays.
    pub(crate) async fn store_heard(&mut self, heard: &[(IpAddr, Timestamp)]) -> Result<(), StoreError> {
        for heard in heard.chunks(AT_ONCE) {
            let places: Vec<_> =
                (0..heard.len()).map(|place| format!("(${}, ${})", 2 * place + 1, 2 * place + 2)).collect();
            let sql = format!(
                "INSERT INTO client_heard (client_ip, heard_at) VALUES {} ON CONFLICT (client_ip) \
                 DO UPDATE SET heard_at = excluded.heard_at WHERE excluded.heard_at > client_heard.heard_at",
                places.join(", ")
            );
            let values = heard.iter().flat_map(|(client_ip, at)| {
                [Value::from(client_ip.to_string()), Value::from(at.as_microsecond())]
            });
            self.rows_of(sql, values.collect()).await?;
        }
        Ok(())
    }

    /// When clients were last heard; those that nobody heard are left out.
    pub(crate) async fn heard(&mut self, clients: &[IpAddr]) -> Result<Vec<(IpAddr, Timestamp)>, StoreError> {
        let mut found = Vec::new();
        for clients in clients.chunks(AT_ONCE) {
            let query = Query::new("SELECT client_ip, heard_at FROM client_heard".to_owned())
                .and_among("client_ip", clients.iter().map(IpAddr::to_string));
            for row in query.rows(self, "client_ip", u32::MAX).await? {
                let client_ip = row.text(0)?.parse();
                let client_ip = client_ip.map_err(|why| StoreError::unreadable("a client IP", why))?;
                found.push((client_ip, moment_of(row.int(1)?)?));
            }
        }
        Ok(found)
    }
}
