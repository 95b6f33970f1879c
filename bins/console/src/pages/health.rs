//! Health and settings: what is connected, what is not, and how it is set up.

use askama::Template;
use serde_json::Value;
use sluice_api::{Page, SessionView};

use crate::components::Badge;
use crate::pages::objects::{connector_badge, plain, router_badge};
use crate::shell::{Section, Shell, Shown, page};
use crate::visitor::Visitor;

/// More than these are not counted.
const COUNTED: usize = 1000;

#[derive(Template)]
#[template(path = "health.html")]
struct HealthPage {
    shell: Shell,
    ready: bool,
    counts: Vec<(String, &'static str, &'static str)>,
    routers: Vec<Agent>,
    connectors: Vec<Agent>,
}

struct Agent {
    id: String,
    name: String,
    badge: Badge,
    settings: Vec<(&'static str, String)>,
    problem: String,
}

pub(crate) async fn show(visitor: Visitor) -> Shown {
    let call = &visitor.call;
    let ready = call.find::<Value>("/readyz").await.is_ok_and(|ready| ready.is_some());
    let routers = call.items::<Value>("/api/v1/routers?limit=200").await?;
    let router_states = call.items::<Value>("/api/v1/state/routers?limit=200").await?;
    let connectors = call.items::<Value>("/api/v1/connectors?limit=200").await?;
    let connector_states = call.items::<Value>("/api/v1/state/connectors?limit=200").await?;
    let sessions = call.get::<Page<SessionView>>("/api/v1/sessions?ongoing=true&limit=1000").await?;
    let state_of = |states: &[Value], object: &Value| {
        states.iter().find(|state| state["name"] == object["name"]).cloned().unwrap_or_default()
    };
    let routers: Vec<Agent> = routers
        .iter()
        .map(|router| {
            let state = state_of(&router_states, router);
            agent(
                router,
                &state,
                router_badge(router, &state),
                &[
                    ("Found at", "endpoint"),
                    ("Clients", "client_ip_pool"),
                    ("Own addresses", "addresses"),
                    ("Software", "software"),
                ],
            )
        })
        .collect();
    let connectors: Vec<Agent> = connectors
        .iter()
        .map(|connector| {
            let state = state_of(&connector_states, connector);
            agent(
                connector,
                &state,
                connector_badge(&state),
                &[
                    ("Site", "site"),
                    ("Who dials", "dial"),
                    ("Own addresses", "addresses"),
                    ("Software", "software"),
                ],
            )
        })
        .collect();
    let open = sessions.items.len();
    let open = if open >= COUNTED { format!("{COUNTED}+") } else { open.to_string() };
    let flows: u64 = sessions.items.iter().map(|session| u64::from(session.traffic.flows)).sum();
    let counts = vec![
        (open, "sessions open", "/sessions"),
        (flows.to_string(), "connections in them", "/map"),
        (up(&router_states), "routers connected", "/routers"),
        (up(&connector_states), "connectors connected", "/connectors"),
    ];
    Ok(page(&HealthPage {
        shell: visitor.shell(Section::Health, "Health"),
        ready,
        counts,
        routers,
        connectors,
    }))
}

fn up(states: &[Value]) -> String {
    let connected = states.iter().filter(|state| state["connected"] == true).count();
    format!("{connected} of {}", states.len())
}

fn agent(object: &Value, state: &Value, badge: Badge, settings: &[(&'static str, &str)]) -> Agent {
    let said = |field: &str| {
        let value = if object[field].is_null() { &state[field] } else { &object[field] };
        match value.as_array() {
            Some(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
            None => plain(value),
        }
    };
    Agent {
        id: plain(&object["id"]),
        name: plain(&object["name"]),
        badge,
        settings: settings
            .iter()
            .map(|(word, field)| (*word, said(field)))
            .filter(|(_, said)| !said.is_empty())
            .collect(),
        problem: plain(&state["problem"]),
    }
}
