//! Whole files and what is said of them.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::*;

const KEYS: [&str; 4] = [
    "WnQWfjXgnW8stpBVWDHjy6MiOwfMWpnvXaKGFp1iaBc=",
    "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=",
    "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=",
    "gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA=",
];
const PRIVATE: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";

const NODE: &str = r#"
[node]
name = "router-1"
private_key_file = "router.key"
addresses = ["10.99.0.1", "fd99::1"]
client_ip_pool = ["10.77.0.0/24", "fd77::/64"]
"#;

#[test]
fn the_whole_vocabulary_is_taken() {
    let config = read(&whole()).unwrap();
    assert_eq!(config.node.listen_port, 51_821);
    assert_eq!(config.deny_signal, Refusal::Reset);
    assert_eq!(config.connectors[0].allowed_ips().len(), 3);
    assert_eq!(target_called(&config, "db").destinations.len(), 2);
    assert_eq!(target_called(&config, "db").destinations[0].reached().to_string(), "10.99.0.2");
    assert_eq!(config.sessions[1].expires.unwrap().to_string(), "2027-01-01T00:00:00Z");
}

#[test]
fn the_environment_overrides_and_may_not_misspell() {
    let config =
        read_with(&whole(), &[("SLUICE_NODE_LISTEN_PORT", "4711"), ("SLUICE_TUN_NAME", "t1")]).unwrap();
    assert_eq!((config.node.listen_port, config.tun.unwrap().common.name.as_str()), (4711, "t1"));
    let said = read_with(&whole(), &[("SLUICE_NODE_LISTENPORT", "1")]).err().unwrap();
    assert_eq!(
        said,
        ["the file as a whole: the environment variable SLUICE_NODE_LISTENPORT overrides no key"]
    );
}

#[test]
fn all_faults_are_told_at_once() {
    let text = NODE.replace("router-1", "router 1")
        + &client("alice", KEYS[0], "10.78.0.2")
        + &client("bob", "not a key", "10.77.0.3")
        + "[[session]]\nclient_ip = '10.77.0.9'\ntarget = 'db'\n[extra]\n";
    let said = read(&text).err().unwrap();
    assert_eq!(
        said,
        [
            "[node]: name: \"router 1\" is not a name",
            "[[client]] 1 \"alice\": addresses: 10.78.0.2 lies in no prefix of client_ip_pool (10.77.0.0/24, fd77::/64)",
            "[[client]] 2 \"bob\": public_key: \"not a key\" is not a public key",
            "[[session]] 1: client_ip: no [[client]] has the address 10.77.0.9",
            "[[session]] 1: target: no [[target]] is called \"db\"",
            "the file as a whole: no table is called \"extra\"",
        ]
    );
}

#[test]
fn each_fault_of_a_target_is_told() {
    for (dst, said) in [
        ("[]", "dst: there is no destination"),
        (
            "[{ selector = { ip = '10.20.0.5', port = 22 } }]",
            "dst[0].selector.port: ports are given, but no protocol they belong to",
        ),
        (
            "[{ selector = { ip = '10.20.0.5', proto = 'icmp' } }]",
            "dst[0].selector.proto: \"icmp\" is not a protocol with ports",
        ),
        (
            "[{ selector = { ip = '10.20.0.9-10.20.0.5' } }]",
            "dst[0].selector.ip: the range from 10.20.0.9 to 10.20.0.5 is empty",
        ),
        (
            "[{ selector = { ip = '169.254.169.254' } }]",
            "dst[0].selector.ip: 169.254.169.254 touches 169.254.0.0/16 (link-local, where clouds keep metadata), which is never a target",
        ),
        (
            "[{ selector = { ip = '10.20.0.5' }, nat = { addr = '127.0.0.1' } }]",
            "dst[0].nat: 127.0.0.1 touches 127.0.0.0/8 (loopback), which is never a target",
        ),
        (
            "[{ selector = { ip = '10.20.0.0/24' } }, { selector = { ip = '10.20.0.5', proto = 'TCP', port = 22 } }]",
            "dst[1]: it overlaps dst[0]: a packet could match both",
        ),
        (
            "[{ selector = { ip = '10.20.0.5' }, nat = { addr = 'fd20::5' } }]",
            "dst[0].nat: nat.addr fd20::5 and selector.ip 10.20.0.5 are of different IP versions",
        ),
        (
            "[{ selector = { ip = '10.20.0.0/24' }, nat = { addr = '10.30.0.0/25' } }]",
            "dst[0].nat: nat.addr 10.30.0.0-10.30.0.127 has another size than selector.ip 10.20.0.0-10.20.0.255, and is not one address",
        ),
        (
            "[{ selector = { ip = '10.20.0.5', proto = 'tcp', port = '1-9' }, nat = { addr = '10.30.0.5', port = '1-5' } }]",
            "dst[0].nat.port: nat.port 1-5 has another size than selector.port 1-9, and is not one port",
        ),
        (
            "[{ selector = { ip = '10.20.0.5' }, nat = { addr = '10.30.0.5', port = 22 } }]",
            "dst[0].nat.port: ports are given, but no protocol they belong to",
        ),
        ("[{ selector = { ip = '10.20.0.5' }, nat = {} }]", "dst[0].nat: nat translates nothing"),
        (
            "[{ selector = { ip = '10.20.0.5' }, nat = { addr = '10.30.0.5', connector = 'site-a' } }]",
            "dst[0].nat: nat.addr and nat.connector both say where packets go",
        ),
        (
            "[{ selector = { ip = '10.20.0.5' }, nat = { connector = 'site-b' } }]",
            "dst[0].nat: no connector is called \"site-b\"",
        ),
        (
            "[{ selector = { ip = 'fd20::5' }, nat = { connector = 'site-a' } }]",
            "dst[0].nat: connector \"site-a\" has no IPv6 overlay address",
        ),
        (
            "[{ selector = { ip = '10.20.0.5' } }]",
            "dst[0]: 10.20.0.5 is behind no connector, and there is neither [tun] nor [sockets] to leave by",
        ),
        (
            "[{ selector = { ip = '10.99.0.1-10.99.0.2' } }]",
            "dst[0]: 10.99.0.1-10.99.0.2 is partly behind connector \"site-a\", partly elsewhere",
        ),
        (
            "[{ selector = { ip = '10.77.0.2' }, nat = { connector = 'site-a' } }]",
            "dst[0]: 10.77.0.2 holds 10.77.0.2, an address of this node or of a client",
        ),
    ] {
        let text = NODE.to_owned() + &client("alice", KEYS[0], "10.77.0.2") + &site_a() + &target(dst, false);
        let faults = read(&text).err().unwrap_or_default();
        let expected = format!("[[target]] 1 \"db\": {said}");
        assert!(faults.contains(&expected), "{dst}\n{faults:#?}");
    }
}

#[test]
fn source_translation_needs_an_address_of_its_version() {
    let node = NODE.replace(", \"fd99::1\"", "");
    let dst = "[{ selector = { ip = 'fd20::5' }, nat = { addr = 'fd99::2' } }]";
    let connector = site_a().replace("'10.99.0.2'", "'fd99::2'");
    assert!(read(&(node.clone() + &connector + &target(dst, false))).is_ok());
    assert_eq!(
        read(&(node + &connector + &target(dst, true))).err().unwrap(),
        [
            "[[target]] 1 \"db\": dst[0]: src_nat is on, but there is no IPv6 address in [node] addresses to turn sources into"
        ]
    );
}

#[test]
fn a_target_leaves_this_host_by_what_there_is_or_as_it_says() {
    let dst = "[{ selector = { ip = '10.20.0.5' } }]";
    let ways = |tables: &str, egress: &str| {
        let target = target(dst, false).replace("src_nat", &format!("{egress}src_nat"));
        let config = read(&(NODE.to_owned() + tables + &target))?;
        Ok::<_, Vec<String>>(config.targets.get("db").unwrap().destinations[0].way)
    };
    assert_eq!(ways("[tun]\n", ""), Ok(ways::Way::Tun));
    assert_eq!(ways("[sockets]\n", ""), Ok(ways::Way::Sockets));
    assert_eq!(ways("[sockets]\n[tun]\n", ""), Ok(ways::Way::Tun));
    assert_eq!(ways("[sockets]\n[tun]\n", "egress = 'sockets'\n"), Ok(ways::Way::Sockets));
    assert_eq!(
        ways("[tun]\n", "egress = 'sockets'\n").unwrap_err(),
        ["[[target]] 1 \"db\": dst[0]: egress is \"sockets\", and there is no [sockets]"]
    );
    assert_eq!(
        ways("[tun]\n", "egress = 'pigeon'\n").unwrap_err(),
        ["[[target]] 1 \"db\": egress: \"pigeon\" is none of tun, sockets"]
    );
    let behind = target("[{ selector = { ip = '10.20.0.5' }, nat = { connector = 'site-a' } }]", false)
        .replace("src_nat", "egress = 'sockets'\nsrc_nat");
    assert_eq!(
        read(&(NODE.to_owned() + "[sockets]\n" + &site_a() + &behind)).err().unwrap(),
        [
            "[[target]] 1 \"db\": egress: egress says how to leave this host, and all destinations are behind connectors"
        ]
    );
}

#[test]
fn sockets_need_an_address_of_the_destinations_version() {
    let node = NODE.replace(", \"fd99::1\"", "");
    let dst = "[{ selector = { ip = 'fd20::5' } }]";
    assert_eq!(
        read(&(node + "[sockets]\n" + &target(dst, false))).err().unwrap(),
        ["[[target]] 1 \"db\": dst[0]: what leaves by [sockets] needs an IPv6 address in [node] addresses"]
    );
}

#[test]
fn sessions_of_one_client_may_not_overlap_but_those_of_two_may() {
    let targets = target("[{ selector = { ip = '10.20.0.0/24' }, nat = { connector = 'site-a' } }]", false)
        + &target("[{ selector = { ip = '10.20.0.5' }, nat = { connector = 'site-a' } }]", false)
            .replace("'db'", "'db2'");
    let base = NODE.to_owned()
        + &client("alice", KEYS[0], "10.77.0.2")
        + &client("bob", KEYS[2], "10.77.0.3")
        + &site_a()
        + &targets
        + &session("10.77.0.2", "db");
    assert!(read(&(base.clone() + &session("10.77.0.3", "db2"))).is_ok());
    assert_eq!(
        read(&(base + &session("10.77.0.2", "db2"))).err().unwrap(),
        ["[[session]] 2: it overlaps [[session]] 1: a packet of this client could match both"]
    );
}

#[test]
fn addresses_keys_and_names_belong_to_one_peer() {
    let text =
        NODE.to_owned() + &client("alice", KEYS[0], "10.77.0.2") + &client("alice", KEYS[0], "10.77.0.2");
    assert_eq!(
        read(&text).err().unwrap(),
        [
            "[[client]] 2 \"alice\": name: peer name alice is there already: [[client]] 1 \"alice\": name".to_owned(),
            format!("[[client]] 2 \"alice\": public_key: key {} is there already: [[client]] 1 \"alice\": public_key", KEYS[0]),
            "[[client]] 2 \"alice\": addresses: address 10.77.0.2/32 is there already: [[client]] 1 \"alice\": addresses".to_owned(),
        ]
    );
}

#[test]
fn a_client_on_the_tun_needs_no_table_but_the_permission() {
    let text = NODE.to_owned()
        + &site_a()
        + &target("[{ selector = { ip = '10.20.0.5' }, nat = { connector = 'site-a' } }]", false)
        + &session("10.77.0.9", "db");
    assert!(read(&(text.clone() + "[tun]\naccept_clients = true\nroutes = ['10.20.0.0/16']\n")).is_ok());
    let looping =
        read(&(text.clone() + "[tun]\naccept_clients = true\nroutes = ['10.77.0.0/16']\n")).err().unwrap();
    assert!(
        looping[0].starts_with("[tun]: routes: 10.77.0.0/16 routes clients of 10.77.0.0/24"),
        "{looping:?}"
    );
    assert!(read(&(text + "[tun]\n")).is_err());
}

#[test]
fn a_syntax_error_is_told_with_line_and_column() {
    let said = read("[node]\nname = router\n").err().unwrap();
    assert!(said[0].contains("line 2, column 8"), "{said:?}");
}

/// A file with everything in it.
pub(crate) fn whole() -> String {
    NODE.to_owned()
        + "listen_port = 51821\nmtu = 1400\nworkers = 2\nadmin_socket = '/run/sluice/r.sock'\ndeny_signal = 'reset'\n"
        + "[tun]\nname = 'sluice0'\negress_addresses = ['192.168.7.200']\nproxy_neighbours_on = 'lan0'\n"
        + &client("alice", KEYS[0], "10.77.0.2")
        + &site_a().replace("networks = []", "networks = ['10.50.0.0/16', 'fd50::/48']")
        + &target(
            "[{ selector = { ip = '10.20.0.5', proto = 'TCP', port = 22 }, nat = { connector = 'site-a', port = 40000 } },
              { selector = { ip = { start = '10.20.0.8', end = '10.20.0.9' }, port = { start = 1, end = 10 }, proto = 'udp' } }]",
            true,
        )
        + &target("[{ selector = { ip = '10.50.1.0/24' } }]", false).replace("'db'", "'net'")
        + &session("10.77.0.2", "db")
        + &session("10.77.0.2", "net").replace("\n\n", "\nexpires = 2027-01-01T00:00:00Z\n")
}

fn target_called<'a>(config: &'a RouterConfig, name: &str) -> &'a Target {
    config.targets.get(name).unwrap()
}

fn client(name: &str, key: &str, address: &str) -> String {
    format!("[[client]]\nname = '{name}'\npublic_key = '{key}'\naddresses = ['{address}']\n")
}

fn site_a() -> String {
    format!(
        "[[connector]]\nname = 'site-a'\npublic_key = '{}'\naddresses = ['10.99.0.2']\nnetworks = []\n\
         dial = 'server'\nendpoint = '203.0.113.9:51821'\n",
        KEYS[1]
    )
}

fn target(dst: &str, src_nat: bool) -> String {
    format!("[[target]]\nname = 'db'\nsrc_nat = {src_nat}\ndst = {}\n", dst.replace('\n', " "))
}

fn session(client_ip: &str, target: &str) -> String {
    format!("[[session]]\nclient_ip = '{client_ip}'\ntarget = '{target}'\n\n")
}

/// What is in the file, or what is said of it.
pub(crate) fn read(text: &str) -> Result<RouterConfig, Vec<String>> {
    read_with(text, &[])
}

fn read_with(text: &str, environment: &[(&str, &str)]) -> Result<RouterConfig, Vec<String>> {
    let path = scratch(text);
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let parsed = Document::read(&path, environment).and_then(|document| RouterConfig::read(&path, document));
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    parsed.map_err(|problems| problems.iter().map(|(place, fault)| format!("{place}: {fault}")).collect())
}

/// A directory of its own with the file and the key it names.
fn scratch(text: &str) -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("sluice-router-config-{}-{count}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let mut options = std::fs::OpenOptions::new();
    let key = options.write(true).create(true).truncate(true).mode(0o600).open(directory.join("router.key"));
    key.unwrap().write_all(PRIVATE.as_bytes()).unwrap();
    let path = directory.join("router.toml");
    std::fs::write(&path, text).unwrap();
    path
}
