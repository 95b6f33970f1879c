//! Against a real kernel, in a namespace of the test's own.

use std::io::IoSlice;
use std::net::UdpSocket;

use super::*;
use crate::sandbox::in_namespace;

fn config(name: &str, queues: u16) -> TunConfig {
    TunConfig { name: name.parse().expect("legal"), queues, mtu_bytes: None, offload: true }
}

/// An interface that is up and has addresses.
fn addressed(config: &TunConfig) -> (Tun, HostNetwork) {
    let tun = Tun::open(config).expect("open");
    let mut network = HostNetwork::open().expect("netlink");
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    network.change_link(tun.index(), up).expect("up");
    network.add_address(tun.index(), "10.9.0.1/24".parse().expect("prefix")).expect("address");
    (tun, network)
}

#[test]
fn a_new_interface_has_its_queues_offloads_and_mtu() {
    in_namespace(|| {
        let tun = Tun::open(&config("srt-new", 3)).expect("open");
        assert_eq!(tun.queue_count(), 3);
        assert!(tun.offloads().tcp);
        assert_eq!(mtu_of(&tun.name()).expect("mtu"), DEFAULT_MTU_BYTES);
        let queues = tun.into_queues();
        assert_eq!(queues[2].name().expect("name").as_str(), "srt-new");
        assert!(queues.iter().all(TunQueue::has_virtio));
    });
}

#[test]
fn very_large_mtus_are_accepted() {
    in_namespace(|| {
        for mtu_bytes in [576, 34_000, 65_520] {
            let config = TunConfig { mtu_bytes: Some(mtu_bytes), ..config("srt-mtu", 1) };
            let tun = Tun::open(&config).expect("open");
            assert_eq!(mtu_of(&tun.name()).expect("mtu"), mtu_bytes);
        }
    });
}

#[test]
fn a_name_pattern_lets_the_kernel_choose() {
    in_namespace(|| {
        let tun = Tun::open(&config("srt%d", 1)).expect("open");
        assert_eq!(tun.name().as_str(), "srt0");
    });
}

#[test]
fn an_interface_in_use_is_refused() {
    in_namespace(|| {
        let single = ioctl::QUEUE_FLAGS & !(libc::IFF_MULTI_QUEUE as i16);
        let _busy = open_queue(&"srt-busy".parse().expect("legal"), single).expect("open");
        let error = Tun::open(&config("srt-busy", 1)).expect_err("busy");
        assert!(matches!(error, TunError::Refused { .. }), "{error}");
    });
}

#[test]
fn a_descriptor_of_somebody_else_is_taken_over() {
    in_namespace(|| {
        let name: InterfaceName = "srt-fd".parse().expect("legal");
        for (flags, virtio) in [(libc::IFF_TUN | libc::IFF_NO_PI, false), (ioctl::QUEUE_FLAGS.into(), true)] {
            let (fd, _) = open_queue(&name, flags as i16).expect("open");
            let tun = Tun::from_descriptor(fd, &config("ignored", 1)).expect("taken over");
            assert_eq!((tun.name(), tun.offloads().tcp), (name, virtio));
        }
    });
}

#[test]
fn forced_off_means_no_super_packets() {
    in_namespace(|| {
        let config = TunConfig { offload: false, ..config("srt-off", 1) };
        assert_eq!(Tun::open(&config).expect("open").offloads(), TunOffloads::default());
    });
}

#[test]
fn a_packet_of_this_host_is_read_and_an_answer_is_delivered() {
    in_namespace(|| {
        let (tun, _network) = addressed(&config("srt-io", 1));
        let socket = UdpSocket::bind("10.9.0.1:7000").expect("bind");
        socket.send_to(b"question", "10.9.0.2:7001").expect("send");
        let queues = tun.into_queues();
        let (header, packet) = read_udp(&queues[0]);
        assert_eq!(header.gso, None);
        assert!(packet.ends_with(b"question"));
        queues[0]
            .write(&[IoSlice::new(&[0; VIRTIO_HEADER_BYTES]), IoSlice::new(&answer(packet))])
            .expect("write");
        let mut bytes = [0; 100];
        let (len, from) = socket.recv_from(&mut bytes).expect("receive");
        assert_eq!((&bytes[..len], from), (&b"question"[..], "10.9.0.2:7001".parse().expect("address")));
        assert_eq!(next_udp(&queues[0]), None, "no datagram waits any more");
    });
}

/// Waits for a datagram.
fn read_udp(queue: &TunQueue) -> (VirtioHeader, Vec<u8>) {
    for _ in 0..100 {
        if let Some(datagram) = next_udp(queue) {
            return datagram;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("no packet");
}

/// The next of the IPv4 datagrams that wait. What the kernel sends of itself is passed over: router
/// solicitations and multicast reports.
fn next_udp(queue: &TunQueue) -> Option<(VirtioHeader, Vec<u8>)> {
    let mut room = vec![0; PACKET_BYTES_MAX];
    while let Some(read) = queue.read(&mut room).expect("read") {
        let packet = &room[..read.len];
        if packet[0] >> 4 == 4 && packet[9] == libc::IPPROTO_UDP as u8 {
            return Some((read.header, packet.to_vec()));
        }
    }
    None
}

/// The same datagram the other way; swapping leaves the IP checksum right, and UDP may go without one.
fn answer(mut packet: Vec<u8>) -> Vec<u8> {
    let (source, destination) = (packet[12..16].to_vec(), packet[16..20].to_vec());
    packet[12..16].copy_from_slice(&destination);
    packet[16..20].copy_from_slice(&source);
    let (source, destination) = (packet[20..22].to_vec(), packet[22..24].to_vec());
    packet[20..22].copy_from_slice(&destination);
    packet[22..24].copy_from_slice(&source);
    packet[26..28].fill(0);
    packet
}
