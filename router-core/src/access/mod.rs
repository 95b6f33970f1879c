//! Who may reach what, and until when: pure policy, decided from facts that callers read.
//!
//! ```text
//! Facts + Request --decide--> Granted --Session::open--> Session --compile--> Grant --(a node)--> rules
//!                    \--> Refused                          | acknowledged, removed, end, extend, recheck
//!                                                          \--> SessionEvent, one for each change
//! ```
//!
//! Holds no store and asks nobody: a caller reads the facts inside the transaction in which it commits what comes back, so
//! that two requests never both pass. Time is an argument. Packets are not known here: what a session lets through is said
//! as [`Selector`](crate::selector::Selector)s, and [`rules`](crate::rules) make them true.

mod approval;
mod audit;
mod connector;
mod decide;
mod end;
mod explain;
mod grant;
mod id;
mod length;
mod name;
mod router;
mod schedule;
mod session;
mod target;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin;
mod user;
mod utc;

pub use approval::{Approval, SelfApproval};
pub use audit::AuditKind;
pub use connector::{
    Connector, DeviceMapping, Dial, NotAVirtualPort, PortsExhausted, Quarantined, VIRTUAL_PORT_QUARANTINE,
    VirtualPort, allocate,
};
pub use decide::{
    Client, ClientDevice, ClientOwner, Expiry, Extension, Facts, Granted, Limit, Quotas, Refused, Request,
    Usage, decide, extend, failures,
};
pub use end::{EndReason, Scope};
pub use explain::{Explanation, FirstPacket, Outlook, Passage, explain};
pub use grant::{CompileError, Grant, GrantDestination, GrantSubject, Mapped, Reach, Via, compile};
pub use id::{
    ApprovalId, ConnectorId, DeviceId, MappingId, NotAnId, RoleId, RouterId, TargetId, TenantId, UserId, Uuid,
};
pub use length::{SessionLength, SessionLengthError};
pub use name::{NAME_BYTES_MAX, Name, NameError, REASON_BYTES_MAX, Reason, ReasonError};
pub use router::{PartialOverlap, Pool, PoolError, Router, RouterKind, pools_agree};
pub use schedule::{MINUTES_OF_DAY, Schedule, ScheduleError, WINDOWS_MAX, Weekday, Weekdays, Window};
pub use session::{ClientSeen, Happened, Notice, Session, SessionEvent, SessionState};
pub use target::{
    Conditions, DESTINATIONS_MAX, Destination, DestinationError, Destinations, DestinationsError, Forbidden,
    ForbiddenAddresses, ForbiddenKind, ForbiddenPart, Nat, NatAddr, Target,
};
pub use user::{NeverValid, RoleGrant, User, Validity};
