//! Sections of the configuration files, written as an operator would write them.

use std::fmt::{self, Write as _};

/// Which side of the tunnel between router and connector dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dial {
    /// The router; some products call this outbound.
    Server,
    /// The connector; some products call this inbound.
    Connector,
}

impl fmt::Display for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dial::Server => "server",
            Dial::Connector => "connector",
        })
    }
}

/// A transport protocol in a selector or mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `tcp`
    Tcp,
    /// `udp`
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// `[[client]]` of a router.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its name.
    pub name: String,
    /// Its public key.
    pub public_key: String,
    /// Its overlay addresses.
    pub addresses: Vec<String>,
}

/// `[[connector]]` of a router.
#[derive(Clone, Debug)]
pub struct ConnectorPeer {
    /// Its name.
    pub name: String,
    /// Its public key.
    pub public_key: String,
    /// Its overlay addresses.
    pub addresses: Vec<String>,
    /// Who dials.
    pub dial: Dial,
    /// Where it listens, if the server dials.
    pub endpoint: Option<String>,
    /// Device networks that are reached under their own addresses.
    pub networks: Vec<String>,
}

/// `[[router]]` of a connector.
#[derive(Clone, Debug)]
pub struct RouterPeer {
    /// Its name.
    pub name: String,
    /// Its public key.
    pub public_key: String,
    /// Its overlay addresses.
    pub addresses: Vec<String>,
    /// Who dials.
    pub dial: Dial,
    /// Where it listens, if the connector dials.
    pub endpoint: Option<String>,
    /// Client pools that it may speak for, for targets without SNAT.
    pub networks: Vec<String>,
}

/// `[tun]`
#[derive(Clone, Debug, Default)]
pub struct Tun {
    /// The interface's name.
    pub name: String,
    /// SNAT addresses.
    pub egress_addresses: Vec<String>,
    /// Where proxy ARP and NDP are set.
    pub proxy_neighbours_on: Option<String>,
    /// Clients of the pool arrive here unencrypted (routers only).
    pub accept_clients: bool,
    /// Prefixes that the host routes here (routers only).
    pub routes: Vec<String>,
    /// SNAT towards the devices (connectors only).
    pub snat: Option<bool>,
}

/// `[sockets]`; what is absent has its default.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    /// Seconds until a device that does not answer counts as unreachable.
    pub connect_timeout: Option<u32>,
    /// For all connections together.
    pub buffer_memory_mib: Option<u32>,
    /// TCP connections, UDP and ping flows together.
    pub connections_max: Option<u32>,
    /// Seconds after which a UDP flow without datagrams is forgotten.
    pub udp_idle_timeout: Option<u32>,
    /// What devices are to see.
    pub source_addresses: Vec<String>,
}

/// A connector's way to its devices.
#[derive(Clone, Debug)]
pub enum Egress {
    /// `[tun]`
    Tun(Tun),
    /// `[sockets]`
    Sockets(Sockets),
}

/// One destination of a target.
#[derive(Clone, Debug)]
pub struct Destination {
    /// `10.20.0.5`, or `10.20.0.8-10.20.0.9`.
    pub ip: String,
    /// Absent means any.
    pub protocol: Option<Protocol>,
    /// `22`, or `1-10`; absent means any.
    pub port: Option<String>,
    /// Where it is translated to.
    pub nat: Option<(String, Option<u16>)>,
}

/// `[[target]]` of a router.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Whether the client's address is hidden.
    pub src_nat: bool,
    /// Its destinations.
    pub destinations: Vec<Destination>,
}

/// `[[session]]` of a router.
#[derive(Clone, Debug)]
pub struct Session {
    /// The client's address.
    pub client_ip: String,
    /// The target's name.
    pub target: String,
}

/// `[[mapping]]` of a connector.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// Its name.
    pub name: String,
    /// What the router's DNAT names.
    pub virtual_port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// The device's address.
    pub device: String,
    /// The device's port.
    pub port: u16,
}

/// Text of a configuration file.
pub(crate) struct Toml(String);

impl Toml {
    pub(crate) fn new() -> Toml {
        Toml(String::new())
    }

    pub(crate) fn text(self) -> String {
        self.0
    }

    /// `[name]` or `[[name]]`, as `header` says.
    pub(crate) fn section(&mut self, header: &str) {
        self.line(format_args!("\n{header}"));
    }

    pub(crate) fn string(&mut self, key: &str, value: &str) {
        self.line(format_args!("{key} = {value:?}"));
    }

    pub(crate) fn optional(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.string(key, value);
        }
    }

    pub(crate) fn strings(&mut self, key: &str, values: &[String]) {
        self.line(format_args!("{key} = {values:?}"));
    }

    pub(crate) fn bare(&mut self, key: &str, value: impl fmt::Display) {
        self.line(format_args!("{key} = {value}"));
    }

    pub(crate) fn client(&mut self, client: &Client) {
        self.section("[[client]]");
        self.string("name", &client.name);
        self.string("public_key", &client.public_key);
        self.strings("addresses", &client.addresses);
    }

    pub(crate) fn connector(&mut self, peer: &ConnectorPeer) {
        self.section("[[connector]]");
        self.node(
            &peer.name,
            &peer.public_key,
            &peer.addresses,
            peer.dial,
            peer.endpoint.as_deref(),
            &peer.networks,
        );
    }

    pub(crate) fn router(&mut self, peer: &RouterPeer) {
        self.section("[[router]]");
        self.node(
            &peer.name,
            &peer.public_key,
            &peer.addresses,
            peer.dial,
            peer.endpoint.as_deref(),
            &peer.networks,
        );
    }

    fn node(
        &mut self,
        name: &str,
        key: &str,
        addresses: &[String],
        dial: Dial,
        endpoint: Option<&str>,
        more: &[String],
    ) {
        self.string("name", name);
        self.string("public_key", key);
        self.strings("addresses", addresses);
        self.string("dial", &dial.to_string());
        self.optional("endpoint", endpoint);
        if !more.is_empty() {
            self.strings("networks", more);
        }
    }

    pub(crate) fn tun(&mut self, tun: &Tun) {
        self.section("[tun]");
        self.string("name", &tun.name);
        self.strings("egress_addresses", &tun.egress_addresses);
        self.optional("proxy_neighbours_on", tun.proxy_neighbours_on.as_deref());
        if tun.accept_clients {
            self.bare("accept_clients", true);
        }
        if !tun.routes.is_empty() {
            self.strings("routes", &tun.routes);
        }
        if let Some(snat) = tun.snat {
            self.bare("snat", snat);
        }
    }

    pub(crate) fn sockets(&mut self, sockets: &Sockets) {
        self.section("[sockets]");
        for (key, value) in [
            ("connect_timeout", sockets.connect_timeout),
            ("buffer_memory_mib", sockets.buffer_memory_mib),
            ("connections_max", sockets.connections_max),
            ("udp_idle_timeout", sockets.udp_idle_timeout),
        ] {
            if let Some(value) = value {
                self.bare(key, value);
            }
        }
        if !sockets.source_addresses.is_empty() {
            self.strings("source_addresses", &sockets.source_addresses);
        }
    }

    pub(crate) fn egress(&mut self, egress: &Egress) {
        match egress {
            Egress::Tun(tun) => self.tun(tun),
            Egress::Sockets(sockets) => self.sockets(sockets),
        }
    }

    pub(crate) fn target(&mut self, target: &Target) {
        self.section("[[target]]");
        self.string("name", &target.name);
        self.bare("src_nat", target.src_nat);
        let destinations: Vec<String> = target.destinations.iter().map(destination).collect();
        self.line(format_args!("dst = [\n  {},\n]", destinations.join(",\n  ")));
    }

    pub(crate) fn session(&mut self, session: &Session) {
        self.section("[[session]]");
        self.string("client_ip", &session.client_ip);
        self.string("target", &session.target);
    }

    pub(crate) fn mapping(&mut self, mapping: &Mapping) {
        self.section("[[mapping]]");
        self.string("name", &mapping.name);
        self.bare("virtual_port", mapping.virtual_port);
        self.string("proto", &mapping.protocol.to_string());
        self.string("device", &mapping.device);
        self.bare("port", mapping.port);
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        let _ = writeln!(self.0, "{line}");
    }
}

fn destination(destination: &Destination) -> String {
    let mut selector = vec![format!("ip = {}", range(&destination.ip, true))];
    selector.extend(destination.protocol.map(|protocol| format!("proto = \"{protocol}\"")));
    selector.extend(destination.port.as_deref().map(|port| format!("port = {}", range(port, false))));
    let nat = destination.nat.as_ref().map_or(String::new(), |(address, port)| {
        let port = port.map_or(String::new(), |port| format!(", port = {port}"));
        format!(", nat = {{ addr = {address:?}{port} }}")
    });
    format!("{{ selector = {{ {} }}{nat} }}", selector.join(", "))
}

/// `a` as it is, `a-b` as a table.
fn range(text: &str, quoted: bool) -> String {
    let value = |text: &str| if quoted { format!("{text:?}") } else { text.to_owned() };
    match text.split_once('-') {
        Some((start, end)) => format!("{{ start = {}, end = {} }}", value(start), value(end)),
        None => value(text),
    }
}
