//! Whole files and what is said of them.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::*;

const PRIVATE: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";
const NODE: &str = "[node]\nname = 'site-a'\nprivate_key_file = 'connector.key'\naddresses = ['10.99.0.2']\n";
const TUN: &str = "[tun]\negress_addresses = ['192.168.7.200']\nproxy_neighbours_on = 'lan0'\n";
const ROUTER: &str = "[[router]]\nname = 'router-1'\npublic_key = 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg='\n\
    addresses = ['10.99.0.1']\nnetworks = ['10.77.0.0/24']\n";
const DIALS: &str = "dial = 'connector'\nendpoint = '203.0.113.1:51820'\n";
const WEB: &str =
    "[[mapping]]\nname = 'web'\nvirtual_port = 40000\nproto = 'TCP'\ndevice = '192.168.7.10'\nport = 80\n";

#[test]
fn the_whole_vocabulary_is_taken() {
    let config = read(&[NODE, TUN, "snat = false\n", ROUTER, DIALS, WEB].concat()).unwrap();
    assert!(!config.tun().unwrap().snat);
    assert_eq!(config.routers[0].persistent_keepalive.unwrap().get(), 25);
    assert_eq!(config.routers[0].allowed_ips().len(), 2);
    assert_eq!((config.mappings[0].virtual_port.get(), config.mappings[0].port.get()), (40_000, 80));
}

#[test]
fn who_dials_needs_an_endpoint_and_who_does_not_may_have_none() {
    for (text, said) in [
        (
            "dial = 'connector'\n",
            Some(
                "[[router]] 1 \"router-1\": we dial this peer (dial = \"connector\"), and there is no endpoint",
            ),
        ),
        (
            "dial = 'server'\nendpoint = '203.0.113.1:51820'\n",
            Some("[[router]] 1 \"router-1\": endpoint: this peer dials us, so its endpoint is never used"),
        ),
        ("dial = 'server'\n", None),
        (DIALS, None),
        ("", Some("[[router]] 1 \"router-1\": \"dial\" is missing")),
    ] {
        let faults = read(&[NODE, ROUTER, text].concat()).err().unwrap_or_default();
        assert_eq!(faults.first().map(String::as_str), said, "{text}");
    }
}

#[test]
fn each_fault_of_a_mapping_is_told() {
    for (from, to, said) in [
        ("40000", "0", "virtual_port: 0 is not between 1 and 65535"),
        ("port = 80", "port = 80000", "port: 80000 is not between 1 and 65535"),
        ("TCP", "icmp", "proto: \"icmp\" is none of tcp, udp"),
        ("192.168.7.10", "127.0.0.1", "device: 127.0.0.1 cannot be the address of one host"),
        ("192.168.7.10", "169.254.169.254", "device: 169.254.169.254 is link-local"),
        ("192.168.7.10", "fd07::10", "the device is IPv6, but [node] addresses has no IPv6 address"),
    ] {
        let faults = read(&[NODE, TUN, ROUTER, DIALS, &WEB.replace(from, to)].concat()).err().unwrap();
        assert_eq!(faults, [format!("[[mapping]] 1 \"web\": {said}")]);
    }
}

#[test]
fn a_mapping_needs_a_way_out_and_in_an_interface_an_egress_address() {
    let bare = [NODE, ROUTER, DIALS, WEB].concat();
    assert_eq!(
        read(&bare).err().unwrap(),
        ["[[mapping]] 1 \"web\": there is neither [tun] nor [sockets] to reach the device by"]
    );
    let without_address = bare.clone() + "[tun]\n";
    assert!(read(&without_address).err().unwrap()[0].contains("egress_addresses has no IPv4 address"));
    assert!(read(&(bare.clone() + "[tun]\nsnat = false\n")).is_ok());
    assert!(read(&(bare + "[sockets]\n")).unwrap().sockets().is_some());
}

#[test]
fn devices_are_reached_by_one_way_only() {
    let both = [NODE, TUN, "[sockets]\n", ROUTER, DIALS, WEB].concat();
    assert_eq!(
        read(&both).err().unwrap(),
        ["the file as a whole: [tun] and [sockets] are both there, and each reaches all devices"]
    );
}

#[test]
fn only_sockets_reach_this_very_host() {
    let local = WEB.replace("192.168.7.10", "127.0.0.1");
    assert!(read(&[NODE, "[sockets]\n", ROUTER, DIALS, &local].concat()).is_ok());
    assert!(read(&[NODE, TUN, ROUTER, DIALS, &local].concat()).is_err());
    let metadata = WEB.replace("192.168.7.10", "169.254.169.254");
    assert!(read(&[NODE, "[sockets]\n", ROUTER, DIALS, &metadata].concat()).is_err());
}

#[test]
fn a_virtual_port_belongs_to_one_device_for_each_protocol() {
    let base = [NODE, TUN, ROUTER, DIALS, WEB].concat();
    let dns = WEB.replace("'web'", "'dns'");
    assert!(read(&(base.clone() + &dns.replace("TCP", "udp"))).is_ok());
    assert_eq!(
        read(&(base + &dns)).err().unwrap(),
        ["[[mapping]] 2 \"dns\": virtual_port: virtual port 40000/tcp over IPv4 is there already: \
          [[mapping]] 1 \"web\": virtual_port"]
    );
}

#[test]
fn keys_of_the_routers_file_are_unknown_here() {
    let said = read(&[NODE, "client_ip_pool = []\n", "[[session]]\n"].concat()).err().unwrap();
    assert_eq!(
        said,
        [
            "[node]: no key is called \"client_ip_pool\" here",
            "the file as a whole: no table is called \"session\""
        ]
    );
}

/// A file with a mapping for each IP version.
pub(crate) fn whole() -> String {
    let web6 = WEB.replace("'web'", "'web6'").replace("192.168.7.10", "fd07::10");
    let node = NODE.replace("['10.99.0.2']", "['10.99.0.2', 'fd99::2']");
    let tun = TUN.replace("['192.168.7.200']", "['192.168.7.200', 'fd07::200']");
    [&node, &tun, ROUTER, DIALS, WEB, &web6].concat()
}

/// The same without privileges, with devices on this very host.
pub(crate) fn by_sockets() -> String {
    let (before, after) = whole().split_once("[tun]").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let (_, mappings) = after.split_once("[[router]]").unwrap();
    format!("{before}[sockets]\n[[router]]{mappings}")
        .replace("192.168.7.10", "127.0.0.1")
        .replace("fd07::10", "::1")
}

/// What is in the file, or what is said of it.
pub(crate) fn read(text: &str) -> Result<ConnectorConfig, Vec<String>> {
    let path = scratch(text);
    let parsed =
        Document::read(&path, std::iter::empty()).and_then(|document| ConnectorConfig::read(&path, document));
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    parsed.map_err(|problems| problems.iter().map(|(place, fault)| format!("{place}: {fault}")).collect())
}

/// A directory of its own with the file and the key it names.
fn scratch(text: &str) -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let directory =
        std::env::temp_dir().join(format!("sluice-connector-config-{}-{count}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let mut options = std::fs::OpenOptions::new();
    let key =
        options.write(true).create(true).truncate(true).mode(0o600).open(directory.join("connector.key"));
    key.unwrap().write_all(PRIVATE.as_bytes()).unwrap();
    let path = directory.join("connector.toml");
    std::fs::write(&path, text).unwrap();
    path
}
