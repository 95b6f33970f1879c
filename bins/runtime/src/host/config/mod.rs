//! Configuration files: read whole, refused whole, with every fault told at once. The router and the connector give
//! the tables; this module gives the reading, the overrides from the environment and what both have in common.
//!
//! `document` reads, `fault` tells, `node`, `tun`, `sockets` and `peer` are the shared tables, `value` parses single values.

pub mod document;
pub mod environment;
pub mod fault;
pub mod node;
pub mod operations;
pub mod peer;
pub mod secret;
pub mod sockets;
pub mod tun;
pub mod unique;
pub mod value;

pub use document::{Document, Section};
pub use fault::{Fault, Place, Problems};
