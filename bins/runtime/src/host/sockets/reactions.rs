//! What a client hears when the system does not give us a connection, or tells us of a packet's fate: one table for
//! errors of system calls, one for ICMP. Read first: RFC 1122 section 4.2.3.9, RFC 5927, ip(7), ipv6(7).

use std::io;

use libc::c_int;
use router_core::packet::build::{Notice, Unreachable};

/// What becomes of a connection that a device did not accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// The device said no: the client gets a reset.
    Reset,
    /// The network said no: the client gets the same error.
    Notice(Notice),
    /// We have no means left: the client is refused, and the operator told.
    Exhausted,
}

impl Reaction {
    /// What the client hears; `None` is a reset.
    pub(super) fn notice(self) -> Option<Notice> {
        match self {
            Self::Reset => None,
            Self::Notice(notice) => Some(notice),
            Self::Exhausted => Some(PROHIBITED),
        }
    }
}

const PROHIBITED: Notice = Notice::Unreachable(Unreachable::AdminProhibited);
const HOST: Notice = Notice::Unreachable(Unreachable::Host);
const PORT: Notice = Notice::Unreachable(Unreachable::Port);
const NO_ROUTE: Notice = Notice::Unreachable(Unreachable::NoRoute);

/// What a failed `socket`, `bind` or `connect` means to the client. What is not known counts as an unreachable host: the
/// client may try again, and does not take the port for closed.
pub(super) fn of_dial(error: &io::Error) -> Reaction {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED | libc::ECONNRESET | libc::ENOPROTOOPT) => Reaction::Reset,
        Some(libc::ENETUNREACH | libc::ENETDOWN | libc::EAFNOSUPPORT | libc::EINVAL) => {
            Reaction::Notice(NO_ROUTE)
        }
        Some(libc::EACCES | libc::EPERM) => Reaction::Notice(PROHIBITED),
        Some(
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EADDRNOTAVAIL | libc::EAGAIN,
        ) => Reaction::Exhausted,
        _ => Reaction::Notice(HOST),
    }
}

/// What a failed `send` of a datagram means to the client, where the error queue has said nothing. `None` where nobody
/// needs to hear of it: the datagram is lost, as datagrams are.
pub(super) fn of_send(error: &io::Error) -> Option<Notice> {
    match error.raw_os_error()? {
        libc::ECONNREFUSED => Some(PORT),
        libc::EHOSTUNREACH | libc::EHOSTDOWN => Some(HOST),
        libc::ENETUNREACH | libc::ENETDOWN | libc::EAFNOSUPPORT | libc::EINVAL => Some(NO_ROUTE),
        libc::EACCES | libc::EPERM => Some(PROHIBITED),
        _ => None,
    }
}

/// What an ICMP error says, in the terms of both versions. `None`: nothing that concerns the client.
pub(super) fn of_icmp_v4(kind: u8, code: u8, mtu_bytes: u32) -> Option<Notice> {
    Some(match (kind, code) {
        (UNREACHABLE_V4, 0 | 5 | 6 | 11) => NO_ROUTE,
        (UNREACHABLE_V4, 2 | 3) => PORT,
        (UNREACHABLE_V4, 4) => too_big(mtu_bytes)?,
        (UNREACHABLE_V4, 9 | 10 | 13) => PROHIBITED,
        (UNREACHABLE_V4, _) => HOST,
        (TIME_EXCEEDED_V4, 0) => Notice::HopLimitExceeded,
        _ => return None,
    })
}

/// The same for IPv6.
pub(super) fn of_icmp_v6(kind: u8, code: u8, mtu_bytes: u32) -> Option<Notice> {
    Some(match (kind, code) {
        (UNREACHABLE_V6, 0) => NO_ROUTE,
        (UNREACHABLE_V6, 1 | 5 | 6) => PROHIBITED,
        (UNREACHABLE_V6, 4) => PORT,
        (UNREACHABLE_V6, _) => HOST,
        (TOO_BIG_V6, _) => too_big(mtu_bytes)?,
        (TIME_EXCEEDED_V6, 0) => Notice::HopLimitExceeded,
        _ => return None,
    })
}

/// What the system says of a packet it did not even send.
pub(super) fn of_local(errno: c_int, mtu_bytes: u32) -> Option<Notice> {
    match errno {
        libc::EMSGSIZE => too_big(mtu_bytes),
        errno => of_send(&io::Error::from_raw_os_error(errno)),
    }
}

/// Larger ones than packets can be say nothing.
fn too_big(mtu_bytes: u32) -> Option<Notice> {
    u16::try_from(mtu_bytes).ok().filter(|mtu| *mtu > 0).map(|mtu_bytes| Notice::TooBig { mtu_bytes })
}

// Of the specifications: RFC 792, RFC 4443.
const UNREACHABLE_V4: u8 = 3;
const TIME_EXCEEDED_V4: u8 = 11;
const UNREACHABLE_V6: u8 = 1;
const TOO_BIG_V6: u8 = 2;
const TIME_EXCEEDED_V6: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_dial_becomes_what_the_clients_own_stack_would_have_heard() {
        for (errno, expected) in [
            (libc::ECONNREFUSED, Reaction::Reset),
            (libc::EHOSTUNREACH, Reaction::Notice(HOST)),
            (libc::ENETUNREACH, Reaction::Notice(NO_ROUTE)),
            (libc::ETIMEDOUT, Reaction::Notice(HOST)),
            (libc::EACCES, Reaction::Notice(PROHIBITED)),
            (libc::EPERM, Reaction::Notice(PROHIBITED)),
            (libc::EMFILE, Reaction::Exhausted),
            (libc::ENFILE, Reaction::Exhausted),
            (libc::ENOBUFS, Reaction::Exhausted),
            (libc::EADDRNOTAVAIL, Reaction::Exhausted),
            (libc::EIO, Reaction::Notice(HOST)),
        ] {
            assert_eq!(of_dial(&io::Error::from_raw_os_error(errno)), expected, "errno {errno}");
        }
        assert_eq!(of_dial(&io::ErrorKind::TimedOut.into()), Reaction::Notice(HOST));
    }

    #[test]
    fn exhaustion_is_refused_and_never_silent() {
        assert_eq!(Reaction::Exhausted.notice(), Some(PROHIBITED));
        assert_eq!(Reaction::Reset.notice(), None);
    }

    #[test]
    fn icmp_says_the_same_in_both_versions() {
        for (v4, v6, expected) in [
            ((3, 0), (1, 0), Some(NO_ROUTE)),
            ((3, 1), (1, 3), Some(HOST)),
            ((3, 3), (1, 4), Some(PORT)),
            ((3, 13), (1, 1), Some(PROHIBITED)),
            ((3, 4), (2, 0), Some(Notice::TooBig { mtu_bytes: 1280 })),
            ((11, 0), (3, 0), Some(Notice::HopLimitExceeded)),
            ((11, 1), (3, 1), None),
            ((12, 0), (4, 0), None),
            ((5, 1), (137, 0), None),
        ] {
            assert_eq!(of_icmp_v4(v4.0, v4.1, 1280), expected, "v4 {v4:?}");
            assert_eq!(of_icmp_v6(v6.0, v6.1, 1280), expected, "v6 {v6:?}");
        }
    }

    #[test]
    fn an_mtu_that_cannot_be_is_not_told() {
        for mtu_bytes in [0, 65_536] {
            assert_eq!(of_icmp_v4(3, 4, mtu_bytes), None);
            assert_eq!(of_local(libc::EMSGSIZE, mtu_bytes), None);
        }
    }
}
