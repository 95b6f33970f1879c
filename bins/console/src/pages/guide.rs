//! The first steps: what must be there before anybody reaches anything, and what of it is.

use askama::Template;
use sluice_api::{ConnectorState, Object, RoleSpec, TargetSpec, UserSpec};

use crate::pages::devices;
use crate::shell::{Section, Shell, Shown, page};
use crate::visitor::Visitor;

#[derive(Template)]
#[template(path = "guide.html")]
struct GuidePage {
    shell: Shell,
    steps: Vec<Step>,
    is_done: bool,
}

struct Step {
    name: &'static str,
    why: &'static str,
    is_done: bool,
    done: String,
    path: &'static str,
    verb: &'static str,
}

pub(crate) async fn show(visitor: Visitor) -> Shown {
    let call = &visitor.call;
    let connectors = call.items::<ConnectorState>("/api/v1/state/connectors?limit=100").await?;
    let connected = connectors.iter().filter(|connector| connector.connected).count();
    let roles = call.items::<Object<RoleSpec>>("/api/v1/roles?limit=2").await?.len();
    let targets = call.items::<Object<TargetSpec>>("/api/v1/targets?limit=100").await?;
    let users = call.items::<Object<UserSpec>>("/api/v1/users?limit=100").await?;
    let with_role = users.iter().filter(|user| !user.spec.roles.is_empty()).count();
    let devices = devices::own(&visitor).await?.len();
    let steps = vec![
        Step {
            name: "Connect a network",
            why: "A connector is a small program in a network that cannot be reached otherwise. It dials out: no port is opened there. Not needed for what this server reaches by itself.",
            is_done: connected > 0,
            done: format!("{connected} of {} connected", connectors.len()),
            path: "/connectors/new",
            verb: "Add a connector",
        },
        Step {
            name: "Make a role",
            why: "People have roles; targets ask for one.",
            is_done: roles > 0,
            done: "There is one".to_owned(),
            path: "/roles/new",
            verb: "Make a role",
        },
        Step {
            name: "Add a target",
            why: "What is to be reached: addresses and ports, for which roles, on what conditions.",
            is_done: !targets.is_empty(),
            done: "There is one".to_owned(),
            path: "/targets/new",
            verb: "Add a target",
        },
        Step {
            name: "Give somebody the role",
            why: "Yourself, to try it.",
            is_done: with_role > 0,
            done: format!("{with_role} have one"),
            path: "/users",
            verb: "To the users",
        },
        Step {
            name: "Add your device",
            why: "Any WireGuard app. Then open the target under My access, and use it.",
            is_done: devices > 0,
            done: format!("{devices} added"),
            path: "/devices/new",
            verb: "Add a device",
        },
    ];
    let is_done = steps.iter().all(|step| step.is_done);
    Ok(page(&GuidePage { shell: visitor.shell(Section::Guide, "First steps"), steps, is_done }))
}
