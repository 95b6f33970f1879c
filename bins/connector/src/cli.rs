//! The command line.

use clap::{Parser, Subcommand};
use sluice_runtime::host::arguments::{CheckOptions, ConfigOption, FlowOptions, LogOptions, ReportOptions};
use sluice_runtime::host::failure::EXIT_CODES;

const EXAMPLES: &str = "\
Examples:
  (umask 077; sluice-connector genkey > connector.key)   make an identity
  sluice-connector pubkey < connector.key                the half to give to routers
  sluice-connector check-config connector.toml           read it, tell what is wrong, start nothing
  sluice-connector run --config connector.toml           run it in the foreground
  sluice-connector status                                routers, mappings, drops of the running connector
";

/// Reaches devices in a tenant's network for Sluice routers: one WireGuard tunnel, and virtual ports behind it. Only
/// routers may speak to it, and only mapped devices can be reached through it.
#[derive(Debug, Parser)]
#[command(name = "sluice-connector", version, about, after_help = [EXAMPLES, "\n", EXIT_CODES].concat(), arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) log: LogOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the connector in the foreground.
    ///
    /// SIGHUP reads the configuration again: all of it comes into force at once, or none of it, and then the log says
    /// why and the old one stays. SIGTERM ends the connector cleanly. Under systemd it reports readiness and feeds the
    /// watchdog.
    #[command(after_help = "\
Environment: SLUICE_NODE_LISTEN_PORT=51821 stands for listen_port in [node]; the same for every key of [node],
[tun], [sockets] and [operations]. Lists are separated by commas.

Secrets come from files of mode 0600 only.")]
    Run(ConfigOption),

    /// Read a configuration, tell everything that is wrong with it, start nothing.
    CheckConfig(CheckOptions),

    /// Show routers, mappings, drops and how full the tables are.
    Status(ReportOptions),

    /// Show the flows, at most as many as --max says.
    Flows(FlowOptions),

    /// Print a new private key.
    Genkey,

    /// Print a new preshared key.
    Genpsk,

    /// Read a private key from standard input and print its public key.
    Pubkey,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
