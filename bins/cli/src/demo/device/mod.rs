//! Two devices that only the connector reaches: ordinary servers on 127.0.0.1.

mod echo;
mod web;

pub(super) use self::echo::{Echo, Ended};
pub(super) use self::web::{GREETING, Web};

/// Connections that one device serves at the same time. More wait.
const CONNECTIONS_MAX: usize = 256;
