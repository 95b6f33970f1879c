use super::*;
use sluice_runtime::host::config::Problems;

const PRIVATE: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";
const PEER: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";

fn whole() -> String {
    format!(
        "\
[Interface]
PrivateKey = {PRIVATE}
Address = 10.77.0.2/32, fd77::2/128
DNS = 10.20.0.53

[Peer]
PublicKey = {PEER}
Endpoint = vpn.example.com:51820
AllowedIPs = 10.20.0.0/24, fd20::/64
PersistentKeepalive = 25
"
    )
}

fn read(text: &str) -> Result<TunnelFile, Problems> {
    parse(Path::new("a.conf"), text)
}

/// All faults in words, each with its place.
fn faults(text: &str) -> Vec<String> {
    let problems = read(text).err();
    problems.iter().flat_map(Problems::iter).map(|(place, fault)| format!("{place}: {fault}")).collect()
}

#[test]
fn a_file_of_an_app_is_taken_whole() {
    let file = read(&whole()).unwrap();
    assert_eq!(
        file.interface.addresses,
        ["10.77.0.2", "fd77::2"].map(|address| address.parse::<std::net::IpAddr>().unwrap())
    );
    assert_eq!(file.interface.dns, ["10.20.0.53".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!((file.interface.mtu_bytes, file.interface.listen_port), (1420, None));
    let [peer] = &file.peers[..] else { panic!("one peer") };
    assert_eq!(peer.public_key.to_string(), PEER);
    assert_eq!(peer.endpoint.as_ref().unwrap().to_string(), "vpn.example.com:51820");
    assert_eq!(peer.allowed_ips.len(), 2);
    assert_eq!(peer.persistent_keepalive.unwrap().get(), 25);
    assert!(file.left_aside.is_empty() && peer.preshared_key.is_none());
}

#[test]
fn spelling_spaces_and_repetition_are_as_free_as_in_wg() {
    let text = whole()
        .replace("[Interface]", "[INTERFACE]\nmtu=1280\nListenPort = 0")
        .replace("AllowedIPs =", "allowedips=10.30.0.1\nAllowedIPs  =  ")
        .replace("= 25", "= off");
    let file = read(&text).unwrap();
    assert_eq!((file.interface.mtu_bytes, file.interface.listen_port), (1280, Some(0)));
    assert_eq!(file.peers[0].allowed_ips.len(), 3);
    assert_eq!(file.peers[0].persistent_keepalive, None);
}

#[test]
fn what_only_wg_quick_does_is_named_and_left_aside() {
    let text = whole().replace(
        "DNS = 10.20.0.53",
        "DNS = 10.20.0.53, example.com\nTable = off\nPostUp = rm -rf /\nFwMark = 0xca6c\nSaveConfig = true",
    );
    let file = read(&text).unwrap();
    let told: Vec<_> = file.left_aside.iter().map(|aside| (aside.line, aside.key.as_str())).collect();
    assert_eq!(told, [(4, "DNS"), (5, "Table"), (6, "PostUp"), (7, "FwMark"), (8, "SaveConfig")]);
    assert_eq!(file.interface.dns.len(), 1);
}

#[test]
fn each_wrong_value_is_told_with_its_line_and_key() {
    for (from, to, expected) in [
        (PRIVATE, "abc", "line 2: PrivateKey: not a key: 44 characters of base64 are expected"),
        (
            "10.77.0.2/32",
            "10.77.0.2/33",
            "line 3: Address: \"10.77.0.2/33\" is not an address, with or without /length",
        ),
        ("fd77::2/128", "::", "line 3: Address: \"::\" is not an address, with or without /length"),
        ("DNS", "Dnss", "line 4: Dnss: no key is called so in [Interface]"),
        ("DNS = 10.20.0.53", "MTU = 575", "line 4: MTU: \"575\" is not a number from 576 to 65440"),
        ("DNS = 10.20.0.53", "ListenPort = x", "line 4: ListenPort: \"x\" is not a number from 0 to 65535"),
        ("DNS = 10.20.0.53", "MTU = 1420\nMTU = 1420", "line 5: MTU: is there already, on line 4"),
        ("DNS = 10.20.0.53", "DNS 10.20.0.53", "line 4: neither [Section] nor Key = Value"),
        (PEER, "xTIB", "line 7: PublicKey: not a key: 44 characters of base64 are expected"),
        (
            "vpn.example.com:51820",
            "vpn.example.com",
            "line 8: Endpoint: \"vpn.example.com\" is not host:port (an IPv6 address goes in brackets)",
        ),
        (
            "fd20::/64",
            "fd20::/x",
            "line 9: AllowedIPs: \"fd20::/x\" is not a prefix such as 10.0.0.0/24 or fd00::/64",
        ),
        ("= 25", "= 65536", "line 10: PersistentKeepalive: \"65536\" is not a number from 0 to 65535"),
        ("PersistentKeepalive", "Keepalive", "line 10: Keepalive: no key is called so in [Peer]"),
        ("[Peer]", "[Pear]", "line 6: no section is called [Pear]"),
    ] {
        let text = whole().replace(from, to);
        assert_eq!(faults(&text).first().map(String::as_str), Some(expected));
    }
}

#[test]
fn what_has_to_be_there_is_missed() {
    let (private, address) = (format!("PrivateKey = {PRIVATE}\n"), "Address = 10.77.0.2/32, fd77::2/128\n");
    let (key, endpoint) = (format!("PublicKey = {PEER}\n"), "Endpoint = vpn.example.com:51820\n");
    for (absent, expected) in [
        (private.as_str(), "[Interface]: PrivateKey is missing"),
        (address, "[Interface]: Address is missing"),
        (key.as_str(), "line 6: [Peer]: PublicKey is missing"),
        (
            endpoint,
            "the file as a whole: no peer has an Endpoint, and [Interface] has no ListenPort: nobody can begin",
        ),
        ("[Interface]\n", "line 1: PrivateKey: stands before any section"),
        (&whole()[whole().find("[Peer]").unwrap()..], "the file as a whole: there is no [Peer]"),
        (&whole()[..whole().find("[Peer]").unwrap()], "the file as a whole: there is no [Interface]"),
    ] {
        assert_eq!(
            faults(&whole().replace(absent, "")).first().map(String::as_str),
            Some(expected),
            "{absent}"
        );
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let text = whole().replace("10.77.0.2/32", "x").replace("= 25", "= y").replace("51820", "z");
    assert_eq!(faults(&text).len(), 3);
}

#[test]
fn one_key_is_one_peer_and_never_our_own() {
    let twice = whole() + &format!("[Peer]\nPublicKey = {PEER}\n");
    assert_eq!(faults(&twice), ["line 11: [Peer]: another peer has this PublicKey"]);
    let own = wg_proto::PrivateKey::from_base64(PRIVATE).unwrap().public_key().to_string();
    assert_eq!(
        faults(&whole().replace(PEER, &own)),
        ["line 6: [Peer]: the PublicKey belongs to our own PrivateKey"]
    );
}

#[test]
fn no_fault_repeats_a_secret() {
    let half = &PRIVATE[..40];
    for text in [
        whole().replace(PRIVATE, half),
        whole().replace(&format!("PrivateKey = {PRIVATE}"), PRIVATE),
        whole().replace("DNS = 10.20.0.53", &format!("PrivateKey = {PRIVATE}")),
        whole().replace("PersistentKeepalive = 25", &format!("PresharedKey = {half}")),
    ] {
        let problems = read(&text).err().unwrap();
        assert!(!format!("{problems} {problems:?}").contains(half), "{problems}");
    }
}
