//! The pictures that tests and demonstrations use.

mod chain;
mod lan;
mod pair;
mod service;
mod site;

pub use chain::{Chain, ChainConfig, Entry};
pub use lan::{Lan, LanConfig};
pub use pair::{Pair, PairConfig, Side};
pub use service::{SERVICES, Service, Spot};
pub use site::{Site, SiteConfig};
