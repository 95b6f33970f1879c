//! The only place with TUN devices, sockets, clocks, OS randomness and threads.

pub mod host;
pub mod uapi;
