//! A node led by a server, and the server's end of that. Read first: docs/protocol.md, control_proto.
//!
//! ```text
//! agent:   follow ── converse ── Follower ── LedNode ── Program          over a connection through the own stack, or in memory
//! server:  accept ── Leadership::converse ── Leader                      one for each agent; whoever decides changes what it wants
//! ```
//! Tasks only carry: what is to be said and done is decided by the two machines.

mod acceptor;
mod books;
mod follow;
mod grants;
mod leadership;
mod led;
mod ledger;
mod link;
mod pipe;
mod reports;
mod way_to_server;

#[cfg(test)]
mod tests;

pub use self::acceptor::accept;
pub use self::follow::{Agent, follow};
pub use self::leadership::{AgentNews, Leadership};
pub use self::led::{LedKind, LedNode, Own};
pub use self::link::{Link, LinkState};
pub use self::way_to_server::{PORT, door_rules, rule_to_server};
