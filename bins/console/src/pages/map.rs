//! The map: who is connected to what, as a drawing and as a table of the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use askama::Template;
use serde_json::Value;
use sluice_api::{DeviceSpec, Object, Page, SessionView, TargetSpec};

use crate::components::bytes;
use crate::pages::objects::plain;
use crate::pages::words;
use crate::shell::{Section, Shell, Shown, page};
use crate::trouble::Trouble;
use crate::visitor::Visitor;

/// Boxes of a column. What is live comes first; the rest is counted.
const BOXES_MAX: usize = 20;
const WIDTH: usize = 200;
const HEIGHT: usize = 46;
const STEP: usize = 60;
const TOP: usize = 40;
/// Where the columns begin.
const COLUMNS: [usize; 4] = [10, 320, 630, 940];

#[derive(Template)]
#[template(path = "map.html")]
struct MapPage {
    shell: Shell,
    height: usize,
    columns: Vec<(usize, &'static str)>,
    boxes: Vec<Drawn>,
    links: Vec<Link>,
    hidden: Vec<(usize, usize, String)>,
    rows: Vec<Row>,
    is_empty: bool,
}

/// A box as it is drawn.
struct Drawn {
    x: usize,
    y: usize,
    name: String,
    detail: String,
    path: String,
    class: &'static str,
}

struct Link {
    d: String,
    class: &'static str,
    title: String,
}

/// A session on its way, in the table.
struct Row {
    session: SessionView,
    device: String,
    routers: String,
    through: String,
    carried: String,
}

/// Something that has a box.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Node {
    Client(String),
    Router(String),
    Connector(String),
    Target(String),
}

struct Item {
    node: Node,
    detail: String,
    path: String,
    class: &'static str,
}

/// What passes between two.
#[derive(Default)]
struct Passing {
    sessions: usize,
    flows: u32,
}

/// Everything that is drawn.
struct Net {
    devices: Vec<Object<DeviceSpec>>,
    routers: Vec<Value>,
    router_states: Vec<Value>,
    connectors: Vec<Value>,
    connector_states: Vec<Value>,
    targets: Vec<Object<TargetSpec>>,
    sessions: Vec<SessionView>,
}

/// What goes from whom to whom.
type Ways = BTreeMap<(Node, Node), Passing>;

pub(crate) async fn show(visitor: Visitor) -> Shown {
    let net = Net::read(&visitor).await?;
    let ways = net.ways();
    let live: BTreeSet<&Node> = ways
        .iter()
        .filter(|(_, passing)| passing.sessions > 0)
        .flat_map(|((from, to), _)| [from, to])
        .collect();
    let mut drawing = Drawing::default();
    for (mut items, x) in net.columns().into_iter().zip(COLUMNS) {
        items.sort_by_cached_key(|item| (!live.contains(&item.node), item.node.clone()));
        drawing.column(items, x);
    }
    let mut links: Vec<Link> = ways.iter().filter_map(|(way, passing)| drawing.link(way, passing)).collect();
    // What is live is drawn over what is not.
    links.sort_by_key(|link| link.class.len());
    Ok(page(&MapPage {
        shell: visitor.shell(Section::Map, "Map"),
        height: drawing.height.max(TOP + STEP),
        columns: COLUMNS.into_iter().zip(["Clients", "Routers", "Connectors", "Targets"]).collect(),
        is_empty: net.devices.is_empty() && net.targets.is_empty() && net.connectors.is_empty(),
        rows: net.sessions.iter().map(|session| net.row(session)).collect(),
        boxes: drawing.boxes,
        links,
        hidden: drawing.hidden,
    }))
}

impl Net {
    async fn read(visitor: &Visitor) -> Result<Net, Trouble> {
        let call = &visitor.call;
        Ok(Net {
            devices: call.items("/api/v1/devices?limit=300").await?,
            routers: call.items("/api/v1/routers?limit=100").await?,
            router_states: call.items("/api/v1/state/routers?limit=100").await?,
            connectors: call.items("/api/v1/connectors?limit=100").await?,
            connector_states: call.items("/api/v1/state/connectors?limit=100").await?,
            targets: call.items("/api/v1/targets?limit=300").await?,
            sessions: call.get::<Page<_>>("/api/v1/sessions?ongoing=true&limit=300").await?.items,
        })
    }

    fn columns(&self) -> [Vec<Item>; 4] {
        [
            clients(&self.devices, &self.sessions),
            agents(&self.routers, &self.router_states, "routers", Node::Router),
            agents(&self.connectors, &self.connector_states, "connectors", Node::Connector),
            self.targets.iter().map(target_item).collect(),
        ]
    }

    fn ways(&self) -> Ways {
        let mut ways = self.ways_that_are_there();
        for session in &self.sessions {
            for at in &session.routers {
                for way in steps(session, &at.router) {
                    let passing = ways.entry(way).or_default();
                    passing.sessions += 1;
                    passing.flows += session.traffic.flows;
                }
            }
        }
        ways
    }

    /// Whether or not anything is open on them.
    fn ways_that_are_there(&self) -> Ways {
        let mut ways = Ways::new();
        for DeviceSpec { client_ip, router, .. } in self.devices.iter().map(|device| &device.spec) {
            ways.entry((Node::Client(client_ip.to_string()), Node::Router(router.clone()))).or_default();
        }
        for target in self.targets.iter().map(|target| &target.spec) {
            for connector in through(target) {
                ways.entry((Node::Connector(connector), Node::Target(target.name.clone()))).or_default();
            }
        }
        for router in self.routers.iter().filter(|router| router["kind"] == "embedded") {
            for connector in &self.connectors {
                let way = (Node::Router(plain(&router["name"])), Node::Connector(plain(&connector["name"])));
                ways.entry(way).or_default();
            }
        }
        ways
    }

    fn row(&self, session: &SessionView) -> Row {
        let device = self.devices.iter().find(|device| device.spec.client_ip == session.client_ip);
        Row {
            device: device.map_or_else(|| "external client".to_owned(), |device| device.spec.name.clone()),
            routers: session.routers.iter().map(|at| at.router.clone()).collect::<Vec<_>>().join(", "),
            through: through(&session.target).into_iter().collect::<Vec<_>>().join(", "),
            carried: format!(
                "{} out, {} in",
                bytes(session.traffic.bytes_out),
                bytes(session.traffic.bytes_in)
            ),
            session: session.clone(),
        }
    }
}

/// The boxes that have been placed.
#[derive(Default)]
struct Drawing {
    boxes: Vec<Drawn>,
    places: HashMap<Node, (usize, usize)>,
    hidden: Vec<(usize, usize, String)>,
    height: usize,
}

impl Drawing {
    /// Places as many of a column as there is room for.
    fn column(&mut self, items: Vec<Item>, x: usize) {
        let count = items.len();
        for (place, item) in items.into_iter().take(BOXES_MAX).enumerate() {
            let y = TOP + place * STEP;
            self.height = self.height.max(y + STEP);
            let (Node::Client(name) | Node::Router(name) | Node::Connector(name) | Node::Target(name)) =
                &item.node;
            let (name, detail) = (cut(name, 24), cut(&item.detail, 32));
            self.boxes.push(Drawn { x, y, name, detail, path: item.path, class: item.class });
            self.places.insert(item.node, (x, y));
        }
        if count > BOXES_MAX {
            let y = TOP + BOXES_MAX * STEP + 12;
            self.hidden.push((x, y, format!("and {} more", count - BOXES_MAX)));
            self.height = self.height.max(y + 20);
        }
    }

    /// A line between two that have been placed.
    fn link(&self, (from, to): &(Node, Node), passing: &Passing) -> Option<Link> {
        let ((x1, y1), (x2, y2)) = (*self.places.get(from)?, *self.places.get(to)?);
        let (x1, y1, y2) = (x1 + WIDTH, y1 + HEIGHT / 2, y2 + HEIGHT / 2);
        let bend = x2.saturating_sub(x1) / 2;
        Some(Link {
            d: format!("M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}", x1 + bend, x2 - bend),
            class: match (passing.sessions, passing.flows) {
                (0, _) => "link",
                (_, 0) => "link live",
                (_, _) => "link live carries",
            },
            title: format!("{} sessions, {} connections", passing.sessions, passing.flows),
        })
    }
}

/// What a session's packets take through one router.
fn steps(session: &SessionView, router: &str) -> Vec<(Node, Node)> {
    let (router, target) = (Node::Router(router.to_owned()), Node::Target(session.target.name.clone()));
    let mut steps = vec![(Node::Client(session.client_ip.to_string()), router.clone())];
    if session.target.dst.iter().any(|destination| words::connector_of(destination).is_none()) {
        steps.push((router.clone(), target.clone()));
    }
    for name in through(&session.target) {
        steps.push((router.clone(), Node::Connector(name.clone())));
        steps.push((Node::Connector(name), target.clone()));
    }
    steps
}

fn target_item(target: &Object<TargetSpec>) -> Item {
    Item {
        node: Node::Target(target.spec.name.clone()),
        detail: target.spec.dst.first().map(words::matched).unwrap_or_default(),
        path: format!("/targets/{}", target.id),
        class: if target.spec.disabled { "down" } else { "" },
    }
}

fn clients(devices: &[Object<DeviceSpec>], sessions: &[SessionView]) -> Vec<Item> {
    let mut items: Vec<Item> = devices
        .iter()
        .map(|device| Item {
            node: Node::Client(device.spec.client_ip.to_string()),
            detail: format!("{} of {}", device.spec.name, device.spec.user),
            path: format!("/sessions?client_ip={}", device.spec.client_ip),
            class: "",
        })
        .collect();
    for session in sessions {
        let node = Node::Client(session.client_ip.to_string());
        if items.iter().all(|item| item.node != node) {
            let path = format!("/sessions?client_ip={}", session.client_ip);
            items.push(Item { node, detail: format!("{}, another VPN", session.user), path, class: "" });
        }
    }
    items
}

fn agents(objects: &[Value], states: &[Value], kind: &str, node: fn(String) -> Node) -> Vec<Item> {
    let item = |object: &Value| {
        let state = states.iter().find(|state| state["name"] == object["name"]);
        let is_up = state.is_some_and(|state| state["connected"] == true);
        let more =
            if object["site"].is_string() { plain(&object["site"]) } else { plain(&object["endpoint"]) };
        Item {
            node: node(plain(&object["name"])),
            detail: format!(
                "{}{}{more}",
                if is_up { "connected" } else { "not connected" },
                if more.is_empty() { "" } else { " · " }
            ),
            path: format!("/{kind}/{}", plain(&object["id"])),
            class: if is_up { "up" } else { "down" },
        }
    };
    objects.iter().map(item).collect()
}

/// The connectors that a target's packets go through.
fn through(target: &TargetSpec) -> BTreeSet<String> {
    target.dst.iter().filter_map(words::connector_of).map(str::to_owned).collect()
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        text.to_owned()
    } else {
        text.chars().take(most - 1).chain(['…']).collect()
    }
}
