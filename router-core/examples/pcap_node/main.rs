//! A router fed from a capture file: prints what becomes of each packet, and writes what it sends to another capture.
//! Needs no root, no interface, no tunnel.
//!
//! ```text
//! cargo run -p router-core --example pcap_node                    # a made-up capture
//! cargo run -p router-core --example pcap_node -- IN.pcap OUT.pcap
//! ```
//!
//! The router has one client (10.77.0.2, fd77::2), one connector (10.99.0.2, fd99::2) and a TUN towards 192.168.7.0/24. A
//! packet comes in from the peer that its source belongs to, else from the TUN. Captures of raw IP (link type 101) and of
//! Ethernet (1) are read; raw IP is written.

mod capture;
mod made_up;

use std::error::Error;
use std::fs::File;
use std::io::{BufReader, BufWriter, Cursor, Write};
use std::net::IpAddr;
use std::path::PathBuf;

use router_core::flow::Caps;
use router_core::nat::{Mapping, PoolId, Snat};
use router_core::packet::{PacketMut, Protocol};
use router_core::rules::{
    Destination, Dnat, EgressChoice, IngressMatch, Rule, RuleSnapshot, SessionId, SnatPool, Subject,
};
use router_core::selector::{IpRange, PortRange, Selector};
use router_core::{Ingress, Node, NodeConfig, NodeTransmit, Offload, Refusal, Verdict};
use wg_proto::{Instant, IpNet, PeerConfig, PeerIndex, PrivateKey, UnixTime};

use capture::{Reader, Record, Writer};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let input = arguments.next();
    let output = arguments.next().map_or_else(|| std::env::temp_dir().join("translated.pcap"), PathBuf::from);
    let records = match &input {
        Some(path) => Reader::new(BufReader::new(File::open(path)?))?.read_all()?,
        None => Reader::new(Cursor::new(made_up::capture()?))?.read_all()?,
    };
    let mut router = router()?;
    let mut writer = Writer::new(BufWriter::new(File::create(&output)?))?;
    for (number, record) in records.into_iter().enumerate() {
        handle(&mut router, &mut writer, number + 1, record)?;
    }
    writer.into_inner().flush()?;
    println!("\n{:?}", router.counters());
    println!("what was sent: {}", output.display());
    Ok(())
}

/// Hands in one packet, and writes what the router sends because of it.
fn handle<W: Write>(
    router: &mut Node,
    writer: &mut Writer<W>,
    number: usize,
    mut record: Record,
) -> Outcome<()> {
    let now = Instant::from_nanos(record.nanos);
    router.handle_timeout(now);
    let ingress = ingress_of(router, &record.packet);
    println!("{number}: {} from {ingress:?}", describe(&record.packet));
    println!("   explained: {}", router.explain(now, ingress, &record.packet));
    match router.handle_packet(now, ingress, &mut record.packet, Offload::None) {
        Verdict::Forward(forward) => {
            let sent = &record.packet[..forward.len];
            println!("   forwarded to {:?}: {}", forward.egress, describe(sent));
            writer.write(record.nanos, sent)?;
        }
        Verdict::Reply => println!("   answered"),
        Verdict::Parked => println!("   parked until its first fragment comes"),
        Verdict::Drop(reason) => println!("   dropped: {reason}"),
    }
    drain(router, writer, now)
}

/// What the router says on its own. Answers to peers leave sealed, so without a tunnel only those for the TUN are seen.
fn drain<W: Write>(router: &mut Node, writer: &mut Writer<W>, now: Instant) -> Outcome<()> {
    let mut buffer = vec![0; 65_575];
    while let Some(transmit) = router.poll_transmit(now, UnixTime::new(0, 0), &mut buffer) {
        match transmit {
            NodeTransmit::Tun { len } | NodeTransmit::Sockets { len } => {
                println!("   sent to the TUN: {}", describe(&buffer[..len]));
                writer.write(now.as_nanos(), &buffer[..len])?;
            }
            NodeTransmit::Datagram { to, len, .. } => {
                println!("   {len} bytes through the tunnel to {}", to.remote);
            }
        }
    }
    Ok(())
}

fn ingress_of(router: &Node, packet: &[u8]) -> Ingress {
    let source = wg_proto::InnerPacket::parse(packet).map(|inner| inner.source);
    let owner = source.and_then(|source| router.device().owner_of(source));
    owner.map_or(Ingress::Tun, Ingress::Peer)
}

fn describe(packet: &[u8]) -> String {
    let mut packet = packet.to_vec();
    match PacketMut::parse(&mut packet) {
        Ok(packet) => {
            let (addresses, ports) = (packet.addresses(), packet.ports());
            format!(
                "{} {}:{} > {}:{}, {} bytes",
                packet.protocol(),
                addresses.source(),
                ports.source,
                addresses.destination(),
                ports.destination,
                packet.total_len()
            )
        }
        Err(error) => format!("no packet: {error}"),
    }
}

/// The router, with peers and one session.
fn router() -> Outcome<Node> {
    let overlay_addresses = vec!["10.99.0.1".parse()?, "fd99::1".parse()?];
    let config = NodeConfig { overlay_addresses, tun_mtu_bytes: Some(1500), ..NodeConfig::default() };
    let mut node = Node::new(config, [1; 32]);
    let client = add_peer(&mut node, 1, &["10.77.0.2/32", "fd77::2/128"])?;
    add_peer(&mut node, 2, &["10.99.0.2/32", "fd99::2/128"])?;
    let pools = vec![
        SnatPool {
            id: PoolId(1),
            addresses: vec!["10.99.0.1".parse()?, "fd99::1".parse()?],
            mapping: Mapping::PerDestination,
        },
        SnatPool {
            id: PoolId(2),
            addresses: vec!["192.168.7.200".parse()?],
            mapping: Mapping::PerDestination,
        },
    ];
    let behind_connector = vec![
        to_connector("10.20.0.5", "10.99.0.2", Protocol::TCP, 22, 40_000)?,
        to_connector("10.20.0.5", "10.99.0.2", Protocol::UDP, 53, 40_001)?,
    ];
    let over_v6 = vec![to_connector("fd20::5", "fd99::2", Protocol::TCP, 22, 40_000)?];
    let lan: IpNet = "192.168.7.0/24".parse()?;
    let selector = Selector::new(lan.into(), None, None)?;
    let in_lan = vec![Destination { selector, dnat: None, egress: EgressChoice::Tun }];
    let rules = vec![
        rule(1, client, "10.77.0.2", behind_connector, PoolId(1))?,
        rule(2, client, "fd77::2", over_v6, PoolId(1))?,
        rule(3, client, "10.77.0.2", in_lan, PoolId(2))?,
    ];
    node.apply(Instant::from_nanos(0), &RuleSnapshot { pools, rules })?;
    Ok(node)
}

fn add_peer(node: &mut Node, key: u8, prefixes: &[&str]) -> Outcome<PeerIndex> {
    let mut config = PeerConfig::new(PrivateKey::from_bytes([8 * key; 32]).public_key());
    for prefix in prefixes {
        config.allowed_ips.push(prefix.parse()?);
    }
    Ok(node.device_mut().add_peer(Instant::from_nanos(0), config)?)
}

fn to_connector(
    target: &str,
    connector: &str,
    protocol: Protocol,
    port: u16,
    virtual_port: u16,
) -> Outcome<Destination> {
    let (target, connector): (IpAddr, IpAddr) = (target.parse()?, connector.parse()?);
    let port = Some(PortRange::single(port));
    Ok(Destination {
        selector: Selector::new(IpRange::single(target), Some(protocol), port)?,
        dnat: Some(Dnat { addr: IpRange::single(connector), ports: Some(PortRange::single(virtual_port)) }),
        egress: EgressChoice::Route,
    })
}

fn rule(
    id: u128,
    client: PeerIndex,
    source: &str,
    destinations: Vec<Destination>,
    pool: PoolId,
) -> Outcome<Rule> {
    let source: IpAddr = source.parse()?;
    Ok(Rule {
        id: SessionId(id),
        subject: Subject { ingress: IngressMatch::Peer(client), source: source.into() },
        destinations,
        snat: Snat::Pool(pool),
        deny: Refusal::Prohibited,
        lease: None,
        caps: Caps::default(),
    })
}
