//! The documents of the HTTP API: what the server takes and gives, and the command line shows. Shapes only; what a value
//! may be is the server's to say.
//!
//! A document that is written (`…Spec`) refuses fields it does not know, so that a misspelt one is an error and not a
//! default. Moments are RFC 3339 in UTC, durations seconds or texts such as `8h`; references are names.

mod access;
mod audit;
mod change;
mod connector;
mod duration;
mod flow;
mod object;
mod problem;
mod router;
mod session;
mod target;
mod token;
mod user;

pub use access::{
    AccessTarget, ApprovalView, AskApproval, Blocked, DecideApproval, Explain, ExplainPacket, Explanation,
    FailedCheck, PacketExplanation, PacketRule, PacketVerdict, TargetOutlook,
};
pub use audit::{AuditEvent, AuditObject, ChainState};
pub use change::Change;
pub use connector::{ConnectorSpec, ConnectorState, Dial, MappingSpec, MappingState};
pub use duration::{NotADuration, Seconds};
pub use flow::FlowView;
pub use object::{Object, Page};
pub use problem::{FieldProblem, Problem};
pub use router::{RouterKind, RouterSpec, RouterState};
pub use session::{
    EndSession, EndSessions, ExtendSession, OpenSession, RouterProgress, SessionState, SessionView, Traffic,
};
pub use target::{
    AddressSpec, DestinationSpec, NatSpec, PortSpec, ScheduleSpec, SelectorSpec, TargetSpec, Weekday,
    WindowSpec,
};
pub use token::{FirstAdmin, LogIn, LoggedIn, NewToken, SetPassword, TokenSpec, TokenView, WhoAmI};
pub use user::{
    AddedDevice, DeviceSpec, DeviceState, NewDevice, Right, RoleGrantSpec, RoleSpec, TenantSpec, UserSpec,
};
