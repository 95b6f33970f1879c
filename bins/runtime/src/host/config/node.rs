//! `[node]`: what every node says of itself. The router and the connector add keys of their own to this table.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;
use wg_proto::PrivateKey;

use super::document::{Document, Section};
use super::environment::Kind;
use super::fault::{Place, Problems};
use super::secret;
use super::value::{self, ValueFault};

/// WireGuard's usual port.
const LISTEN_PORT_DEFAULT: i64 = 51_820;
/// 1500 bytes of Ethernet without the overhead of a tunnel over v6.
const MTU_DEFAULT: i64 = 1420;
/// The least v6 works with.
const MTU_MIN: i64 = 1280;
/// The largest inner packet that fits into a UDP datagram with its overhead, a multiple of 16.
const MTU_MAX: i64 = 65_440;
/// More workers than any machine we know has cores.
const WORKERS_MAX: i64 = 1024;
/// Overlay addresses a node may have.
const ADDRESSES_MAX: usize = 64;

/// `[node]` as written.
#[derive(Debug, Deserialize)]
struct NodeTable {
    name: Option<String>,
    private_key_file: Option<PathBuf>,
    listen_port: Option<i64>,
    #[serde(default)]
    addresses: Vec<String>,
    mtu: Option<i64>,
    workers: Option<i64>,
    admin_socket: Option<PathBuf>,
    status_page: Option<bool>,
}

impl Section for NodeTable {
    const TABLE: &'static str = "node";
    const KEYS: &'static [(&'static str, Kind)] = &[
        ("name", Kind::Text),
        ("private_key_file", Kind::Text),
        ("listen_port", Kind::Number),
        ("addresses", Kind::List),
        ("mtu", Kind::Number),
        ("workers", Kind::Number),
        ("admin_socket", Kind::Text),
        ("status_page", Kind::Flag),
    ];
}

/// `[node]`, legal.
#[derive(Clone)]
pub struct NodeSettings {
    /// What it is called in logs and status.
    pub name: String,
    /// Its identity.
    pub private_key: PrivateKey,
    /// UDP port; 0 lets the system choose.
    pub listen_port: u16,
    /// Its own overlay addresses, at least one.
    pub addresses: Vec<IpAddr>,
    /// Largest inner packet.
    pub mtu_bytes: u16,
    /// Worker threads; 0 is one per core.
    pub workers: u16,
    /// Where `status` and the others find the running process.
    pub admin_socket: PathBuf,
    /// Whether those at the other ends of tunnels may ask at our addresses what is open to them.
    pub status_page: bool,
}

/// Takes the shared keys of `[node]`; `None` if something of it is wrong, and noted.
pub fn read(
    document: &mut Document,
    admin_socket_default: &str,
    problems: &mut Problems,
) -> Option<NodeSettings> {
    let table: NodeTable = document.section(problems)?;
    let place = Place::table(NodeTable::TABLE);
    let name = required(table.name.as_deref(), "name", &place, problems);
    let name = name.and_then(|name| problems.take(&place.field("name"), value::name(name)));
    let private_key = private_key(document, table.private_key_file, &place, problems);
    let number = |problems: &mut Problems, key, given: Option<i64>, default, min, max| {
        problems.take(&place.field(key), value::number(given.unwrap_or(default), min, max))
    };
    let listen_port = number(problems, "listen_port", table.listen_port, LISTEN_PORT_DEFAULT, 0, 65_535);
    let mtu_bytes = number(problems, "mtu", table.mtu, MTU_DEFAULT, MTU_MIN, MTU_MAX);
    let workers = number(problems, "workers", table.workers, 0, 0, WORKERS_MAX);
    let addresses = addresses(&table.addresses, &place, problems);
    let admin_socket = table.admin_socket.map(|path| document.resolve(&path));
    Some(NodeSettings {
        name: name?,
        private_key: private_key?,
        listen_port: listen_port?,
        addresses,
        mtu_bytes: mtu_bytes?,
        workers: workers?,
        admin_socket: admin_socket.unwrap_or_else(|| admin_socket_default.into()),
        status_page: table.status_page.unwrap_or(false),
    })
}

/// The value, or a note that it is missing.
pub fn required<T>(value: Option<T>, key: &'static str, place: &Place, problems: &mut Problems) -> Option<T> {
    problems.take(place, value.ok_or(ValueFault::Missing(key)))
}

fn private_key(
    document: &Document,
    file: Option<PathBuf>,
    place: &Place,
    problems: &mut Problems,
) -> Option<PrivateKey> {
    let file = required(file, "private_key_file", place, problems)?;
    problems.take(&place.field("private_key_file"), secret::private_key(&document.resolve(&file)))
}

fn addresses(texts: &[String], place: &Place, problems: &mut Problems) -> Vec<IpAddr> {
    let place = &place.field("addresses");
    let count = i64::try_from(texts.len()).unwrap_or(i64::MAX);
    if let Err(fault) = value::number::<usize>(count, 1, ADDRESSES_MAX as i64) {
        let fault = if texts.is_empty() { ValueFault::Missing("addresses") } else { fault };
        problems.note(place, fault);
    }
    value::each(texts, place, problems, value::host)
}
