//! Sessions: live and past, one in detail, ended one by one or many at once.

use askama::Template;
use axum::extract::Path;
use http::Method;
use serde_json::{Value, json};
use sluice_api::{AuditEvent, DestinationSpec, Page, SessionState, SessionView};
use uuid::Uuid;

use crate::api::with_query;
use crate::components::{Badge, Moment, bytes};
use crate::pages::words;
use crate::posted::Posted;
use crate::shell::{Section, Shell, Shown, onward, page};
use crate::trouble::Trouble;
use crate::visitor::Visitor;

/// Rows of a page.
const ROWS: &str = "50";
/// What ending many at once may name on its page.
const NAMED_MAX: &str = "200";

/// What can be asked of the list, as the address has it.
pub(crate) struct Filters {
    pub(crate) user: String,
    pub(crate) target: String,
    pub(crate) client_ip: String,
    pub(crate) since: String,
    pub(crate) until: String,
    pub(crate) state: String,
}

#[derive(Template)]
#[template(path = "sessions.html")]
struct SessionsPage {
    shell: Shell,
    filters: Filters,
    rows: Vec<Row>,
    next: Option<String>,
    may_end: bool,
    sees_all: bool,
    error: Option<String>,
}

/// A session in a list.
pub(crate) struct Row {
    session: SessionView,
    badge: Badge,
    opened: Moment,
    expires: Option<Moment>,
    closed: Option<Moment>,
    last: Option<Moment>,
    sent: String,
    received: String,
    routers: String,
    is_ongoing: bool,
}

#[derive(Template)]
#[template(path = "session.html")]
struct SessionPage {
    shell: Shell,
    row: Row,
    destinations: Vec<Rule>,
    events: Vec<Event>,
    packets: String,
    sees_all: bool,
}

/// A destination as its rule: what is matched, and what becomes of it.
struct Rule {
    users: String,
    devices: String,
}

struct Event {
    at: Moment,
    event: AuditEvent,
}

#[derive(Template)]
#[template(path = "sessions_end.html")]
struct EndPage {
    shell: Shell,
    sessions: Vec<SessionView>,
    /// By what they are ended; empty: one by one.
    by: Vec<(&'static str, String)>,
    reason: String,
    error: Option<String>,
    more: bool,
}

impl Row {
    pub(crate) fn of(session: SessionView) -> Row {
        let traffic = session.traffic;
        Row {
            badge: Badge::of(&session),
            opened: Moment::at(session.opened),
            expires: session.expires.map(Moment::left),
            closed: session.closed.map(Moment::at),
            last: traffic.last_packet.map(Moment::ago),
            sent: bytes(traffic.bytes_out),
            received: bytes(traffic.bytes_in),
            routers: session.routers.iter().map(|at| at.router.as_str()).collect::<Vec<_>>().join(", "),
            is_ongoing: session.state != SessionState::Closed,
            session,
        }
    }
}

pub(crate) async fn show(visitor: Visitor) -> Shown {
    let query = &visitor.query;
    let state = query.given("state").unwrap_or("ongoing").to_owned();
    let ongoing = match state.as_str() {
        "ended" => "false",
        "all" => "",
        _ => "true",
    };
    let filters = Filters {
        user: query.text("user").to_owned(),
        target: query.text("target").to_owned(),
        client_ip: query.text("client_ip").to_owned(),
        since: query.text("since").to_owned(),
        until: query.text("until").to_owned(),
        state,
    };
    let (since, until) = (moment(&filters.since), moment(&filters.until));
    let path = with_query(
        "/api/v1/sessions",
        [
            ("user", filters.user.as_str()),
            ("target", filters.target.as_str()),
            ("client_ip", filters.client_ip.as_str()),
            ("ongoing", ongoing),
            ("since", since.as_str()),
            ("until", until.as_str()),
            ("cursor", query.text("cursor")),
            ("limit", ROWS),
        ],
    );
    let (found, error) = match visitor.call.get::<Page<SessionView>>(&path).await {
        Ok(found) => (found, None),
        Err(Trouble::Problem(problem)) if problem.status == 400 => {
            (Page { items: Vec::new(), next: None }, Some(problem.detail))
        }
        Err(trouble) => return Err(trouble),
    };
    let next = found.next.map(|next| {
        with_query(
            "/sessions",
            [
                ("user", filters.user.as_str()),
                ("target", filters.target.as_str()),
                ("client_ip", filters.client_ip.as_str()),
                ("since", filters.since.as_str()),
                ("until", filters.until.as_str()),
                ("state", filters.state.as_str()),
                ("cursor", next.as_str()),
            ],
        )
    });
    Ok(page(&SessionsPage {
        shell: visitor.shell(Section::Sessions, "Sessions"),
        rows: found.items.into_iter().map(Row::of).collect(),
        filters,
        next,
        may_end: visitor.administers() || !visitor.sees_all(),
        sees_all: visitor.sees_all(),
        error,
    }))
}

pub(crate) async fn detail(visitor: Visitor, Path(id): Path<Uuid>) -> Shown {
    let session = visitor.call.get::<SessionView>(&format!("/api/v1/sessions/{id}")).await?;
    let events = visitor.call.items::<AuditEvent>(&format!("/api/v1/audit?object={id}&limit=50")).await?;
    let rule = |destination: &DestinationSpec| Rule {
        users: words::matched(destination),
        devices: words::sent_to(destination),
    };
    let destinations = session.target.dst.iter().map(rule).collect();
    let packets = format!("{} out, {} in", session.traffic.packets_out, session.traffic.packets_in);
    Ok(page(&SessionPage {
        shell: visitor.shell(Section::Sessions, &format!("{} to {}", session.user, session.target.name)),
        destinations,
        events: events.into_iter().map(|event| Event { at: Moment::at(event.time), event }).collect(),
        packets,
        row: Row::of(session),
        sees_all: visitor.sees_all(),
    }))
}

pub(crate) async fn ask_end(visitor: Visitor) -> Shown {
    let asked = visitor.query.clone();
    end_with(&visitor, &asked, None).await
}

pub(crate) async fn end(visitor: Visitor, posted: Posted) -> Shown {
    let mut document = json!({});
    if let Some(reason) = posted.given("reason") {
        document["reason"] = Value::from(reason);
    }
    let by = described(&posted);
    let ended = if by.is_empty() {
        end_each(&visitor, &identities(&posted)?, &document).await
    } else {
        for (field, value) in by {
            document[field] = Value::from(value);
        }
        visitor.call.post::<Value>("/api/v1/sessions/end", &document).await.map(|_| ())
    };
    match ended {
        Ok(()) => Ok(onward("/sessions", "ended")),
        Err(Trouble::Problem(problem)) => end_with(&visitor, &posted, Some(problem.detail)).await,
        Err(trouble) => Err(trouble),
    }
}

async fn end_each(visitor: &Visitor, ids: &[Uuid], document: &Value) -> Result<(), Trouble> {
    for id in ids {
        let path = format!("/api/v1/sessions/{id}/end");
        match visitor.call.ask(Method::POST, &path, Some(document), None).await {
            // It was over already: that is what was asked for.
            Err(Trouble::Problem(problem)) if problem.status == 409 => {}
            outcome => {
                outcome?;
            }
        }
    }
    Ok(())
}

async fn end_with(visitor: &Visitor, asked: &Posted, error: Option<String>) -> Shown {
    let by = described(asked);
    let mut more = false;
    let sessions = if by.is_empty() {
        let mut sessions = Vec::new();
        for id in identities(asked)? {
            sessions.extend(visitor.call.find::<SessionView>(&format!("/api/v1/sessions/{id}")).await?);
        }
        sessions
    } else {
        let known =
            |name: &str| by.iter().find(|(field, _)| *field == name).map_or("", |(_, value)| value.as_str());
        let path = with_query(
            "/api/v1/sessions",
            [("user", known("user")), ("target", known("target")), ("ongoing", "true"), ("limit", NAMED_MAX)],
        );
        let found = visitor.call.get::<Page<SessionView>>(&path).await?;
        more = found.next.is_some();
        let (router, connector) = (known("router"), known("connector"));
        let through = |session: &SessionView| {
            (router.is_empty() || session.routers.iter().any(|at| at.router == router))
                && (connector.is_empty()
                    || session.target.dst.iter().any(|at| words::goes_through(at, connector)))
        };
        found.items.into_iter().filter(through).collect()
    };
    Ok(page(&EndPage {
        shell: visitor.shell(Section::Sessions, "End sessions"),
        sessions: sessions.into_iter().filter(|session| session.state != SessionState::Closed).collect(),
        by,
        reason: asked.text("reason").to_owned(),
        error,
        more,
    }))
}

fn described(posted: &Posted) -> Vec<(&'static str, String)> {
    let fields = ["user", "target", "router", "connector"].into_iter();
    fields.filter_map(|field| Some((field, posted.given(field)?.to_owned()))).collect()
}

fn identities(posted: &Posted) -> Result<Vec<Uuid>, Trouble> {
    let ids: Result<Vec<Uuid>, _> = posted.all("id").map(str::parse).collect();
    ids.map_err(|_| Trouble::Failed("an address without its sessions"))
}

/// `2026-11-28T08:00`, as browsers have it, in UTC; whatever else was typed goes on as it is.
fn moment(text: &str) -> String {
    let is_short = text.len() == 16 && text.as_bytes().get(10) == Some(&b'T');
    if is_short { format!("{text}:00Z") } else { text.to_owned() }
}
