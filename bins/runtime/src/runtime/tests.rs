//! A running interface against a bare device, over a real kernel, in a namespace of the test's own.

use std::net::{SocketAddr, UdpSocket};

use router_core::NodeConfig;
use wg_proto::{Decapsulated, Device, DeviceConfig, Encapsulated, Endpoint, PeerConfig, PrivateKey};

use super::*;
use crate::net::{HostNetwork, LinkChange, LinkIndex};
use crate::sandbox::in_namespace;
use crate::service::{Wake, Wakes};
use crate::tun::TunConfig;

const OURS: &str = "10.9.0.1";
const THEIRS: &str = "10.9.0.2";

/// The interface under test.
struct Interface {
    runtime: Runtime,
    wakes: Wakes,
    network: HostNetwork,
    index: LinkIndex,
}

/// A peer made of a device and a socket, and nothing else.
struct Peer {
    device: Device,
    socket: UdpSocket,
    us: wg_proto::PeerIndex,
}

fn key(byte: u8) -> PrivateKey {
    PrivateKey::from_bytes([byte; 32])
}

fn set_up() -> (Interface, Peer) {
    let mut network = HostNetwork::open().expect("netlink");
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    network.change_link(LinkIndex(1), up).expect("loopback up");
    let config = TunConfig {
        name: "srt-run".parse().expect("legal"),
        queues: worker_count(2),
        mtu_bytes: None,
        offload: true,
    };
    let tun = Tun::open(&config).expect("open");
    let index = tun.index();
    network.change_link(index, up).expect("up");
    network.add_address(index, format!("{OURS}/24").parse().expect("prefix")).expect("address");
    let wakes = Wakes::without_signals();
    let runtime = start(Some(tun), &wakes);
    let peer = Peer::new(&runtime);
    (Interface { runtime, wakes, network, index }, peer)
}

fn start(tun: Option<Tun>, wakes: &Wakes) -> Runtime {
    let mut node = Node::new(NodeConfig::interface(), [7; 32]);
    let mut peer = PeerConfig::new(key(2).public_key());
    peer.allowed_ips.push(format!("{THEIRS}/32").parse().expect("prefix"));
    node.device_mut().set_private_key(clock::now(), Some(key(1)));
    node.device_mut().add_peer(clock::now(), peer).expect("added");
    let config = RuntimeConfig {
        workers: 2,
        listen_port: 0,
        fwmark: 0,
        tun,
        udp_offload: true,
        tunnel_mtu_bytes: None,
        stack: None,
        waker: Some(wakes.waker()),
        on_event: None,
    };
    Runtime::start(config, node).expect("start")
}

impl Peer {
    fn new(runtime: &Runtime) -> Peer {
        Peer::that_knows(&key(1), runtime)
    }

    fn that_knows(theirs: &PrivateKey, runtime: &Runtime) -> Peer {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("timeout");
        let config = DeviceConfig { private_key: Some(key(2)), mtu_bytes: 1420 };
        let mut device = Device::new(config, [9; 32]);
        let mut us = PeerConfig::new(theirs.public_key());
        us.endpoint = Some(loopback(runtime.listen_port()));
        us.allowed_ips.push(format!("{OURS}/32").parse().expect("prefix"));
        let us = device.add_peer(clock::now(), us).expect("added");
        Peer { device, socket, us }
    }

    fn send(&mut self, packet: &[u8]) {
        let mut datagram = [0; 2000];
        let sent = self.device.encapsulate(clock::now(), self.us, packet, 1420, &mut datagram);
        match sent.expect("sent or staged") {
            Encapsulated::Sent(sent) => {
                self.socket.send_to(&datagram[..sent.len], sent.to.remote).expect("send");
            }
            Encapsulated::Staged => self.transmit(),
        }
    }

    fn transmit(&mut self) {
        let mut datagram = [0; 2000];
        while let Some(sent) = self.device.poll_transmit(clock::now(), clock::unix_time(), &mut datagram) {
            self.socket.send_to(&datagram[..sent.len], sent.to.remote).expect("send");
        }
    }

    /// The next IPv4 packet from the tunnel; handshakes happen on the way.
    fn receive(&mut self) -> Vec<u8> {
        let mut datagram = [0; 2000];
        loop {
            let (len, from) = self.socket.recv_from(&mut datagram).expect("an answer in time");
            let (now, unix) = (clock::now(), clock::unix_time());
            let inner = self.device.decapsulate(now, unix, from.into(), &mut datagram[..len]);
            self.transmit();
            if let Decapsulated::Packet { range, .. } = inner.expect("authentic") {
                return datagram[range].to_vec();
            }
        }
    }

    fn ping(&mut self) {
        self.send(&echo(true));
        // The kernel chooses ID and DF of its answer, in the first twelve bytes.
        assert_eq!(self.receive()[12..], echo(false)[12..]);
    }
}

fn loopback(port: u16) -> Endpoint {
    Endpoint::new(SocketAddr::new([127, 0, 0, 1].into(), port))
}

fn address(text: &str) -> [u8; 4] {
    text.parse::<std::net::Ipv4Addr>().expect("address").octets()
}

fn echo(request: bool) -> Vec<u8> {
    let ends = if request { [THEIRS, OURS] } else { [OURS, THEIRS] }.map(address);
    let builder = etherparse::PacketBuilder::ipv4(ends[0], ends[1], 64);
    let builder = if request { builder.icmpv4_echo_request(1, 2) } else { builder.icmpv4_echo_reply(1, 2) };
    let mut packet = Vec::new();
    builder.write(&mut packet, b"are you there?").expect("builds");
    packet
}

fn udp(payload: &[u8]) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ipv4(address(THEIRS), address(OURS), 64).udp(7001, 7000);
    let mut packet = Vec::new();
    builder.write(&mut packet, payload).expect("builds");
    packet
}

#[test]
fn a_ping_through_the_tunnel_is_answered() {
    in_namespace(|| {
        let (interface, mut peer) = set_up();
        for _ in 0..3 {
            peer.ping();
        }
        let total = interface.runtime.stats().total();
        assert_eq!((total.opened, total.dropped_unauthentic, total.control_handled), (3, 0, 1));
    });
}

#[test]
fn many_datagrams_arrive_complete_and_in_order_both_ways() {
    in_namespace(|| {
        let (interface, mut peer) = set_up();
        let socket = UdpSocket::bind((OURS, 7000)).expect("bind");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("timeout");
        peer.ping();
        for round in 0..20_u16 {
            let payload = |n: u16| [&(round * 50 + n).to_be_bytes()[..], &[n as u8; 1000]].concat();
            for n in 0..50 {
                peer.send(&udp(&payload(n)));
            }
            let mut bytes = [0; 2000];
            for n in 0..50 {
                let (len, from) = socket.recv_from(&mut bytes).expect("arrives");
                assert_eq!(&bytes[..len], payload(n));
                assert_eq!(from, SocketAddr::new(address(THEIRS).into(), 7001));
            }
            for n in 0..50 {
                socket.send_to(&payload(n), (THEIRS, 7001)).expect("send");
            }
            for n in 0..50 {
                assert_eq!(peer.receive()[28..], payload(n));
            }
        }
        assert_eq!(interface.runtime.stats().total().opened, 1001);
    });
}

/// A worker lets go of its old socket when it next wakes, so for a moment the port is still ours.
fn rebind_when_free(runtime: &Runtime, port: u16) -> u16 {
    for _ in 0..100 {
        match runtime.rebind(port) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                std::thread::sleep(Duration::from_millis(20));
            }
            bound => return bound.expect("bind"),
        }
    }
    panic!("port {port} is not free two seconds after rebinding");
}

#[test]
fn after_rebinding_the_peer_is_reached_on_the_new_port_and_the_old_one_is_free() {
    in_namespace(|| {
        let (interface, mut peer) = set_up();
        peer.ping();
        let before = interface.runtime.listen_port();
        let after = interface.runtime.rebind(0).expect("bind");
        assert_ne!(before, after);
        let now = clock::now();
        peer.device.set_endpoint(now, peer.us, loopback(after)).expect("a peer");
        peer.ping();
        assert_eq!(rebind_when_free(&interface.runtime, before), before);
        let taken = UdpSocket::bind(("0.0.0.0", 0)).expect("bind");
        let port = taken.local_addr().expect("address").port();
        let error = interface.runtime.rebind(port).expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        peer.device.set_endpoint(now, peer.us, loopback(before)).expect("a peer");
        peer.ping();
    });
}

#[test]
fn stopping_is_quick_and_can_be_repeated() {
    in_namespace(|| {
        let (interface, mut peer) = set_up();
        peer.ping();
        let before = StdInstant::now();
        interface.runtime.stop().expect("ends");
        interface.runtime.stop().expect("has ended");
        assert!(before.elapsed() < Duration::from_secs(1));
        UdpSocket::bind(("0.0.0.0", interface.runtime.listen_port())).expect_err("held until dropped");
        let port = interface.runtime.listen_port();
        drop(interface);
        UdpSocket::bind(("0.0.0.0", port)).expect("free");
    });
}

#[test]
fn an_interface_that_goes_is_reported() {
    in_namespace(|| {
        let (mut interface, mut peer) = set_up();
        peer.ping();
        interface.network.remove_link(interface.index).expect("removed");
        match interface.wakes.next(Duration::from_secs(5)) {
            Some(Wake::Failed(why)) => assert!(why.contains("srt-run"), "{why}"),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_changed_mtu_is_followed() {
    in_namespace(|| {
        let (mut interface, mut peer) = set_up();
        peer.ping();
        let change = LinkChange { mtu_bytes: Some(1300), ..LinkChange::default() };
        interface.network.change_link(interface.index, change).expect("changed");
        for _ in 0..500 {
            if interface.runtime.shared.mtu_bytes.load(Ordering::Relaxed) == 1300 {
                return peer.ping();
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("the MTU was not followed");
    });
}

#[test]
fn an_interface_that_was_down_for_a_while_works_again() {
    in_namespace(|| {
        let (mut interface, mut peer) = set_up();
        peer.ping();
        for up in [false, true] {
            let change = LinkChange { up: Some(up), ..LinkChange::default() };
            interface.network.change_link(interface.index, change).expect("changed");
            if !up {
                peer.send(&echo(true));
                wait_for(&interface.runtime, |stats| stats.dropped_tun == 1);
            }
        }
        peer.ping();
        assert_eq!(interface.wakes.next(Duration::ZERO), None);
    });
}

#[test]
fn what_the_control_plane_changes_leaves_at_once() {
    in_namespace(|| {
        let (interface, mut peer) = set_up();
        let endpoint = Endpoint::from(peer.socket.local_addr().expect("address"));
        interface.runtime.with_node(|node, now| {
            let index = node.device().peer_by_key(&key(2).public_key()).expect("configured");
            node.device_mut().set_endpoint(now, index, endpoint).expect("a peer");
            node.stage(now, index, &echo(false)).expect("staged");
        });
        assert_eq!(peer.receive(), echo(false), "the handshake came from the interface");
    });
}

#[test]
fn noise_is_counted_and_data_passes_all_the_same() {
    in_namespace(|| {
        let (interface, mut peer) = set_up();
        peer.ping();
        let target = ("127.0.0.1", interface.runtime.listen_port());
        let noise = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let initiation = [&[1, 0, 0, 0][..], &[0x55; 144]].concat();
        let transport = [&[4, 0, 0, 0][..], &[0x55; 60]].concat();
        for _ in 0..500 {
            for datagram in [&b"hello"[..], &initiation, &transport] {
                noise.send_to(datagram, target).expect("send");
            }
        }
        peer.ping();
        let total = wait_for(&interface.runtime, |stats| stats.dropped_unknown_session >= 500);
        assert_eq!((total.dropped_malformed, total.dropped_unknown_session), (500, 500));
        assert_eq!(total.control_handled, 1, "a blind flood gets no further than its first MAC");
        let counted = |_: &WorkerStats| {
            interface.runtime.with_node(|node, _| node.device().counters().mac1_invalid == 500)
        };
        wait_for(&interface.runtime, counted);
    });
}

#[test]
fn a_handshake_for_the_key_that_was_just_set_is_answered() {
    in_namespace(|| {
        // No handshake came before: a second one by the same peer right behind it would count as a flood.
        let (interface, _) = set_up();
        interface.runtime.with_node(|node, now| node.device_mut().set_private_key(now, Some(key(3))));
        Peer::that_knows(&key(3), &interface.runtime).ping();
    });
}

#[test]
fn a_node_without_a_tun_counts_what_it_cannot_deliver() {
    in_namespace(|| {
        let up = LinkChange { up: Some(true), ..LinkChange::default() };
        HostNetwork::open().expect("netlink").change_link(LinkIndex(1), up).expect("loopback up");
        let runtime = start(None, &Wakes::without_signals());
        let mut peer = Peer::new(&runtime);
        peer.send(&echo(true));
        peer.socket.set_read_timeout(Some(Duration::from_millis(50))).expect("timeout");
        let mut datagram = [0; 2000];
        while let Ok((len, from)) = peer.socket.recv_from(&mut datagram) {
            let (now, unix) = (clock::now(), clock::unix_time());
            peer.device.decapsulate(now, unix, from.into(), &mut datagram[..len]).expect("authentic");
            peer.transmit();
        }
        wait_for(&runtime, |stats| stats.dropped_tun == 1);
    });
}

fn wait_for(runtime: &Runtime, holds: impl Fn(&WorkerStats) -> bool) -> WorkerStats {
    for _ in 0..500 {
        let total = runtime.stats().total();
        if holds(&total) {
            return total;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("{:?}", runtime.stats().total());
}
