//! A throughput server, and measuring against it.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::host::Host;
use crate::process::Process;

/// iperf3 in server mode on port 5201, v4 and v6.
#[derive(Debug)]
pub struct Iperf {
    process: Process,
}

/// Which way the data of a measurement flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Upload,
    /// From the server to the client.
    Download,
}

/// What one measurement found.
#[derive(Clone, Copy, Debug)]
pub struct IperfReport {
    /// Received by the far end.
    pub bits_per_second: f64,
    /// Received by the far end.
    pub bytes: u64,
    /// Sent again by TCP.
    pub retransmits: u64,
}

impl Iperf {
    /// Starts it; returns when the port is bound.
    pub fn start(host: &Host) -> Result<Iperf> {
        let process = host.spawn(&["iperf3", "-s", "--forceflush"])?;
        host.wait_for_port("tcp", 5201, &process)?;
        Ok(Iperf { process })
    }

    /// One TCP measurement from `client` of `seconds`.
    pub fn measure(
        &self,
        client: &Host,
        address: &str,
        port: u16,
        seconds: u32,
        direction: Direction,
    ) -> Result<IperfReport> {
        self.process.check_running()?;
        let reverse = match direction {
            Direction::Upload => "",
            Direction::Download => " -R",
        };
        let line = format!("iperf3 -J -c {address} -p {port} -t {seconds} --connect-timeout 5000{reverse}");
        let limit = Duration::from_secs(u64::from(seconds) + 20);
        let output = client.sh_within(&line, limit)?.ok()?;
        report(&serde_json::from_str(&output.stdout)?).with_context(|| output.stdout)
    }
}

fn report(json: &Value) -> Option<IperfReport> {
    let end = &json["end"];
    Some(IperfReport {
        bits_per_second: end["sum_received"]["bits_per_second"].as_f64()?,
        bytes: end["sum_received"]["bytes"].as_u64()?,
        retransmits: end["sum_sent"]["retransmits"].as_u64().unwrap_or(0),
    })
}
