//! What a client of the userspace interface is told: a negated errno. Read first: the cross-platform userspace
//! interface of WireGuard, "errno". Called by every other file here.

use thiserror::Error;

/// Why an operation was refused. The numbers are Linux's, and wireguard-go answers with the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Errno {
    /// The interface could not carry out the change.
    #[error("input or output failed")]
    Io,
    /// Not a line of the form `key=value`, or one longer than [`super::conversation::LINE_BYTES_MAX`].
    #[error("not the userspace interface's protocol")]
    Protocol,
    /// A key nobody knows in this place, or a value that does not fit it.
    #[error("unknown key or malformed value")]
    Invalid,
    /// The listening port belongs to somebody else.
    #[error("the listening port is in use")]
    PortInUse,
    /// No room for another peer or allowed address.
    #[error("no room left")]
    NoSpace,
}

impl Errno {
    /// The number after `errno=`: negative, as clients negate it back.
    pub fn code(self) -> i32 {
        match self {
            Self::Io => -libc::EIO,
            Self::Protocol => -libc::EPROTO,
            Self::Invalid => -libc::EINVAL,
            Self::PortInUse => -libc::EADDRINUSE,
            Self::NoSpace => -libc::ENOSPC,
        }
    }
}
