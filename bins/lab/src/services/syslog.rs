//! rsyslog, which takes messages over TCP, UDP and a socket of its own, and writes what it understood of them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::host::Host;
use crate::process::Process;
use crate::wait::wait_until;

const PORT: u16 = 5601;

/// A running receiver on a host's loopback.
#[derive(Debug)]
pub struct Syslog {
    output: PathBuf,
    socket: PathBuf,
    _process: Process,
}

impl Syslog {
    /// Starts it; returns when it takes messages.
    pub fn start(host: &Host) -> Result<Syslog> {
        let directory = host.lab().subdirectory(&format!("rsyslog-{}", host.name()))?;
        let (output, socket) = (directory.join("received"), directory.join("log"));
        let text = format!(
            "\
global(workDirectory=\"{directory}\" maxMessageSize=\"64k\")
module(load=\"imtcp\")
module(load=\"imudp\")
module(load=\"imuxsock\" SysSock.Use=\"off\")
input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{PORT}\")
input(type=\"imudp\" address=\"127.0.0.1\" port=\"{PORT}\")
input(type=\"imuxsock\" Socket=\"{socket}\" UseSpecialParser=\"off\" ParseHostname=\"on\")
template(name=\"understood\" type=\"string\" string=\"%app-name%|%msgid%|%structured-data%|%msg%\\n\")
action(type=\"omfile\" file=\"{output}\" template=\"understood\")
",
            directory = directory.display(),
            socket = socket.display(),
            output = output.display(),
        );
        let config = directory.join("rsyslog.conf");
        std::fs::write(&config, text)?;
        let pid = directory.join("pid");
        let process = host.spawn(&[
            "rsyslogd",
            "-n",
            "-f",
            &config.display().to_string(),
            "-i",
            &pid.display().to_string(),
        ])?;
        wait_until("rsyslog", Duration::from_secs(10), || {
            process.check_running()?;
            Ok(socket.exists() && host.sh(&format!("ss -Hlnt sport = {PORT}"))?.stdout.contains("127.0.0.1"))
        })?;
        Ok(Syslog { output, socket, _process: process })
    }

    /// Where it takes messages, as Sluice writes it.
    pub fn places(&self) -> [String; 3] {
        [
            format!("tcp://127.0.0.1:{PORT}"),
            format!("udp://127.0.0.1:{PORT}"),
            format!("unix://{}", self.socket.display()),
        ]
    }

    /// What it received: program, message identity, structured data and message, a line each.
    pub fn received(&self) -> Result<String> {
        if !self.output.exists() {
            return Ok(String::new());
        }
        Ok(String::from_utf8_lossy(&std::fs::read(&self.output)?).into_owned())
    }
}
