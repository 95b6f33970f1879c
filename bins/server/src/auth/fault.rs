//! Why somebody was not authenticated, or a credential not made.

use std::time::Duration;

use sluice_api::FieldProblem;

use super::password::{PasswordFault, WeakPassword};
use super::secret::NoRandomness;
use super::throttle::Limited;
use crate::store::StoreError;

/// Why not. Messages name no user that may not exist and no secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthFault {
    /// Nothing was shown that shows who is asking.
    #[error("you are not logged in")]
    NotAuthenticated,
    /// User and password do not belong together; which of them is wrong is not told.
    #[error("the user or the password is wrong")]
    WrongCredentials,
    /// A one-time secret that is used up, past its time or made up.
    #[error("this is not, or no longer, a one-time token")]
    NoSuchSecret,
    /// Too many failures.
    #[error("too many failed attempts; the next one is possible in {} s", retry_after.as_secs().max(1))]
    Limited {
        /// When to try again.
        retry_after: Duration,
    },
    /// The document is wrong.
    #[error("the document is not valid")]
    Invalid(Vec<FieldProblem>),
    /// There is no such token among one's own.
    #[error("you have no such token")]
    UnknownToken,
    /// There is no such user, or none that one may know.
    #[error("there is no such user")]
    UnknownUser,
    /// One has too many tokens.
    #[error("you have {0} tokens, which is as many as one can have; revoke one first")]
    TooManyTokens(usize),
    /// Too many are logging in.
    #[error("too many are logging in at this moment")]
    Busy,
    /// It cannot be done here.
    #[error("{0}")]
    Failed(&'static str),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AuthFault {
    /// One field is wrong.
    pub(super) fn field(pointer: &str, why: impl std::fmt::Display) -> AuthFault {
        AuthFault::Invalid(vec![FieldProblem { pointer: pointer.to_owned(), detail: why.to_string() }])
    }
}

impl From<PasswordFault> for AuthFault {
    fn from(fault: PasswordFault) -> Self {
        match fault {
            PasswordFault::Busy => AuthFault::Busy,
            PasswordFault::Failed => AuthFault::Failed("the password could not be hashed"),
        }
    }
}

impl From<NoRandomness> for AuthFault {
    fn from(_: NoRandomness) -> Self {
        AuthFault::Failed("the operating system gave no randomness")
    }
}

impl From<Limited> for AuthFault {
    fn from(Limited { retry_after }: Limited) -> Self {
        AuthFault::Limited { retry_after }
    }
}

/// A password that cannot be one, in this field.
pub(super) fn weak(pointer: &str) -> impl Fn(WeakPassword) -> AuthFault {
    move |why| AuthFault::field(pointer, why)
}
