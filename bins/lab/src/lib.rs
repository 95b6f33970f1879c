//! Network-namespace topologies with real peers and real clients, for tests, demonstrations and benchmarks.
//!
//! A [`Lab`] is one run: its namespaces, links, files and processes carry its name, nothing outside them is touched, and
//! all of it goes when the last handle is dropped, also when a test panics. Inside are [`Host`]s; programs that nobody here
//! wrote run on them ([`services`], [`peer`]), and so do our own binaries ([`sluice`]). [`topology`] has the pictures.
//!
//! Every wait has a deadline, every load a bound in count and time, and a process is ended by the id it was started with.

pub mod binaries;
pub mod capture;
mod host;
pub mod interop;
mod keys;
pub mod kills;
mod lab;
mod link;
mod output;
pub mod peer;
pub mod postgres;
mod privileges;
pub mod probe;
mod process;
pub mod requirements;
pub mod services;
pub mod sluice;
pub mod soak;
mod stale;
pub mod topology;
mod wait;
mod weather;

pub use host::Host;
pub use keys::KeyPair;
pub use lab::{Lab, Tag};
pub use link::{Mtu, Port};
pub use output::Output;
pub use privileges::{NET_ADMIN, Privileges};
pub use process::{Footprint, Process};
pub use requirements::lab_test;
pub use stale::remove_stale_labs;
pub use wait::{retry, wait_until};
