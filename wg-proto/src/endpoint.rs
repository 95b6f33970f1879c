//! Where a peer is reached, outside the tunnel.

use core::net::{IpAddr, SocketAddr};

/// A peer's outer address, and the local address its last authenticated packet arrived on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Address and UDP port of the peer.
    pub remote: SocketAddr,
    /// Local source to answer from, if the runtime knows it. Carried, never interpreted here.
    pub source: Option<Source>,
}

/// A local address and interface a packet arrived on ("sticky source").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source {
    /// Local address the peer sent to.
    pub addr: IpAddr,
    /// Interface index as the operating system numbers it; 0 when unknown.
    pub interface: u32,
}

impl Endpoint {
    /// An endpoint whose local source the operating system chooses.
    pub const fn new(remote: SocketAddr) -> Endpoint {
        Endpoint { remote, source: None }
    }

    /// The same peer address without the remembered local source.
    pub const fn without_source(self) -> Endpoint {
        Endpoint { remote: self.remote, source: None }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(remote: SocketAddr) -> Endpoint {
        Endpoint::new(remote)
    }
}
