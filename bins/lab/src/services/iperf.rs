//! A throughput server, and measuring against it.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::host::Host;
use crate::process::Process;

/// iperf3 in server mode, v4 and v6. It serves one measurement at a time.
#[derive(Clone, Debug)]
pub struct Iperf {
    port: u16,
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

/// What a measurement sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// TCP, in this many connections at once.
    Tcp {
        /// At least 1.
        streams: u32,
    },
    /// UDP, as fast as the sender can.
    Udp {
        /// Of one datagram, without headers; iperf3 needs 16.
        payload_bytes: u16,
    },
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// What is sent.
    pub traffic: Traffic,
    /// Which way.
    pub direction: Direction,
    /// For how long.
    pub seconds: u32,
    /// The sender keeps to this rate; without it, it sends what it can.
    pub bits_per_second: Option<u64>,
}

impl Load {
    /// TCP without a limit.
    pub fn tcp(streams: u32, direction: Direction, seconds: u32) -> Load {
        Load { traffic: Traffic::Tcp { streams }, direction, seconds, bits_per_second: None }
    }

    fn arguments(&self) -> String {
        // iperf3 holds UDP to 1 Mbit/s unless told otherwise; 0 is no limit.
        let rate = self.bits_per_second.unwrap_or(0);
        let traffic = match self.traffic {
            Traffic::Tcp { streams } => format!("-P {streams}"),
            Traffic::Udp { payload_bytes } => format!("-u -l {payload_bytes} -w {}", buffer_bytes()),
        };
        let reverse = match self.direction {
            Direction::Upload => "",
            Direction::Download => " -R",
        };
        format!("{traffic} -b {rate} -t {}{reverse}", self.seconds)
    }
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
    /// The share of datagrams that did not arrive; 0 for TCP.
    pub lost_percent: f64,
}

/// What datagrams wait in. The system's default holds a hundred large ones: the receiver's turn on a busy core would decide.
fn buffer_bytes() -> u64 {
    const WANTED: u64 = 4 << 20;
    let allowed = ["rmem_max", "wmem_max"].into_iter().filter_map(|name| {
        let text = std::fs::read_to_string(format!("/proc/sys/net/core/{name}")).ok()?;
        text.trim().parse::<u64>().ok()
    });
    // iperf3 gives up where it gets less than it asks for.
    allowed.chain([WANTED]).min().unwrap_or(WANTED)
}

impl Iperf {
    /// The port of [`Iperf::start`].
    pub const PORT: u16 = 5201;

    /// Starts it; returns when the port is bound.
    pub fn start(host: &Host) -> Result<Iperf> {
        Iperf::start_on(host, Iperf::PORT)
    }

    /// Starts it on another port.
    pub fn start_on(host: &Host, port: u16) -> Result<Iperf> {
        let process = host.spawn(&["iperf3", "-s", "--forceflush", "-p", &port.to_string()])?;
        host.wait_for_port("tcp", port, &process)?;
        Ok(Iperf { port, process })
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
        self.measure_at(client, address, port, &Load::tcp(1, direction, seconds))
    }

    /// One measurement from `client`, to the server's own port.
    pub fn run(&self, client: &Host, address: &str, load: &Load) -> Result<IperfReport> {
        self.measure_at(client, address, self.port, load)
    }

    fn measure_at(&self, client: &Host, address: &str, port: u16, load: &Load) -> Result<IperfReport> {
        self.process.check_running()?;
        let line = format!("iperf3 -J -c {address} -p {port} --connect-timeout 5000 {}", load.arguments());
        let limit = Duration::from_secs(u64::from(load.seconds) + 20);
        let output = client.sh_within(&line, limit)?.ok()?;
        report(&serde_json::from_str(&output.stdout)?).with_context(|| output.stdout)
    }
}

fn report(json: &Value) -> Option<IperfReport> {
    let end = &json["end"];
    let received = &end["sum_received"];
    Some(IperfReport {
        bits_per_second: received["bits_per_second"].as_f64()?,
        bytes: received["bytes"].as_u64()?,
        retransmits: end["sum_sent"]["retransmits"].as_u64().unwrap_or(0),
        lost_percent: received["lost_percent"].as_f64().unwrap_or(0.0),
    })
}
