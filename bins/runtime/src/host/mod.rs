//! What a program needs from its host beside packets: its command line, its configuration, its place among the
//! daemons, its sockets for administrators. Shared by the router and the connector.

pub mod admin;
pub mod config;
pub mod daemon;
pub mod failure;
pub mod line;
pub mod socket;
