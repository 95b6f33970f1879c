//! The configuration files of all who take part, in a directory that only we can read and that goes with us.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sluice_runtime::host::failure::Failure;
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::cast::{self, Identity, Keys};

/// Virtual ports of the connector.
const WEB_PORT: u16 = 40_000;
const ECHO_PORT: u16 = 40_001;

/// The directory. Dropping it removes it.
pub(super) struct Papers {
    directory: TempDir,
}

impl Papers {
    /// An empty one of mode 0700.
    pub(super) fn new() -> Result<Self, Failure> {
        let directory = tempfile::Builder::new().prefix("sluice-demo-").tempdir();
        let directory = directory
            .map_err(|error| Failure::of_system("cannot make a directory for temporary files", &error))?;
        Ok(Self { directory })
    }

    /// Where a file of this name is.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes what the router runs, and returns where. The system chooses the port if it is 0.
    pub(super) fn router(&self, keys: &Keys, port: u16) -> Result<PathBuf, Failure> {
        self.write("router.key", &keys.router.to_base64())?;
        self.write("router.toml", &router(keys, port))
    }

    /// Writes what the connector runs, and returns where.
    pub(super) fn connector(
        &self,
        keys: &Keys,
        router: SocketAddr,
        devices: &Devices,
    ) -> Result<PathBuf, Failure> {
        self.write("connector.key", &keys.connector.to_base64())?;
        self.write("connector.toml", &connector(keys, router, devices))
    }

    /// Writes the tunnel's file of the built-in client, and returns where.
    pub(super) fn client(&self, keys: &Keys, router: SocketAddr) -> Result<PathBuf, Failure> {
        self.write("client.conf", &tunnel_file(&keys.client, cast::CLIENT, keys, router))
    }

    /// Writes the tunnel's file of whoever joins, and returns where and what it says.
    pub(super) fn guest(
        &self,
        keys: &Keys,
        router: SocketAddr,
    ) -> Result<(PathBuf, Zeroizing<String>), Failure> {
        let text = tunnel_file(&keys.guest, cast::GUEST, keys, router);
        Ok((self.write("guest.conf", &text)?, text))
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let path = self.path(name);
        create(&path, text)
            .map_err(|error| Failure::of_system(format!("cannot write {}", path.display()), &error))?;
        Ok(path)
    }
}

/// Where the devices really are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Devices {
    pub(super) web: SocketAddr,
    pub(super) echo: SocketAddr,
}

fn create(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

fn router(keys: &Keys, port: u16) -> String {
    format!(
        "\
[node]
name = \"demo-router\"
private_key_file = \"router.key\"
listen_port = {port}
addresses = [\"{router_address}\"]
admin_socket = \"router.sock\"
client_ip_pool = [\"10.77.0.0/24\"]
deny_signal = \"reset\"

[[client]]
name = \"built-in\"
public_key = \"{client}\"
addresses = [\"{client_address}\"]

[[client]]
name = \"guest\"
public_key = \"{guest}\"
addresses = [\"{guest_address}\"]

[[connector]]
name = \"site\"
public_key = \"{connector}\"
addresses = [\"{connector_address}\"]
dial = \"connector\"

[[target]]
name = \"{target}\"
src_nat = true
dst = [
  {{ selector = {{ ip = \"{device}\", proto = \"tcp\", port = {web} }}, nat = {{ connector = \"site\", port = {WEB_PORT} }} }},
  {{ selector = {{ ip = \"{device}\", proto = \"tcp\", port = {echo} }}, nat = {{ connector = \"site\", port = {ECHO_PORT} }} }},
]
",
        router_address = cast::ROUTER,
        client = keys.client.public(),
        client_address = cast::CLIENT,
        guest = keys.guest.public(),
        guest_address = cast::GUEST,
        connector = keys.connector.public(),
        connector_address = cast::CONNECTOR,
        target = cast::TARGET,
        device = cast::DEVICE,
        web = cast::WEB.port(),
        echo = cast::ECHO.port(),
    )
}

fn connector(keys: &Keys, router: SocketAddr, devices: &Devices) -> String {
    format!(
        "\
[node]
name = \"demo-connector\"
private_key_file = \"connector.key\"
listen_port = 0
addresses = [\"{connector_address}\"]
admin_socket = \"connector.sock\"

[sockets]

[[router]]
name = \"demo-router\"
public_key = \"{key}\"
addresses = [\"{router_address}\"]
dial = \"connector\"
endpoint = \"{router}\"

[[mapping]]
name = \"web\"
virtual_port = {WEB_PORT}
proto = \"tcp\"
device = \"{web_ip}\"
port = {web_port}

[[mapping]]
name = \"echo\"
virtual_port = {ECHO_PORT}
proto = \"tcp\"
device = \"{echo_ip}\"
port = {echo_port}
",
        connector_address = cast::CONNECTOR,
        key = keys.router.public(),
        router_address = cast::ROUTER,
        web_ip = devices.web.ip(),
        web_port = devices.web.port(),
        echo_ip = devices.echo.ip(),
        echo_port = devices.echo.port(),
    )
}

/// As wg-quick and the apps take it: nothing but the devices goes into the tunnel.
fn tunnel_file(
    own: &Identity,
    address: std::net::IpAddr,
    keys: &Keys,
    router: SocketAddr,
) -> Zeroizing<String> {
    let private = own.to_base64();
    Zeroizing::new(format!(
        "\
[Interface]
PrivateKey = {}
Address = {address}/32
MTU = 1420

[Peer]
PublicKey = {}
Endpoint = {router}
AllowedIPs = {}/32
PersistentKeepalive = 25
",
        *private,
        keys.router.public(),
        cast::DEVICE,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn keys() -> Keys {
        Keys::new().unwrap()
    }

    #[test]
    fn the_router_and_the_connector_take_their_files() {
        let (papers, keys) = (Papers::new().unwrap(), keys());
        let path = papers.router(&keys, 0).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        sluice_router::Checked::parse(&path, &text).unwrap();
        let here = "127.0.0.1:4000".parse().unwrap();
        let path = papers.connector(&keys, here, &Devices { web: here, echo: here }).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        sluice_connector::Checked::parse(&path, &text).unwrap();
    }

    #[test]
    fn the_clients_take_theirs_and_nobody_else_can_read_them() {
        let (papers, keys) = (Papers::new().unwrap(), keys());
        let router = "127.0.0.1:51820".parse().unwrap();
        let (guest, _) = papers.guest(&keys, router).unwrap();
        for (path, address) in [(papers.client(&keys, router).unwrap(), cast::CLIENT), (guest, cast::GUEST)] {
            let (text, _) = crate::wg_quick::read(&path).unwrap();
            let file = crate::wg_quick::parse(&path, &text).unwrap();
            assert_eq!(file.interface.addresses, [address]);
            assert_eq!(file.peers[0].endpoint.as_ref().unwrap().to_string(), "127.0.0.1:51820");
            assert!(file.left_aside.is_empty());
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        }
    }

    #[test]
    fn the_directory_goes_with_its_owner() {
        let papers = Papers::new().unwrap();
        let path = papers.client(&keys(), "127.0.0.1:1".parse().unwrap()).unwrap();
        assert!(path.exists());
        drop(papers);
        assert!(!path.parent().unwrap().exists());
    }
}
