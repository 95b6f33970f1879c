//! What a server and its routers and connectors tell each other, and how they stay in step. Holds no socket, reads no clock:
//! callers pass bytes, messages and time.
//!
//! ```text
//! server: Leader ── FromServer ──> frames over any byte stream ──> Follower :agent
//!                <── FromAgent ──
//! ```
//! The server does not send commands. It holds the *desired state* of each agent, a set of [`Item`]s, and the two machines bring
//! the agent there: by a snapshot, in which absent means delete, or by the changes since what the agent has applied. The agent
//! answers for each generation, and forwards only under a lease that the server renews as long as nothing it has revoked may still
//! be in force there. Read first: docs/protocol.md.

#![forbid(unsafe_code)]

mod backoff;
mod follower;
mod frame;
mod grant;
mod item;
mod leader;
mod list;
mod message;
mod position;
mod selector_text;
mod state;
mod terms;
mod text;
mod version;
mod violation;
mod written;

pub use backoff::Backoff;
pub use follower::{Follower, Led, ServerClock};
pub use frame::{FRAME_BYTES_MAX, FrameDecoder, FrameError, Misread, TooLong, decode, encode};
pub use grant::{
    DESTINATIONS_MAX, Deny, Grant, GrantDestination, GrantSubject, NoConnectorKey, Translation, Via,
};
pub use item::{
    ADDRESSES_MAX, ALLOWED_IPS_MAX, Change, Identity, Item, ItemKey, Mapping, MappingId, MappingProtocol,
    Peer, PeerKind,
};
pub use leader::{Leader, News, Standing};
pub use message::{
    Ack, AgentKind, Applied, Bye, Counted, CounterReport, Delta, FlowRecord, FlowReport, FromAgent,
    FromServer, Health, Heard, Heartbeat, Hello, Lease, PeerReport, PeerSeen, Problem, Refusal,
    RefusalReport, Refused, SessionCounters, Snapshot, Welcome,
};
pub use position::{BootId, Epoch, Generation, Position};
pub use state::{ITEMS_MAX, State, StateFault};
pub use terms::Terms;
pub use text::{Name, NotText, Reason, Text};
pub use version::{Version, Versions};
pub use violation::Violation;
