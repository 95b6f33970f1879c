//! Address translation: which tuple a new flow's packets leave with, and which its answers will carry.
//!
//! Read first: RFC 4787, RFC 5382, RFC 6888, RFC 7857; RFC 6056 on choosing ports; CVE-2021-3773 on what goes wrong.
//! Called by the datapath for the first packet of a flow and when a flow is removed; calls [`crate::flow`] to ask
//! whether a tuple is in use. Established flows never come here: both their tuples say all.
//!
//! ```text
//! original tuple --Dnat--> destination --Pool--> external address --PortSpace--> external port --> reply tuple
//! ```
//!
//! No two flows share a tuple, in any direction, whichever sessions they are of: a reply tuple is chosen only if the
//! flow table knows no flow by it (NAT-IFF, P7). No payload is ever looked at (no ALG).

mod dnat;
mod hold_down;
mod mapping;
mod pool;
mod ports;
mod space;
mod translation;

pub use dnat::{Dnat, DnatError};
pub use hold_down::HOLD_DOWN;
pub use pool::{Mapping, POOL_ADDRESSES_MAX, PoolError, PoolId};
pub use translation::{Nat, NatCounters, NatError, Snat, Translation, holds_port};

#[cfg(test)]
mod tests;
#[cfg(any(test, feature = "sim"))]
pub mod twin;
