//! `init`: everything that `run` needs, made once.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use sluice_runtime::entropy;
use sluice_runtime::host::failure::{Exit, Failure};
use wg_proto::PrivateKey;
use zeroize::Zeroizing;

use crate::cli::InitOptions;

/// The name of the configuration file.
pub(crate) const FILE: &str = "server.toml";
const KEY: &str = "server.key";

/// Makes directory, key and configuration. The rest, store and certificate, is made by whoever opens them.
pub(crate) fn files(options: &InitOptions) -> Result<(), Failure> {
    let directory = &options.directory;
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|error| {
        Failure::of_system(format!("cannot make the directory {}", directory.display()), &error)
    })?;
    let file = directory.join(FILE);
    if file.exists() {
        let what = format!("{} is there already", file.display());
        return Err(Failure::new(Exit::Failed, what).remedy(
            "Run it, or give init another directory. For a new administrator: sluice-server admin-token.",
        ));
    }
    let seed =
        entropy::seed().map_err(|error| Failure::of_system("the system gives no randomness", &error))?;
    let key = Zeroizing::new(PrivateKey::from_bytes(*Zeroizing::new(seed)).to_base64());
    write_new(&directory.join(KEY), &key)?;
    write_new(&file, &configuration(options))
}

/// Readable by its owner only, and nothing is overwritten.
fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let written =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
            writeln!(file, "{text}")?;
            file.sync_all()
        });
    written.map_err(|error| Failure::of_system(format!("cannot write {}", path.display()), &error))
}

fn configuration(options: &InitOptions) -> String {
    let InitOptions { https, listen_port, endpoint, .. } = options;
    let endpoint = match endpoint {
        Some(endpoint) => format!("endpoint = {endpoint:?}"),
        None => "# endpoint = \"gw.example.net:51820\"".to_owned(),
    };
    format!(
        "\
# The control plane and its embedded router. What administrators change is in the store, not here.
#   sluice-server run --config {FILE}

[server]
store = \"sqlite:sluice.db\"                  # or postgres://sluice@db.example.net/sluice
https = \"{https}\"                     # API and console
# host_names = [\"access.example.net\"]       # names that browsers use for it
# tls_certificate = \"fullchain.pem\"         # else one is made, and its fingerprint printed
# tls_key = \"privkey.pem\"                   # mode 0600
client_ip_pool = [\"10.77.0.0/16\"]           # clients of the embedded router
{endpoint}               # where clients find it
overlay = [\"10.99.0.0/16\"]                  # connectors and further routers get addresses from here
# allowed_addresses = [\"127.0.0.0/8\"]       # reserved ones that targets may lead to all the same

[node]
name = \"embedded\"
private_key_file = \"{KEY}\"
listen_port = {listen_port}
addresses = [\"10.99.0.1\"]                   # our own, inside the tunnels
admin_socket = \"server.sock\"

# [operations]
# metrics = \"127.0.0.1:9586\"                # for Prometheus

# [audit]
# syslog = \"udp://192.0.2.1:514\"            # or tcp://, unix:///dev/log
# file = \"audit.jsonl\"

[sockets]                                   # how targets that are behind no connector are reached: by ordinary connections
"
    )
}
