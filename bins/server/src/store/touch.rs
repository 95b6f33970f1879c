//! Looking whether the store takes what is written, and how much is in it.

use jiff::Timestamp;

use super::StoreError;
use super::sql::Tx;

/// Nobody who asks is called so.
const NOBODY: &str = "";

impl Tx {
    /// Writes something that leaves nothing behind, so that a commit has to reach the disk.
    pub(crate) async fn touch(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.take_key(NOBODY, "touch", "", now).await?;
        self.free_key(NOBODY, "touch").await
    }

    /// The number of the newest audit event; 0 if there is none.
    pub(crate) async fn newest_event(&mut self) -> Result<u64, StoreError> {
        let row = self.row("SELECT seq FROM audit ORDER BY seq DESC LIMIT 1", Vec::new()).await?;
        Ok(row.map(|row| row.int(0)).transpose()?.map_or(0, i64::unsigned_abs))
    }

    /// How many sessions there are in each state, but for those that have ended.
    pub(crate) async fn census(&mut self) -> Result<Vec<(String, i64)>, StoreError> {
        let sql = "SELECT state, COUNT(*) FROM session WHERE closed_at IS NULL GROUP BY state";
        let rows = self.rows(sql, Vec::new()).await?;
        rows.iter().map(|row| Ok((row.text(0)?, row.int(1)?))).collect()
    }
}
