//! A secure shell server, and logging in to it.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::host::Host;
use crate::output::Output;
use crate::process::Process;

/// Debian's sshd wants this directory for privilege separation and does not make it.
const PRIVILEGE_SEPARATION: &str = "/run/sshd";

/// sshd on port 22 with host and user keys of its own, key login only, without PAM.
#[derive(Debug)]
pub struct Sshd {
    user_key: PathBuf,
    process: Process,
}

impl Sshd {
    /// Starts it; returns when the port is bound.
    pub fn start(host: &Host) -> Result<Sshd> {
        std::fs::create_dir_all(PRIVILEGE_SEPARATION)?;
        let directory = host.lab().subdirectory(&format!("sshd-{}", host.name()))?;
        let (host_key, user_key) = (directory.join("host_key"), directory.join("user_key"));
        for key in [&host_key, &user_key] {
            generate_key(host, key)?;
        }
        let config = host.lab().file(
            &format!("sshd-{}.conf", host.name()),
            format!(
                "Port 22\nAddressFamily any\nHostKey {}\nAuthorizedKeysFile {}.pub\nUsePAM no\nStrictModes no\n\
                 PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n\
                 PidFile none\nUseDNS no\n",
                host_key.display(),
                user_key.display()
            ),
        )?;
        let process = host.spawn(&["/usr/sbin/sshd", "-D", "-e", "-f", &config.display().to_string()])?;
        host.wait_for_port("tcp", 22, &process)?;
        Ok(Sshd { user_key, process })
    }

    /// Logs in from `client` by way of `address` and `port`, and runs a command line there with `stdin`.
    pub fn log_in(
        &self,
        client: &Host,
        address: &str,
        port: u16,
        line: &str,
        stdin: &[u8],
    ) -> Result<Output> {
        self.process.check_running()?;
        let (port, key) = (port.to_string(), self.user_key.display().to_string());
        let target = format!("root@{address}");
        let options = ["-F", "/dev/null", "-i", &key, "-p", &port, "-o", "StrictHostKeyChecking=no"];
        let more = ["-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR"];
        let argv: Vec<&str> = [&["ssh"][..], &options, &more, &[&target, line]].concat();
        client.exec_with_input(&argv, stdin)
    }

    /// The key that may log in.
    pub fn user_key(&self) -> &Path {
        &self.user_key
    }
}

fn generate_key(host: &Host, path: &Path) -> Result<()> {
    let path = path.display().to_string();
    host.lab().exec(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &path], "")?.ok().map(drop)
}
