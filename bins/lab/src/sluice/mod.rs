//! Our own programs, started and asked as an operator would.

mod config;
mod connector;
mod program;
mod router;
mod status;

pub use config::{
    Client, ConnectorPeer, Destination, Dial, Egress, Mapping, Protocol, RouterPeer, Session, Sockets,
    Target, Tun,
};
pub use connector::{Connector, ConnectorConfig};
pub use program::{Program, Rights};
pub use router::{Router, RouterConfig};
pub use status::Status;
