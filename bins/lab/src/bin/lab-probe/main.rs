//! One socket of a host's own network stack, for end-to-end tests: what did the application see?
//!
//! Started by the lab inside its namespaces; prints one line and ends. All waits and loads are bounded.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};

mod bulk;
mod craft;
mod crowd;
mod flood;
mod latency;
mod requests;
mod sequence;
mod streams;

/// How long an answer or error is waited for.
const LIMIT: Duration = Duration::from_secs(5);
/// How long a held connection may last.
const HOLD_LIMIT: Duration = Duration::from_secs(120);
/// How long a port is kept for nobody.
const SINK_LIMIT: Duration = Duration::from_secs(3600);

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
        ["flood", kind, endpoint, key, rate, seconds] => {
            flood::run(kind, endpoint.parse()?, key, rate.parse()?, seconds.parse()?)
        }
        ["crowd-peers", first, count] => crowd::peers(first.parse()?, count.parse()?),
        ["crowd", endpoint, key, gateway, first, count, seconds] => {
            let (first, count) = (first.parse()?, count.parse()?);
            crowd::run(endpoint.parse()?, key, gateway.parse()?, first, count, seconds.parse()?)
        }
        ["sink", port] => sink(port.parse()?),
        ["echo", port] => latency::echo(port.parse()?),
        ["latency", address, port, count, interval] => {
            latency::measure(socket_address(address, port)?, count.parse()?, interval.parse()?)
        }
        ["count", port, flows] => sequence::count(port.parse()?, flows.parse()?),
        ["sequence", address, port, flows, rate, seconds] => {
            let to = socket_address(address, port)?;
            sequence::send(to, flows.parse()?, rate.parse()?, seconds.parse()?)
        }
        ["order", address, port, flows, count] => {
            sequence::order(socket_address(address, port)?, flows.parse()?, count.parse()?)
        }
        ["echo-tcp", port] => streams::echo(port.parse()?),
        ["hold-many", address, port, count, seconds] => {
            streams::hold_many(socket_address(address, port)?, count.parse()?, seconds.parse()?)
        }
        ["churn", address, port, seconds] => streams::churn(socket_address(address, port)?, seconds.parse()?),
        ["half-close", address, port, bytes] => {
            streams::half_close(socket_address(address, port)?, bytes.parse()?)
        }
        ["abort", address, port] => streams::abort(socket_address(address, port)?),
        ["accept-abort", port] => streams::accept_and_abort(port.parse()?),
        ["http-load", address, port, rate, seconds] => {
            requests::load(socket_address(address, port)?, rate.parse()?, seconds.parse()?)
        }
        ["connects", address, port, count] => {
            requests::connects(socket_address(address, port)?, count.parse()?)
        }
        ["bulk-receive", port] => bulk::receive(port.parse()?),
        ["bulk-send", address, port, payload_bytes, rate, seconds] => {
            let to = socket_address(address, port)?;
            bulk::send(to, payload_bytes.parse()?, rate.parse()?, seconds.parse()?)
        }
        _ => bail!(
            "usage: udp ADDRESS PORT | tcp ADDRESS PORT | hold ADDRESS PORT | accept PORT\n  \
             | inject KIND SOURCE DESTINATION PORT | flood KIND ENDPOINT PUBLIC_KEY RATE SECONDS | sink PORT\n  \
             | echo PORT | latency ADDRESS PORT COUNT INTERVAL_MICROS\n  \
             | count PORT FLOWS | sequence ADDRESS PORT FLOWS RATE SECONDS\n  \
             | order ADDRESS PORT FLOWS COUNT\n  \
             | crowd-peers FIRST COUNT | crowd ENDPOINT PUBLIC_KEY GATEWAY FIRST COUNT SECONDS\n  \
             | echo-tcp PORT | hold-many ADDRESS PORT COUNT SECONDS | churn ADDRESS PORT SECONDS\n  \
             | half-close ADDRESS PORT BYTES | abort ADDRESS PORT | accept-abort PORT\n  \
             | http-load ADDRESS PORT RATE SECONDS | connects ADDRESS PORT COUNT\n  \
             | bulk-receive PORT \
             | bulk-send ADDRESS PORT PAYLOAD_BYTES BITS_PER_SECOND SECONDS"
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

/// Takes up a UDP port and reads nothing, so that what is sent to it costs the sender and the kernel only.
fn sink(port: u16) -> Result<String> {
    let _socket = UdpSocket::bind(SocketAddr::new("::".parse::<IpAddr>()?, port))?;
    std::thread::sleep(SINK_LIMIT);
    Ok("nobody ended it".to_owned())
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
