//! Passwords: Argon2id as OWASP advises (19 MiB, two passes, one lane). Few are computed at a time, so that logging in
//! cannot be used to take the server's memory; a user who does not exist costs as much as one who does.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::rand;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use zeroize::Zeroizing;

// OWASP Password Storage Cheat Sheet, Argon2id.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

// Our own choices.
/// Computed at a time: 38 MiB.
const AT_ONCE: usize = 2;
/// How long one waits for one's turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// NIST SP 800-63B-4 §3.1.1.2 asks for 15 where a password is all there is, 8 with a second factor.
const CHARACTERS_MIN: usize = 15;
/// More would only cost time.
const BYTES_MAX: usize = 256;
const SALT_BYTES: usize = 16;

/// Computes and compares hashes of passwords.
#[derive(Clone)]
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    /// What is compared for users who are not there.
    nobody: Arc<str>,
}

/// Why a password was not hashed or compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordFault {
    /// Too many wait already.
    #[error("too many are logging in at this moment")]
    Busy,
    /// It cannot be computed here.
    #[error("the password could not be hashed")]
    Failed,
}

/// Why a text cannot be a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WeakPassword {
    /// Guessed too quickly.
    #[error("a password has at least {CHARACTERS_MIN} characters")]
    Short,
    /// No better than a shorter one.
    #[error("a password has at most {BYTES_MAX} bytes")]
    Long,
    /// The first to be guessed.
    #[error("a password of one repeated character, or the user's name, is guessed at once")]
    Obvious,
}

impl Passwords {
    /// Makes what is compared for nobody: takes as long as one login.
    pub(crate) fn new() -> Result<Passwords, PasswordFault> {
        let nobody = hash(b"nobody logs in with this: the salt is random and never shown")?;
        Ok(Passwords { turns: Arc::new(Semaphore::new(AT_ONCE)), nobody: nobody.into() })
    }

    /// The hash of a password, in PHC form.
    pub(crate) async fn hash(&self, password: &str) -> Result<String, PasswordFault> {
        let password = Zeroizing::new(password.to_owned());
        self.take_turn(move || hash(password.as_bytes())).await?
    }

    /// Whether this is the password of that hash. `None`, a user without one, takes as long and is never right.
    pub(crate) async fn matches(
        &self,
        password: &str,
        stored: Option<String>,
    ) -> Result<bool, PasswordFault> {
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.nobody.to_string());
        // What is longer than any password is wrong; its beginning is compared, for the time that takes.
        let fits = password.len() <= BYTES_MAX;
        let compared = Zeroizing::new(password.bytes().take(BYTES_MAX).collect::<Vec<u8>>());
        let equal = self.take_turn(move || verify(&compared, &stored)).await??;
        Ok(equal && known && fits)
    }

    async fn take_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordFault> {
        let turn = timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| PasswordFault::Busy)?.map_err(|_| PasswordFault::Busy)?;
        // The turn goes with the work: who hangs up does not make room for more of it.
        let done = spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        done.await.map_err(|_| PasswordFault::Failed)
    }
}

/// Whether a text can be the password of this user.
pub(crate) fn check(password: &str, user: &str) -> Result<(), WeakPassword> {
    if password.chars().count() < CHARACTERS_MIN {
        return Err(WeakPassword::Short);
    }
    if password.len() > BYTES_MAX {
        return Err(WeakPassword::Long);
    }
    let first = password.chars().next();
    let repeated = password.chars().all(|c| Some(c) == first);
    if repeated || password.to_lowercase() == user.to_lowercase() {
        return Err(WeakPassword::Obvious);
    }
    Ok(())
}

fn argon2() -> Result<Argon2<'static>, PasswordFault> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_| PasswordFault::Failed)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &[u8]) -> Result<String, PasswordFault> {
    let mut salt = [0; SALT_BYTES];
    rand::fill(&mut salt).map_err(|_| PasswordFault::Failed)?;
    let hash: PasswordHash =
        argon2()?.hash_password_with_salt(password, &salt).map_err(|_| PasswordFault::Failed)?;
    Ok(hash.to_string())
}

fn verify(password: &[u8], stored: &str) -> Result<bool, PasswordFault> {
    let stored = PasswordHash::new(stored).map_err(|_| PasswordFault::Failed)?;
    Ok(argon2()?.verify_password(password, &stored).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_matches_its_own_hash_and_no_other() {
        let passwords = Passwords::new().unwrap();
        let hash = passwords.hash("correct horse battery").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.matches("correct horse battery", Some(hash.clone())).await.unwrap());
        assert!(!passwords.matches("correct horse batterz", Some(hash.clone())).await.unwrap());
        assert!(!passwords.matches(&"correct horse battery".repeat(20), Some(hash)).await.unwrap());
        let nobodys = "nobody logs in with this: the salt is random and never shown";
        assert!(
            !passwords.matches(nobodys, None).await.unwrap(),
            "who has no password has none that is right"
        );
    }

    #[test]
    fn a_password_is_long_enough_and_not_the_first_to_be_guessed() {
        for (password, wrong) in [
            ("correct horse b", None),
            ("fourteen chars", Some(WeakPassword::Short)),
            ("äöüäöüäöüäöüäöü", None),
            ("aaaaaaaaaaaaaaaaaaaa", Some(WeakPassword::Obvious)),
            ("A.Very.Long.Name", Some(WeakPassword::Obvious)),
        ] {
            assert_eq!(check(password, "a.very.long.name").err(), wrong, "{password}");
        }
        assert_eq!(check(&"ab".repeat(129), "x"), Err(WeakPassword::Long));
    }
}
