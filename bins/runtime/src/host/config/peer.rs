//! A node at the other end of a tunnel: `[[connector]]` in a router's file, `[[router]]` in a connector's. Only who
//! dials is seen from the other side.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;
use thiserror::Error;
use wg_proto::{PresharedKey, PublicKey};

use super::document::Document;
use super::fault::{Fault, Place, Problems};
use super::node::required;
use super::secret;
use super::value;

/// Seconds between keepalives of the side that dials: under the shortest NAT time-out one meets.
const KEEPALIVE_DEFAULT: i64 = 25;

/// Who sends the first packet of a tunnel between a router and a connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dial {
    /// The router's side dials the connector.
    Server,
    /// The connector dials the router's side.
    Connector,
}

/// A peer node as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerTable {
    name: Option<String>,
    public_key: Option<String>,
    preshared_key_file: Option<PathBuf>,
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    networks: Vec<String>,
    dial: Option<Dial>,
    endpoint: Option<String>,
    persistent_keepalive: Option<i64>,
}

/// A peer node, legal.
#[derive(Clone)]
pub struct PeerSettings {
    /// What it is called.
    pub name: String,
    /// Its identity.
    pub public_key: PublicKey,
    /// Mixed into the handshake.
    pub preshared_key: Option<PresharedKey>,
    /// Its overlay addresses.
    pub addresses: Vec<IpAddr>,
    /// What else it may send from, and be sent.
    pub networks: Vec<IpNet>,
    /// Where we dial it; `None` if it dials us.
    pub endpoint: Option<SocketAddr>,
    /// Between keepalives.
    pub persistent_keepalive: Option<NonZeroU16>,
}

impl PeerSettings {
    /// All it may send from.
    pub fn allowed_ips(&self) -> Vec<IpNet> {
        let hosts = self.addresses.iter().map(|address| value::host_prefix(*address));
        hosts.chain(self.networks.iter().copied()).collect()
    }
}

/// What can be wrong with who dials whom.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DialFault {
    /// We dial, and do not know where.
    #[error("we dial this peer (dial = \"{0}\"), and there is no endpoint")]
    NoEndpoint(&'static str),
    /// It dials, and an endpoint would never be used.
    #[error("this peer dials us, so its endpoint is never used")]
    UnusedEndpoint,
}

impl Fault for DialFault {
    fn remedy(&self) -> String {
        match self {
            Self::NoEndpoint(_) => "Add endpoint = \"ADDRESS:PORT\", or let the other side dial.".into(),
            Self::UnusedEndpoint => "Remove endpoint, or change dial.".into(),
        }
    }
}

/// Parses a peer node; `ours` is the value of `dial` with which we are the ones who dial.
pub fn parse(
    table: PeerTable,
    ours: Dial,
    document: &Document,
    place: &Place,
    problems: &mut Problems,
) -> Option<PeerSettings> {
    let name = required(table.name.as_deref(), "name", place, problems);
    let name = name.and_then(|name| problems.take(&place.field("name"), value::name(name)));
    let public_key = required(table.public_key.as_deref(), "public_key", place, problems);
    let public_key =
        public_key.and_then(|key| problems.take(&place.field("public_key"), value::public_key(key)));
    let preshared_key = preshared_key(table.preshared_key_file.as_ref(), document, place, problems);
    let addresses = value::each(&table.addresses, &place.field("addresses"), problems, value::host);
    if table.addresses.is_empty() {
        required(None::<()>, "addresses", place, problems);
    }
    let networks = value::each(&table.networks, &place.field("networks"), problems, value::prefix);
    let we_dial = required(table.dial, "dial", place, problems).map(|dial| dial == ours);
    let endpoint = endpoint(table.endpoint.as_deref(), we_dial, ours, place, problems);
    let keepalive =
        table.persistent_keepalive.unwrap_or(if we_dial == Some(true) { KEEPALIVE_DEFAULT } else { 0 });
    let keepalive =
        problems.take(&place.field("persistent_keepalive"), value::number::<u16>(keepalive, 0, 65_535));
    Some(PeerSettings {
        name: name?,
        public_key: public_key?,
        preshared_key,
        addresses,
        networks,
        endpoint,
        persistent_keepalive: NonZeroU16::new(keepalive?),
    })
}

/// Reads the preshared key of a peer, if it names a file.
pub fn preshared_key(
    file: Option<&PathBuf>,
    document: &Document,
    place: &Place,
    problems: &mut Problems,
) -> Option<PresharedKey> {
    let path = document.resolve(file?);
    problems.take(&place.field("preshared_key_file"), secret::preshared_key(&path))
}

fn endpoint(
    text: Option<&str>,
    we_dial: Option<bool>,
    ours: Dial,
    place: &Place,
    problems: &mut Problems,
) -> Option<SocketAddr> {
    let field = &place.field("endpoint");
    let parsed = text.and_then(|text| problems.take(field, value::endpoint(text)));
    match (we_dial, text) {
        (Some(true), None) => problems.note(place, DialFault::NoEndpoint(word(ours))),
        (Some(false), Some(_)) => problems.note(field, DialFault::UnusedEndpoint),
        (Some(true), Some(_)) | (Some(false), None) | (None, _) => {}
    }
    parsed
}

fn word(dial: Dial) -> &'static str {
    match dial {
        Dial::Server => "server",
        Dial::Connector => "connector",
    }
}
