//! The road of one packet.

pub(crate) mod interface;
