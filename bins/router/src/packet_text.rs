//! Packets as people write them, for `explain`: `tcp 10.77.0.2:5555 > 10.20.0.5:22`, or bytes in hexadecimal.

use std::net::{IpAddr, SocketAddr};

use router_core::packet::checksum::Sum;
use router_core::packet::{Addresses, Protocol, Version};
use thiserror::Error;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP_V4: u8 = 1;
const ICMP_V6: u8 = 58;
/// Hops left in packets we make: what most systems start with.
const HOP_LIMIT: u8 = 64;
/// The port of an end that names none.
const PORT_DEFAULT: u16 = 0;
/// The largest IP packet.
const PACKET_BYTES_MAX: usize = 65_575;

/// Why a text is no packet.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PacketTextFault {
    /// Neither of the two forms.
    #[error("\"{0}\" is not a packet")]
    NotAPacket(String),
    /// Unknown protocol word.
    #[error("\"{0}\" is not a protocol: tcp, udp, icmp or a number up to 255")]
    NotAProtocol(String),
    /// An end that is no address.
    #[error("\"{0}\" is not an address, with a port after a colon where the protocol has ports")]
    NotAnEnd(String),
    /// One end v4, the other v6.
    #[error("the two ends are of different IP versions")]
    MixedVersions,
    /// More than the largest IP packet.
    #[error("the packet is longer than {PACKET_BYTES_MAX} bytes")]
    TooLong,
}

/// How to write one, for messages and help.
pub(crate) const EXAMPLES: &str = "\"tcp 10.77.0.2:5555 > 10.20.0.5:22\", \"udp [fd77::2]:5555 > [fd20::5]:53\", \
    \"icmp 10.77.0.2 > 10.20.0.5\", or the packet's bytes in hexadecimal from the IP header on";

/// The packet that `text` describes.
///
/// # Errors
/// What is wrong with the text.
pub fn parse(text: &str) -> Result<Vec<u8>, PacketTextFault> {
    if let Some(bytes) = hexadecimal(text) {
        return if bytes.len() <= PACKET_BYTES_MAX { Ok(bytes) } else { Err(PacketTextFault::TooLong) };
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let [protocol, source, ">" | "->" | "to", destination] = words[..] else {
        return Err(PacketTextFault::NotAPacket(text.to_owned()));
    };
    let (source, destination) = (end(source)?, end(destination)?);
    let addresses =
        Addresses::new(source.ip(), destination.ip()).map_err(|_| PacketTextFault::MixedVersions)?;
    let protocol = protocol_number(protocol, addresses.version())?;
    Ok(build(protocol, &addresses, [source.port(), destination.port()]))
}

/// Digits in pairs, white space between them allowed.
fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let whole =
        digits.len() >= 40 && digits.len().is_multiple_of(2) && digits.iter().all(u8::is_ascii_hexdigit);
    whole.then(|| digits.chunks(2).map(|pair| nibble(pair[0]) << 4 | nibble(pair[1])).collect())
}

fn nibble(digit: u8) -> u8 {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()).unwrap_or(0)
}

fn protocol_number(word: &str, version: Version) -> Result<u8, PacketTextFault> {
    match word.to_ascii_lowercase().as_str() {
        "tcp" => Ok(TCP),
        "udp" => Ok(UDP),
        "icmp" | "icmpv6" | "ping" => Ok(if version == Version::V4 { ICMP_V4 } else { ICMP_V6 }),
        _ => word.parse().map_err(|_| PacketTextFault::NotAProtocol(word.to_owned())),
    }
}

fn end(text: &str) -> Result<SocketAddr, PacketTextFault> {
    let with_port = text.parse::<SocketAddr>().ok();
    let bare = || text.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, PORT_DEFAULT));
    with_port.or_else(bare).ok_or_else(|| PacketTextFault::NotAnEnd(text.to_owned()))
}

fn build(protocol: u8, addresses: &Addresses, ports: [u16; 2]) -> Vec<u8> {
    let mut upper = upper(protocol, ports);
    if let Some(at) = checksum_at(protocol) {
        let sum = checksum(protocol, addresses, &upper);
        upper[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    [header(protocol, addresses, upper.len()), upper].concat()
}

/// A SYN, a datagram of four bytes, an echo request; of anything else eight bytes.
fn upper(protocol: u8, ports: [u16; 2]) -> Vec<u8> {
    let ports = ports.map(u16::to_be_bytes).concat();
    match protocol {
        TCP => [&ports[..], &[0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]].concat(),
        UDP => [&ports[..], &[0, 12, 0, 0], b"test"].concat(),
        ICMP_V4 => [8, 0, 0, 0, 0, 1, 0, 1].to_vec(),
        ICMP_V6 => [128, 0, 0, 0, 0, 1, 0, 1].to_vec(),
        _ => vec![0; 8],
    }
}

fn checksum_at(protocol: u8) -> Option<usize> {
    match protocol {
        TCP => Some(16),
        UDP => Some(6),
        ICMP_V4 | ICMP_V6 => Some(2),
        _ => None,
    }
}

/// ICMP over v4 alone has no pseudo-header.
fn checksum(protocol: u8, addresses: &Addresses, upper: &[u8]) -> u16 {
    let start = match protocol {
        ICMP_V4 => Sum::default(),
        _ => Sum::pseudo_header(addresses, Protocol(protocol), upper.len()),
    };
    start.bytes(upper).checksum()
}

fn header(protocol: u8, addresses: &Addresses, upper_len: usize) -> Vec<u8> {
    let length = |fixed: usize| u16::try_from(fixed + upper_len).unwrap_or(u16::MAX).to_be_bytes();
    match addresses {
        Addresses::V4 { source, destination } => {
            let [high, low] = length(20);
            let fixed = [0x45, 0, high, low, 0, 1, 0x40, 0, HOP_LIMIT, protocol, 0, 0];
            let mut header = [&fixed[..], &source.octets(), &destination.octets()].concat();
            let sum = Sum::default().bytes(&header).checksum();
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            header
        }
        Addresses::V6 { source, destination } => {
            let [high, low] = length(0);
            let fixed = [0x60, 0, 0, 0, high, low, protocol, HOP_LIMIT];
            [&fixed[..], &source.octets(), &destination.octets()].concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use router_core::packet::PacketMut;

    #[test]
    fn each_form_is_a_packet_that_the_data_path_reads() {
        for (text, protocol, ports) in [
            ("tcp 10.77.0.2:5555 > 10.20.0.5:22", TCP, (5555, 22)),
            ("UDP [fd77::2]:5555 -> [fd20::5]:53", UDP, (5555, 53)),
            ("icmp 10.77.0.2 to 10.20.0.5", ICMP_V4, (1, 0)),
            ("icmp fd77::2 > fd20::5", ICMP_V6, (1, 0)),
            ("47 10.77.0.2 > 10.20.0.5", 47, (0, 0)),
        ] {
            let mut bytes = parse(text).unwrap();
            let packet = PacketMut::parse(&mut bytes).unwrap();
            assert_eq!(packet.protocol(), Protocol(protocol), "{text}");
            assert_eq!((packet.ports().source, packet.ports().destination), ports, "{text}");
        }
    }

    #[test]
    fn hexadecimal_is_taken_as_it_stands() {
        let bytes = parse("udp 10.77.0.2:1 > 10.20.0.5:2").unwrap();
        let text: String = bytes.iter().map(|byte| format!("{byte:02x} ")).collect();
        assert_eq!(parse(&text).unwrap(), bytes);
    }

    #[test]
    fn what_is_no_packet_is_told() {
        for (text, fault) in [
            ("hello", PacketTextFault::NotAPacket("hello".into())),
            ("sctp 10.0.0.1 > 10.0.0.2", PacketTextFault::NotAProtocol("sctp".into())),
            ("tcp db:22 > 10.0.0.2", PacketTextFault::NotAnEnd("db:22".into())),
            ("tcp 10.0.0.1:1 > [fd00::1]:2", PacketTextFault::MixedVersions),
        ] {
            assert_eq!(parse(text), Err(fault));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_us_panic(text in "\\PC{0,100}") {
            let _ = parse(&text);
        }
    }
}
