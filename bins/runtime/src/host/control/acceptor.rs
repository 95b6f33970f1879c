//! The server's door inside the tunnels: whoever connects is known by the address it connects from, which WireGuard has
//! authenticated.

use std::net::IpAddr;

use super::leadership::Leadership;
use crate::stack::TcpListener;

/// Takes connections of agents until the stack is gone. `find` says whose address it is; others are reset. Each agent has
/// one connection: a new one takes the place of the one before, so there are no more than agents.
pub async fn accept(mut listener: TcpListener, find: impl Fn(IpAddr) -> Option<Leadership>) {
    while let Some((stream, from)) = listener.accept().await {
        match find(from.ip()) {
            Some(leadership) => {
                tokio::spawn(async move { leadership.converse(stream).await });
            }
            None => {
                tracing::warn!(%from, "somebody who is no agent asked to be led");
                stream.abort();
            }
        }
    }
}
