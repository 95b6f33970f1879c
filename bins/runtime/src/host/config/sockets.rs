//! `[sockets]`: the way out of a program without any privilege. Its presence turns it on.

use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use super::document::{Document, Section};
use super::environment::Kind;
use super::fault::{Fault, Place, Problems};
use super::value;

/// Two tries of a SYN after the first, at one and three seconds, and time for the last one's answer.
const CONNECT_TIMEOUT_SECS_DEFAULT: i64 = 10;
/// Longer than any system tries by itself.
const CONNECT_TIMEOUT_SECS_MAX: i64 = 300;
/// RFC 4787 REQ-5 recommends it; the node's flows last as long.
const UDP_IDLE_SECS_DEFAULT: i64 = 300;
/// RFC 4787 REQ-5: at least two minutes.
const UDP_IDLE_SECS_MIN: i64 = 120;
/// A day.
const UDP_IDLE_SECS_MAX: i64 = 86_400;
const BUFFER_MEMORY_MIB_DEFAULT: i64 = 256;
/// Enough for a hundred connections.
const BUFFER_MEMORY_MIB_MIN: i64 = 4;
/// A terabyte.
const BUFFER_MEMORY_MIB_MAX: i64 = 1 << 20;
const CONNECTIONS_MAX_DEFAULT: i64 = 32_768;
/// Each takes a descriptor, and a system has so many.
const CONNECTIONS_MAX_MAX: i64 = 1 << 20;

/// `[sockets]` as written.
#[derive(Debug, Deserialize)]
struct SocketsTable {
    #[serde(default)]
    source_addresses: Vec<String>,
    connect_timeout: Option<i64>,
    udp_idle_timeout: Option<i64>,
    buffer_memory_mib: Option<i64>,
    connections_max: Option<i64>,
}

impl Section for SocketsTable {
    const TABLE: &'static str = "sockets";
    const KEYS: &'static [(&'static str, Kind)] = &[
        ("source_addresses", Kind::List),
        ("connect_timeout", Kind::Number),
        ("udp_idle_timeout", Kind::Number),
        ("buffer_memory_mib", Kind::Number),
        ("connections_max", Kind::Number),
    ];
}

/// `[sockets]`, legal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketsSettings {
    /// What connections leave from.
    pub sources: Sources,
    /// How long a device may take to answer a SYN before it counts as unreachable.
    pub connect_timeout: Duration,
    /// How long a UDP or echo flow may idle.
    pub udp_idle_timeout: Duration,
    /// All buffers of TCP connections together.
    pub buffer_bytes_max: usize,
    /// TCP connections, UDP and echo flows together.
    pub connections_max: usize,
}

/// Addresses of this host that devices are to see; where there is none, the host chooses by route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    v4: Option<IpAddr>,
    v6: Option<IpAddr>,
}

impl Sources {
    /// What to bind to before something goes to `device`.
    pub fn towards(&self, device: IpAddr) -> Option<IpAddr> {
        if device.is_ipv4() { self.v4 } else { self.v6 }
    }

    /// These, for tests.
    #[cfg(test)]
    pub(crate) fn of(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut sources = Self::default();
        for address in addresses {
            let _ = sources.add(address);
        }
        sources
    }

    /// Those there are.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> {
        self.v4.into_iter().chain(self.v6)
    }

    /// # Errors
    /// [`SocketsFault::SecondSource`].
    fn add(&mut self, address: IpAddr) -> Result<(), SocketsFault> {
        let place = if address.is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        match place.replace(address) {
            None => Ok(()),
            Some(first) => Err(SocketsFault::SecondSource { first, second: address }),
        }
    }
}

/// What can be wrong with `[sockets]` only.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SocketsFault {
    /// Which of them?
    #[error("{first} and {second} are of the same IP version")]
    SecondSource {
        /// As written.
        first: IpAddr,
        /// As written.
        second: IpAddr,
    },
}

impl Fault for SocketsFault {
    fn remedy(&self) -> String {
        match self {
            Self::SecondSource { .. } => "Write at most one IPv4 and one IPv6 address.".into(),
        }
    }
}

/// Takes `[sockets]`. `None` if there is no such table, or something of it is wrong, and noted.
pub fn read(document: &mut Document, problems: &mut Problems) -> Option<SocketsSettings> {
    if !document.has(SocketsTable::TABLE) {
        return None;
    }
    let table: SocketsTable = document.section(problems)?;
    let place = Place::table(SocketsTable::TABLE);
    let number = |problems: &mut Problems, key, given: Option<i64>, default, min, max| {
        problems.take(&place.field(key), value::number::<u32>(given.unwrap_or(default), min, max))
    };
    let connect_timeout = number(
        problems,
        "connect_timeout",
        table.connect_timeout,
        CONNECT_TIMEOUT_SECS_DEFAULT,
        1,
        CONNECT_TIMEOUT_SECS_MAX,
    );
    let udp_idle_timeout = number(
        problems,
        "udp_idle_timeout",
        table.udp_idle_timeout,
        UDP_IDLE_SECS_DEFAULT,
        UDP_IDLE_SECS_MIN,
        UDP_IDLE_SECS_MAX,
    );
    let buffer_memory = number(
        problems,
        "buffer_memory_mib",
        table.buffer_memory_mib,
        BUFFER_MEMORY_MIB_DEFAULT,
        BUFFER_MEMORY_MIB_MIN,
        BUFFER_MEMORY_MIB_MAX,
    );
    let connections_max = number(
        problems,
        "connections_max",
        table.connections_max,
        CONNECTIONS_MAX_DEFAULT,
        1,
        CONNECTIONS_MAX_MAX,
    );
    let sources = sources(&table.source_addresses, &place.field("source_addresses"), problems);
    Some(SocketsSettings {
        sources,
        connect_timeout: Duration::from_secs(connect_timeout?.into()),
        udp_idle_timeout: Duration::from_secs(udp_idle_timeout?.into()),
        buffer_bytes_max: usize::try_from(u64::from(buffer_memory?) << 20).unwrap_or(usize::MAX),
        connections_max: connections_max? as usize,
    })
}

fn sources(texts: &[String], place: &Place, problems: &mut Problems) -> Sources {
    let mut sources = Sources::default();
    for address in value::each(texts, place, problems, value::host) {
        problems.take(place, sources.add(address));
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn an_empty_table_has_defaults_and_none_turns_nothing_on() {
        let settings = read_text("[sockets]\n").unwrap().unwrap();
        assert_eq!(settings.connect_timeout, Duration::from_secs(10));
        assert_eq!((settings.buffer_bytes_max, settings.connections_max), (256 << 20, 32_768));
        assert_eq!(settings.sources.towards("10.0.0.1".parse().unwrap()), None);
        assert_eq!(read_text("").unwrap(), None);
    }

    #[test]
    fn the_environment_overrides_its_keys_and_turns_it_on() {
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let environment = [
            variable("SLUICE_SOCKETS_CONNECT_TIMEOUT", "3"),
            variable("SLUICE_SOCKETS_SOURCE_ADDRESSES", "10.0.0.1"),
        ];
        let settings = read_with("", environment.into_iter()).unwrap().unwrap();
        assert_eq!(settings.connect_timeout, Duration::from_secs(3));
        assert_eq!(settings.sources.towards("192.0.2.1".parse().unwrap()), "10.0.0.1".parse().ok());
        let said = read_with("", [variable("SLUICE_SOCKETS_CONNECT", "3")].into_iter()).unwrap_err();
        assert!(said[0].contains("SLUICE_SOCKETS_CONNECT overrides no key"), "{said:?}");
    }

    #[test]
    fn each_version_has_its_source() {
        let settings = read_text("[sockets]\nsource_addresses = ['fd00::1', '10.0.0.1']\n").unwrap().unwrap();
        assert_eq!(settings.sources.towards("192.0.2.1".parse().unwrap()), "10.0.0.1".parse().ok());
        assert_eq!(settings.sources.towards("2001:db8::1".parse().unwrap()), "fd00::1".parse().ok());
    }

    #[test]
    fn each_fault_is_told_at_its_key() {
        for (line, said) in [
            ("connect_timeout = 0", "connect_timeout: 0 is not between 1 and 300"),
            ("udp_idle_timeout = 30", "udp_idle_timeout: 30 is not between 120 and 86400"),
            ("buffer_memory_mib = 1", "buffer_memory_mib: 1 is not between 4 and 1048576"),
            ("connections_max = 0", "connections_max: 0 is not between 1 and 1048576"),
            (
                "source_addresses = ['127.0.0.1']",
                "source_addresses[0]: 127.0.0.1 cannot be the address of one host",
            ),
            (
                "source_addresses = ['10.0.0.1', '10.0.0.2']",
                "source_addresses: 10.0.0.1 and 10.0.0.2 are of the same IP version",
            ),
        ] {
            assert_eq!(
                read_text(&format!("[sockets]\n{line}\n")).unwrap_err(),
                [format!("[sockets]: {said}")]
            );
        }
    }

    fn read_text(text: &str) -> Result<Option<SocketsSettings>, Vec<String>> {
        read_with(text, std::iter::empty())
    }

    fn read_with(
        text: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Option<SocketsSettings>, Vec<String>> {
        let path = Path::new("node.toml");
        let mut document = Document::parse(path, text, environment).unwrap();
        let mut problems = Problems::of(path);
        let settings = read(&mut document, &mut problems);
        document.finish(&mut problems);
        if problems.is_empty() {
            return Ok(settings);
        }
        Err(problems.iter().map(|(place, fault)| format!("{place}: {fault}")).collect())
    }
}
