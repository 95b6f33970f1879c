//! A user's devices. Private keys are made here and go nowhere but into the tunnel's file.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use ipnet::IpNet;
use sluice_api::{AccessTarget, AddedDevice, NewDevice};
use sluice_runtime::entropy;
use sluice_runtime::host::failure::{Exit, Failure};
use wg_proto::PrivateKey;
use zeroize::Zeroizing;

use super::client::{Ask, Client};
use super::kind::Kind;
use super::objects;
use super::options::{AddOptions, DeviceCommand};
use super::output::say;
use crate::terminal::Terminal;

pub(super) async fn run(client: &Client, command: &DeviceCommand) -> Result<(), Failure> {
    match command {
        DeviceCommand::Add(options) => add(client, options).await,
        DeviceCommand::List(format) => objects::get(client, Kind::Device, None, format.output).await,
        DeviceCommand::Remove { name, yes } => objects::delete(client, Kind::Device, name, *yes).await,
    }
}

/// What could be wrong here is found before the server knows of the device.
async fn add(client: &Client, options: &AddOptions) -> Result<(), Failure> {
    let allowed = if options.allowed_ips.is_empty() {
        let targets: Vec<AccessTarget> = client.list("/api/v1/access", "", usize::MAX).await?;
        AccessTarget::prefixes_of(&targets)
    } else {
        options.allowed_ips.clone()
    };
    if allowed.is_empty() {
        return Err(Failure::new(Exit::Failed, "nothing would go into the tunnel")
            .because_text("no target is yours yet")
            .remedy("Say what does: --allowed-ips 10.20.0.0/16."));
    }
    let file = options.out.as_ref().map(|path| {
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        opened.map(|file| (path, file)).map_err(|error| {
            Failure::new(Exit::Failed, format!("cannot make {}", path.display())).because(&error)
        })
    });
    let file = file.transpose()?;
    let text = register(client, options, &allowed).await;
    match (file, text) {
        (Some((path, file)), Ok(text)) => write(file, &text).map_err(|error| {
            Failure::new(Exit::Failed, format!("cannot write {}", path.display())).because(&error)
        }),
        (Some((path, _)), Err(failure)) => {
            // It is empty: what went wrong is the other thing.
            let _ = fs::remove_file(path);
            Err(failure)
        }
        (None, Ok(text)) if options.qr => {
            Terminal::of_stdout(false).qr(&text);
            Ok(())
        }
        (None, Ok(text)) => say(&text),
        (None, Err(failure)) => Err(failure),
    }
}

fn write(mut file: File, text: &str) -> std::io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The tunnel's file of a device that the server now knows.
async fn register(
    client: &Client,
    options: &AddOptions,
    allowed: &[IpNet],
) -> Result<Zeroizing<String>, Failure> {
    let seed =
        entropy::seed().map_err(|error| Failure::of_system("the system gives no randomness", &error))?;
    let key = PrivateKey::from_bytes(seed);
    let request = NewDevice {
        name: options.name.clone(),
        user: None,
        router: options.router.clone(),
        public_key: key.public_key().to_string(),
        client_ip: None,
        needs_endpoint: true,
        id: None,
    };
    let added: AddedDevice = client.ask(Ask::post("/api/v1/devices").with(&request)?).await?;
    tunnel_file(&key.to_base64(), &added, allowed)
}

fn tunnel_file(key: &str, added: &AddedDevice, allowed: &[IpNet]) -> Result<Zeroizing<String>, Failure> {
    let spec = &added.device.spec;
    let wanting = |what: &str| {
        Failure::new(Exit::Failed, format!("the router {} has no {what} yet", spec.router)).remedy(format!(
            "An administrator must see to that; then: sluice device remove {}, and add it again.",
            spec.name
        ))
    };
    let router = added.router_public_key.as_ref().ok_or_else(|| wanting("public key"))?;
    let endpoint = added.endpoint.as_ref().ok_or_else(|| wanting("endpoint"))?;
    let allowed: Vec<_> = allowed.iter().map(ToString::to_string).collect();
    let address = IpNet::from(spec.client_ip);
    Ok(Zeroizing::new(format!(
        "\
[Interface]
PrivateKey = {key}
Address = {address}

[Peer]
PublicKey = {router}
Endpoint = {endpoint}
AllowedIPs = {}
PersistentKeepalive = 25
",
        allowed.join(", "),
    )))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use serde_json::json;

    use super::*;

    fn added(endpoint: Option<&str>) -> AddedDevice {
        let key = PrivateKey::from_bytes([7; 32]).public_key().to_string();
        let document = json!({
            "id": "018f0000-0000-7000-8000-000000000001", "version": 1, "author": "alice", "updated_by": "alice",
            "created": "2026-11-28T08:00:00Z", "updated": "2026-11-28T08:00:00Z", "name": "laptop", "user": "alice",
            "router": "embedded", "public_key": key, "client_ip": "10.77.0.2", "router_public_key": key,
            "endpoint": endpoint,
        });
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn the_file_is_one_that_the_built_in_client_takes() {
        let key = PrivateKey::from_bytes([9; 32]).to_base64();
        let allowed = ["10.20.0.0/16".parse().unwrap()];
        let text = tunnel_file(&key, &added(Some("gw.example.net:51820")), &allowed).unwrap();
        let file = crate::wg_quick::parse("laptop.conf".as_ref(), &text).unwrap();
        assert_eq!(file.interface.addresses, ["10.77.0.2".parse::<IpAddr>().unwrap()]);
        assert_eq!(file.peers[0].endpoint.as_ref().unwrap().to_string(), "gw.example.net:51820");
        assert!(file.left_aside.is_empty());
        assert!(tunnel_file(&key, &added(None), &allowed).unwrap_err().to_string().contains("endpoint"));
    }
}
