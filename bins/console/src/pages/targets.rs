//! The editor of a target: a row for each destination, and what it means in plain words.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use http::Method;
use serde_json::{Value, json};
use sluice_api::{Object, Page, RoleSpec, SessionView, TargetSpec, TenantSpec};
use uuid::Uuid;

use crate::api::with_query;
use crate::components::Moment;
use crate::form::{Field, Form, Input};
use crate::pages::objects::{plain, spec_of, stale_in_words};
use crate::pages::words;
use crate::posted::Posted;
use crate::shell::{Section, Shell, Shown, onward, page};
use crate::trouble::Trouble;
use crate::visitor::Visitor;

/// Destinations of a target, at most.
const ROWS_MAX: usize = 256;

#[derive(Template)]
#[template(path = "target.html")]
struct TargetPage {
    shell: Shell,
    about: Option<About>,
    form: Form,
    rows: Vec<Row>,
    preview: Preview,
    may_change: bool,
}

struct About {
    id: String,
    name: String,
    version: u64,
    created: Moment,
    author: String,
    updated: Moment,
    updated_by: String,
    is_off: bool,
    sessions: Vec<SessionView>,
}

/// A destination in the editor.
struct Row {
    number: usize,
    fields: Vec<Field>,
}

/// What it means.
#[derive(Template, Default)]
#[template(path = "target_preview.html")]
struct Preview {
    sentences: Vec<String>,
    conditions: Vec<String>,
    /// Why there is none yet.
    unclear: Option<String>,
}

impl askama::filters::HtmlSafe for Preview {}

pub(crate) async fn new(visitor: Visitor) -> Shown {
    let fields = fields(&visitor).await?;
    Ok(edit(&visitor, None, Form::of(fields), 1, &Value::Null))
}

pub(crate) async fn show(visitor: Visitor, Path(id): Path<Uuid>) -> Shown {
    let object = visitor.call.get::<Value>(&format!("/api/v1/targets/{id}")).await?;
    let rows = object["dst"].as_array().map_or(1, Vec::len);
    let form = form_of(&visitor, rows).await?.filled(&object);
    let about = about(&visitor, &object).await?;
    Ok(edit(&visitor, Some(about), form, rows, &spec_of(&object)))
}

pub(crate) async fn save(visitor: Visitor, posted: Posted) -> Shown {
    let (posted, rows) = compacted(&posted);
    let more = posted.get("more").is_some();
    let shown = (rows + usize::from(more)).clamp(1, ROWS_MAX);
    let form = form_of(&visitor, shown).await?.posted(&posted);
    let id = posted
        .given("id")
        .map(str::parse::<Uuid>)
        .transpose()
        .map_err(|_| Trouble::Failed("a form without its target"))?;
    let path = id.map_or_else(|| "/api/v1/targets".to_owned(), |id| format!("/api/v1/targets/{id}"));
    let before = match id {
        Some(_) => Some(visitor.call.get::<Value>(&path).await?),
        None => None,
    };
    let document = document(&form, before.as_ref());
    let about_before = match &before {
        Some(before) => Some(about(&visitor, before).await?),
        None => None,
    };
    if more {
        return Ok(edit(&visitor, about_before, form, shown, &document));
    }
    let method = if id.is_some() { Method::PUT } else { Method::POST };
    let version = id.and_then(|_| posted.text("version").parse().ok());
    match visitor.call.ask(method, &path, Some(&document), version).await {
        Ok(answer) => {
            let saved = answer.read::<Value>()?;
            let done = if id.is_some() { "saved" } else { "made" };
            Ok(onward(&format!("/targets/{}", plain(&saved["id"])), done))
        }
        Err(Trouble::Problem(problem)) => {
            let form = form.blame(&stale_in_words(*problem));
            Ok(edit(&visitor, about_before, form, shown, &document))
        }
        Err(trouble) => Err(trouble),
    }
}

/// What a form that is being filled in means.
pub(crate) async fn preview(_: Visitor, posted: Posted) -> Response {
    let (posted, rows) = compacted(&posted);
    let mut all = plain_fields(Vec::new(), Vec::new());
    all.extend((0..rows).flat_map(destination));
    page(&preview_of(&document(&Form::of(all).posted(&posted), None)))
}

/// Switches a target off, or on again.
pub(crate) async fn switch(visitor: Visitor, Path(id): Path<Uuid>, posted: Posted) -> Shown {
    let path = format!("/api/v1/targets/{id}");
    let mut document = spec_of(&visitor.call.get::<Value>(&path).await?);
    document["disabled"] = Value::from(posted.text("off") == "true");
    visitor.call.ask(Method::PUT, &path, Some(&document), posted.text("version").parse().ok()).await?;
    Ok(onward(&format!("/targets/{id}"), "saved"))
}

fn edit(visitor: &Visitor, about: Option<About>, mut form: Form, rows: usize, document: &Value) -> Response {
    if form.fields.iter().all(|field| !field.pointer.starts_with("/dst/")) {
        form.fields.extend((0..rows).flat_map(destination));
    }
    let title = about.as_ref().map_or("New target".to_owned(), |about| about.name.clone());
    let mut by_row: Vec<Row> =
        (0..rows).map(|number| Row { number: number + 1, fields: Vec::new() }).collect();
    let (own, rest): (Vec<_>, Vec<_>) =
        form.fields.into_iter().partition(|field| !field.pointer.starts_with("/dst/"));
    for field in rest {
        let number = field.pointer.split('/').nth(2).and_then(|number| number.parse::<usize>().ok());
        if let Some(row) = number.and_then(|number| by_row.get_mut(number)) {
            row.fields.push(field);
        }
    }
    form.fields = own;
    page(&TargetPage {
        shell: visitor.shell(Section::Targets, &title),
        about,
        form,
        rows: by_row,
        preview: preview_of(document),
        may_change: visitor.administers(),
    })
}

async fn about(visitor: &Visitor, object: &Value) -> Result<About, Trouble> {
    let name = plain(&object["name"]);
    let path =
        with_query("/api/v1/sessions", [("target", name.as_str()), ("ongoing", "true"), ("limit", "20")]);
    let moment = |field: &str| plain(&object[field]).parse().unwrap_or_default();
    Ok(About {
        id: plain(&object["id"]),
        version: object["version"].as_u64().unwrap_or_default(),
        created: Moment::at(moment("created")),
        author: plain(&object["author"]),
        updated: Moment::at(moment("updated")),
        updated_by: plain(&object["updated_by"]),
        is_off: object["disabled"] == true,
        sessions: visitor.call.items(&path).await?,
        name,
    })
}

fn preview_of(document: &Value) -> Preview {
    match serde_json::from_value::<TargetSpec>(document.clone()) {
        Ok(target)
            if target.dst.iter().all(|at| !at.selector.ip.to_string().is_empty())
                && !target.dst.is_empty() =>
        {
            Preview {
                sentences: words::sentences(&target),
                conditions: words::conditions(&target),
                unclear: None,
            }
        }
        Ok(_) | Err(_) => {
            let said = "Say where to: as soon as an address is there, this says what it means.".to_owned();
            Preview { unclear: Some(said), ..Preview::default() }
        }
    }
}

/// A document of what the form says; destinations are the form's alone.
fn document(form: &Form, before: Option<&Value>) -> Value {
    let mut base = before.map_or_else(|| json!({}), spec_of);
    base["dst"] = json!([]);
    let mut document = form.document(base);
    if let Some(rows) = document["dst"].as_array_mut() {
        for row in rows {
            // A port that is a number is sent as one; a range is a text.
            for place in ["/selector/port", "/nat/port"] {
                if let Some(port) = row.pointer_mut(place)
                    && let Some(number) = port.as_str().and_then(|port| port.parse::<u16>().ok())
                {
                    *port = Value::from(number);
                }
            }
        }
    }
    document
}

async fn form_of(visitor: &Visitor, rows: usize) -> Result<Form, Trouble> {
    let mut all = fields(visitor).await?;
    all.extend((0..rows).flat_map(destination));
    Ok(Form::of(all))
}

async fn fields(visitor: &Visitor) -> Result<Vec<Field>, Trouble> {
    let roles = visitor.call.items::<Object<RoleSpec>>("/api/v1/roles?limit=500").await?;
    let mut tenants = match &visitor.who.tenant {
        Some(tenant) => vec![(tenant.clone(), tenant.clone())],
        None => vec![(String::new(), "none: the installation's".to_owned())],
    };
    if visitor.who.tenant.is_none() {
        let all = visitor.call.get::<Page<Object<TenantSpec>>>("/api/v1/tenants?limit=500").await?.items;
        tenants.extend(all.into_iter().map(|tenant| (tenant.spec.name.clone(), tenant.spec.name)));
    }
    Ok(plain_fields(roles.into_iter().map(|role| role.spec.name).collect(), tenants))
}

fn plain_fields(roles: Vec<String>, tenants: Vec<(String, String)>) -> Vec<Field> {
    let signals = [
        ("", "as the router does"),
        ("silent", "silently: nothing comes back"),
        ("prohibited", "with an ICMP message"),
        ("reset", "with a TCP reset"),
    ];
    let signals = signals.map(|(value, word)| (value.to_owned(), word.to_owned())).to_vec();
    vec![
        Field::text("/name", "Name").required().hint("Sessions are opened by it."),
        Field::new("/roles", "Roles that open it", Input::Names(roles)),
        Field::new("/user_instructions", "Instructions for users", Input::Area)
            .hint("What to do once it is open: ssh admin@10.20.0.5"),
        Field::new("/tags", "Tags", Input::Words).hint("Words to find it by, with commas."),
        Field::new("/tenant", "Tenant", Input::Choice(tenants)),
        Field::new("/src_nat", "Devices see the router's address in place of the client's", Input::Flag)
            .hint("So that they know the way back."),
        Field::new("/exclusive_access", "One session at a time", Input::Flag)
            .hint("While it is open, nobody else reaches these addresses."),
        Field::new("/require_reason", "Users must say why", Input::Flag),
        Field::new("/require_approval", "Somebody else must agree first", Input::Flag),
        Field::text("/max_duration", "Longest session").hint("8h, 90m, …; empty: no limit."),
        Field::new("/deny_signal", "What is not allowed is refused", Input::Choice(signals)),
        Field::new("/disabled", "Switched off", Input::Flag).hint("Nobody opens it, and open sessions end."),
        Field::new("/comment", "Comment", Input::Area).hint("For administrators."),
    ]
}

fn destination(row: usize) -> Vec<Field> {
    let at = |rest: &str| format!("/dst/{row}/{rest}");
    let protocols = [("", "any"), ("tcp", "TCP"), ("udp", "UDP")]
        .map(|(value, word)| (value.to_owned(), word.to_owned()));
    vec![
        Field::new(at("selector/ip"), "Users address", Input::Text)
            .hint("10.20.0.5, 10.20.0.0/24 or 10.20.0.5-10.20.0.9"),
        Field::new(at("selector/proto"), "Protocol", Input::Choice(protocols.to_vec())),
        Field::new(at("selector/port"), "Port", Input::Text).hint("22 or 8000-8009"),
        Field::new(at("nat/addr"), "Packets go to", Input::Text)
            .hint("Empty: as addressed. Or connector/192.168.7.10"),
        Field::new(at("nat/port"), "Port there", Input::Text).hint("Empty: the same"),
    ]
}

/// Without the rows that say nothing, the others numbered anew; and how many there are.
fn compacted(posted: &Posted) -> (Posted, usize) {
    let row_of = |name: &str| name.strip_prefix("/dst/")?.split('/').next()?.parse::<usize>().ok();
    let mut kept: Vec<usize> = posted
        .0
        .iter()
        .filter(|(name, value)| !name.ends_with("/proto") && !value.trim().is_empty())
        .filter_map(|(name, _)| row_of(name))
        .collect();
    kept.sort_unstable();
    kept.dedup();
    kept.truncate(ROWS_MAX);
    let renamed = posted.0.iter().filter_map(|(name, value)| match row_of(name) {
        None => Some((name.clone(), value.clone())),
        Some(row) => {
            let place = kept.binary_search(&row).ok()?;
            let rest = name.strip_prefix("/dst/")?.split_once('/')?.1;
            Some((format!("/dst/{place}/{rest}"), value.clone()))
        }
    });
    (Posted(renamed.collect()), kept.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posted(pairs: &[(&str, &str)]) -> Posted {
        Posted(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn rows_that_say_nothing_are_none_and_ports_are_numbers() {
        let typed = posted(&[
            ("/name", "db"),
            ("/dst/0/selector/ip", ""),
            ("/dst/0/selector/proto", "tcp"),
            ("/dst/3/selector/ip", "10.0.0.1"),
            ("/dst/3/selector/proto", "tcp"),
            ("/dst/3/selector/port", "22"),
            ("/dst/7/selector/ip", "10.0.0.2"),
            ("/dst/7/selector/proto", ""),
            ("/dst/7/selector/port", "1-9"),
            ("/dst/7/nat/addr", "plant/192.168.7.1"),
        ]);
        let (typed, rows) = compacted(&typed);
        assert_eq!(rows, 2);
        let mut all = plain_fields(Vec::new(), Vec::new());
        all.extend((0..rows).flat_map(destination));
        let document = document(&Form::of(all).posted(&typed), None);
        assert_eq!(
            document["dst"],
            json!([
                { "selector": { "ip": "10.0.0.1", "proto": "tcp", "port": 22 } },
                { "selector": { "ip": "10.0.0.2", "port": "1-9" }, "nat": { "addr": "plant/192.168.7.1" } },
            ])
        );
        let preview = preview_of(&document).render().unwrap();
        assert!(preview.contains("through the connector plant"), "{preview}");
    }
}
