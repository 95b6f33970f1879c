//! A web server.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::host::Host;
use crate::process::Process;

/// What the start page says, followed by the host's name.
const GREETING: &str = "Hello from";
/// The size of `/megabyte`.
const MEGABYTE: usize = 1_000_000;

/// nginx on port 80, v4 and v6: `/` greets with the host's name, `/megabyte` has 1 000 000 bytes; files may be put.
#[derive(Debug)]
pub struct Nginx {
    host: Host,
    directory: PathBuf,
    process: Process,
}

impl Nginx {
    /// Starts it; returns when the port is bound.
    pub fn start(host: &Host) -> Result<Nginx> {
        let name = format!("nginx-{}", host.name());
        let directory = host.lab().subdirectory(&name)?;
        let path = directory.display();
        std::fs::write(directory.join("index.html"), Nginx::greeting(host.name()))?;
        std::fs::write(directory.join("megabyte"), vec![b'm'; MEGABYTE])?;
        let config = host.lab().file(&format!("{name}.conf"), configuration(&path.to_string()))?;
        let (config, prefix) = (config.display().to_string(), format!("{path}/"));
        let process = host.spawn(&["nginx", "-e", "stderr", "-p", &prefix, "-c", &config])?;
        host.wait_for_port("tcp", 80, &process)?;
        Ok(Nginx { host: host.clone(), directory, process })
    }

    /// The start page of a host of this name.
    pub fn greeting(host: &str) -> String {
        format!("{GREETING} {host}\n")
    }

    /// Who asked for what, oldest first: lines of `address path`.
    pub fn visitors(&self) -> Result<Vec<String>> {
        self.process.check_running()?;
        let text = std::fs::read_to_string(self.directory.join("access.log"))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Has it serve another file of so many random bytes, at most 1 GB; says its SHA-256 sum.
    pub fn file(&self, name: &str, bytes: u32) -> Result<String> {
        ensure!(bytes <= 1_000_000_000, "at most 1 GB");
        let path = self.directory.join(name);
        self.host.sh(&format!("head -c {bytes} /dev/urandom > {}", path.display()))?.ok()?;
        self.sum(name)
    }

    /// The SHA-256 sum of a file that it serves, or that was put.
    pub fn sum(&self, name: &str) -> Result<String> {
        let line = format!("sha256sum < {}", self.directory.join(name).display());
        let text = self.host.sh(&line)?.ok()?.stdout;
        Ok(text.split_whitespace().next().unwrap_or_default().to_owned())
    }

    /// What runs: one process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The host it runs on.
    pub fn host(&self) -> &Host {
        &self.host
    }
}

/// One process, nothing outside the directory.
fn configuration(directory: &str) -> String {
    format!(
        "daemon off;\nmaster_process off;\nuser root;\npid {directory}/pid;\nerror_log stderr;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n\
         log_format visitor '$remote_addr $request_uri';\naccess_log {directory}/access.log visitor;\n\
         client_body_temp_path {directory}/body;\nproxy_temp_path {directory}/proxy;\n\
         fastcgi_temp_path {directory}/fastcgi;\nuwsgi_temp_path {directory}/uwsgi;\nscgi_temp_path {directory}/scgi;\n\
         server {{ listen 80; listen [::]:80; root {directory};\n\
         dav_methods PUT; client_max_body_size 0; }}\n\
         }}\n"
    )
}
