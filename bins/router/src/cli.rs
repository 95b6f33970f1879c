//! The command line.

use std::net::IpAddr;

use clap::{Args, Parser, Subcommand};
use sluice_runtime::host::arguments::{
    AdminOptions, CheckOptions, ConfigOption, FlowOptions, LogOptions, ReportOptions,
};
use sluice_runtime::host::failure::EXIT_CODES;

const EXAMPLES: &str = "\
Examples:
  (umask 077; sluice-router genkey > router.key)     make an identity
  sluice-router pubkey < router.key                  the half to give to peers
  sluice-router check-config router.toml             read it, tell what is wrong, start nothing
  sluice-router run --config router.toml             run it in the foreground
  sluice-router status                               peers, rules, drops of the running router
  sluice-router explain 'tcp 10.77.0.2:5555 > 10.20.0.5:22'
                                                     which rule lets it pass, or why not
  sluice-router wireguard wg0                        a plain WireGuard interface, for wg and wg-quick
";

/// Terminates WireGuard tunnels, enforces session rules, translates, forwards. All in userspace: the host's firewall
/// is not touched.
#[derive(Debug, Parser)]
#[command(name = "sluice-router", version, about, after_help = [EXAMPLES, "\n", EXIT_CODES].concat(), arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) log: LogOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the router in the foreground.
    ///
    /// SIGHUP reads the configuration again: all of it comes into force at once, or none of it, and then the log says
    /// why and the old one stays. SIGTERM ends the router cleanly. Under systemd it reports readiness and feeds the
    /// watchdog.
    #[command(after_help = "\
Environment: SLUICE_NODE_LISTEN_PORT=51821 stands for listen_port in [node]; the same for every key of [node],
[tun], [sockets] and [operations]. Lists are separated by commas.

Secrets come from files of mode 0600 only.")]
    Run(ConfigOption),

    /// Read a configuration, tell everything that is wrong with it, start nothing.
    CheckConfig(CheckOptions),

    /// Make a plain WireGuard interface, as wireguard-go does.
    ///
    /// No rules, no translation: configure it with wg or wg-quick. It goes to the background once the interface and
    /// /var/run/wireguard/IFACE.sock are there, and ends when either is removed.
    #[command(after_help = "\
Under the name sluice-wireguard the program takes just these arguments, which is how wg-quick calls it:
  ln -s sluice-router /usr/local/bin/sluice-wireguard
  WG_QUICK_USERSPACE_IMPLEMENTATION=sluice-wireguard wg-quick up wg0

Environment: LOG_LEVEL=verbose|error|silent, WG_PROCESS_FOREGROUND=1, WG_TUN_NAME_FILE=PATH.")]
    Wireguard(WireguardOptions),

    /// Show peers, rules, drops and how full the tables are.
    Status(ReportOptions),

    /// Show the flows, at most as many as --max says.
    Flows(FlowOptions),

    /// Tell what would become of a packet: which rule, which translation, or which refusal. Nothing is sent.
    Explain(ExplainOptions),

    /// Open or close sessions at run time. They last until closed, expired or reloaded.
    #[command(subcommand)]
    Session(SessionCommand),

    /// What SSH PrivX calls when a network access session begins and ends: its router types exec and sshexec.
    ///
    /// Both may be called again, and change nothing then. What was granted lasts until it is taken back or the router ends.
    #[command(subcommand)]
    Privx(PrivxCommand),

    /// Print a new private key.
    Genkey,

    /// Print a new preshared key.
    Genpsk,

    /// Read a private key from standard input and print its public key.
    Pubkey,
}

#[derive(Debug, Args)]
pub(crate) struct WireguardOptions {
    /// Stay in the foreground.
    #[arg(long, short)]
    pub(crate) foreground: bool,

    /// Threads that carry packets; 0 is one per core.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) workers: u16,

    /// The interface's name, at most 15 bytes.
    #[arg(value_name = "IFACE")]
    pub(crate) interface: String,
}

/// What the program takes under the name sluice-wireguard.
#[derive(Debug, Parser)]
#[command(name = "sluice-wireguard", version, about = "A plain WireGuard interface in userspace, for wg and wg-quick.", after_help = EXIT_CODES)]
pub(crate) struct WireguardCli {
    #[command(flatten)]
    pub(crate) options: WireguardOptions,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainOptions {
    #[command(flatten)]
    pub(crate) report: ReportOptions,

    /// The peer it comes from, by name, or "tun". Without it: whoever owns its source.
    #[arg(long, value_name = "NAME")]
    pub(crate) from: Option<String>,

    /// PROTO SOURCE > DESTINATION, or bytes in hexadecimal. Quote it: the shell takes > for itself.
    #[arg(value_name = "PACKET", required = true, num_args = 1..)]
    pub(crate) packet: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// Give a client access to a target of the configuration.
    Open(OpenOptions),
    /// End a session: its flows end with it, in both directions, at once.
    Close(CloseOptions),
}

#[derive(Debug, Subcommand)]
pub(crate) enum PrivxCommand {
    /// Let a client reach a network target.
    Add(PrivxOptions),
    /// Take that back: its flows end with it, in both directions, at once.
    Del(PrivxOptions),
}

/// The arguments as PrivX has them. Each is a JSON document, or the name of a file that has one.
#[derive(Debug, Args)]
pub(crate) struct PrivxOptions {
    #[command(flatten)]
    pub(crate) admin: AdminOptions,

    /// Who reaches what: {"src", "dst": [{"selector", "nat"}], "src_nat"}.
    #[arg(value_name = "NETWORK")]
    pub(crate) network: String,

    /// The router: its "parameters" may name the admin socket by an absolute path.
    #[arg(value_name = "ROUTER")]
    pub(crate) router: String,

    /// Which session: {"session_id", "target_id", "target_name"}.
    #[arg(value_name = "SESSION")]
    pub(crate) session: String,

    /// What an integration adds; it means nothing here.
    #[arg(value_name = "STATIC")]
    pub(crate) integration: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct OpenOptions {
    #[command(flatten)]
    pub(crate) admin: AdminOptions,

    /// The client's overlay address.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) client_ip: IpAddr,

    /// The target's name.
    #[arg(long, value_name = "NAME")]
    pub(crate) target: String,

    /// End it by itself after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) seconds: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct CloseOptions {
    #[command(flatten)]
    pub(crate) admin: AdminOptions,

    /// The session, as `status` shows it; the first digits are enough if they fit only one.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
        WireguardCli::command().debug_assert();
    }

    #[test]
    fn what_wireguard_go_takes_is_taken() {
        for arguments in [vec!["wg0"], vec!["-f", "wg0"], vec!["--foreground", "wg0"]] {
            let under_own_name = [vec!["sluice-router", "wireguard"], arguments.clone()].concat();
            assert!(Cli::try_parse_from(under_own_name).is_ok());
            assert!(WireguardCli::try_parse_from([vec!["sluice-wireguard"], arguments].concat()).is_ok());
        }
    }
}
