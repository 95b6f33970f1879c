//! My devices: added, listed, removed. A device's private key is made in the browser, and no request carries it.

use std::net::IpAddr;

use askama::Template;
use axum::response::Response;
use http::Method;
use ipnet::IpNet;
use serde_json::json;
use sluice_api::{AccessTarget, AddedDevice, DeviceSpec, DeviceState, Object, Page, SessionView, UserSpec};
use uuid::Uuid;

use crate::api::with_query;
use crate::components::Moment;
use crate::form::{Field, Form};
use crate::posted::Posted;
use crate::shell::{Section, Shell, Shown, onward, page};
use crate::trouble::Trouble;
use crate::visitor::Visitor;

#[derive(Template)]
#[template(path = "devices.html")]
struct DevicesPage {
    shell: Shell,
    devices: Vec<Row>,
}

struct Row {
    device: Object<DeviceSpec>,
    added: Moment,
    heard: Option<Moment>,
}

#[derive(Template)]
#[template(path = "device_new.html")]
struct NewPage {
    shell: Shell,
    form: Form,
}

#[derive(Template)]
#[template(path = "device_added.html")]
struct AddedPage {
    shell: Shell,
    device: DeviceSpec,
    /// Its configuration but for the private key, which stands where the browser keeps it.
    configuration: Option<Configuration>,
    /// What the router has not got yet.
    missing: &'static str,
}

struct Configuration {
    before_key: String,
    after_key: String,
}

#[derive(Template)]
#[template(path = "device_remove.html")]
struct RemovePage {
    shell: Shell,
    device: Object<DeviceSpec>,
    sessions: Vec<SessionView>,
    error: Option<String>,
}

/// The visitor's own devices: whoever looks after others sees theirs too, elsewhere.
pub(crate) async fn own(visitor: &Visitor) -> Result<Vec<Object<DeviceSpec>>, Trouble> {
    let user = visitor.who.user.as_str();
    let naming = if visitor.sees_all() {
        let found = visitor
            .call
            .items::<Object<UserSpec>>(&with_query("/api/v1/users", [("text", user), ("limit", "1000")]))
            .await?;
        found.into_iter().find(|found| found.spec.name == user).map(|found| found.id.to_string())
    } else {
        None
    };
    let path =
        with_query("/api/v1/devices", [("naming", naming.as_deref().unwrap_or_default()), ("limit", "100")]);
    let devices = visitor.call.items::<Object<DeviceSpec>>(&path).await?;
    Ok(devices.into_iter().filter(|device| device.spec.user == user).collect())
}

pub(crate) async fn show(visitor: Visitor) -> Shown {
    let devices = own(&visitor).await?;
    let states = visitor.call.items::<DeviceState>("/api/v1/state/devices?limit=1000").await?;
    let row = |device: Object<DeviceSpec>| {
        let state = states.iter().find(|state| state.client_ip == device.spec.client_ip);
        let heard = state.and_then(|state| state.heard).map(Moment::ago);
        Row { added: Moment::at(device.created), heard, device }
    };
    let devices = devices.into_iter().map(row).collect();
    Ok(page(&DevicesPage { shell: visitor.shell(Section::Devices, "My devices"), devices }))
}

pub(crate) async fn new(visitor: Visitor) -> Response {
    new_with(&visitor, form())
}

pub(crate) async fn add(visitor: Visitor, posted: Posted) -> Shown {
    let form = form().posted(&posted);
    let added = match visitor.call.post::<AddedDevice>("/api/v1/devices", &form.document(json!({}))).await {
        Ok(added) => added,
        Err(Trouble::Problem(problem)) => return Ok(new_with(&visitor, form.blame(&problem))),
        Err(trouble) => return Err(trouble),
    };
    let targets = visitor.call.items::<AccessTarget>("/api/v1/access").await?;
    let (configuration, missing) = match (&added.router_public_key, &added.endpoint) {
        (Some(key), Some(endpoint)) => (Some(configuration(&added.device.spec, key, endpoint, &targets)), ""),
        (None, Some(_)) => (None, "public key"),
        (Some(_) | None, None) => (None, "endpoint"),
    };
    let shell = visitor.shell(Section::Devices, "Device added");
    Ok(page(&AddedPage { shell, device: added.device.spec, configuration, missing }))
}

pub(crate) async fn ask_remove(visitor: Visitor) -> Shown {
    remove_with(&visitor, visitor.query.text("id"), None).await
}

pub(crate) async fn remove(visitor: Visitor, posted: Posted) -> Shown {
    let id: Uuid = posted.text("id").parse().map_err(|_| Trouble::Failed("a form without its device"))?;
    match visitor.call.ask(Method::DELETE, &format!("/api/v1/devices/{id}"), None::<&()>, None).await {
        Ok(_) => Ok(onward("/devices", "removed")),
        Err(Trouble::Problem(problem)) => {
            remove_with(&visitor, posted.text("id"), Some(problem.detail)).await
        }
        Err(trouble) => Err(trouble),
    }
}

async fn remove_with(visitor: &Visitor, id: &str, error: Option<String>) -> Shown {
    let id: Uuid = id.parse().map_err(|_| Trouble::Failed("an address without its device"))?;
    let device = visitor.call.get::<Object<DeviceSpec>>(&format!("/api/v1/devices/{id}")).await?;
    let address = device.spec.client_ip.to_string();
    let path = with_query("/api/v1/sessions", [("client_ip", address.as_str()), ("ongoing", "true")]);
    let sessions = visitor.call.get::<Page<SessionView>>(&path).await?.items;
    let shell = visitor.shell(Section::Devices, "Remove a device");
    Ok(page(&RemovePage { shell, device, sessions, error }))
}

fn new_with(visitor: &Visitor, form: Form) -> Response {
    page(&NewPage { shell: visitor.shell(Section::Devices, "Add a device"), form })
}

fn form() -> Form {
    Form::of(vec![
        Field::text("/name", "What to call it").required().hint("laptop, phone, …"),
        Field::text("/public_key", "WireGuard public key")
            .required()
            .hint("Of a key pair that you have made: wg genkey | tee key | wg pubkey"),
    ])
}

/// What a WireGuard app takes.
fn configuration(
    device: &DeviceSpec,
    router_key: &str,
    endpoint: &str,
    targets: &[AccessTarget],
) -> Configuration {
    let allowed = needed(targets, device.client_ip).iter().map(ToString::to_string).collect::<Vec<_>>();
    let address = IpNet::from(device.client_ip);
    Configuration {
        before_key: "[Interface]\nPrivateKey = ".to_owned(),
        after_key: format!(
            "\nAddress = {address}\n\n[Peer]\nPublicKey = {router_key}\nEndpoint = {endpoint}\nAllowedIPs = {}\nPersistentKeepalive = 25\n",
            allowed.join(", ")
        ),
    }
}

/// What goes into the tunnel: where the targets are; while there are none, nothing but the device's own address.
fn needed(targets: &[AccessTarget], own: IpAddr) -> Vec<IpNet> {
    let found = AccessTarget::prefixes_of(targets);
    if found.is_empty() { vec![IpNet::from(own)] } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_carries_at_least_the_devices_own_address() {
        assert_eq!(needed(&[], [10, 77, 0, 2].into()), ["10.77.0.2/32".parse::<IpNet>().unwrap()]);
    }
}
