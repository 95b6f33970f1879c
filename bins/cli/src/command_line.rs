//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use sluice_runtime::host::arguments::LogOptions;

use crate::connect::place::{Forward, Place};
use crate::demo::Listen;

const EXAMPLES: &str = "\
Examples:
  sluice demo                                  see all of Sluice at work, on this machine alone
  sluice connect wg0.conf -L 8022:10.20.0.5:22 reach an SSH server behind a tunnel: ssh -p 8022 localhost
  sluice connect wg0.conf --socks 1080         reach everything behind it: curl --socks5-hostname localhost:1080 URL
";

/// Ours are not quite those of the daemons: nobody asks us on an admin socket.
const EXIT_CODES: &str = "\
Exit codes:
  0  done, or ended by SIGINT or SIGTERM
  1  failed while running; of the demo, some step did
  2  wrong usage
  3  configuration refused
  4  something of the system is missing or denied
  5  the peer does not answer";

const CONNECT_HELP: &str = "\
Examples:
  sluice connect wg0.conf -L 8022:10.20.0.5:22
  ssh -p 8022 localhost

  sluice connect wg0.conf -L 0:[fd20::5]:443 -L 5432:db.example.com:5432 --socks 1080
  curl --socks5-hostname localhost:1080 http://10.20.0.5/

CONFIG is a file as wg-quick and the WireGuard apps have it. Of [Interface], PrivateKey, Address, MTU, DNS and ListenPort
count; commands in it are not run and no route is set. With DNS, names are looked up there, through the tunnel; without,
as this machine does it.

Local ports are on 127.0.0.1 and ::1. Whoever has an account on this machine can use them, and the proxy asks for no
password; another address, or * for all, opens them to the network.";

const DEMO_HELP: &str = "\
Examples:
  sluice demo                         all steps, then it keeps running for you to join
  sluice demo --once                  all steps, then it ends: 0 if all went well
  sluice demo --listen 0.0.0.0:51820  so that a phone in the same network can join

Everything happens in this process: no root, no interface, no firewall rule, nothing to install. The devices are on 127.0.0.1;
the router's UDP port is open to others, but WireGuard answers nobody whose key it does not know. The files are in a temporary
directory, which goes at the end.";

/// Sluice without any privilege: a demonstration of all of it on this machine, and a client for users who may not install
/// WireGuard.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, about, after_help = [EXAMPLES, "\n", EXIT_CODES].concat(), arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) log: LogOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show a client, a router, a connector and two devices at work, on this machine alone.
    #[command(after_help = [DEMO_HELP, "\n\n", EXIT_CODES].concat())]
    Demo(DemoOptions),

    /// Bring up a tunnel without an interface: what is behind it becomes local ports and a SOCKS5 proxy.
    #[command(after_help = [CONNECT_HELP, "\n\n", EXIT_CODES].concat())]
    Connect(ConnectOptions),
}

#[derive(Debug, Args)]
pub(crate) struct DemoOptions {
    /// End after the steps instead of waiting for somebody to join.
    #[arg(long)]
    pub(crate) once: bool,

    /// Where others are told to find the router: an address of this machine, 0.0.0.0 for the one it uses itself.
    #[arg(long, value_name = "ADDRESS[:PORT]", default_value = "127.0.0.1")]
    pub(crate) listen: Listen,

    /// No colours, no movement, nothing but ASCII. NO_COLOR takes away the colours alone.
    #[arg(long, visible_alias = "no-color")]
    pub(crate) plain: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConnectOptions {
    /// The tunnel's file, as for wg-quick; - is standard input.
    #[arg(value_name = "CONFIG", env = "SLUICE_TUNNEL")]
    pub(crate) config: PathBuf,

    /// A local port that leads to a host and port behind the tunnel; as often as wanted. Port 0 is any.
    #[arg(short = 'L', long = "forward", value_name = "[BIND:]PORT:HOST:HOSTPORT")]
    pub(crate) forwards: Vec<Forward>,

    /// The same for UDP.
    #[arg(short = 'U', long = "udp-forward", value_name = "[BIND:]PORT:HOST:HOSTPORT")]
    pub(crate) udp_forwards: Vec<Forward>,

    /// A SOCKS5 proxy to everything behind the tunnel.
    #[arg(long, value_name = "[BIND:]PORT", required_unless_present_any = ["forwards", "udp_forwards"])]
    pub(crate) socks: Option<Place>,

    /// Seconds to wait for the peer's first answer; 0 waits for ever.
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    pub(crate) timeout: u64,

    /// No colours, no movement, nothing but ASCII. NO_COLOR takes away the colours alone.
    #[arg(long, visible_alias = "no-color")]
    pub(crate) plain: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_connection_exposes_something() {
        for (arguments, taken) in [
            (&["a.conf", "-L", "0:10.20.0.5:22"][..], true),
            (&["a.conf", "-L", "0:10.20.0.5:22", "-L", "1:[::1]:1", "--socks", "*:1080"], true),
            (&["--socks", "1080", "-"], true),
            (&["a.conf", "-U", "5353:10.20.0.53:53"], true),
            (&["a.conf"], false),
            (&["a.conf", "-L", "22"], false),
            (&["a.conf", "--socks", "x"], false),
        ] {
            let parsed = Cli::try_parse_from(["sluice", "connect"].iter().chain(arguments));
            assert_eq!(parsed.is_ok(), taken, "{arguments:?}");
        }
    }
}
