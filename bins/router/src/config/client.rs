//! `[[client]]`: a user's machine with a standard WireGuard program.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;
use sluice_runtime::host::config::node::required;
use sluice_runtime::host::config::{Document, Fault, Place, Problems, peer, value};
use thiserror::Error;
use wg_proto::{PresharedKey, PublicKey};

/// `[[client]]` as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientTable {
    name: Option<String>,
    public_key: Option<String>,
    preshared_key_file: Option<PathBuf>,
    #[serde(default)]
    addresses: Vec<String>,
}

/// A client, legal.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) public_key: PublicKey,
    pub(crate) preshared_key: Option<PresharedKey>,
    pub(crate) addresses: Vec<IpAddr>,
}

/// What can be wrong with a client's address.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum ClientFault {
    /// Not from our pool.
    #[error("{address} lies in no prefix of client_ip_pool ({pool})")]
    OutsidePool { address: IpAddr, pool: String },
    /// What we send to clients would come back to us.
    #[error(
        "{route} routes clients of {pool} to the interface, but with accept_clients they are on its other side"
    )]
    RoutedBack { route: IpNet, pool: IpNet },
}

impl Fault for ClientFault {
    fn remedy(&self) -> String {
        match self {
            Self::OutsidePool { .. } => {
                "Use an address of the pool, or add its prefix to [node] client_ip_pool.".into()
            }
            Self::RoutedBack { .. } => {
                "Route the targets' addresses to the interface, and the clients' to their gateway.".into()
            }
        }
    }
}

/// Parses a client whose addresses are to come from `pool`.
pub(crate) fn parse(
    table: &ClientTable,
    pool: &[IpNet],
    document: &Document,
    place: &Place,
    problems: &mut Problems,
) -> Option<Client> {
    let name = required(table.name.as_deref(), "name", place, problems);
    let name = name.and_then(|name| problems.take(&place.field("name"), value::name(name)));
    let public_key = required(table.public_key.as_deref(), "public_key", place, problems);
    let public_key =
        public_key.and_then(|key| problems.take(&place.field("public_key"), value::public_key(key)));
    let preshared_key = peer::preshared_key(table.preshared_key_file.as_ref(), document, place, problems);
    if table.addresses.is_empty() {
        required(None::<()>, "addresses", place, problems);
    }
    let field = &place.field("addresses");
    let addresses = value::each(&table.addresses, field, problems, value::host);
    for address in &addresses {
        problems.take(field, in_pool(*address, pool));
    }
    Some(Client { name: name?, public_key: public_key?, preshared_key, addresses })
}

/// Whether what we send to clients of `pool` leaves for their gateway.
///
/// # Errors
/// [`ClientFault::RoutedBack`].
pub(crate) fn not_routed_back(routes: &[IpNet], pool: &[IpNet]) -> Result<(), ClientFault> {
    for route in routes {
        if let Some(pool) = pool.iter().find(|pool| route.contains(*pool) || pool.contains(route)) {
            return Err(ClientFault::RoutedBack { route: *route, pool: *pool });
        }
    }
    Ok(())
}

/// Whether an address is one of our clients'.
///
/// # Errors
/// [`ClientFault::OutsidePool`].
pub(crate) fn in_pool(address: IpAddr, pool: &[IpNet]) -> Result<(), ClientFault> {
    if pool.iter().any(|net| net.contains(&address)) {
        return Ok(());
    }
    let pool = pool.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", ");
    Err(ClientFault::OutsidePool { address, pool })
}
