//! Two devices in memory shake hands and exchange packets; no socket, no privilege.
//! Run with `cargo run -p wg-proto --example two_devices`.

use std::net::SocketAddr;
use std::time::Duration;

use wg_proto::{
    Decapsulated, Device, DeviceConfig, Encapsulated, Endpoint, InnerPacket, Instant, PeerConfig, PeerIndex,
    PrivateKey, UnixTime,
};

type Error = Box<dyn std::error::Error>;

/// A device, where it can be reached, and its only peer.
struct Node {
    name: &'static str,
    device: Device,
    addr: SocketAddr,
    peer: PeerIndex,
}

/// The time a packet takes. Time is an argument: the example makes it up.
const LATENCY: Duration = Duration::from_millis(20);

fn main() -> Result<(), Error> {
    let (left_key, right_key) = (PrivateKey::from_bytes([1; 32]), PrivateKey::from_bytes([2; 32]));
    let mut left = node("left", &left_key, "192.0.2.1:51820", &right_key, "192.0.2.2:51820", "10.0.0.2/32")?;
    let mut right =
        node("right", &right_key, "192.0.2.2:51820", &left_key, "192.0.2.1:51820", "10.0.0.1/32")?;
    let mut now = Instant::from_nanos(0);

    println!("left has a packet for right, and no session yet:");
    let mut datagram = vec![0; 2048];
    let packet = udp_packet([10, 0, 0, 1], [10, 0, 0, 2], b"hello");
    match left.device.encapsulate(now, left.peer, &packet, 1420, &mut datagram)? {
        Encapsulated::Staged => println!("  staged: a handshake comes first"),
        Encapsulated::Sent(_) => return Err("there was a session already".into()),
    }
    while carry(&mut now, &mut left, &mut right)? || carry(&mut now, &mut right, &mut left)? {}

    println!("right answers at once, on the same session:");
    let packet = udp_packet([10, 0, 0, 2], [10, 0, 0, 1], b"hello yourself");
    if let Encapsulated::Sent(sent) =
        right.device.encapsulate(now, right.peer, &packet, 1420, &mut datagram)?
    {
        receive(now, &right, &mut left, &mut datagram[..sent.len])?;
    }

    println!("right claims an address that is not its own:");
    let packet = udp_packet([10, 0, 0, 9], [10, 0, 0, 1], b"spoofed");
    if let Encapsulated::Sent(sent) =
        right.device.encapsulate(now, right.peer, &packet, 1420, &mut datagram)?
    {
        receive(now, &right, &mut left, &mut datagram[..sent.len])?;
    }

    println!("what left wants next:");
    if let Some((at, wake)) = left.device.poll_timeout() {
        println!("  to be woken in {:?}, by its timer {:?}", at.saturating_duration_since(now), wake.timer);
    }
    Ok(())
}

fn node(
    name: &'static str,
    key: &PrivateKey,
    addr: &str,
    peer_key: &PrivateKey,
    peer_addr: &str,
    peer_owns: &str,
) -> Result<Node, Error> {
    let mut device = Device::new(
        DeviceConfig { private_key: Some(key.clone()), mtu_bytes: 1420 },
        // A real caller asks the operating system for these bytes.
        [name.len() as u8; 32],
    );
    let mut config = PeerConfig::new(peer_key.public_key());
    config.endpoint = Some(Endpoint::new(peer_addr.parse()?));
    config.allowed_ips.push(peer_owns.parse()?);
    let peer = device.add_peer(Instant::from_nanos(0), config)?;
    Ok(Node { name, device, addr: addr.parse()?, peer })
}

/// Takes everything `from` wants to send to `to`. Says whether there was anything.
fn carry(now: &mut Instant, from: &mut Node, to: &mut Node) -> Result<bool, Error> {
    let mut datagram = vec![0; 2048];
    let mut carried = false;
    while let Some(sent) = from.device.poll_transmit(*now, wall(*now), &mut datagram) {
        *now = now.saturating_add(LATENCY);
        receive(*now, from, to, &mut datagram[..sent.len])?;
        carried = true;
    }
    Ok(carried)
}

fn receive(now: Instant, from: &Node, to: &mut Node, datagram: &mut [u8]) -> Result<(), Error> {
    let at = Duration::from_nanos(now.as_nanos());
    print!("  {at:>6.0?} {} -> {}: {:>3} bytes, ", from.name, to.name, datagram.len());
    match to.device.decapsulate(now, wall(now), Endpoint::new(from.addr), datagram) {
        Ok(Decapsulated::Packet { range, .. }) => {
            let inner = InnerPacket::parse(&datagram[range.clone()]).ok_or("an IP packet")?;
            let text = String::from_utf8_lossy(&datagram[range.start + 28..range.end]);
            println!("a packet from {} to {}: {text:?}", inner.source, inner.destination);
        }
        Ok(Decapsulated::Keepalive { .. }) => println!("a keepalive"),
        Ok(Decapsulated::Control(handled)) => println!("{handled:?}"),
        Err(refused) => println!("refused: {refused}"),
    }
    while let Some(event) = to.device.poll_event() {
        println!("         {} says {event:?}", to.name);
    }
    Ok(())
}

fn wall(now: Instant) -> UnixTime {
    UnixTime::new(1_700_000_000, 0).saturating_add(Duration::from_nanos(now.as_nanos()))
}

/// An IPv4 packet with a UDP header; checksums are left to who needs them.
fn udp_packet(source: [u8; 4], destination: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let len = 28 + payload.len() as u16;
    let mut packet = vec![0x45, 0];
    packet.extend(len.to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(source);
    packet.extend(destination);
    packet.extend([0x30, 0x39, 0, 53]);
    packet.extend((8 + payload.len() as u16).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(payload);
    packet
}
