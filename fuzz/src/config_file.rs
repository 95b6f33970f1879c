//! Any text as the configuration of a router or a connector: refused with every fault told and placed, or taken: then it
//! means the same when it is written out again, and a node takes it with all its peers and rules.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use router_core::Node;
use sluice_runtime::host::config::Problems;
use sluice_runtime::host::moment::Moment;
use wg_proto::{Instant, UnixTime};

use crate::{Input, Tally, Target};

pub(crate) const TARGET: Target = Target {
    name: "config_file",
    run: config_file,
    outcomes: &[
        "ConnectorVersion",
        "Duplicate",
        "Missing",
        "NoDestination",
        "NoEgress",
        "NoEgressAddress",
        "NoEndpoint",
        "NoOverlayAddress",
        "NoSourceAddress",
        "NoWayOut",
        "NotAFile",
        "NotAKey",
        "NotAMoment",
        "NotAName",
        "NotAPrefix",
        "NotAWord",
        "NotAnAddress",
        "NotAnEndpoint",
        "NotAnInterface",
        "NothingToProxy",
        "OutOfRange",
        "OutsidePool",
        "Overlap",
        "OwnAddress",
        "RoutedBack",
        "Shape",
        "Syntax",
        "UnknownClient",
        "UnknownConnector",
        "UnknownKey",
        "UnknownTable",
        "UnknownTarget",
        "Unreadable",
        "UnusedEndpoint",
        "VersionMismatch",
        "WrongKind",
        "connector taken",
        "router taken",
    ],
};

const MOMENT: Moment = Moment { boot: Instant::from_nanos(1), unix: UnixTime::new(1_800_000_000, 0) };
const ROUTER: &str = include_str!("../../docs/examples/router.toml");
const BEHIND_GATEWAY: &str = include_str!("../../docs/examples/router-behind-gateway.toml");
const CONNECTOR: &str = include_str!("../../docs/examples/connector.toml");

/// The first byte chooses the program and what to begin with: nothing, so that the rest is the text, or an example,
/// that the rest changes: each two bytes drop a line, repeat it, move it, give it another value or add one.
fn config_file(data: &[u8], tally: &mut Tally) {
    let mut input = Input::new(data);
    match input.u8() % 5 {
        0 => check::<sluice_router::Checked>(&text(input), tally),
        1 => check::<sluice_connector::Checked>(&text(input), tally),
        2 => check::<sluice_router::Checked>(&changed(ROUTER, input), tally),
        3 => check::<sluice_router::Checked>(&changed(BEHIND_GATEWAY, input), tally),
        _ => check::<sluice_connector::Checked>(&changed(CONNECTOR, input), tally),
    }
}

/// A program's configuration.
trait Config: Sized {
    const PROGRAM: &str;

    fn parse(path: &Path, text: &str) -> Result<Self, Problems>;
    fn summary(&self) -> String;
    fn node(&self) -> Result<Node, String>;
}

impl Config for sluice_router::Checked {
    const PROGRAM: &str = "router";

    fn parse(path: &Path, text: &str) -> Result<Self, Problems> {
        sluice_router::Checked::parse(path, text)
    }

    fn summary(&self) -> String {
        self.summary()
    }

    fn node(&self) -> Result<Node, String> {
        self.node(MOMENT, [1; 32]).map_err(|fault| fault.to_string())
    }
}

impl Config for sluice_connector::Checked {
    const PROGRAM: &str = "connector";

    fn parse(path: &Path, text: &str) -> Result<Self, Problems> {
        sluice_connector::Checked::parse(path, text)
    }

    fn summary(&self) -> String {
        self.summary()
    }

    fn node(&self) -> Result<Node, String> {
        self.node(MOMENT, [1; 32]).map_err(|fault| fault.to_string())
    }
}

fn check<C: Config>(text: &str, tally: &mut Tally) {
    let path = DIRECTORY.join("sluice.toml");
    let config = match C::parse(&path, text) {
        Ok(config) => config,
        Err(problems) => return check_problems(&problems, text, tally),
    };
    let table: toml::Table = text.parse().expect("what was taken is TOML");
    let written = toml::to_string(&table).expect("a table can be written");
    let again = C::parse(&path, &written).expect("what was taken is taken again");
    assert_eq!(config.summary(), again.summary());
    if let Err(fault) = config.node() {
        panic!("a node refuses what the configuration allows: {fault}\n{text}");
    }
    tally.count(&format!("{} taken", C::PROGRAM));
}

/// Every fault says where, what, and what to do.
fn check_problems(problems: &Problems, text: &str, tally: &mut Tally) {
    assert!(!problems.is_empty(), "a refusal has a reason");
    for (place, fault) in problems.iter() {
        tally.variant(fault);
        for said in [place.to_string(), fault.to_string(), fault.remedy()] {
            assert!(!said.trim().is_empty(), "{place:?}: {fault:?}\n{text}");
        }
    }
    assert!(problems.to_string().contains("sluice.toml"));
}

fn text(mut input: Input<'_>) -> String {
    String::from_utf8_lossy(input.rest()).into_owned()
}

/// Every key there is.
const KEYS: [&str; 36] = [
    "name",
    "private_key_file",
    "listen_port",
    "addresses",
    "mtu",
    "workers",
    "admin_socket",
    "client_ip_pool",
    "deny_signal",
    "egress_addresses",
    "proxy_neighbours_on",
    "accept_clients",
    "routes",
    "snat",
    "public_key",
    "preshared_key_file",
    "dial",
    "endpoint",
    "persistent_keepalive",
    "networks",
    "src_nat",
    "dst",
    "selector",
    "nat",
    "ip",
    "proto",
    "port",
    "addr",
    "connector",
    "start",
    "end",
    "client_ip",
    "target",
    "expires",
    "virtual_port",
    "device",
];

/// Values of every kind, right in some place and wrong in others.
const VALUES: [&str; 40] = [
    "0",
    "1",
    "22",
    "40000",
    "51821",
    "65535",
    "65536",
    "-1",
    "true",
    "false",
    "\"\"",
    "\"tcp\"",
    "\"udp\"",
    "\"silent\"",
    "\"reset\"",
    "\"server\"",
    "\"connector\"",
    "\"router.key\"",
    "\"no.key\"",
    "[]",
    "[\"10.99.0.1\"]",
    "[\"fd99::1\"]",
    "[\"10.77.0.0/24\", \"fd77::/64\"]",
    "[\"10.77.0.2\", \"fd77::2\"]",
    "[\"192.168.7.200\"]",
    "[\"0.0.0.0/0\"]",
    "\"10.77.0.3\"",
    "\"10.20.0.5\"",
    "\"203.0.113.1:51820\"",
    "\"2027-01-01T00:00:00Z\"",
    "2027-01-01T00:00:00Z",
    "\"alice\"",
    "\"db\"",
    "1420",
    "{ start = 1 }",
    "{ start = 1, end = 9 }",
    "[{ selector = { ip = \"10.20.0.5\" } }]",
    "[{ selector = { ip = \"10.20.0.0/24\", proto = \"tcp\", port = \"8000-8080\" }, nat = { addr = \"10.99.0.2\", port = 40000 } }]",
    "[{ selector = { ip = \"10.20.0.0-10.20.0.9\" }, nat = { addr = \"10.30.0.0-10.30.0.9\" } }]",
    "\"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\"",
];

fn changed(example: &str, mut input: Input<'_>) -> String {
    let mut lines: Vec<String> = with_keys_here(example).lines().map(str::to_owned).collect();
    while !input.is_empty() && !lines.is_empty() {
        let count = lines.len();
        let (at, how) = (usize::from(input.u8()) % count, input.u8());
        match how {
            0..32 => drop(lines.remove(at)),
            32..64 => lines.insert(at, lines[at].clone()),
            64..96 => lines.swap(at, usize::from(how) % count.min(32)),
            96..104 => lines.insert(at, String::from_utf8_lossy(input.take(24)).into_owned()),
            104..112 => {
                let [key, value] = input.array().map(usize::from);
                lines.insert(at, format!("{} = {}", KEYS[key % KEYS.len()], VALUES[value % VALUES.len()]));
            }
            112.. => set(&mut lines[at], VALUES[usize::from(how - 112) % VALUES.len()]),
        }
    }
    lines.join("\n")
}

/// Examples name a secret for each program; here there is one.
fn with_keys_here(example: &str) -> String {
    example.replace("\"connector.key\"", "\"router.key\"")
}

fn set(line: &mut String, value: &str) {
    if let Some((key, _)) = line.split_once('=') {
        *line = format!("{key}= {value}");
    }
}

/// Holds the one secret that configurations may name, beside the program.
static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let program = std::env::current_exe().expect("a program has a path");
    let directory = program.with_file_name("fuzz-keys");
    std::fs::create_dir_all(&directory).expect("the build directory can be written to");
    // Moved into its place as a whole: another process may be reading it.
    let new = directory.join(format!("router.key.{}", std::process::id()));
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
    let secret = b"yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n";
    file.and_then(|mut file| file.write_all(secret)).expect("there is room for a key");
    std::fs::rename(new, directory.join("router.key")).expect("a file can be moved in its directory");
    directory
});
