//! Packets that no well-behaved stack would send.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, bail};

const TCP: u8 = 6;
const UDP: u8 = 17;
const SOURCE_PORT: u16 = 40_404;

/// One packet; `port` is the destination port, or an echo's identifier.
pub(crate) fn packet(kind: &str, source: IpAddr, destination: IpAddr, port: u16) -> Result<Vec<u8>> {
    let flat = pseudo_header(source, destination);
    let (protocol, payload, fragment) = match kind {
        "udp" => (UDP, udp(&flat, port), None),
        "tcp-ack" => (TCP, tcp(&flat, port, 0x10), None),
        "tcp-syn-ack" => (TCP, tcp(&flat, port, 0x12), None),
        "echo-request" => echo(Echo::Request, &flat, source.is_ipv4(), port),
        "echo-reply" => echo(Echo::Reply, &flat, source.is_ipv4(), port),
        "fragment" => (UDP, vec![b'f'; 64], Some(1480 / 8)),
        _ => bail!("unknown kind of packet {kind:?}"),
    };
    match (source, destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Ok(ipv4(from, to, protocol, fragment, &payload)),
        (IpAddr::V6(from), IpAddr::V6(to)) => Ok(ipv6(from, to, protocol, fragment, &payload)),
        _ => bail!("source and destination are of different families"),
    }
}

fn pseudo_header(source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let bytes = |address| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    [bytes(source), bytes(destination)].concat()
}

fn udp(addresses: &[u8], port: u16) -> Vec<u8> {
    let mut header = [SOURCE_PORT.to_be_bytes(), port.to_be_bytes(), 13u16.to_be_bytes(), [0, 0]].concat();
    header.extend(b"probe");
    with_checksum(header, 6, addresses, UDP)
}

fn tcp(addresses: &[u8], port: u16, flags: u8) -> Vec<u8> {
    let mut header = [SOURCE_PORT.to_be_bytes(), port.to_be_bytes()].concat();
    header.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0x20, 0, 0, 0, 0, 0]);
    with_checksum(header, 16, addresses, TCP)
}

enum Echo {
    Request,
    Reply,
}

/// Sequence number 1.
fn echo(which: Echo, addresses: &[u8], is_v4: bool, id: u16) -> (u8, Vec<u8>, Option<u16>) {
    let [high, low] = id.to_be_bytes();
    let (kind, protocol) = match (which, is_v4) {
        (Echo::Request, true) => (8, 1),
        (Echo::Reply, true) => (0, 1),
        (Echo::Request, false) => (128, 58),
        (Echo::Reply, false) => (129, 58),
    };
    let header = vec![kind, 0, 0, 0, high, low, 0, 1];
    // ICMP over v4 has no pseudo-header.
    let message = if is_v4 {
        let sum = checksum(&header);
        put(header, 2, sum)
    } else {
        with_checksum(header, 2, addresses, protocol)
    };
    (protocol, message, None)
}

fn with_checksum(header: Vec<u8>, at: usize, addresses: &[u8], protocol: u8) -> Vec<u8> {
    let len = u16::try_from(header.len()).unwrap_or(u16::MAX).to_be_bytes();
    let sum = checksum(&[addresses, &[0, protocol], &len, &header].concat());
    put(header, at, sum)
}

fn put(mut bytes: Vec<u8>, at: usize, value: u16) -> Vec<u8> {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
    bytes
}

fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, fragment: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(20 + payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    // An offset without "more fragments": the last piece.
    let offset = fragment.unwrap_or(0).to_be_bytes();
    let mut header = vec![0x45, 0, len[0], len[1], 0x12, 0x34, offset[0], offset[1], 64, protocol, 0, 0];
    header.extend(from.octets());
    header.extend(to.octets());
    let sum = checksum(&header);
    [put(header, 10, sum), payload.to_vec()].concat()
}

fn ipv6(from: Ipv6Addr, to: Ipv6Addr, protocol: u8, fragment: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let extension = fragment.map_or(Vec::new(), |units| {
        let offset = (units << 3).to_be_bytes();
        vec![protocol, 0, offset[0], offset[1], 0, 0, 0x12, 0x34]
    });
    let next = if extension.is_empty() { protocol } else { 44 };
    let len = u16::try_from(extension.len() + payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut header = vec![0x60, 0, 0, 0, len[0], len[1], next, 64];
    header.extend(from.octets());
    header.extend(to.octets());
    [header, extension, payload.to_vec()].concat()
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])));
    let sum = words.sum::<u32>();
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    !u16::try_from(sum).unwrap_or(u16::MAX)
}
