//! Objects of the kinds that a plain form shows: listed, looked at, made, changed, removed. Targets have pages of their own.

use std::collections::HashMap;

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use http::Method;
use serde_json::{Value, json};
use sluice_api::{Page, Problem, Right, SessionView};
use uuid::Uuid;

use crate::Console;
use crate::api::with_query;
use crate::components::{Badge, Moment, Tone};
use crate::form::{Field, Form, Input};
use crate::posted::Posted;
use crate::shell::{Section, Shell, Shown, onward, page};
use crate::trouble::Trouble;
use crate::visitor::Visitor;

/// Rows of a page.
const ROWS: &str = "50";
/// Names that can be chosen in a form, of each kind.
const NAMES_MAX: &str = "500";

/// A kind of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Targets,
    Connectors,
    Mappings,
    Routers,
    Users,
    Roles,
    Tenants,
}

/// A cell of a list.
pub(crate) enum Cell {
    Text(String),
    Code(String),
    Tags(Vec<String>),
    Badge(Badge),
    Moment(Moment),
    Nothing,
}

/// A row of a list.
pub(crate) struct Row {
    id: String,
    name: String,
    detail: String,
    cells: Vec<(&'static str, Cell)>,
}

#[derive(Template)]
#[template(path = "objects.html")]
struct ListPage {
    shell: Shell,
    kind: Kind,
    text: String,
    columns: Vec<&'static str>,
    rows: Vec<Row>,
    next: Option<String>,
    may_make: bool,
}

#[derive(Template)]
#[template(path = "object.html")]
struct ObjectPage {
    shell: Shell,
    kind: Kind,
    /// `None`: it is being made.
    about: Option<About>,
    form: Form,
    may_change: bool,
}

/// What stands beside an object's form.
struct About {
    id: String,
    name: String,
    /// Where all of its sessions are ended, if it has any.
    end: String,
    version: u64,
    created: Moment,
    author: String,
    updated: Moment,
    updated_by: String,
    facts: Vec<(&'static str, Cell)>,
    users: Vec<Used>,
}

/// Who names an object.
struct Used {
    kind: Kind,
    id: String,
    name: String,
}

#[derive(Template)]
#[template(path = "object_remove.html")]
struct RemovePage {
    shell: Shell,
    kind: Kind,
    id: String,
    name: String,
    users: Vec<Used>,
    sessions: Vec<SessionView>,
    error: Option<String>,
}

impl Kind {
    pub(crate) const ALL: [Kind; 7] = [
        Kind::Targets,
        Kind::Connectors,
        Kind::Mappings,
        Kind::Routers,
        Kind::Users,
        Kind::Roles,
        Kind::Tenants,
    ];

    /// In paths, of the API's and of ours.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Kind::Targets => "targets",
            Kind::Connectors => "connectors",
            Kind::Mappings => "mappings",
            Kind::Routers => "routers",
            Kind::Users => "users",
            Kind::Roles => "roles",
            Kind::Tenants => "tenants",
        }
    }

    /// Of all of them.
    fn title(self) -> &'static str {
        match self {
            Kind::Targets => "Targets",
            Kind::Connectors => "Connectors",
            Kind::Mappings => "Mappings",
            Kind::Routers => "Routers",
            Kind::Users => "Users",
            Kind::Roles => "Roles",
            Kind::Tenants => "Tenants",
        }
    }

    /// Of one.
    pub(crate) fn one(self) -> &'static str {
        match self {
            Kind::Targets => "target",
            Kind::Connectors => "connector",
            Kind::Mappings => "mapping",
            Kind::Routers => "router",
            Kind::Users => "user",
            Kind::Roles => "role",
            Kind::Tenants => "tenant",
        }
    }

    pub(crate) fn section(self) -> Section {
        match self {
            Kind::Targets => Section::Targets,
            Kind::Connectors => Section::Connectors,
            Kind::Mappings => Section::Mappings,
            Kind::Routers => Section::Routers,
            Kind::Users => Section::Users,
            Kind::Roles => Section::Roles,
            Kind::Tenants => Section::Tenants,
        }
    }

    /// What it is for: an empty list says it.
    fn lesson(self) -> &'static str {
        match self {
            Kind::Targets => {
                "A target is what can be reached: addresses and ports, for whom, on what conditions. Users see those that their roles open, under My access."
            }
            Kind::Connectors => {
                "A connector is a small program in a network that cannot be reached otherwise. It holds one tunnel to the server and reaches devices there; no port is opened in its network."
            }
            Kind::Mappings => {
                "A mapping gives a device behind a connector a virtual port. Targets that name a device as connector/address get theirs by themselves; here you see and name them."
            }
            Kind::Routers => {
                "Routers end the tunnels of clients and enforce the rules. One is in the server's own process; further ones stand near the clients or the devices."
            }
            Kind::Users => {
                "A user logs in, adds devices, and opens what their roles open. What they may change in this console is their right."
            }
            Kind::Roles => {
                "People have roles; targets ask for one. Give roles the names of jobs: database administrators, plant technicians."
            }
            Kind::Tenants => {
                "A tenant is an organisation of its own: its administrators see only what is theirs, and its networks may use the same addresses as another's."
            }
        }
    }

    fn may_change(self, visitor: &Visitor) -> bool {
        match self {
            Kind::Routers | Kind::Tenants => visitor.administers_installation(),
            Kind::Targets | Kind::Connectors | Kind::Mappings | Kind::Users | Kind::Roles => {
                visitor.administers()
            }
        }
    }

    /// What says how its objects are, beside what they are.
    fn states(self) -> Option<&'static str> {
        match self {
            Kind::Connectors => Some("/api/v1/state/connectors"),
            Kind::Routers => Some("/api/v1/state/routers"),
            Kind::Mappings => Some("/api/v1/state/mappings"),
            Kind::Targets | Kind::Users | Kind::Roles | Kind::Tenants => None,
        }
    }

    fn columns(self) -> &'static [&'static str] {
        match self {
            Kind::Targets => &["Reaches", "Roles", "State", "Tenant"],
            Kind::Connectors => &["State", "Site", "Who dials", "Last heard", "Tenant"],
            Kind::Mappings => &["Connector", "Virtual port", "Device", "Last used"],
            Kind::Routers => &["State", "Client IP pool", "Rules", "Last heard"],
            Kind::Users => &["Right", "Roles", "State", "Tenant"],
            Kind::Roles => &["Tenant", "Comment"],
            Kind::Tenants => &["Comment"],
        }
    }

    fn cell(self, column: &str, object: &Value, state: &Value) -> Cell {
        match (self, column) {
            (Kind::Targets, "Reaches") => reaches(object),
            (Kind::Targets | Kind::Users, "Roles") => Cell::Tags(names(&object["roles"])),
            (Kind::Targets, "State") if object["disabled"] == true => {
                Cell::Badge(Badge::new(Tone::Quiet, "switched off"))
            }
            (Kind::Targets, "State") => Cell::Badge(Badge::new(Tone::Good, "on")),
            (Kind::Users, "State") if object["disabled"] == true => {
                Cell::Badge(Badge::new(Tone::Bad, "locked out"))
            }
            (Kind::Users, "State") => Cell::Badge(Badge::new(Tone::Good, "active")),
            (Kind::Connectors, "State") => Cell::Badge(connector_badge(state)),
            (Kind::Routers, "State") => Cell::Badge(router_badge(object, state)),
            (Kind::Connectors, "Site") => text(&object["site"]),
            (Kind::Connectors, "Who dials") if object["dial"] == "server" => {
                Cell::Text("the server".to_owned())
            }
            (Kind::Connectors, "Who dials") => Cell::Text("the connector".to_owned()),
            (Kind::Connectors | Kind::Routers, "Last heard") => ago(&state["heard"]),
            (Kind::Mappings, "Connector") => text(&object["connector"]),
            (Kind::Mappings, "Virtual port") => code(&object["virtual_port"]),
            (Kind::Mappings, "Device") => Cell::Code(format!(
                "{} {} {}",
                plain(&object["device"]),
                plain(&object["proto"]),
                plain(&object["port"])
            )),
            (Kind::Mappings, "Last used") => ago(&state["last_used"]),
            (Kind::Routers, "Client IP pool") => Cell::Tags(names(&object["client_ip_pool"])),
            (Kind::Routers, "Rules") => generations(state),
            (Kind::Users, "Right") => Cell::Text(plain(&object["right"]).replace('-', " ")),
            (_, "Tenant") => text(&object["tenant"]),
            (_, "Comment") => text(&object["comment"]),
            _ => Cell::Nothing,
        }
    }

    /// What stands below the name in a list.
    fn detail(self, object: &Value) -> String {
        match self {
            Kind::Users => plain(&object["full_name"]),
            Kind::Targets | Kind::Connectors | Kind::Mappings | Kind::Routers => plain(&object["comment"]),
            Kind::Roles | Kind::Tenants => String::new(),
        }
    }

    fn fields(self, choices: &Choices) -> Vec<Field> {
        let comment = || Field::new("/comment", "Comment", Input::Area).hint("For administrators.");
        let name = |hint| Field::text("/name", "Name").required().hint(hint);
        match self {
            Kind::Targets => Vec::new(),
            Kind::Tenants => vec![name("Of the organisation."), comment()],
            Kind::Roles => vec![name("Of a job: database administrators."), choices.tenant(), comment()],
            Kind::Users => vec![
                name("They log in with it."),
                Field::text("/full_name", "Full name"),
                Field::new("/roles", "Roles", Input::Names(choices.roles.clone())).hint("They open targets."),
                Field::new("/right", "Right", Input::Choice(choices.rights.clone()))
                    .hint("What they may see and change in this console. No right opens a target; roles do."),
                choices.tenant(),
                Field::new("/disabled", "Locked out", Input::Flag)
                    .hint("They cannot log in, and everything they have open ends."),
                comment(),
            ],
            Kind::Connectors => vec![
                name("Targets name it: name/10.0.0.30."),
                Field::text("/site", "Site")
                    .required()
                    .hint("Connectors of one site stand in for each other."),
                choices.tenant(),
                Field::new(
                    "/dial",
                    "Who dials",
                    Input::Choice(vec![
                        ("connector".to_owned(), "The connector dials the server (inbound)".to_owned()),
                        ("server".to_owned(), "The server dials the connector (outbound)".to_owned()),
                    ]),
                )
                .hint("Mostly the connector: then no port is opened in its network."),
                Field::text("/endpoint", "Where the server finds it")
                    .hint("If the server dials: 203.0.113.9:51820"),
                comment(),
            ],
            Kind::Mappings => vec![
                name("Of the device's service."),
                Field::new("/connector", "Connector", Input::Choice(choices.connectors.clone())).required(),
                Field::text("/device", "Device").required().hint("Its address in the connector's network."),
                Field::new("/port", "Port", Input::Number).required().hint("Of the service on the device."),
                Field::new(
                    "/proto",
                    "Protocol",
                    Input::Choice(vec![
                        ("tcp".to_owned(), "TCP".to_owned()),
                        ("udp".to_owned(), "UDP".to_owned()),
                    ]),
                ),
                Field::new("/virtual_port", "Virtual port", Input::Number)
                    .hint("40000 to 65535; empty: the lowest free."),
                comment(),
            ],
            Kind::Routers => vec![
                name("Where it stands."),
                Field::new(
                    "/kind",
                    "Kind",
                    Input::Choice(vec![
                        ("sluice".to_owned(), "sluice-router, enrolled".to_owned()),
                        ("embedded".to_owned(), "Embedded in the server".to_owned()),
                        ("logger".to_owned(), "Logger: enforces nothing".to_owned()),
                    ]),
                ),
                Field::new("/client_ip_pool", "Client IP pool", Input::Lines)
                    .required()
                    .hint("Prefixes, one a line. Equal to another router's, or apart from them all."),
                Field::text("/endpoint", "Where clients find it").hint("gw.example.net:51820"),
                Field::new("/external_clients", "External clients", Input::Flag)
                    .hint("Addresses of the pool that no device has come from another VPN."),
                comment(),
            ],
        }
    }
}

/// What can be chosen in a form.
#[derive(Default)]
struct Choices {
    tenants: Vec<String>,
    roles: Vec<String>,
    connectors: Vec<(String, String)>,
    rights: Vec<(String, String)>,
    is_of_tenant: Option<String>,
}

impl Choices {
    async fn of(visitor: &Visitor, kind: Kind) -> Result<Choices, Trouble> {
        let all = |path: &'static str| async move {
            let path = with_query(path, [("limit", NAMES_MAX)]);
            let found = visitor.call.items::<Value>(&path).await?;
            Ok::<Vec<String>, Trouble>(found.iter().map(|object| plain(&object["name"])).collect())
        };
        let mut choices = Choices { is_of_tenant: visitor.who.tenant.clone(), ..Choices::default() };
        if choices.is_of_tenant.is_none() && kind != Kind::Tenants && kind != Kind::Routers {
            choices.tenants = all("/api/v1/tenants").await?;
        }
        if kind == Kind::Users {
            choices.roles = all("/api/v1/roles").await?;
        }
        if kind == Kind::Mappings {
            let same = |name: String| (name.clone(), name);
            choices.connectors = all("/api/v1/connectors").await?.into_iter().map(same).collect();
        }
        let rights = [
            (Right::User, "user", "User: their own access and devices"),
            (Right::Auditor, "auditor", "Auditor: sees everything, changes nothing"),
            (Right::TenantAdmin, "tenant-admin", "Tenant administrator: everything in their tenant"),
            (Right::Admin, "admin", "Administrator: everything"),
        ];
        let may_give = rights.into_iter().filter(|(right, ..)| *right <= visitor.who.right);
        choices.rights = may_give.map(|(_, value, words)| (value.to_owned(), words.to_owned())).collect();
        Ok(choices)
    }

    fn tenant(&self) -> Field {
        let mut all = match &self.is_of_tenant {
            Some(_) => Vec::new(),
            None => vec![(String::new(), "none: the installation's".to_owned())],
        };
        let own = self.is_of_tenant.iter().cloned();
        all.extend(self.tenants.iter().cloned().chain(own).map(|name| (name.clone(), name)));
        Field::new("/tenant", "Tenant", Input::Choice(all))
    }
}

pub(crate) async fn list(kind: Kind, visitor: Visitor) -> Shown {
    let (text, cursor) = (visitor.query.text("text"), visitor.query.text("cursor"));
    let query = [("text", text), ("cursor", cursor), ("limit", ROWS)];
    let found =
        visitor.call.get::<Page<Value>>(&with_query(&format!("/api/v1/{}", kind.path()), query)).await?;
    let mut states = HashMap::new();
    if let Some(path) = kind.states() {
        for state in visitor.call.items::<Value>(&with_query(path, query)).await? {
            states.insert(plain(&state["name"]), state);
        }
    }
    let columns: Vec<_> = kind
        .columns()
        .iter()
        .copied()
        .filter(|column| *column != "Tenant" || visitor.who.tenant.is_none())
        .collect();
    let row = |object: &Value| {
        let state = states.get(&plain(&object["name"])).unwrap_or(&Value::Null);
        Row {
            id: plain(&object["id"]),
            name: plain(&object["name"]),
            detail: kind.detail(object),
            cells: columns.iter().map(|column| (*column, kind.cell(column, object, state))).collect(),
        }
    };
    let rows = found.items.iter().map(row).collect();
    let next = found
        .next
        .map(|next| with_query(&format!("/{}", kind.path()), [("text", text), ("cursor", next.as_str())]));
    Ok(page(&ListPage {
        shell: visitor.shell(kind.section(), kind.title()),
        kind,
        text: text.to_owned(),
        rows,
        next,
        may_make: kind.may_change(&visitor),
        columns,
    }))
}

pub(crate) async fn new(kind: Kind, visitor: Visitor) -> Shown {
    let form = Form::of(kind.fields(&Choices::of(&visitor, kind).await?));
    Ok(edit_with(kind, &visitor, None, form))
}

pub(crate) async fn show(kind: Kind, visitor: Visitor, id: Uuid) -> Shown {
    let object = visitor.call.get::<Value>(&format!("/api/v1/{}/{id}", kind.path())).await?;
    let form = Form::of(kind.fields(&Choices::of(&visitor, kind).await?)).filled(&object);
    let about = about(kind, &visitor, &object).await?;
    Ok(edit_with(kind, &visitor, Some(about), form))
}

/// Makes one, or replaces the one that the form was of.
pub(crate) async fn save(kind: Kind, visitor: Visitor, posted: Posted) -> Shown {
    let mut form = Form::of(kind.fields(&Choices::of(&visitor, kind).await?)).posted(&posted);
    if posted.given("id").is_none() {
        let path = format!("/api/v1/{}", kind.path());
        return match visitor.call.post::<Value>(&path, &form.document(json!({}))).await {
            Ok(made) => Ok(onward(&format!("/{}/{}", kind.path(), plain(&made["id"])), "made")),
            Err(Trouble::Problem(problem)) => Ok(edit_with(kind, &visitor, None, form.blame(&problem))),
            Err(trouble) => Err(trouble),
        };
    }
    let id: Uuid = posted.text("id").parse().map_err(|_| Trouble::Failed("a form without its object"))?;
    let path = format!("/api/v1/{}/{id}", kind.path());
    let before = visitor.call.get::<Value>(&path).await?;
    let version = posted.text("version").parse().ok();
    let document = form.document(spec_of(&before));
    match visitor.call.ask(Method::PUT, &path, Some(&document), version).await {
        Ok(_) => Ok(onward(&format!("/{}/{id}", kind.path()), "saved")),
        Err(Trouble::Problem(problem)) => {
            form = form.blame(&stale_in_words(*problem));
            let about = about(kind, &visitor, &before).await?;
            Ok(edit_with(kind, &visitor, Some(about), form))
        }
        Err(trouble) => Err(trouble),
    }
}

/// Sets a user's password.
pub(crate) async fn set_password(visitor: Visitor, Path(id): Path<Uuid>, posted: Posted) -> Shown {
    let document = json!({ "new": posted.get("new").unwrap_or_default() });
    let path = format!("/api/v1/users/{id}/password");
    match visitor.call.ask(Method::PUT, &path, Some(&document), None).await {
        Ok(_) => Ok(onward(&format!("/users/{id}"), "saved")),
        Err(Trouble::Problem(problem)) => {
            let object = visitor.call.get::<Value>(&format!("/api/v1/users/{id}")).await?;
            let mut form =
                Form::of(Kind::Users.fields(&Choices::of(&visitor, Kind::Users).await?)).filled(&object);
            form.error = Some(format!("The password is not set. {}", problem.detail));
            let about = about(Kind::Users, &visitor, &object).await?;
            Ok(edit_with(Kind::Users, &visitor, Some(about), form))
        }
        Err(trouble) => Err(trouble),
    }
}

pub(crate) async fn ask_remove(kind: Kind, visitor: Visitor, id: Uuid) -> Shown {
    remove_with(kind, &visitor, id, None).await
}

pub(crate) async fn remove(kind: Kind, visitor: Visitor, id: Uuid) -> Shown {
    let path = format!("/api/v1/{}/{id}", kind.path());
    match visitor.call.ask(Method::DELETE, &path, None::<&()>, None).await {
        Ok(_) => Ok(onward(&format!("/{}", kind.path()), "removed")),
        Err(Trouble::Problem(problem)) => remove_with(kind, &visitor, id, Some(problem.detail)).await,
        Err(trouble) => Err(trouble),
    }
}

async fn remove_with(kind: Kind, visitor: &Visitor, id: Uuid, error: Option<String>) -> Shown {
    let object = visitor.call.get::<Value>(&format!("/api/v1/{}/{id}", kind.path())).await?;
    let name = plain(&object["name"]);
    let sessions = match kind {
        Kind::Targets | Kind::Users => {
            let path = with_query(
                "/api/v1/sessions",
                [(kind.one(), name.as_str()), ("ongoing", "true"), ("limit", "200")],
            );
            visitor.call.items(&path).await?
        }
        Kind::Connectors | Kind::Mappings | Kind::Routers | Kind::Roles | Kind::Tenants => Vec::new(),
    };
    Ok(page(&RemovePage {
        shell: visitor.shell(kind.section(), &format!("Remove {name}")),
        kind,
        id: id.to_string(),
        users: users_of(visitor, id).await?,
        name,
        sessions,
        error,
    }))
}

async fn about(kind: Kind, visitor: &Visitor, object: &Value) -> Result<About, Trouble> {
    let id = plain(&object["id"]);
    let name = plain(&object["name"]);
    let mut state = Value::Null;
    if let Some(path) = kind.states() {
        let found = visitor
            .call
            .items::<Value>(&with_query(path, [("text", name.as_str()), ("limit", "1000")]))
            .await?;
        state = found.into_iter().find(|state| state["name"] == object["name"]).unwrap_or_default();
    }
    let mut facts: Vec<(&'static str, Cell)> = Vec::new();
    if kind.states().is_some() {
        let of_state = ["State", "Rules", "Last heard", "Last used"]
            .into_iter()
            .filter(|column| kind.columns().contains(column));
        facts.extend(of_state.map(|column| (column, kind.cell(column, object, &state))));
        for (word, field) in
            [("Software", "software"), ("Problem", "problem"), ("Handshake, seconds ago", "handshake_age")]
        {
            if !state[field].is_null() {
                facts.push((word, text(&state[field])));
            }
        }
    }
    for (word, field) in [("Public key", "public_key"), ("Virtual port", "virtual_port")] {
        if !object[field].is_null() {
            facts.push((word, code(&object[field])));
        }
    }
    if let Some(addresses) = object["addresses"].as_array().filter(|addresses| !addresses.is_empty()) {
        facts.push(("Overlay addresses", Cell::Tags(addresses.iter().map(plain).collect())));
    }
    let moment = |field: &str| plain(&object[field]).parse().unwrap_or_default();
    let users = match id.parse() {
        Ok(id) => users_of(visitor, id).await?,
        Err(_) => Vec::new(),
    };
    Ok(About {
        end: with_query("/sessions/end", [(kind.one(), name.as_str())]),
        version: object["version"].as_u64().unwrap_or_default(),
        created: Moment::at(moment("created")),
        author: plain(&object["author"]),
        updated: Moment::at(moment("updated")),
        updated_by: plain(&object["updated_by"]),
        facts,
        users,
        id,
        name,
    })
}

/// Who names an object, of the kinds that have pages.
async fn users_of(visitor: &Visitor, id: Uuid) -> Result<Vec<Used>, Trouble> {
    let mut users = Vec::new();
    for kind in [Kind::Targets, Kind::Mappings, Kind::Connectors, Kind::Users, Kind::Roles] {
        let path = with_query(
            &format!("/api/v1/{}", kind.path()),
            [("naming", id.to_string().as_str()), ("limit", "20")],
        );
        for object in visitor.call.items::<Value>(&path).await? {
            users.push(Used { kind, id: plain(&object["id"]), name: plain(&object["name"]) });
        }
    }
    Ok(users)
}

fn edit_with(kind: Kind, visitor: &Visitor, about: Option<About>, form: Form) -> Response {
    let title = about.as_ref().map_or_else(|| format!("New {}", kind.one()), |about| about.name.clone());
    page(&ObjectPage {
        shell: visitor.shell(kind.section(), &title),
        kind,
        about,
        form,
        may_change: kind.may_change(visitor),
    })
}

/// What of an object is written.
pub(crate) fn spec_of(object: &Value) -> Value {
    let mut spec = object.clone();
    if let Value::Object(map) = &mut spec {
        for kept in ["id", "version", "created", "author", "updated", "updated_by"] {
            map.remove(kept);
        }
    }
    spec
}

/// What to do when somebody else was faster.
pub(crate) fn stale_in_words(problem: Problem) -> Problem {
    if problem.status != 412 {
        return problem;
    }
    Problem {
        detail: "Somebody else has changed it since you opened this page.".to_owned(),
        remedy: Some(
            "Open it in another tab to see what it is now; what you typed is still here.".to_owned(),
        ),
        ..problem
    }
}

/// A value in plain text.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn names(list: &Value) -> Vec<String> {
    let name = |item: &Value| if item["role"].is_string() { plain(&item["role"]) } else { plain(item) };
    list.as_array().map(|items| items.iter().map(name).collect()).unwrap_or_default()
}

fn text(value: &Value) -> Cell {
    if value.is_null() { Cell::Nothing } else { Cell::Text(plain(value)) }
}

fn code(value: &Value) -> Cell {
    if value.is_null() { Cell::Nothing } else { Cell::Code(plain(value)) }
}

fn ago(value: &Value) -> Cell {
    plain(value).parse().map_or(Cell::Text("never".to_owned()), |at| Cell::Moment(Moment::ago(at)))
}

fn reaches(target: &Value) -> Cell {
    let all: Vec<_> = target["dst"].as_array().into_iter().flatten().collect();
    let words = |destination: &&Value| {
        serde_json::from_value(destination["selector"].clone()).map(|selector: sluice_api::SelectorSpec| {
            let mut said = selector.ip.to_string();
            for part in [selector.proto, selector.port.map(|port| port.to_string())].into_iter().flatten() {
                said = said + " " + &part;
            }
            said
        })
    };
    let mut said: Vec<_> = all.iter().take(3).filter_map(|destination| words(destination).ok()).collect();
    if all.len() > 3 {
        said.push(format!("and {} more", all.len() - 3));
    }
    Cell::Tags(said)
}

pub(crate) fn connector_badge(state: &Value) -> Badge {
    match (state["enrolled"] == true, state["connected"] == true) {
        (_, true) => Badge::new(Tone::Good, "connected"),
        (true, false) => Badge::new(Tone::Bad, "not connected"),
        (false, false) => Badge::new(Tone::Busy, "not enrolled yet"),
    }
}

pub(crate) fn router_badge(router: &Value, state: &Value) -> Badge {
    match (router["public_key"].is_null(), state["connected"] == true, state["problem"].is_null()) {
        (_, true, true) => Badge::new(Tone::Good, "connected"),
        (_, true, false) => Badge::new(Tone::Bad, "refuses its rules"),
        (false, false, _) => Badge::new(Tone::Bad, "not connected"),
        (true, false, _) => Badge::new(Tone::Busy, "not enrolled yet"),
    }
}

fn generations(state: &Value) -> Cell {
    match (state["generation_wanted"].as_u64(), state["generation_applied"].as_u64()) {
        (Some(wanted), Some(applied)) if wanted == applied => {
            Cell::Badge(Badge::new(Tone::Good, format!("current, {applied}")))
        }
        (Some(wanted), Some(applied)) => {
            Cell::Badge(Badge::new(Tone::Busy, format!("{applied} of {wanted}")))
        }
        (Some(_) | None, None) | (None, Some(_)) => Cell::Badge(Badge::new(Tone::Quiet, "none")),
    }
}

/// The routes of a kind. Targets have an editor of their own.
pub(crate) fn routes(kind: Kind) -> axum::Router<Console> {
    use axum::routing::get;
    let (list_path, new_path) = (format!("/{}", kind.path()), format!("/{}/new", kind.path()));
    let (item, removal) = (format!("/{}/{{id}}", kind.path()), format!("/{}/{{id}}/remove", kind.path()));
    let routes =
        axum::Router::new().route(&list_path, get(move |visitor: Visitor| list(kind, visitor))).route(
            &removal,
            get(move |visitor: Visitor, Path(id): Path<Uuid>| ask_remove(kind, visitor, id))
                .post(move |visitor: Visitor, Path(id): Path<Uuid>| remove(kind, visitor, id)),
        );
    if kind == Kind::Targets {
        return routes;
    }
    routes
        .route(
            &new_path,
            get(move |visitor: Visitor| new(kind, visitor))
                .post(move |visitor: Visitor, posted: Posted| save(kind, visitor, posted)),
        )
        .route(
            &item,
            get(move |visitor: Visitor, Path(id): Path<Uuid>| show(kind, visitor, id))
                .post(move |visitor: Visitor, posted: Posted| save(kind, visitor, posted)),
        )
}
