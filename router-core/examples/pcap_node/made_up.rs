//! A capture for those who bring none: a question and its answer, a handshake, a ping, an ICMP error, what is refused.

use std::io;
use std::net::SocketAddr;

use router_core::packet::{Ends, TcpFlags};
use router_core::sim::wire::{self, Segment};

use crate::capture::Writer;

/// A capture file.
pub(crate) fn capture() -> io::Result<Vec<u8>> {
    let mut writer = Writer::new(Vec::new())?;
    for (packet, millis) in packets().iter().zip((0_u64..).step_by(20)) {
        writer.write(1_000_000_000 + millis * 1_000_000, packet)?;
    }
    Ok(writer.into_inner())
}

fn packets() -> Vec<Vec<u8>> {
    let question = ends("10.77.0.2:5000", "10.20.0.5:53");
    let as_device_sees_it = ends("10.99.0.1:5000", "10.99.0.2:40001");
    let seen = wire::with_hop_limit(&wire::udp(&as_device_sees_it, b"where is it?"), 63);
    let to_router =
        wire::addresses(as_device_sees_it.addresses.destination(), as_device_sees_it.addresses.source());
    vec![
        wire::udp(&question, b"where is it?"),
        wire::udp(&as_device_sees_it.reversed(), b"it is here"),
        wire::icmp(&to_router, 3, 3, [0; 4], &seen),
        syn("10.77.0.2:5001", "10.20.0.5:22"),
        syn("[fd77::2]:5001", "[fd20::5]:22"),
        wire::ping(&ends("10.77.0.2:0", "192.168.7.10:0").addresses, 7, 1, b"hello"),
        wire::pong(&ends("192.168.7.10:0", "192.168.7.200:0").addresses, 7, 1, b"hello"),
        wire::with_hop_limit(&syn("10.77.0.2:5002", "192.168.7.10:80"), 1),
        wire::with_hop_limit(
            &wire::pong(&ends("192.168.7.10:0", "192.168.7.200:0").addresses, 7, 1, b"hello"),
            1,
        ),
        syn("10.77.0.2:5003", "10.66.0.1:80"),
        wire::udp(&ends("10.99.0.2:1", "10.99.0.1:2"), b"nobody asked"),
        wire::udp(&ends("127.0.0.1:1", "10.20.0.5:53"), b"spoofed"),
    ]
}

fn syn(from: &str, to: &str) -> Vec<u8> {
    let header =
        Segment { flags: TcpFlags::SYN, sequence: 1000, acknowledgment: 0, window: 65_535, mss: Some(1460) };
    wire::tcp(&ends(from, to), &header, b"")
}

fn ends(from: &str, to: &str) -> Ends {
    let address = |text: &str| text.parse::<SocketAddr>().expect("written here");
    wire::ends(address(from), address(to))
}
