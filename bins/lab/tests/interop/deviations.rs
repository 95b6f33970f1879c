//! What other implementations do differently from the reference implementations, as far as a case meets it. The case asserts
//! the deviation where it can, so that its end is noticed.

use sluice_lab::peer::Implementation::{self, Boringtun, Gotatun, Sluice, WireguardGo};

/// One difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deviation {
    /// Load is judged by source address: a flood from one address makes no other sender return a cookie (whitepaper §5.3 has
    /// one state for the whole responder).
    CookiesPerSource,
    /// A new private key or port while the interface runs is a race: now and then it is refused with EINVAL, because the old
    /// socket has the port still, or the program ends, because its reader of the TUN finds its channel closed. Nothing can be
    /// asserted; these steps are left out.
    ReconfiguringIsARace,
    /// Neither the removal of the interface nor that of the UAPI socket ends the daemon, as wg-quick expects.
    OutlivesItsInterface,
}

impl Deviation {
    /// Whose it is.
    pub(crate) fn is_of(self, program: Implementation) -> bool {
        match program {
            Sluice | WireguardGo | Boringtun => false,
            Gotatun => match self {
                Deviation::CookiesPerSource
                | Deviation::ReconfiguringIsARace
                | Deviation::OutlivesItsInterface => true,
            },
        }
    }
}
