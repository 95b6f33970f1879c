//! [`Dial`] through the tunnel: find the name, see whether anybody is there for the address, connect.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sluice_runtime::Runtime;
use sluice_runtime::stack::{Stack, TcpStream, UdpSocket};
use tokio::time::timeout;

use super::dial::{Dial, DialFault};
use super::names::Names;
use crate::target::Target;

/// How long one address may take. A SYN is repeated after one, three and seven seconds.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// Addresses of one name that are tried.
const ATTEMPTS_MAX: usize = 4;

/// Connects through a tunnel. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Dialer(Arc<Parts>);

struct Parts {
    runtime: Arc<Runtime>,
    stack: Stack,
    addresses: Vec<IpAddr>,
    names: Names,
}

impl Dialer {
    pub(super) fn new(runtime: Arc<Runtime>, stack: Stack, addresses: Vec<IpAddr>, names: Names) -> Self {
        Self(Arc::new(Parts { runtime, stack, addresses, names }))
    }

    /// Who looks names up, in words.
    pub(crate) fn names_in_words(&self) -> String {
        self.0.names.in_words()
    }

    /// A UDP socket towards a target, and the target's address.
    pub(super) async fn bind_udp(&self, target: &Target) -> Result<(UdpSocket, SocketAddr), DialFault> {
        let found = self.0.names.addresses(&target.host).await?;
        let to = SocketAddr::new(*found.first().ok_or(DialFault::HostUnreachable)?, target.port);
        let socket = self.0.stack.bind_udp_anywhere(self.own_for(to.ip())?);
        Ok((socket.map_err(io::Error::other)?, to))
    }

    async fn connect(&self, to: SocketAddr) -> Result<TcpStream, DialFault> {
        let connecting = timeout(CONNECT_LIMIT, self.0.stack.connect(self.own_for(to.ip())?, to));
        Ok(connecting.await.map_err(|_| DialFault::TimedOut)??)
    }

    /// The address to speak from, if the tunnel leads there at all.
    fn own_for(&self, to: IpAddr) -> Result<IpAddr, DialFault> {
        let version = if to.is_ipv4() { "IPv4" } else { "IPv6" };
        let own = self.0.addresses.iter().find(|own| own.is_ipv4() == to.is_ipv4());
        let own = own.ok_or(DialFault::NoOwnAddress { version })?;
        let owner = self.0.runtime.with_node(|node, _| node.device().owner_of(to));
        owner.map(|_| *own).ok_or(DialFault::NotInTunnel(to))
    }
}

impl Dial for Dialer {
    type Stream = TcpStream;

    async fn dial(&self, target: &Target) -> Result<TcpStream, DialFault> {
        let mut found = self.0.names.addresses(&target.host).await?.into_iter().take(ATTEMPTS_MAX);
        let first = found.next().ok_or(DialFault::HostUnreachable)?;
        let mut outcome = self.connect(SocketAddr::new(first, target.port)).await;
        for address in found {
            if outcome.is_ok() {
                break;
            }
            outcome = self.connect(SocketAddr::new(address, target.port)).await;
        }
        outcome
    }
}
