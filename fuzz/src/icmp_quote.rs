//! Any bytes as the quote of an ICMP error whose own checksum is right: read or refused; what is read can be translated,
//! and both the error and the quote are right afterwards (P6, ICE-1 to ICE-10).

use router_core::packet::checksum::Sum;
use router_core::packet::{Ends, PacketMut, Ports, Protocol, Version};

use crate::ip_packet::addresses;
use crate::{Input, Tally, Target};

pub(crate) const TARGET: Target = Target {
    name: "icmp_quote",
    run: icmp_quote,
    outcomes: &[
        "Checksum",
        "Fragmented",
        "IcmpEcho Request",
        "IcmpOther",
        "LengthBeyondMessage",
        "Malformed HeaderChecksum",
        "Malformed HeaderLength",
        "Malformed HopByHopMisplaced",
        "Malformed RoutingHeader",
        "Malformed SecondFragmentHeader",
        "Malformed TinyFirstFragment Datagram",
        "Malformed TooManyHeaders",
        "Malformed TooShort",
        "NotAnError",
        "Other",
        "OtherVersion",
        "QuotesError",
        "QuotesLaterPiece",
        "Tcp",
        "Udp",
    ],
};

/// Version, type, code and the four bytes behind the checksum; six bytes of addresses and four of ports for the
/// translation; then the quote.
fn icmp_quote(data: &[u8], tally: &mut Tally) {
    let mut input = Input::new(data);
    let version = if input.u8() & 1 == 0 { Version::V4 } else { Version::V6 };
    let (kind, code, word) = (input.u8(), input.u8(), input.array::<4>());
    let (choice, ports) = (input.array::<6>(), [input.u16(), input.u16()]);
    let to = Ends {
        addresses: addresses(version, choice),
        ports: Ports { source: ports[0], destination: ports[1] },
    };
    let mut bytes = error(version, [kind, code], word, input.rest());
    translate(&mut bytes, &to, tally);
    // Once more as it is, for errors whose bytes are packets by themselves.
    let mut raw = data.to_vec();
    translate(&mut raw, &to, tally);
}

fn translate(bytes: &mut [u8], to: &Ends, tally: &mut Tally) {
    let before = bytes.to_vec();
    let Ok(mut packet) = PacketMut::parse(bytes) else { return };
    if packet.version() != to.addresses.version() {
        return;
    }
    let mut quote = match packet.quote() {
        Ok(quote) => quote,
        Err(why) => return tally.variant(&why),
    };
    let (transport, protocol, quoted) = (quote.transport(), quote.protocol(), quote.packet_len());
    tally.variant(&transport);
    let back = to.addresses.reversed();
    quote.translate(to, back).expect("all addresses are of one version");
    let told = quote.ends();
    assert_eq!(told.addresses, to.addresses);
    let again = packet.quote().expect("a translated error is right, and so is its quote");
    assert_eq!((again.ends(), again.transport()), (told, transport));
    assert_eq!((again.protocol(), again.packet_len()), (protocol, quoted));
    assert_eq!(packet.addresses(), back);
    assert_eq!(bytes.len(), before.len());
}

/// An ICMP message with right checksums around `body`.
fn error(version: Version, kind_and_code: [u8; 2], word: [u8; 4], body: &[u8]) -> Vec<u8> {
    let body = &body[..body.len().min(1400)];
    let message_len = 8 + body.len();
    let mut packet = match version {
        Version::V4 => header_v4(message_len),
        Version::V6 => header_v6(message_len),
    };
    let at = packet.len();
    packet.extend_from_slice(&kind_and_code);
    packet.extend_from_slice(&[0, 0]);
    packet.extend_from_slice(&word);
    packet.extend_from_slice(body);
    let pseudo_header = match version {
        Version::V4 => Sum::default(),
        Version::V6 => Sum::pseudo_header(&addresses(version, [0; 6]), Protocol::ICMPV6, message_len),
    };
    let checksum = pseudo_header.bytes(&packet[at..]).checksum();
    packet[at + 2..at + 4].copy_from_slice(&checksum.to_be_bytes());
    packet
}

fn header_v4(payload_len: usize) -> Vec<u8> {
    let [high, low] = ((20 + payload_len) as u16).to_be_bytes();
    let mut header = vec![0x45, 0, high, low, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 0, 192, 0, 0, 0];
    let checksum = Sum::default().bytes(&header).checksum();
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header
}

fn header_v6(payload_len: usize) -> Vec<u8> {
    let [high, low] = (payload_len as u16).to_be_bytes();
    let mut header = vec![0x60, 0, 0, 0, high, low, 58, 64];
    let mut source = [0; 16];
    (source[0], source[15]) = (0xfd, 1);
    let mut destination = [0; 16];
    destination[0] = 0xfd;
    header.extend_from_slice(&source);
    header.extend_from_slice(&destination);
    header
}
