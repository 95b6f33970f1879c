//! What went over the wire: tcpdump on an interface of a host.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::host::Host;
use crate::process::Process;

/// A running or finished capture.
#[derive(Debug)]
pub struct Capture {
    host: Host,
    process: Process,
    file: PathBuf,
}

impl Capture {
    /// Starts to capture; returns when tcpdump listens. At most 20 000 packets are kept.
    pub fn start(host: &Host, interface: &str, filter: &str) -> Result<Capture> {
        let file = host.lab().directory().join(format!("{}-{interface}.pcap", host.name()));
        let path = file.display().to_string();
        let mut argv = vec!["tcpdump", "-i", interface, "--immediate-mode", "-U", "-n"];
        argv.extend(["-c", "20000", "-Z", "root", "-w", &path]);
        argv.extend(filter.split_whitespace());
        let process = host.spawn(&argv)?;
        process.wait_for_log("listening on", Duration::from_secs(10))?;
        Ok(Capture { host: host.clone(), process, file })
    }

    /// One line per captured packet so far that the filter matches, as tcpdump prints them.
    pub fn lines(&self, filter: &str) -> Result<Vec<String>> {
        // Immediate mode hands each packet over at once and -U writes it out; what is on its way still needs a moment.
        std::thread::sleep(Duration::from_millis(300));
        let line = format!("tcpdump -n -v -r {} '{filter}' 2>/dev/null", self.file.display());
        let text = self.host.sh(&line)?.stdout;
        let mut lines: Vec<String> = Vec::new();
        for part in text.lines() {
            // -v breaks a packet over several lines; all but the first are indented.
            match lines.last_mut() {
                Some(last) if part.starts_with(char::is_whitespace) => last.push_str(part),
                Some(_) | None => lines.push(part.to_owned()),
            }
        }
        Ok(lines)
    }

    /// Ends the capture.
    pub fn stop(self) -> Result<()> {
        self.process.stop().map(drop)
    }
}
