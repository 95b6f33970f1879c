//! What the commands of the control plane take.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use ipnet::IpNet;
use sluice_api::Seconds;
use uuid::Uuid;

use super::document::Setting;
use super::kind::Kind;
use super::output::Format;
use super::trust::Fingerprint;

#[derive(Debug, Args)]
pub(crate) struct FormatOption {
    /// How answers are shown.
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
}

#[derive(Debug, Args)]
pub(crate) struct LoginOptions {
    /// The server, https://HOST:PORT.
    #[arg(value_name = "URL", env = "SLUICE_SERVER")]
    pub(super) url: String,

    /// Who logs in; absent: as this machine calls you.
    #[arg(long, value_name = "NAME", env = "USER")]
    pub(super) user: String,

    /// SHA-256 of the server's certificate, as sluice-server prints it; absent: the system's authorities must vouch for it,
    /// or you are asked.
    #[arg(long, value_name = "HEX", env = "SLUICE_FINGERPRINT")]
    pub(super) fingerprint: Option<Fingerprint>,

    /// Make this user the first administrator: takes the one-time token of `sluice-server init` (SLUICE_ADMIN_TOKEN, or
    /// asked for before the password) and sets the password.
    #[arg(long)]
    pub(super) first_admin: bool,

    /// Read token and password as lines of standard input.
    #[arg(long)]
    pub(super) password_stdin: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PasswdOptions {
    /// Whose password, for administrators; absent: your own.
    #[arg(value_name = "USER")]
    pub(super) user: Option<String>,

    /// Read the passwords as lines of standard input: of your own, first the one so far.
    #[arg(long)]
    pub(super) password_stdin: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GetOptions {
    /// Which kind.
    #[arg(value_enum)]
    pub(super) kind: Kind,

    /// Only this one, with all its fields.
    pub(super) name: Option<String>,

    #[command(flatten)]
    pub(super) format: FormatOption,
}

#[derive(Debug, Args)]
pub(crate) struct DescribeOptions {
    /// Which kind.
    #[arg(value_enum)]
    pub(super) kind: Kind,

    /// Which one.
    pub(super) name: String,

    #[command(flatten)]
    pub(super) format: FormatOption,
}

#[derive(Debug, Args)]
pub(crate) struct CreateOptions {
    /// Which kind.
    #[arg(value_enum, required_unless_present = "files")]
    pub(super) kind: Option<Kind>,

    /// What to call it.
    #[arg(required_unless_present = "files")]
    pub(super) name: Option<String>,

    /// A field and its value: comment=text, disabled=true, roles='["dba"]', schedule.utc_offset=+02:00; as often as wanted.
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    pub(super) settings: Vec<Setting>,

    /// All objects of a file, none of which may be there yet; - is standard input.
    #[arg(short, long = "file", value_name = "FILE", conflicts_with_all = ["kind", "name", "settings"])]
    pub(super) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DiffOptions {
    /// A file of objects, as for apply; - is standard input.
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    pub(super) files: Vec<PathBuf>,

    #[command(flatten)]
    pub(super) format: FormatOption,
}

#[derive(Debug, Args)]
pub(crate) struct ExportOptions {
    /// Which kinds; none: all.
    #[arg(value_enum)]
    pub(super) kinds: Vec<Kind>,

    /// As YAML or JSON.
    #[arg(short, long, value_enum, default_value = "yaml")]
    pub(super) output: Written,
}

/// How files are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Written {
    /// As YAML.
    Yaml,
    /// As JSON.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImportCommand {
    /// Network targets of SSH PrivX, as its API gives them: a list, or an answer with items.
    Privx(ImportOptions),
}

#[derive(Debug, Args)]
pub(crate) struct ImportOptions {
    /// The file, JSON; - is standard input.
    pub(super) file: PathBuf,

    /// Say what would be done, and do nothing. Whether the server takes the documents is not known then.
    #[arg(long)]
    pub(super) dry_run: bool,

    /// Make roles that are not here; else targets go without them.
    #[arg(long)]
    pub(super) create_roles: bool,

    /// Change targets that are here already and differ; else they are left as they are.
    #[arg(long)]
    pub(super) update: bool,

    /// Whose the targets become; absent: the installation's.
    #[arg(long, value_name = "NAME")]
    pub(super) tenant: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainOptions {
    /// The packet: ADDRESS or ADDRESS:PORT, with tcp, udp or icmp before it if it is not tcp.
    #[arg(value_name = "PACKET", num_args = 1..=2, required_unless_present = "target", conflicts_with = "target")]
    pub(super) packet: Vec<String>,

    /// Not a packet: what opening this target would get.
    #[arg(long, value_name = "NAME")]
    pub(super) target: Option<String>,

    /// The reason that would be given for opening it.
    #[arg(long, requires = "target")]
    pub(super) reason: Option<String>,

    /// Whose access, for those who may ask about others; absent: your own.
    #[arg(long)]
    pub(super) user: Option<String>,

    /// From which of the user's devices; absent: the only one.
    #[arg(long, conflicts_with = "from")]
    pub(super) device: Option<String>,

    /// From which address inside the tunnel.
    #[arg(long, value_name = "IP")]
    pub(super) from: Option<IpAddr>,

    #[command(flatten)]
    pub(super) format: FormatOption,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteOptions {
    /// Which kind.
    #[arg(value_enum)]
    pub(super) kind: Kind,

    /// Which one.
    pub(super) name: String,

    /// Do not ask.
    #[arg(long)]
    pub(super) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyOptions {
    /// A file with a table for each object, as docs/examples/lab.toml, or YAML or JSON of the same shape; - is standard
    /// input.
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    pub(super) files: Vec<PathBuf>,

    /// Say what would be done, and do nothing. Whether the server takes the documents is not known then.
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// Open access to a target.
    Open(OpenOptions),
    /// List sessions, newest first.
    List(SessionListOptions),
    /// Show one.
    Show {
        /// Its identity.
        id: Uuid,
        #[command(flatten)]
        format: FormatOption,
    },
    /// Give it more time.
    Extend {
        /// Its identity.
        id: Uuid,
        /// From now: 90s, 8h, 1h 30m.
        #[arg(long = "for", value_name = "DURATION")]
        duration: Seconds,
        #[command(flatten)]
        format: FormatOption,
    },
    /// End your own.
    Close {
        /// Its identity.
        id: Uuid,
    },
    /// End other users' sessions: one, or all that are described.
    Kill(KillOptions),
}

#[derive(Debug, Args)]
pub(crate) struct OpenOptions {
    /// The target's name.
    pub(super) target: String,

    /// Why; some targets ask for it.
    #[arg(long)]
    pub(super) reason: Option<String>,

    /// For how long, 90s, 8h, 1h 30m; absent: as long as the target allows.
    #[arg(long = "for", value_name = "DURATION")]
    pub(super) duration: Option<Seconds>,

    /// From which of your devices; absent: the only one.
    #[arg(long, conflicts_with = "from")]
    pub(super) device: Option<String>,

    /// From which address inside the tunnel.
    #[arg(long, value_name = "IP")]
    pub(super) from: Option<IpAddr>,

    /// Wait, at most 30 seconds, until all routers let you through.
    #[arg(long)]
    pub(super) wait: bool,

    #[command(flatten)]
    pub(super) format: FormatOption,
}

#[derive(Debug, Args)]
pub(crate) struct SessionListOptions {
    /// Only those of this user.
    #[arg(long)]
    pub(super) user: Option<String>,

    /// Only those to this target.
    #[arg(long)]
    pub(super) target: Option<String>,

    /// Past ones too; else only what is ongoing.
    #[arg(long)]
    pub(super) all: bool,

    /// Past ones alone.
    #[arg(long, conflicts_with = "all")]
    pub(super) past: bool,

    #[command(flatten)]
    pub(super) format: FormatOption,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true))]
pub(crate) struct KillOptions {
    /// This one.
    #[arg(group = "which")]
    pub(super) id: Option<Uuid>,

    /// Those of this user.
    #[arg(long, group = "which")]
    pub(super) user: Option<String>,

    /// Those to this target.
    #[arg(long, group = "which")]
    pub(super) target: Option<String>,

    /// Those through this router.
    #[arg(long, group = "which")]
    pub(super) router: Option<String>,

    /// Those through this connector.
    #[arg(long, group = "which")]
    pub(super) connector: Option<String>,

    /// Why; the users see it, and the audit keeps it.
    #[arg(long)]
    pub(super) reason: String,

    /// Do not ask.
    #[arg(long)]
    pub(super) yes: bool,

    #[command(flatten)]
    pub(super) format: FormatOption,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// Make a key here, register its public half, print the tunnel's file for wg-quick and the WireGuard apps.
    Add(AddOptions),
    /// List devices.
    List(FormatOption),
    /// Take one away; sessions from it end.
    Remove {
        /// Its name.
        name: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AddOptions {
    /// What to call it.
    pub(super) name: String,

    /// Which router ends its tunnel; absent: the only one, or the embedded one.
    #[arg(long)]
    pub(super) router: Option<String>,

    /// What goes into the tunnel; absent: what your targets have.
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    pub(super) allowed_ips: Vec<IpNet>,

    /// A new file, readable by you alone; absent: standard output.
    #[arg(long, value_name = "FILE", conflicts_with = "qr")]
    pub(super) out: Option<PathBuf>,

    /// As a QR code, for the apps of phones.
    #[arg(long)]
    pub(super) qr: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FlowsOptions {
    /// How many, the newest.
    #[arg(short = 'n', value_name = "COUNT", default_value_t = 100)]
    pub(super) count: usize,

    /// Only those of this session.
    #[arg(long, value_name = "ID")]
    pub(super) session: Option<Uuid>,

    /// Only those of this user.
    #[arg(long)]
    pub(super) user: Option<String>,

    /// Only those of sessions to this target.
    #[arg(long)]
    pub(super) target: Option<String>,

    /// Only those that ended at this moment or later, 2026-11-28T08:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<jiff::Timestamp>,

    /// Only those that ended before.
    #[arg(long, value_name = "TIME")]
    pub(super) until: Option<jiff::Timestamp>,

    #[command(flatten)]
    pub(super) format: FormatOption,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Show the newest events, the newest last.
    Tail(TailOptions),
    /// Look whether the chain is whole.
    Verify,
}

#[derive(Debug, Args)]
pub(crate) struct TailOptions {
    /// How many.
    #[arg(short = 'n', value_name = "COUNT", default_value_t = 20)]
    pub(super) count: usize,

    /// Go on with what happens, until ended.
    #[arg(short, long)]
    pub(super) follow: bool,

    /// Only those by this user.
    #[arg(long)]
    pub(super) actor: Option<String>,

    /// Only those of this action: session-opened.
    #[arg(long)]
    pub(super) action: Option<String>,

    /// Only those about the object of this identity.
    #[arg(long, value_name = "ID")]
    pub(super) object: Option<Uuid>,

    /// Only those at this moment or later, 2026-11-28T08:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<jiff::Timestamp>,

    #[command(flatten)]
    pub(super) format: FormatOption,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token for a program, shown this once.
    Create {
        /// What to call it.
        name: String,
        /// For how long; absent: 90 days.
        #[arg(long = "for", value_name = "DURATION")]
        duration: Option<Seconds>,
        /// What for: read, sessions, objects, audit; absent: all that you may.
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
    },
    /// List yours, without themselves.
    List(FormatOption),
    /// Take one back.
    Revoke {
        /// Its identity.
        id: Uuid,
    },
}
