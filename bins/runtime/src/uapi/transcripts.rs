//! Whole conversations, as `wg` and other clients hold them, against an interface made of a `Vec`.

use std::cell::RefCell;
use std::net::SocketAddr;

use ipnet::IpNet;
use proptest::prelude::*;
use wg_proto::{PrivateKey, PublicKey, UnixTime};

use super::change::DeviceChange;
use super::conversation;
use super::errno::Errno;
use super::interface::{Interface, PeerChange, PeerState, PrefixChange};

const A: &str = "b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33";
const B: &str = "58402e695ba1772b1cc9309755f043251ea77fdcf10fbe63989ceb7e19321376";
const PSK: &str = "188515093e952f5f22e865cef3012e72f8b5f0b598ac0309d5dacce3b70fcf52";
const SECRET: &str = "e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a";

#[test]
fn each_transcript_gets_its_answer() {
    for (sent, answered) in [
        ("set=1\nlisten_port=51820\n\n".into(), "errno=0\n\n"),
        ("set=1\nlisten_port=1\n\n".into(), "errno=-98\n\n"),
        ("set=1\nlisten_port=70000\n\n".into(), "errno=-22\n\n"),
        ("set=1\nunknown=1\n\n".into(), "errno=-22\n\n"),
        ("set=1\nnot a line\n\n".into(), "errno=-71\n\n"),
        (format!("set=1\npublic_key={A}\nlisten_port=1\n\n"), "errno=-22\n\n"),
        ("set=1\nallowed_ip=10.0.0.0/8\n\n".into(), "errno=-22\n\n"),
        ("set=1\n\n".into(), "errno=0\n\n"),
        ("set=1\nlisten_port=5".into(), "errno=-71\n\n"),
        (format!("set=1\n{}\n\n", "x".repeat(600)), "errno=-71\n\n"),
        ("get=1\nmore\n".into(), "errno=-22\n\n"),
        ("get=1\n\n".into(), "errno=0\n\n"),
        ("get=1\n\nget=1\n\n".into(), "errno=0\n\nerrno=0\n\n"),
        ("set=1\nx=y\nlisten_port=7\n\nget=1\n\n".into(), "errno=-22\n\nerrno=0\n\n"),
        ("hello\n".into(), ""),
        ("".into(), ""),
    ] {
        assert_eq!(talk(&Toy::default(), &sent), answered, "{sent:?}");
    }
}

#[test]
fn get_tells_what_set_said() {
    let toy = Toy::default();
    let sent = format!(
        "set=1\nprivate_key={SECRET}\nlisten_port=12912\nfwmark=9\nreplace_peers=true\npublic_key={A}\n\
         preshared_key={PSK}\nreplace_allowed_ips=true\nendpoint=[abcd:23::33%2]:51820\n\
         persistent_keepalive_interval=111\nallowed_ip=192.168.4.4/32\nallowed_ip=fd00::/64\n\
         protocol_version=1\n\nget=1\n\n"
    );
    let expected = format!(
        "errno=0\n\nprivate_key={SECRET}\nlisten_port=12912\nfwmark=9\npublic_key={A}\npreshared_key={PSK}\n\
         protocol_version=1\nendpoint=[abcd:23::33%2]:51820\nlast_handshake_time_sec=7\n\
         last_handshake_time_nsec=9\ntx_bytes=2\nrx_bytes=1\npersistent_keepalive_interval=111\n\
         allowed_ip=192.168.4.4/32\nallowed_ip=fd00::/64\nerrno=0\n\n"
    );
    assert_eq!(talk(&toy, &sent), expected);
}

#[test]
fn an_all_zero_private_key_takes_the_identity_away() {
    let toy = Toy::default();
    talk(&toy, &format!("set=1\nprivate_key={SECRET}\n\nset=1\nprivate_key={:064}\n\n", 0));
    assert!(toy.private_key().is_none());
}

#[test]
fn our_own_key_as_a_peer_is_ignored_with_all_its_lines() {
    let toy = Toy::default();
    talk(&toy, &format!("set=1\nprivate_key={SECRET}\n\n"));
    let own = toy.public_key().unwrap().to_hex();
    let sent = format!("set=1\npublic_key={own}\nallowed_ip=10.0.0.0/8\nremove=true\npublic_key={B}\n\n");
    assert_eq!(talk(&toy, &sent), "errno=0\n\n");
    assert_eq!(toy.peers(), [key(B)]);
}

#[test]
fn update_only_creates_no_peer_and_remove_takes_one_away() {
    let toy = Toy::default();
    talk(&toy, &format!("set=1\npublic_key={A}\nupdate_only=true\nallowed_ip=10.0.0.0/8\n\n"));
    assert!(toy.peers().is_empty());
    talk(&toy, &format!("set=1\npublic_key={A}\npublic_key={B}\n\nset=1\npublic_key={A}\nremove=true\n\n"));
    assert_eq!(toy.peers(), [key(B)]);
}

#[test]
fn allowed_ips_are_added_taken_away_and_replaced() {
    let toy = Toy::default();
    talk(&toy, &format!("set=1\npublic_key={A}\nallowed_ip=10.0.0.0/8\nallowed_ip=10.1.0.0/16\n\n"));
    talk(&toy, &format!("set=1\npublic_key={A}\nallowed_ip=-10.0.0.0/8\nallowed_ip=-99.0.0.0/8\n\n"));
    assert_eq!(toy.allowed_ips(A), ["10.1.0.0/16"]);
    talk(
        &toy,
        &format!(
            "set=1\npublic_key={A}\nallowed_ip=9.0.0.0/8\nreplace_allowed_ips=true\nallowed_ip=::/0\n\n"
        ),
    );
    assert_eq!(toy.allowed_ips(A), ["::/0"]);
}

#[test]
fn a_section_with_an_error_changes_nothing_of_its_peer_but_those_before_it_stand() {
    let toy = Toy::default();
    let sent = format!("set=1\npublic_key={A}\npublic_key={B}\nallowed_ip=10.0.0.0/8\nallowed_ip=bad\n\n");
    assert_eq!(talk(&toy, &sent), "errno=-22\n\n");
    assert_eq!(toy.peers(), [key(A)]);
}

#[test]
fn a_hundred_and_thirty_thousand_allowed_ips_come_and_go_whole() {
    let toy = Toy::default();
    let mut sent = format!("set=1\npublic_key={A}\nreplace_allowed_ips=true\n");
    for n in 0..130_000_u32 {
        sent += &format!("allowed_ip={}/32\n", std::net::Ipv4Addr::from(0x0a00_0000 + n));
    }
    assert_eq!(talk(&toy, &(sent + "\n")), "errno=0\n\n");
    let told = talk(&toy, "get=1\n\n");
    assert_eq!(told.lines().filter(|line| line.starts_with("allowed_ip=")).count(), 130_000);
    assert!(told.ends_with("allowed_ip=10.1.251.207/32\nerrno=0\n\n"));
}

proptest! {
    #[test]
    fn no_conversation_makes_us_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        converse(&Toy::default(), &bytes);
    }

    #[test]
    fn no_order_of_known_lines_makes_us_panic(lines in proptest::collection::vec(known_line(), 0..30)) {
        converse(&Toy::default(), format!("set=1\n{}\n\nget=1\n\n", lines.join("\n")).as_bytes());
    }
}

fn known_line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(format!("public_key={A}")),
        Just(format!("public_key={B}")),
        Just(format!("private_key={SECRET}")),
        Just("remove=true".to_owned()),
        Just("update_only=true".to_owned()),
        Just("replace_peers=true".to_owned()),
        Just("replace_allowed_ips=true".to_owned()),
        Just("allowed_ip=10.0.0.0/8".to_owned()),
        Just("allowed_ip=-10.0.0.0/8".to_owned()),
        Just("persistent_keepalive_interval=25".to_owned()),
        Just("endpoint=192.0.2.1:1".to_owned()),
        Just(String::new()),
    ]
}

fn talk(toy: &Toy, sent: &str) -> String {
    String::from_utf8(converse(toy, sent.as_bytes())).unwrap()
}

fn converse(toy: &Toy, mut sent: &[u8]) -> Vec<u8> {
    let mut answered = Vec::new();
    conversation::serve(&mut sent, &mut answered, toy, &|_| None).unwrap();
    answered
}

fn key(hex: &str) -> PublicKey {
    PublicKey::from_hex(hex).unwrap()
}

/// An interface without tunnels. Port 1 is in use by somebody else.
#[derive(Default)]
struct Toy(RefCell<ToyState>);

#[derive(Default)]
struct ToyState {
    private_key: Option<PrivateKey>,
    listen_port: u16,
    fwmark: u32,
    peers: Vec<(PublicKey, PeerState)>,
}

impl Toy {
    fn allowed_ips(&self, peer: &str) -> Vec<String> {
        self.peer(&key(peer)).unwrap().allowed_ips.iter().map(IpNet::to_string).collect()
    }
}

impl Interface for Toy {
    fn private_key(&self) -> Option<PrivateKey> {
        self.0.borrow().private_key.clone()
    }

    fn public_key(&self) -> Option<PublicKey> {
        self.private_key().map(|key| key.public_key())
    }

    fn listen_port(&self) -> u16 {
        self.0.borrow().listen_port
    }

    fn fwmark(&self) -> u32 {
        self.0.borrow().fwmark
    }

    fn peers(&self) -> Vec<PublicKey> {
        self.0.borrow().peers.iter().map(|(key, _)| *key).collect()
    }

    fn peer(&self, key: &PublicKey) -> Option<PeerState> {
        self.0.borrow().peers.iter().find(|(known, _)| known == key).map(|(_, state)| state.clone())
    }

    fn change_device(&self, change: DeviceChange) -> Result<(), Errno> {
        let mut state = self.0.borrow_mut();
        match change {
            DeviceChange::PrivateKey(key) => state.private_key = key,
            DeviceChange::ListenPort(1) => return Err(Errno::PortInUse),
            DeviceChange::ListenPort(port) => state.listen_port = port,
            DeviceChange::Fwmark(mark) => state.fwmark = mark,
            DeviceChange::ReplacePeers => state.peers.clear(),
        }
        Ok(())
    }

    fn change_peer(&self, change: &PeerChange) -> Result<(), Errno> {
        let peers = &mut self.0.borrow_mut().peers;
        if change.remove {
            peers.retain(|(key, _)| *key != change.public_key);
            return Ok(());
        }
        let known = peers.iter().position(|(key, _)| *key == change.public_key);
        if known.is_none() && change.update_only {
            return Ok(());
        }
        let index = known.unwrap_or_else(|| {
            peers.push((change.public_key, nobody()));
            peers.len() - 1
        });
        update(&mut peers[index].1, change);
        Ok(())
    }
}

fn nobody() -> PeerState {
    PeerState {
        preshared_key: None,
        endpoint: None::<SocketAddr>,
        persistent_keepalive: None,
        last_handshake: Some(UnixTime { secs: 7, nanos: 9 }),
        rx_bytes: 1,
        tx_bytes: 2,
        allowed_ips: Vec::new(),
    }
}

fn update(peer: &mut PeerState, change: &PeerChange) {
    peer.preshared_key = change.preshared_key.clone().or(peer.preshared_key.take());
    peer.endpoint = change.endpoint.or(peer.endpoint);
    peer.persistent_keepalive = change.persistent_keepalive.unwrap_or(peer.persistent_keepalive);
    if change.replace_allowed_ips {
        peer.allowed_ips.clear();
    }
    for prefix in &change.allowed_ips {
        match prefix {
            PrefixChange::Add(net) => peer.allowed_ips.push(*net),
            PrefixChange::Remove(net) => peer.allowed_ips.retain(|known| known != net),
        }
    }
}
