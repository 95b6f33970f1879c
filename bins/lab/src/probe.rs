//! What `lab-probe` tells: how one socket of a host's own network stack fared.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::binaries;
use crate::host::Host;
use crate::output::Output;
use crate::process::Process;

/// Sends one datagram from a connected socket and says what came back: `answer …`, `error ECONNREFUSED`, `silence`.
pub fn udp(host: &Host, address: &str, port: u16) -> Result<String> {
    let line = format!("{} udp {address} {port}", program()?);
    Ok(host.sh(&line)?.ok()?.stdout.trim().to_owned())
}

/// Connects and says what came of it: `connected`, `error ECONNREFUSED`, `silence`.
pub fn tcp(host: &Host, address: &str, port: u16) -> Result<String> {
    let line = format!("{} tcp {address} {port}", program()?);
    Ok(host.sh(&line)?.ok()?.stdout.trim().to_owned())
}

/// Connects and stays; the log says `connected` and later how it ended, `ended: ECONNRESET` or `ended: closed`.
pub fn hold(host: &Host, address: &str, port: u16) -> Result<Process> {
    let process = host.spawn(&[&program()?, "hold", address, &port.to_string()])?;
    process.wait_for_log("connected", Duration::from_secs(10))?;
    Ok(process)
}

/// Listens, accepts one connection at a time and stays; the log as that of [`hold`].
pub fn accept(host: &Host, port: u16) -> Result<Process> {
    let process = host.spawn(&[&program()?, "accept", &port.to_string()])?;
    host.wait_for_port("tcp", port, &process)?;
    Ok(process)
}

/// Serves TCP: sends back what it gets, on many connections at once.
pub fn echo_tcp(host: &Host, port: u16) -> Result<Process> {
    let process = host.spawn(&[&program()?, "echo-tcp", &port.to_string()])?;
    host.wait_for_port("tcp", port, &process)?;
    Ok(process)
}

/// Opens `count` connections to an [`echo_tcp`], holds them for `seconds` once all are there and answered, and has all
/// answered again; the log says `holding` and later `answered`, or what went wrong.
pub fn hold_many(host: &Host, address: &str, port: u16, count: u32, seconds: u32) -> Result<Process> {
    let (port, count, seconds) = (port.to_string(), count.to_string(), seconds.to_string());
    host.spawn(&[&program()?, "hold-many", address, &port, &count, &seconds])
}

/// What a [`churn`] has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Churned {
    /// Connections that were answered.
    pub done: u64,
    /// Those that were not.
    pub failed: u64,
}

/// Opens, uses and ends connections to an [`echo_tcp`] one after the other for `seconds`; every tenth is broken off.
pub fn churn(host: &Host, address: &str, port: u16, seconds: u32) -> Result<Churned> {
    let line = format!("{} churn {address} {port} {seconds}", program()?);
    let output = host.sh_within(&line, Duration::from_secs(u64::from(seconds) + 60))?.ok()?;
    let json = parsed(&output.stdout)?;
    Ok(Churned { done: number(&json, "done")?, failed: number(&json, "failed")? })
}

/// Sends so many bytes to an [`echo_tcp`], ends its half, and reads until the other half ends; fails unless all came back.
pub fn half_close(host: &Host, address: &str, port: u16, bytes: usize) -> Result<()> {
    let line = format!("{} half-close {address} {port} {bytes}", program()?);
    let said = host.sh_within(&line, Duration::from_secs(60))?.ok()?;
    anyhow::ensure!(said.stdout.starts_with(&format!("{bytes} bytes came back")), "{said}");
    Ok(())
}

/// Connects, says a word and breaks the connection off.
pub fn abort(host: &Host, address: &str, port: u16) -> Result<()> {
    host.sh(&format!("{} abort {address} {port}", program()?))?.ok().map(drop)
}

/// Accepts one connection and breaks it off once it has heard a word.
pub fn accept_and_abort(host: &Host, port: u16) -> Result<Process> {
    let process = host.spawn(&[&program()?, "accept-abort", &port.to_string()])?;
    host.wait_for_port("tcp", port, &process)?;
    Ok(process)
}

/// Sends one crafted packet. `kind` is `udp`, `tcp-ack`, `tcp-syn-ack`, `fragment` (a last piece whose first was never sent)
/// or `echo-reply`.
pub fn inject(host: &Host, kind: &str, source: &str, destination: &str, port: u16) -> Result<Output> {
    host.sh(&format!("{} inject {kind} {source} {destination} {port}", program()?))?.ok()
}

/// What the initiations of a flood carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstMac {
    /// Valid: the responder must do the expensive part, or ask for a cookie.
    Valid,
    /// Invalid: the sender does not know the responder's key.
    Bad,
}

/// Sends handshake initiations with valid first MACs for `public_key`, `rate` a second for `seconds`.
pub fn flood(host: &Host, endpoint: &str, public_key: &str, rate: u32, seconds: u32) -> Result<Process> {
    flood_of(host, FirstMac::Valid, endpoint, public_key, rate, seconds)
}

/// The same with first MACs of one's choice.
pub fn flood_of(
    host: &Host,
    mac: FirstMac,
    endpoint: &str,
    public_key: &str,
    rate: u32,
    seconds: u32,
) -> Result<Process> {
    let kind = match mac {
        FirstMac::Valid => "valid-mac1",
        FirstMac::Bad => "bad-mac1",
    };
    let (rate, seconds) = (rate.to_string(), seconds.to_string());
    host.spawn(&[&program()?, "flood", kind, endpoint, public_key, &rate, &seconds])
}

/// Where the members of a [`crowd`] send from: each has an outside address of its own in here.
pub const CROWD_OUTSIDE: &str = "198.18.0.0/15";
/// Where their inside addresses are.
pub const CROWD_INSIDE: &str = "10.64.0.0/10";

/// `[Peer]` sections for members of a [`crowd`], as `wg setconf` reads them.
pub fn crowd_peers(host: &Host, first: u32, count: u32) -> Result<String> {
    Ok(host.sh(&format!("{} crowd-peers {first} {count}", program()?))?.ok()?.stdout)
}

/// What a [`crowd`] has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// Members that have a session.
    pub sessions: u64,
    /// Members whose ping through the tunnel was answered.
    pub answered: u64,
}

/// WireGuard peers, all played by one process: each shakes hands with `endpoint` and pings `gateway` through its tunnel.
/// Returns when all have an answer, or after `seconds`. The host must call [`CROWD_OUTSIDE`] its own.
pub fn crowd(
    host: &Host,
    endpoint: &str,
    public_key: &str,
    gateway: &str,
    (first, count): (u32, u32),
    seconds: u32,
) -> Result<Crowd> {
    let line = format!("{} crowd {endpoint} {public_key} {gateway} {first} {count} {seconds}", program()?);
    let output = host.sh_within(&line, Duration::from_secs(u64::from(seconds) + 20))?.ok()?;
    let json = parsed(&output.stdout)?;
    Ok(Crowd { sessions: number(&json, "sessions")?, answered: number(&json, "answered")? })
}

/// Takes up a UDP port and never reads from it.
pub fn sink(host: &Host, port: u16) -> Result<Process> {
    serve(host, &["sink", &port.to_string()], port)
}

/// Sends every datagram to `port` back.
pub fn echo(host: &Host, port: u16) -> Result<Process> {
    serve(host, &["echo", &port.to_string()], port)
}

fn serve(host: &Host, arguments: &[&str], port: u16) -> Result<Process> {
    let process = host.spawn(&[&[program()?.as_str()], arguments].concat())?;
    host.wait_for_port("udp", port, &process)?;
    Ok(process)
}

/// Round trips of small datagrams, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTrips {
    /// Half of them were faster.
    pub p50: u64,
    /// One in a hundred was slower.
    pub p99: u64,
    /// One in a thousand was slower.
    pub p999: u64,
    /// Requests without an answer.
    pub lost: u64,
}

/// Sends `count` small requests, one every `interval`, to an [`echo`].
pub fn round_trips(
    host: &Host,
    address: &str,
    port: u16,
    count: u32,
    interval: Duration,
) -> Result<RoundTrips> {
    let line = format!("{} latency {address} {port} {count} {}", program()?, interval.as_micros());
    RoundTrips::parse(&host.sh_within(&line, interval * count + Duration::from_secs(10))?.ok()?.stdout)
}

impl RoundTrips {
    fn parse(text: &str) -> Result<RoundTrips> {
        let json = parsed(text)?;
        Ok(RoundTrips {
            p50: number(&json, "p50_us")?,
            p99: number(&json, "p99_us")?,
            p999: number(&json, "p999_us")?,
            lost: number(&json, "lost")?,
        })
    }
}

/// Opens `count` connections one after the other: how long each took to stand.
pub fn connects(host: &Host, address: &str, port: u16, count: u32) -> Result<RoundTrips> {
    let line = format!("{} connects {address} {port} {count}", program()?);
    RoundTrips::parse(&host.sh_within(&line, Duration::from_secs(120))?.ok()?.stdout)
}

/// What a load of [`requests`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requests {
    /// Answered.
    pub done: u64,
    /// Not answered.
    pub failed: u64,
}

/// Fetches `/` `rate` times a second for `seconds`, each time over a connection of its own that the server ends.
pub fn requests(host: &Host, address: &str, port: u16, rate: u32, seconds: u32) -> Result<Requests> {
    let line = format!("{} http-load {address} {port} {rate} {seconds}", program()?);
    let output = host.sh_within(&line, Duration::from_secs(u64::from(seconds) + 30))?.ok()?;
    let json = parsed(&output.stdout)?;
    Ok(Requests { done: number(&json, "done")?, failed: number(&json, "failed")? })
}

/// Counts numbered datagrams of at most `flows` flows, until none come any more; [`Counted::read`] has the result.
pub fn count(host: &Host, port: u16, flows: u32) -> Result<Process> {
    serve(host, &["count", &port.to_string(), &flows.to_string()], port)
}

/// Sends numbered datagrams of `flows` flows, `rate` a second for `seconds`; returns when all are sent.
pub fn sequence(host: &Host, address: &str, port: u16, flows: u32, rate: u32, seconds: u32) -> Result<()> {
    let line = format!("{} sequence {address} {port} {flows} {rate} {seconds}", program()?);
    host.sh_within(&line, Duration::from_secs(u64::from(seconds) + 10))?.ok().map(drop)
}

/// Sends numbered datagrams of `flows` flows to an [`echo`] until each flow has `count` of them back, or half a minute is
/// over.
pub fn order(host: &Host, address: &str, port: u16, flows: u32, count: u32) -> Result<Counted> {
    let line = format!("{} order {address} {port} {flows} {count}", program()?);
    Counted::parse(&host.sh_within(&line, Duration::from_secs(45))?.ok()?.stdout)
}

/// What a [`count`] or an [`order`] has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Flows.
    pub flows: u64,
    /// Datagrams.
    pub received: u64,
    /// Datagrams that came after a later one of their flow.
    pub reordered: u64,
}

impl Counted {
    /// Waits until the counting process has ended, and reads what it says.
    pub fn read(process: &Process) -> Result<Counted> {
        process.wait(Duration::from_secs(20))?;
        Counted::parse(&process.log())
    }

    fn parse(text: &str) -> Result<Counted> {
        let json = parsed(text)?;
        Ok(Counted {
            flows: number(&json, "flows")?,
            received: number(&json, "received")?,
            reordered: number(&json, "reordered")?,
        })
    }
}

/// How a run of [`bulk`] fared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bulk {
    /// Datagrams that left the sender.
    pub sent: u64,
    /// Datagrams that arrived.
    pub received: u64,
    /// Payload that arrived, over the time from the first datagram to the last.
    pub bits_per_second: f64,
}

impl Bulk {
    /// The share of datagrams that did not arrive.
    pub fn lost_percent(&self) -> f64 {
        let lost = self.sent.saturating_sub(self.received);
        lost as f64 * 100.0 / self.sent.max(1) as f64
    }
}

/// Sends datagrams of `payload_bytes` in runs that the kernel cuts, as QUIC stacks do, from one host to the other. The
/// rate is that of the payload; `None` is what the sender can.
pub fn bulk(
    from: &Host,
    to: &Host,
    address: &str,
    port: u16,
    payload_bytes: u16,
    bits_per_second: Option<u64>,
    seconds: u32,
) -> Result<Bulk> {
    let receiver = serve(to, &["bulk-receive", &port.to_string()], port)?;
    let rate = bits_per_second.unwrap_or(0);
    let line = format!("{} bulk-send {address} {port} {payload_bytes} {rate} {seconds}", program()?);
    let sender = from.sh_within(&line, Duration::from_secs(u64::from(seconds) + 10))?.ok()?;
    receiver.wait(Duration::from_secs(20))?;
    let (sent, received) = (parsed(&sender.stdout)?, parsed(&receiver.log())?);
    let micros = number(&received, "micros")?.max(1);
    let bits = number(&received, "bytes")? * 8;
    Ok(Bulk {
        sent: number(&sent, "sent")?,
        received: number(&received, "received")?,
        bits_per_second: bits as f64 * 1e6 / micros as f64,
    })
}

fn parsed(text: &str) -> Result<Value> {
    serde_json::from_str(text.trim()).with_context(|| text.to_owned())
}

fn number(json: &Value, name: &str) -> Result<u64> {
    json[name].as_u64().with_context(|| format!("no {name} in {json}"))
}

fn program() -> Result<String> {
    let path = binaries::sluice("lab-probe")?;
    path.to_str().map(str::to_owned).context("the path of lab-probe is not UTF-8")
}
