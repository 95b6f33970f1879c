//! The pictures that tests and demonstrations use.

mod chain;
mod forwarder;
mod lan;
mod pair;
mod plain_chain;
mod service;
mod site;
mod star;

pub use chain::{Chain, ChainConfig, Entry};
pub use forwarder::Forwarder;
pub use lan::{Lan, LanConfig};
pub use pair::{Pair, PairConfig, Side};
pub use plain_chain::PlainChain;
pub use service::{SERVICES, Service, Spot};
pub use site::{Site, SiteConfig};
pub use star::Star;
