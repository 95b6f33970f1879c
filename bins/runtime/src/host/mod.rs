//! What a program needs from its host beside packets: its command line, its configuration, its place among the
//! daemons, its sockets for administrators. Shared by the router and the connector.

pub mod adjustment;
pub mod admin;
pub mod arguments;
pub mod background;
pub mod config;
pub mod confine;
pub mod control;
pub mod daemon;
pub mod egress;
pub mod failure;
pub mod keys;
pub mod line;
pub mod main_loop;
pub mod mappings;
pub mod metrics;
pub mod moment;
pub mod operations;
pub mod peers;
pub mod program;
pub mod rule_id;
pub mod socket;
pub mod sockets;
pub mod status_page;
pub mod ways;
