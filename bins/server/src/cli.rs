//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use sluice_runtime::host::arguments::{CheckOptions, ConfigOption, LogOptions};
use sluice_runtime::host::failure::EXIT_CODES;

const EXAMPLES: &str = "\
Examples:
  sluice-server init /etc/sluice                       make store, keys, certificate; print a one-time admin token
  sluice-server run --config /etc/sluice/server.toml   control plane and embedded router, in the foreground
  sluice-server backup --config /etc/sluice/server.toml /var/backups/sluice.db
";

/// Says who may reach what, through which routers, for how long; tells the routers, and writes down what happened. A router
/// is embedded: one UDP port for tunnels, one HTTPS port for API and console.
#[derive(Debug, Parser)]
#[command(name = "sluice-server", version, about, after_help = [EXAMPLES, "\n", EXIT_CODES].concat(), arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) log: LogOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a directory with everything `run` needs, and print a one-time token for the first administrator.
    ///
    /// Nothing that is there already is overwritten.
    Init(InitOptions),

    /// Run the server in the foreground.
    ///
    /// SIGHUP reads the configuration again: all that can change does so at once, or nothing does, and then the log says
    /// why. SIGTERM ends it cleanly: routers keep what they have until their leases lapse. Under systemd it reports
    /// readiness and feeds the watchdog.
    #[command(after_help = "\
Environment: SLUICE_SERVER_HTTPS=0.0.0.0:8443 stands for https in [server]; the same for every key of [server], [node],
[tun], [sockets], [operations] and [audit]. Lists are separated by commas.

Secrets come from files of mode 0600 only.")]
    Run(ConfigOption),

    /// Read a configuration, tell everything that is wrong with it, start nothing.
    CheckConfig(CheckOptions),

    /// Print a new one-time token that makes an administrator, for whoever can read the store.
    AdminToken(ConfigOption),

    /// Write a copy of a SQLite store into a new file; the server may go on running.
    Backup(BackupOptions),

    /// Put a backup in the place of a store that is not there. The server must not run.
    Restore(BackupOptions),

    /// Copy everything into an empty store, for example from SQLite to PostgreSQL. The server must not run.
    MoveStore(MoveOptions),

    /// Look whether the audit chain is whole.
    VerifyAudit(ConfigOption),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct InitOptions {
    /// The directory to make, or an empty one.
    #[arg(default_value = "/etc/sluice")]
    pub(crate) directory: PathBuf,

    /// Where clients will find the embedded router, for example gw.example.net:51820.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) endpoint: Option<String>,

    /// Where API and console will be served.
    #[arg(long, default_value = "127.0.0.1:8443", value_name = "ADDRESS:PORT")]
    pub(crate) https: std::net::SocketAddr,

    /// UDP port for tunnels.
    #[arg(long, default_value_t = 51820, value_name = "PORT")]
    pub(crate) listen_port: u16,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct BackupOptions {
    #[command(flatten)]
    pub(crate) config: ConfigOption,
    /// The copy.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct MoveOptions {
    #[command(flatten)]
    pub(crate) config: ConfigOption,
    /// The empty store, for example postgres://sluice@db.example.net/sluice.
    #[arg(value_name = "STORE")]
    pub(crate) to: crate::store::StoreUrl,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
