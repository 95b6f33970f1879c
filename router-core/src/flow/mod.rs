//! Flows: which conversations are known, how far each has come, and when each is forgotten.
//!
//! Read first: RFC 4787, RFC 5382, RFC 5508 and RFC 7857 on life times, RFC 5961 on what may end a TCP flow.
//! Called by the datapath with a parsed packet's [`Tuple`]; calls nothing but its own parts:
//!
//! ```text
//! Tuple --hash--> Index --(id, direction)--> FlowTable records --deadline--> Wheel
//!                                            tcp_state: what a segment does to a flow
//! ```
//!
//! A flow is stored under two tuples: the *original* one, as the first packet came in, and the *reply* one, as
//! answers will come in. Both stand in one index, so a packet names at most one flow and one direction, whoever
//! sent it: this is what keeps two sessions' translations apart.

mod caps;
mod lists;
mod phase;
mod record;
mod table;
pub mod tcp_state;
mod tick;
mod timeouts;
mod tuple;
mod wheel;

pub use caps::{CapExceeded, Caps, SessionUse};
pub use phase::{Phase, Rank};
pub use record::{Flow, FlowMeta, Leg, NewFlow, Opening, Removed, SessionRef};
pub use table::{BATCH, FlowId, FlowTable, InsertError, Sought, Standing, Step, TupleHash};
pub use tick::Tick;
pub(crate) use tick::ticks;
pub use timeouts::{
    CLOSING_TIMEOUT, ECHO_TIMEOUT, ESTABLISHED_TIMEOUT, OTHER_TIMEOUT, TRANSITORY_TIMEOUT, UDP_TIMEOUT,
};
pub use tuple::{Address, Direction, Tuple};
