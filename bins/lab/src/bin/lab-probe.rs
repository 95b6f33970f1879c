//! One socket of a host's own network stack, for end-to-end tests: what did the application see?
//!
//! Started by the lab inside its namespaces; prints one line and ends. All waits and loads are bounded.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long an answer or error is waited for.
const LIMIT: Duration = Duration::from_secs(5);
/// How long a held connection may last.
const HOLD_LIMIT: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("lab-probe: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<String> {
    match *arguments {
        ["udp", address, port] => udp(socket_address(address, port)?),
        ["tcp", address, port] => tcp(socket_address(address, port)?),
        ["hold", address, port] => hold(&TcpStream::connect(socket_address(address, port)?)?),
        ["accept", port] => accept(port.parse()?),
        ["inject", kind, source, destination, port] => {
            let packet = craft::packet(kind, source.parse()?, destination.parse()?, port.parse()?)?;
            send_raw(&packet, destination.parse()?)
        }
        ["flood", endpoint, key, rate, seconds] => {
            flood::run(endpoint.parse()?, key, rate.parse()?, seconds.parse()?)
        }
        _ => bail!(
            "usage: udp ADDRESS PORT | tcp ADDRESS PORT | hold ADDRESS PORT | accept PORT\n  \
             | inject KIND SOURCE DESTINATION PORT | flood ENDPOINT PUBLIC_KEY RATE SECONDS"
        ),
    }
}

fn socket_address(address: &str, port: &str) -> Result<SocketAddr> {
    Ok(SocketAddr::new(address.parse().context("address")?, port.parse().context("port")?))
}

/// A connected socket, since only that is told of ICMP errors.
fn udp(to: SocketAddr) -> Result<String> {
    let any: SocketAddr = if to.is_ipv4() { "0.0.0.0:0".parse()? } else { "[::]:0".parse()? };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(LIMIT))?;
    let mut buffer = [0; 2048];
    Ok(match socket.send(b"probe").and_then(|_| socket.recv(&mut buffer)) {
        Ok(len) => format!("answer of {len} bytes"),
        Err(error) => named(&error),
    })
}

fn tcp(to: SocketAddr) -> Result<String> {
    Ok(match TcpStream::connect_timeout(&to, LIMIT) {
        Ok(_) => "connected".to_owned(),
        Err(error) => named(&error),
    })
}

/// Says a word every 100 ms, so that the path is in use, and waits for the connection's end.
fn hold(mut stream: &TcpStream) -> Result<String> {
    println!("connected");
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut buffer = [0; 1024];
    let rounds = HOLD_LIMIT.as_millis() / 100;
    for _ in 0..rounds {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok("ended: closed".to_owned()),
            Ok(_) => continue,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Ok(format!("ended: {}", error_name(&error))),
        }
        if let Err(error) = stream.write_all(b"word") {
            return Ok(format!("ended: {}", error_name(&error)));
        }
    }
    Ok("ended: nothing happened".to_owned())
}

fn accept(port: u16) -> Result<String> {
    let listener = TcpListener::bind(SocketAddr::new("::".parse::<IpAddr>()?, port))?;
    let (stream, from) = listener.accept()?;
    println!("accepted from {from}");
    hold(&stream)
}

fn named(error: &std::io::Error) -> String {
    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
        "silence".to_owned()
    } else {
        format!("error {}", error_name(error))
    }
}

fn error_name(error: &std::io::Error) -> String {
    use rustix::io::Errno;
    let Some(code) = error.raw_os_error() else { return error.to_string() };
    let known = [
        (Errno::CONNREFUSED, "ECONNREFUSED"),
        (Errno::CONNRESET, "ECONNRESET"),
        (Errno::HOSTUNREACH, "EHOSTUNREACH"),
        (Errno::NETUNREACH, "ENETUNREACH"),
        (Errno::ACCESS, "EACCES"),
        (Errno::PERM, "EPERM"),
        (Errno::PIPE, "EPIPE"),
        (Errno::MSGSIZE, "EMSGSIZE"),
        (Errno::TIMEDOUT, "ETIMEDOUT"),
    ];
    known
        .iter()
        .find(|(errno, _)| errno.raw_os_error() == code)
        .map_or(format!("errno {code}"), |(_, name)| (*name).to_owned())
}

/// The kernel routes by destination and sends the packet as it is.
fn send_raw(packet: &[u8], destination: IpAddr) -> Result<String> {
    use socket2::{Domain, Protocol, Socket, Type};
    // IPPROTO_RAW means that the packet comes with its header.
    let raw = Some(Protocol::from(255));
    let domain = if destination.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::RAW, raw)?;
    let sent = socket.send_to(packet, &SocketAddr::new(destination, 0).into())?;
    Ok(format!("sent {sent} bytes"))
}

/// Handshake initiations with valid first MACs from keys that the responder does not know: each costs it the expensive part.
mod flood {
    use std::net::{SocketAddr, UdpSocket};
    use std::thread::sleep;
    use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

    use anyhow::{Context, Result, ensure};
    use wg_proto::{Device, DeviceConfig, PeerConfig, PrivateKey, PublicKey, UnixTime};

    /// Bounds of a flood.
    const RATE_MAX: u32 = 100_000;
    const SECONDS_MAX: u32 = 30;
    /// How many different initiations are sent in turn.
    const VARIETY: u8 = 64;
    const BURST_INTERVAL: Duration = Duration::from_millis(2);

    pub(crate) fn run(endpoint: SocketAddr, key: &str, rate_per_sec: u32, seconds: u32) -> Result<String> {
        ensure!(
            rate_per_sec <= RATE_MAX && seconds <= SECONDS_MAX,
            "at most {RATE_MAX} a second for {SECONDS_MAX} seconds"
        );
        let key: PublicKey = key.parse()?;
        let messages: Vec<Vec<u8>> =
            (1..=VARIETY).map(|seed| initiation(seed, key, endpoint)).collect::<Result<_>>()?;
        let socket = UdpSocket::bind(if endpoint.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        let (started, limit) = (Instant::now(), Duration::from_secs(seconds.into()));
        let mut messages = messages.iter().cycle();
        let mut sent: u64 = 0;
        while started.elapsed() < limit {
            let due = (started.elapsed().as_secs_f64() * f64::from(rate_per_sec)) as u64;
            for message in messages.by_ref().take(due.saturating_sub(sent) as usize) {
                // A full socket buffer loses a packet of the flood, nothing else.
                let _ = socket.send_to(message, endpoint);
            }
            sent = sent.max(due);
            sleep(BURST_INTERVAL);
        }
        Ok(format!("sent {sent} initiations in {seconds} s"))
    }

    fn initiation(seed: u8, key: PublicKey, endpoint: SocketAddr) -> Result<Vec<u8>> {
        let config = DeviceConfig { private_key: Some(PrivateKey::from_bytes([seed; 32])), mtu_bytes: 0 };
        let mut device = Device::new(config, [seed; 32]);
        let mut peer = PeerConfig::new(key);
        peer.endpoint = Some(endpoint.into());
        let now = wg_proto::Instant::from_nanos(0);
        let peer = device.add_peer(now, peer)?;
        device.stage(now, peer, &[])?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let mut buffer = [0; wg_proto::INITIATION_BYTES];
        let unix = UnixTime::new(since.as_secs(), since.subsec_nanos());
        let transmit = device.poll_transmit(now, unix, &mut buffer).context("no handshake started")?;
        Ok(buffer[..transmit.len].to_vec())
    }
}

/// Packets that no well-behaved stack would send.
mod craft {
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
            "echo-reply" => echo_reply(&flat, source.is_ipv4(), port),
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
        let mut header =
            [SOURCE_PORT.to_be_bytes(), port.to_be_bytes(), 13u16.to_be_bytes(), [0, 0]].concat();
        header.extend(b"probe");
        with_checksum(header, 6, addresses, UDP)
    }

    fn tcp(addresses: &[u8], port: u16, flags: u8) -> Vec<u8> {
        let mut header = [SOURCE_PORT.to_be_bytes(), port.to_be_bytes()].concat();
        header.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0x20, 0, 0, 0, 0, 0]);
        with_checksum(header, 16, addresses, TCP)
    }

    /// Type 0 (v4) or 129 (v6), sequence number 1.
    fn echo_reply(addresses: &[u8], is_v4: bool, id: u16) -> (u8, Vec<u8>, Option<u16>) {
        let [high, low] = id.to_be_bytes();
        let (kind, protocol) = if is_v4 { (0, 1) } else { (129, 58) };
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
}
