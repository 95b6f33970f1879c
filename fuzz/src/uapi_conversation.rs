//! Any conversation on the userspace interface, with a device behind it as the running program has it: every operation
//! gets one answer, a prefix has one owner, our own key is no peer, and what `get` tells makes the same device again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::IpAddr;

use sluice_runtime::uapi::change::DeviceChange;
use sluice_runtime::uapi::conversation;
use sluice_runtime::uapi::interface::{Interface, PeerChange, PeerState};
use sluice_runtime::uapi::{Errno, live};
use wg_proto::{Device, DeviceConfig, Instant, PrivateKey, PublicKey};

use crate::{Input, Tally, Target};

pub(crate) const TARGET: Target = Target {
    name: "uapi_conversation",
    run: uapi_conversation,
    outcomes: &[
        "errno=-22",
        "errno=-71",
        "errno=-98",
        "errno=0",
        "told allowed_ip",
        "told endpoint",
        "told errno",
        "told fwmark",
        "told last_handshake_time_nsec",
        "told last_handshake_time_sec",
        "told listen_port",
        "told persistent_keepalive_interval",
        "told preshared_key",
        "told private_key",
        "told protocol_version",
        "told public_key",
        "told rx_bytes",
        "told tx_bytes",
    ],
};

const NOW: Instant = Instant::from_nanos(1);
const PORT_IN_USE: u16 = 1;

/// A first byte of 0 feeds the rest as it is. Else each line is made of two bytes, or of a few raw ones.
fn uapi_conversation(data: &[u8], tally: &mut Tally) {
    let mut input = Input::new(data);
    let sent = if input.u8() == 0 { input.rest().to_vec() } else { lines(input) };
    let interface = Bare::new();
    let answered = converse(&interface, &mut &sent[..]);
    check_answers(&answered, tally);
    let in_pieces = Bare::new();
    assert_eq!(answered, converse(&in_pieces, &mut BufReader::with_capacity(1, &sent[..])));
    interface.check();
    let told = converse(&interface, &mut &b"get=1\n\n"[..]);
    for key in told.lines().filter_map(|line| Some(line.split_once('=')?.0)) {
        tally.count(&format!("told {key}"));
    }
    let again = Bare::new();
    let answered = converse(&again, &mut as_set(&told).as_bytes());
    assert_eq!(answered, "errno=0\n\n", "what get tells can be set:\n{told}");
    assert_eq!(told, converse(&again, &mut &b"get=1\n\n"[..]), "and makes the same device");
}

fn converse(interface: &Bare, reader: &mut impl BufRead) -> String {
    let mut answered = Vec::new();
    conversation::serve(reader, &mut answered, interface, &|name| (name == "eth0").then_some(7))
        .expect("nothing fails in memory");
    String::from_utf8(answered).expect("answers are text")
}

/// Blocks of `key=value`, each closed by an `errno` we know and an empty line.
fn check_answers(answered: &str, tally: &mut Tally) {
    let mut is_closed = true;
    for line in answered.lines() {
        match line.split_once('=') {
            Some(("errno", code)) => {
                assert!(["0", "-5", "-22", "-28", "-71", "-98"].contains(&code), "{code}");
                tally.count(&format!("errno={code}"));
                is_closed = true;
            }
            Some((key, value)) => {
                assert!(!key.is_empty() && !value.is_empty(), "{line:?}");
                is_closed = false;
            }
            None => assert!(line.is_empty() && is_closed, "{line:?}"),
        }
    }
    assert!(is_closed && (answered.is_empty() || answered.ends_with("\n\n")));
}

/// What `get` told, as a `set`, but for what cannot be set.
fn as_set(told: &str) -> String {
    let cannot =
        ["last_handshake_time_sec=", "last_handshake_time_nsec=", "tx_bytes=", "rx_bytes=", "errno="];
    let lines = told.lines().filter(|line| !cannot.iter().any(|start| line.starts_with(start)));
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    format!("set=1\nreplace_peers=true\n{}\n\n", lines.join("\n"))
        .replace("replace_peers=true\n\n\n", "replace_peers=true\n\n")
}

/// A device without sockets. Port 1 is in use by somebody else.
struct Bare {
    device: RefCell<Device>,
    listen_port: Cell<u16>,
    fwmark: Cell<u32>,
}

impl Bare {
    fn new() -> Bare {
        let device = Device::new(DeviceConfig::default(), [3; 32]);
        Bare { device: RefCell::new(device), listen_port: Cell::new(0), fwmark: Cell::new(0) }
    }

    /// What holds after any conversation.
    fn check(&self) {
        let device = self.device.borrow();
        let (mut prefixes, own) = (BTreeSet::new(), device.public_key());
        for index in device.peers() {
            let peer = device.peer(index).expect("a peer that is listed is there");
            assert_ne!(Some(peer.public_key()), own, "our own key is no peer");
            assert_eq!(device.peer_by_key(&peer.public_key()), Some(index));
            for net in peer.allowed_ips() {
                assert_eq!(net, net.trunc(), "host bits are masked");
                assert!(prefixes.insert(net), "{net} has two owners");
            }
        }
        let longest = |address: IpAddr| {
            prefixes.iter().filter(|net| net.contains(&address)).max_by_key(|net| net.prefix_len())
        };
        for address in prefixes.iter().flat_map(|net| [net.network(), net.broadcast()]) {
            let owner = device.owner_of(address).and_then(|index| device.peer(index));
            let net = longest(address).expect("a prefix holds its own ends");
            let owner = owner.expect("somebody owns what is in a prefix");
            assert!(owner.allowed_ips().any(|owned| owned == *net), "{address} is not of the longest prefix");
        }
    }
}

impl Interface for Bare {
    fn private_key(&self) -> Option<PrivateKey> {
        self.device.borrow().private_key().cloned()
    }

    fn public_key(&self) -> Option<PublicKey> {
        self.device.borrow().public_key()
    }

    fn listen_port(&self) -> u16 {
        self.listen_port.get()
    }

    fn fwmark(&self) -> u32 {
        self.fwmark.get()
    }

    fn peers(&self) -> Vec<PublicKey> {
        let device = self.device.borrow();
        device.peers().filter_map(|index| device.peer(index)).map(|peer| peer.public_key()).collect()
    }

    fn peer(&self, key: &PublicKey) -> Option<PeerState> {
        let device = self.device.borrow();
        device.peer(device.peer_by_key(key)?).map(|peer| live::state_of(&peer))
    }

    fn change_device(&self, change: DeviceChange) -> Result<(), Errno> {
        match change {
            DeviceChange::PrivateKey(key) => self.device.borrow_mut().set_private_key(NOW, key),
            DeviceChange::ListenPort(PORT_IN_USE) => return Err(Errno::PortInUse),
            DeviceChange::ListenPort(port) => self.listen_port.set(port),
            DeviceChange::Fwmark(mark) => self.fwmark.set(mark),
            DeviceChange::ReplacePeers => live::remove_all_peers(&mut self.device.borrow_mut(), NOW),
        }
        Ok(())
    }

    fn change_peer(&self, change: &PeerChange) -> Result<(), Errno> {
        live::change_peer(&mut self.device.borrow_mut(), NOW, change)
    }
}

const KEYS: [&str; 4] = [
    "b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33",
    "58402e695ba1772b1cc9309755f043251ea77fdcf10fbe63989ceb7e19321376",
    "e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a",
    "0000000000000000000000000000000000000000000000000000000000000000",
];
const ENDPOINTS: [&str; 6] = [
    "192.0.2.1:51820",
    "[2001:db8::1]:1",
    "[fe80::1%eth0]:51820",
    "[fe80::1%2]:0",
    "[::ffff:192.0.2.1]:9",
    "host.example:1",
];
const PREFIXES: [&str; 10] = [
    "10.0.0.0/8",
    "-10.0.0.0/8",
    "10.1.2.3/16",
    "-10.1.0.0/16",
    "10.1.2.3/32",
    "0.0.0.0/0",
    "fd00::/64",
    "fd00::1/128",
    "::/0",
    "-::/0",
];

fn lines(mut input: Input<'_>) -> Vec<u8> {
    let mut sent = b"set=1\n".to_vec();
    while !input.is_empty() {
        let (what, value) = (input.u8(), input.u8());
        let pick = usize::from(value);
        let key = KEYS[pick % KEYS.len()];
        let line = match what % 20 {
            0..3 => format!("public_key={key}"),
            3 => format!("private_key={key}"),
            4 => format!("preshared_key={key}"),
            5 => format!("listen_port={}", [0, 1, 51820, 65535, 65536][pick % 5]),
            6 => format!("fwmark={}", u64::from(value) << 25),
            7 => "replace_peers=true".to_owned(),
            8 => "remove=true".to_owned(),
            9 => "update_only=true".to_owned(),
            10 => "replace_allowed_ips=true".to_owned(),
            11 => format!("endpoint={}", ENDPOINTS[pick % ENDPOINTS.len()]),
            12 => format!("persistent_keepalive_interval={}", pick * 300),
            13 | 14 => format!("allowed_ip={}", PREFIXES[pick % PREFIXES.len()]),
            15 => format!("allowed_ip=10.{}.0.0/{}", value & 3, value >> 2),
            16 => "\nset=1".to_owned(),
            17 => "\nget=1\n".to_owned(),
            18 => "protocol_version=1".to_owned(),
            _ => {
                sent.extend_from_slice(input.take(pick % 80));
                continue;
            }
        };
        sent.extend_from_slice(line.as_bytes());
        sent.push(b'\n');
    }
    sent.push(b'\n');
    sent
}
