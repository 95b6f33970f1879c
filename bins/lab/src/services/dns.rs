//! A name server.

use anyhow::Result;

use crate::host::Host;
use crate::process::Process;

/// dnsmasq on port 53 that knows one name, asks nobody and answers over UDP and TCP.
#[derive(Debug)]
pub struct Dns {
    process: Process,
}

impl Dns {
    /// The one name it knows.
    pub const NAME: &str = "device.lab.test";
    /// That name's v4 address.
    pub const ADDRESS: &str = "192.0.2.77";
    /// That name's v6 address.
    pub const ADDRESS_V6: &str = "2001:db8::77";

    /// Starts it; returns when the port is bound.
    pub fn start(host: &Host) -> Result<Dns> {
        let record = format!("--host-record={},{},{}", Dns::NAME, Dns::ADDRESS, Dns::ADDRESS_V6);
        let quiet = ["--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--pid-file", "--user=root"];
        let argv: Vec<&str> =
            [&["dnsmasq", "--keep-in-foreground", "--log-facility=-", &record][..], &quiet].concat();
        let process = host.spawn(&argv)?;
        host.wait_for_port("udp", 53, &process)?;
        Ok(Dns { process })
    }

    /// Fails if it has ended.
    pub fn check_running(&self) -> Result<()> {
        self.process.check_running()
    }
}
