//! What `lab-probe` tells: how one socket of a host's own network stack fared.

use std::time::Duration;

use anyhow::{Context, Result};

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

/// Sends one crafted packet. `kind` is `udp`, `tcp-ack`, `tcp-syn-ack`, `fragment` (a last piece whose first was never sent)
/// or `echo-reply`.
pub fn inject(host: &Host, kind: &str, source: &str, destination: &str, port: u16) -> Result<Output> {
    host.sh(&format!("{} inject {kind} {source} {destination} {port}", program()?))?.ok()
}

/// Sends handshake initiations with valid first MACs for `public_key`, `rate` a second for `seconds`.
pub fn flood(host: &Host, endpoint: &str, public_key: &str, rate: u32, seconds: u32) -> Result<Process> {
    let (rate, seconds) = (rate.to_string(), seconds.to_string());
    host.spawn(&[&program()?, "flood", endpoint, public_key, &rate, &seconds])
}

fn program() -> Result<String> {
    let path = binaries::sluice("lab-probe")?;
    path.to_str().map(str::to_owned).context("the path of lab-probe is not UTF-8")
}
