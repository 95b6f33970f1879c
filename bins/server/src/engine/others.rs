//! What servers on one database tell each other: each tells what it has changed, with the commit that it is about. Read first:
//! docs/adr/0011. Called by everything that changes something; calls store.

use std::time::Duration;

use uuid::Uuid;

use super::{Change, Engine};
use crate::store::notices::{Heard, NOTICE_BYTES_MAX, Notices};
use crate::store::objects::Kind;
use crate::store::{StoreError, Tx};

/// How long one waits before a connection to the database is tried again.
const RETRY: Duration = Duration::from_millis(500);

impl Engine {
    /// Makes what was done durable, and tells of it: those who listen here, and other servers.
    pub(super) async fn commit(
        &self,
        mut tx: Tx,
        changes: impl IntoIterator<Item = Change>,
    ) -> Result<(), StoreError> {
        let changes: Vec<_> = changes.into_iter().collect();
        for notice in notices(self.shared.life, &changes) {
            tx.notify(&notice).await?;
        }
        tx.commit().await?;
        self.tell(changes);
        Ok(())
    }

    /// Passes on what other servers tell, as long as there is anybody to tell it to. Nothing to do on SQLite.
    pub(crate) async fn hear_others(self) {
        loop {
            match self.store().notices().await {
                Ok(None) => return,
                Ok(Some(notices)) => {
                    // Whatever was told while nobody listened.
                    self.tell([Change::Missed]);
                    self.hear(notices).await;
                }
                Err(why) => tracing::warn!(%why, "cannot hear what other servers change; trying again"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn hear(&self, mut notices: Notices) {
        loop {
            match notices.next().await {
                Ok(Heard::Notice(text)) => self.tell(changes_of(self.shared.life, &text)),
                Ok(Heard::Missed) => self.tell([Change::Missed]),
                Err(why) => return tracing::warn!(%why, "the database tells nothing any more"),
            }
        }
    }
}

/// The texts of notices: the life of who tells, then one word for each change.
fn notices(life: Uuid, changes: &[Change]) -> Vec<String> {
    let mut notices: Vec<String> = Vec::new();
    for change in changes {
        let word = match change {
            Change::Session(id) => format!(" session/{id}"),
            Change::Object(kind, id) => format!(" {}/{id}", kind.name()),
            // Each server finds out by itself.
            Change::Expiring(..) | Change::Missed => continue,
        };
        match notices.last_mut().filter(|last| last.len() + word.len() <= NOTICE_BYTES_MAX) {
            Some(last) => *last += &word,
            None => notices.push(format!("{life}{word}")),
        }
    }
    notices
}

/// What a notice tells, unless it is one's own.
fn changes_of(life: Uuid, notice: &str) -> Vec<Change> {
    let mut words = notice.split(' ');
    if words.next().and_then(|teller| teller.parse().ok()) == Some(life) {
        return Vec::new();
    }
    let change = |word: &str| {
        let (kind, id) = word.split_once('/')?;
        let id = id.parse().ok()?;
        match kind {
            "session" => Some(Change::Session(id)),
            kind => {
                Kind::ALL.into_iter().find(|known| known.name() == kind).map(|kind| Change::Object(kind, id))
            }
        }
    };
    // What is not understood is something, all the same.
    words.map(|word| change(word).unwrap_or(Change::Missed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_tells_others_what_changed_and_oneself_nothing() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let changes = [
            Change::Session(Uuid::from_u128(7)),
            Change::Object(Kind::Mapping, Uuid::from_u128(8)),
            Change::Expiring(Uuid::from_u128(9), 60),
        ];
        let notices = notices(one, &changes);
        let [notice] = notices.as_slice() else { panic!("{notices:?}") };
        assert_eq!(changes_of(other, notice), changes[..2]);
        assert!(changes_of(one, notice).is_empty());
        assert_eq!(changes_of(one, "what is that?"), [Change::Missed, Change::Missed]);
    }

    #[test]
    fn many_changes_take_several_notices_none_of_them_too_long() {
        let changes: Vec<_> = (0..1000).map(|number| Change::Session(Uuid::from_u128(number))).collect();
        let notices = notices(Uuid::nil(), &changes);
        assert!(notices.len() > 1 && notices.iter().all(|notice| notice.len() < 8000));
        let told: Vec<_> = notices.iter().flat_map(|notice| changes_of(Uuid::from_u128(1), notice)).collect();
        assert_eq!(told, changes);
    }
}
