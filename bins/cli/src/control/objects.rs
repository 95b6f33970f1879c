//! Objects: shown, made, written from files, compared with them, removed.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Map, Value, json};
use sluice_runtime::host::failure::{Exit, Failure};

use super::client::{Ask, Client, Trouble, quoted};
use super::difference::{self, Difference};
use super::document::{Wanted, filled_in, read_all, said, trimmed};
use super::kind::Kind;
use super::options::{CreateOptions, DiffOptions, ExportOptions, Written};
use super::output::{Format, outline, print, say, words, written};
use super::prompt;

/// Objects and sessions that `describe` lists of each kind.
const NAMED_MAX: usize = 20;

type Document = Map<String, Value>;

/// Shows one or all of a kind.
pub(super) async fn get(
    client: &Client,
    kind: Kind,
    name: Option<&str>,
    format: Format,
) -> Result<(), Failure> {
    let found: Vec<Document> = match name {
        Some(name) => vec![client.ask(Ask::get(kind.item(name))).await?],
        None => client.list(&kind.path(), "", usize::MAX).await?,
    };
    let text = |object: &Document, field: &str| object.get(field).map(words).unwrap_or_default();
    let fields = ["name", "tenant", "version", "updated", "comment"];
    let rows: Vec<_> = found
        .iter()
        .map(|object| fields.iter().map(|field| text(object, field)).collect::<Vec<_>>())
        .collect();
    match (name, found.first(), format) {
        (Some(_), Some(one), Format::Json | Format::Yaml) => print(format, one, &fields, &rows),
        (Some(_), Some(one), Format::Table) => say(&outline(one)),
        (Some(_) | None, _, _) => print(format, &found, &fields, &rows),
    }
}

/// Shows all there is to say of one: itself, how it is, its sessions, and who names it.
pub(super) async fn describe(client: &Client, kind: Kind, name: &str, format: Format) -> Result<(), Failure> {
    let object: Document = client.ask(Ask::get(kind.item(name))).await?;
    let text = |field: &str| object.get(field).map(words).unwrap_or_default();
    let (id, called) = (text("id"), text("name"));
    let mut whole = Document::new();
    whole.insert(kind.name().to_owned(), Value::Object(object.clone()));
    if let Some(state) = state_of(client, kind, &called).await? {
        whole.insert("state".to_owned(), state);
    }
    if let Some(query) = sessions_of(kind, &called) {
        let sessions: Option<Vec<Value>> = seen(client.list("/api/v1/sessions", &query, NAMED_MAX).await)?;
        let line = |session: &Value| {
            let field = |pointer: &str| session.pointer(pointer).map(words).unwrap_or_default();
            let (id, state, user) = (field("/id"), field("/state"), field("/user"));
            format!("{id} {state} {user} {}", field("/target/name"))
        };
        whole.insert("sessions".to_owned(), sessions.iter().flatten().map(line).collect());
    }
    for other in kind.named_by() {
        let naming: Option<Vec<Document>> =
            seen(client.list(&other.path(), &format!("?naming={id}"), NAMED_MAX).await)?;
        let names: Vec<Value> =
            naming.iter().flatten().filter_map(|other| other.get("name").cloned()).collect();
        if !names.is_empty() {
            whole.insert(format!("{}s", other.name()), Value::Array(names));
        }
    }
    match format {
        Format::Table => say(&outline(&whole)),
        Format::Name => say(&format!("{called}\n")),
        Format::Json | Format::Yaml => say(&written(format, &whole)?),
    }
}

async fn state_of(client: &Client, kind: Kind, name: &str) -> Result<Option<Value>, Failure> {
    let Some(path) = kind.state_path() else { return Ok(None) };
    let query = format!("?text={}", quoted(name));
    let states: Option<Vec<Value>> = seen(client.list(path, &query, usize::MAX).await)?;
    Ok(states.into_iter().flatten().find(|state| state.get("name").and_then(Value::as_str) == Some(name)))
}

fn sessions_of(kind: Kind, name: &str) -> Option<String> {
    match kind {
        Kind::User | Kind::Target => Some(format!("?ongoing=true&{}={}", kind.name(), quoted(name))),
        Kind::Tenant | Kind::Role | Kind::Router | Kind::Device | Kind::Connector | Kind::Mapping => None,
    }
}

/// What one may not see is left out.
fn seen<T>(found: Result<T, Trouble>) -> Result<Option<T>, Failure> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(trouble) if trouble.is_denied() => Ok(None),
        Err(trouble) => Err(trouble.into()),
    }
}

/// Makes objects that are not there yet.
pub(super) async fn create(client: &Client, options: &CreateOptions) -> Result<(), Failure> {
    let all = match (options.kind, &options.name) {
        (Some(kind), Some(name)) => {
            let mut document = Document::new();
            options.settings.iter().for_each(|setting| setting.set_in(&mut document));
            document.insert("name".to_owned(), Value::String(name.clone()));
            vec![Wanted::new(kind, format!("{} {name}", kind.name()), Value::Object(document))?]
        }
        (Some(_) | None, _) => read_all(&options.files)?,
    };
    for wanted in all {
        let ask = Ask::post(wanted.kind.path()).with(&wanted.document)?;
        client.tell(ask).await.map_err(|trouble| trouble.at(&wanted.place))?;
        say(&format!("{} {} created\n", wanted.kind.name(), wanted.name))?;
    }
    Ok(())
}

/// Removes an object, after a question.
pub(super) async fn delete(client: &Client, kind: Kind, name: &str, sure: bool) -> Result<(), Failure> {
    let there: Document = client.ask(Ask::get(kind.item(name))).await?;
    if !sure && !prompt::agrees(&format!("Remove the {} {name}?", kind.name()))? {
        return Err(Failure::new(Exit::Failed, "nothing was removed").remedy("Agree, or say so with --yes."));
    }
    client.tell(Ask::delete(kind.item(name)).of_version(version(&there))).await?;
    say(&format!("{} {name} removed\n", kind.name()))
}

/// What becomes of an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    Created,
    Changed { version: u64, differences: Vec<Difference>, document: Document },
    Unchanged,
}

impl Change {
    pub(super) fn text(&self, is_done: bool) -> &'static str {
        match (self, is_done) {
            (Change::Created, true) => "created",
            (Change::Created, false) => "would be created",
            (Change::Changed { .. }, true) => "changed",
            (Change::Changed { .. }, false) => "would be changed",
            (Change::Unchanged, _) => "unchanged",
        }
    }
}

/// Makes the server's objects what the files say; stops at the first that it refuses, since later ones may name it.
pub(super) async fn apply(client: &Client, files: &[PathBuf], is_trial: bool) -> Result<(), Failure> {
    for wanted in read_all(files)? {
        let change = compare(client, &wanted).await?;
        if !is_trial {
            carry_out(client, &wanted, &change).await.map_err(|trouble| trouble.at(&wanted.place))?;
        }
        say(&format!("{} {} {}\n", wanted.kind.name(), wanted.name, change.text(!is_trial)))?;
    }
    Ok(())
}

pub(super) async fn carry_out(client: &Client, wanted: &Wanted, change: &Change) -> Result<(), Trouble> {
    let Wanted { kind, name, document, .. } = wanted;
    let ask = match change {
        Change::Created => Ask::post(kind.path()).with(document)?,
        Change::Changed { version, document, .. } => {
            Ask::put(kind.item(name)).with(document)?.of_version(*version)
        }
        Change::Unchanged => return Ok(()),
    };
    client.tell(ask).await.map(drop)
}

/// What applying it would do.
pub(super) async fn compare(client: &Client, wanted: &Wanted) -> Result<Change, Failure> {
    match client.ask::<Document>(Ask::get(wanted.kind.item(&wanted.name))).await {
        Ok(there) => Ok(change_of(&there, wanted)),
        Err(trouble) if trouble.is_unknown() => Ok(Change::Created),
        Err(trouble) => Err(trouble.at(&wanted.place)),
    }
}

fn change_of(there: &Document, wanted: &Wanted) -> Change {
    let before = said(wanted.kind, there);
    let mut document = wanted.document.clone();
    for field in filled_in(wanted.kind) {
        let is_left_out = !trimmed(&document).contains_key(*field);
        if let Some(value) = before.get(*field).filter(|_| is_left_out) {
            document.insert((*field).to_owned(), value.clone());
        }
    }
    let differences = difference::between(&trimmed(&before), &trimmed(&document));
    if differences.is_empty() {
        return Change::Unchanged;
    }
    Change::Changed { version: version(there), differences, document }
}

/// What applying would do to an object, as it is shown.
#[derive(Debug, Serialize)]
struct ObjectDifference {
    kind: &'static str,
    name: String,
    change: &'static str,
    fields: Vec<Difference>,
}

/// Shows what applying the files would change. As `diff` does: 0 if nothing, 1 if something.
pub(super) async fn diff(client: &Client, options: &DiffOptions) -> Result<ExitCode, Failure> {
    let mut all = Vec::new();
    for wanted in read_all(&options.files)? {
        let (change, fields) = match compare(client, &wanted).await? {
            Change::Unchanged => continue,
            Change::Changed { differences, .. } => ("change", differences),
            Change::Created => ("create", difference::between(&Document::new(), &trimmed(&wanted.document))),
        };
        all.push(ObjectDifference { kind: wanted.kind.name(), name: wanted.name, change, fields });
    }
    match options.format.output {
        Format::Table => say(&all.iter().map(lines).collect::<String>())?,
        Format::Name => {
            say(&all.iter().map(|object| format!("{} {}\n", object.kind, object.name)).collect::<String>())?;
        }
        format @ (Format::Json | Format::Yaml) => say(&written(format, &all)?)?,
    }
    Ok(if all.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn lines(object: &ObjectDifference) -> String {
    let is_new = if object.change == "create" { " is new" } else { "" };
    let fields = object.fields.iter().map(|field| format!("  {}\n", field.line()));
    format!("{} {}{is_new}\n{}", object.kind, object.name, fields.collect::<String>())
}

/// Writes objects as a file that `apply` takes.
pub(super) async fn export(client: &Client, options: &ExportOptions) -> Result<(), Failure> {
    let mut file = Document::new();
    for kind in Kind::ALL {
        if !options.kinds.is_empty() && !options.kinds.contains(&kind) {
            continue;
        }
        let found: Option<Vec<Document>> = seen(client.list(&kind.path(), "", usize::MAX).await)?;
        let objects: Vec<_> = found.iter().flatten().map(|object| trimmed(&said(kind, object))).collect();
        if !objects.is_empty() {
            file.insert(kind.name().to_owned(), json!(objects));
        }
    }
    let format = match options.output {
        Written::Yaml => Format::Yaml,
        Written::Json => Format::Json,
    };
    say(&written(format, &file)?)
}

fn version(object: &Document) -> u64 {
    object.get("version").and_then(Value::as_u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(kind: Kind, document: Value) -> Wanted {
        Wanted::new(kind, String::new(), document).unwrap()
    }

    #[test]
    fn an_object_is_the_same_if_nothing_but_what_the_server_adds_or_defaults_differs() {
        let there = json!({
            "id": "018f0000-0000-7000-8000-000000000001", "version": 3, "author": "root", "name": "t", "dst": [],
            "roles": [], "src_nat": false, "exclusive_access": false, "disabled": false, "require_reason": false,
            "require_approval": false, "max_duration": 3600,
        });
        for (document, fields) in [
            (json!({ "name": "t", "dst": [], "max_duration": "1h" }), vec![]),
            (json!({ "name": "t", "dst": [], "max_duration": "1h", "comment": "" }), vec![]),
            (json!({ "name": "t", "dst": [], "max_duration": "1h", "disabled": true }), vec!["disabled"]),
            (json!({ "name": "t", "dst": [], "comment": "new" }), vec!["max_duration", "comment"]),
        ] {
            let found = match change_of(there.as_object().unwrap(), &wanted(Kind::Target, document)) {
                Change::Changed { differences, version: 3, .. } => differences,
                Change::Unchanged => Vec::new(),
                other @ (Change::Created | Change::Changed { .. }) => panic!("{other:?}"),
            };
            assert_eq!(found.iter().map(|found| &*found.field).collect::<Vec<_>>(), fields);
        }
    }

    #[test]
    fn what_the_server_filled_in_stays_unless_something_else_is_said() {
        let there = json!({
            "version": 1, "name": "c1", "site": "plant", "dial": "connector", "addresses": ["10.99.0.2"],
            "public_key": "KEY",
        });
        let change =
            |document: Value| change_of(there.as_object().unwrap(), &wanted(Kind::Connector, document));
        assert_eq!(change(json!({ "name": "c1", "site": "plant" })), Change::Unchanged);
        let Change::Changed { document, differences, .. } =
            change(json!({ "name": "c1", "site": "hall", "addresses": ["10.99.0.9"] }))
        else {
            panic!("it differs");
        };
        assert_eq!((&document["public_key"], &document["addresses"]), (&json!("KEY"), &json!(["10.99.0.9"])));
        assert_eq!(differences.len(), 2);
    }
}
