//! Conversations that sessions carried.

use std::net::SocketAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// A conversation that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlowView {
    /// When its last packet passed.
    #[schema(value_type = String, format = DateTime)]
    pub ended: Timestamp,
    /// The session that let it pass.
    pub session: Uuid,
    /// Whose that was.
    pub user: String,
    /// To which target.
    pub target: String,
    /// Through which router.
    pub router: String,
    /// `tcp`, `udp`, `icmp`, or a protocol's number.
    pub proto: String,
    /// The client: `10.77.0.2:51000`. Where there are no ports, the port is 0, or the identifier of pings.
    #[schema(value_type = String)]
    pub client: SocketAddr,
    /// Where the client sent to.
    #[schema(value_type = String)]
    pub destination: SocketAddr,
    /// Where that went.
    #[schema(value_type = String)]
    pub reached: SocketAddr,
    /// Bytes from the client.
    pub bytes_out: u64,
    /// Bytes to the client.
    pub bytes_in: u64,
}
