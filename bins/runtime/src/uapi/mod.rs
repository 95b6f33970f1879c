//! The cross-platform userspace interface of WireGuard: what `wg` and `wg-quick` speak to a running interface.
//! Read first: <https://www.wireguard.com/xplatform/#cross-platform-userspace-implementation>.
//!
//! `conversation` is pure and reads top-down; `server` puts it on a socket, `live` connects it to a running node.

pub mod change;
pub mod conversation;
pub mod errno;
pub mod get;
pub mod interface;
pub mod live;
pub mod server;
pub mod set;
#[cfg(test)]
mod transcripts;

pub use errno::Errno;
pub use interface::Interface;
pub use live::Live;
pub use server::Server;
