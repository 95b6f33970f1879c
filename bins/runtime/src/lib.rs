//! The only place with TUN devices, sockets, clocks, OS randomness and threads.

pub mod clock;
pub mod entropy;
pub mod host;
pub mod net;
pub mod offload;
mod runtime;
pub mod service;
pub mod stack;
pub mod tun;
pub mod uapi;
mod udp;
mod worker;

pub use self::runtime::{Runtime, RuntimeConfig, StartError, Stats, StopError, worker_count};
pub use self::worker::{EventHandler, WorkerStats};

#[cfg(test)]
mod sandbox;
