//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use sluice_runtime::host::arguments::LogOptions;

use crate::connect::place::{Forward, Place};
use crate::control::options::{
    ApplyOptions, AuditCommand, CreateOptions, DeleteOptions, DescribeOptions, DeviceCommand, DiffOptions,
    ExplainOptions, ExportOptions, FlowsOptions, FormatOption, GetOptions, ImportCommand, LoginOptions,
    PasswdOptions, SessionCommand, TokenCommand,
};
use crate::demo::Listen;

const EXAMPLES: &str = "\
Examples:
  sluice demo                                  see all of Sluice at work, on this machine alone
  sluice connect wg0.conf -L 8022:10.20.0.5:22 reach an SSH server behind a tunnel: ssh -p 8022 localhost
  sluice connect wg0.conf --socks 1080         reach everything behind it: curl --socks5-hostname localhost:1080 URL

  sluice login https://access.example.net      log in to a server; then, for example:
  sluice device add laptop --out wg0.conf      make this machine's tunnel
  sluice session open web --reason INC-42      open access to a target
  sluice apply -f lab.toml                     write users, roles, targets (docs/examples/lab.toml)
";

/// Ours are not quite those of the daemons: nobody asks us on an admin socket.
const EXIT_CODES: &str = "\
Exit codes:
  0  done, or ended by SIGINT or SIGTERM
  1  failed while running; of the demo, some step did
  2  wrong usage
  3  configuration or document refused
  4  something of the system is missing or denied
  5  the peer or the server does not answer
  6  nobody is logged in, or no longer
  7  access is refused";

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

const LOGIN_HELP: &str = "\
Examples:
  sluice login https://access.example.net --user alice
  sluice login https://203.0.113.1:8443 --user root --first-admin --fingerprint A7:3B:…

SLUICE_SERVER, SLUICE_TOKEN and SLUICE_FINGERPRINT stand for a login, in scripts. Secrets are never taken from the command line.";

const APPLY_HELP: &str = "\
Examples:
  sluice apply -f lab.toml --dry-run
  sluice apply -f lab.toml

Files are TOML, YAML or JSON, by their names or else by how they begin. It stops at the first object that the server refuses;
what came before it is written. Objects that no file has stay. What the server filled in (addresses, keys, virtual ports) stays
where a file leaves it out.";

const CREATE_HELP: &str = "\
Examples:
  sluice create role dba --set comment='Database administrators'
  sluice create user alice --set roles='[\"dba\"]' --set full_name='Alice A.'
  sluice create -f target.yaml";

const DIFF_HELP: &str = "\
Examples:
  sluice diff -f lab.yaml && echo nothing to do
  sluice export > all.yaml; $EDITOR all.yaml; sluice diff -f all.yaml; sluice apply -f all.yaml

Exit codes, as those of diff(1):
  0  there is no difference
  1  there is one
  2  wrong usage
  3  file or document refused
  4  something of the system is missing or denied
  5  the server does not answer, or not as it should
  6  nobody is logged in, or no longer
  7  access is refused";

const IMPORT_HELP: &str = "\
Examples:
  sluice import privx targets.json --dry-run
  sluice import privx targets.json --create-roles

Each target is told with what of it is not carried over, and why. It ends with 3 if some target cannot be; the others are made.";

const EXPLAIN_HELP: &str = "\
Examples:
  sluice explain 10.20.0.5:22                          a TCP packet of yours
  sluice explain --user alice udp [fd20::5]:53         of somebody else's, for those who may ask that
  sluice explain --target db --reason INC-42           what opening a target would get, and why not

What a router does with a packet it says itself: sluice-router explain.";

const COMPLETIONS_HELP: &str = "\
Examples:
  sluice completions bash > ~/.local/share/bash-completion/completions/sluice
  sluice completions zsh > ~/.zfunc/_sluice
  sluice completions fish > ~/.config/fish/completions/sluice.fish";

const SESSION_HELP: &str = "\
Examples:
  sluice session open web --reason INC-42 --for 1h --wait
  sluice session list --user alice
  sluice session kill --user alice --reason 'out of hours'";

const DEVICE_HELP: &str = "\
Examples:
  sluice device add laptop --out wg0.conf       then: wg-quick up ./wg0.conf, or: sluice connect wg0.conf
  sluice device add phone --qr
  sluice device remove laptop";

/// Sluice without any privilege: a demonstration of all of it on this machine, a client for users who may not install
/// WireGuard, and the commands of the control plane.
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

    #[command(flatten)]
    Control(ControlCommand),

    /// Print what lets a shell complete the arguments of this program.
    #[command(after_help = COMPLETIONS_HELP)]
    Completions(CompletionsOptions),

    /// Write the man pages of this program and its commands.
    Man(ManOptions),
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsOptions {
    /// For which shell.
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManOptions {
    /// Where to; it is made if it is not there.
    #[arg(value_name = "DIRECTORY")]
    pub(crate) directory: PathBuf,
}

/// What asks the server.
#[derive(Debug, Subcommand)]
pub(crate) enum ControlCommand {
    /// Log in to a server; the token is kept in ~/.config/sluice, readable by you alone.
    #[command(after_help = [LOGIN_HELP, "\n\n", EXIT_CODES].concat())]
    Login(LoginOptions),

    /// Log out: the token is worth nothing from then on.
    Logout,

    /// Show who you are to the server.
    Whoami(FormatOption),

    /// Set your password or, as an administrator, another user's.
    Passwd(PasswdOptions),

    /// Tokens for programs.
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },

    /// Show objects: tenants, roles, users, routers, devices, connectors, mappings, targets.
    Get(GetOptions),

    /// Show all there is to say of an object: its fields, how it is, its sessions, and who names it.
    Describe(DescribeOptions),

    /// Make an object that is not there yet, or all of a file.
    #[command(after_help = [CREATE_HELP, "\n\n", EXIT_CODES].concat())]
    Create(CreateOptions),

    /// Make the server's objects what files say: those that are not there are created, those that differ replaced.
    #[command(after_help = [APPLY_HELP, "\n\n", EXIT_CODES].concat())]
    Apply(ApplyOptions),

    /// Show what applying files would change, field by field.
    #[command(after_help = DIFF_HELP)]
    Diff(DiffOptions),

    /// Write objects as a file that apply takes.
    Export(ExportOptions),

    /// Remove an object that nobody uses.
    Delete(DeleteOptions),

    /// Make objects of what other products export.
    #[command(after_help = [IMPORT_HELP, "\n\n", EXIT_CODES].concat())]
    Import {
        #[command(subcommand)]
        command: ImportCommand,
    },

    /// Tell what becomes of a packet, which rule says so and what it is turned into; or what opening a target would get.
    #[command(after_help = [EXPLAIN_HELP, "\n\n", EXIT_CODES].concat())]
    Explain(ExplainOptions),

    /// Open, show and end sessions.
    #[command(after_help = [SESSION_HELP, "\n\n", EXIT_CODES].concat())]
    Session {
        #[command(subcommand)]
        command: SessionCommand,
    },

    /// Show which conversations sessions carried, those that are over, newest first.
    Flows(FlowsOptions),

    /// Your devices and their tunnels.
    #[command(after_help = [DEVICE_HELP, "\n\n", EXIT_CODES].concat())]
    Device {
        #[command(subcommand)]
        command: DeviceCommand,
    },

    /// What happened.
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
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
