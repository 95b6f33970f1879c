//! Objects: shown, written from files, removed.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use sluice_runtime::host::failure::{Exit, Failure};

use super::client::{Ask, Client, Trouble};
use super::kind::Kind;
use super::output::{Format, print, say};
use super::prompt;

/// What the server adds to what was written.
const KEPT: [&str; 6] = ["id", "version", "created", "author", "updated", "updated_by"];
/// Of a file of objects.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Shows one or all of a kind.
pub(super) async fn get(
    client: &Client,
    kind: Kind,
    name: Option<&str>,
    format: Format,
) -> Result<(), Failure> {
    let found: Vec<Map<String, Value>> = match name {
        Some(name) => vec![client.ask(Ask::get(kind.item(name))).await?],
        None => client.list(&kind.path(), "", usize::MAX).await?,
    };
    let text = |object: &Map<String, Value>, field: &str| cell(object.get(field));
    let rows: Vec<_> = found
        .iter()
        .map(|object| {
            vec![
                text(object, "name"),
                text(object, "tenant"),
                text(object, "version"),
                text(object, "updated"),
                text(object, "comment"),
            ]
        })
        .collect();
    let titles = ["name", "tenant", "version", "updated", "comment"];
    match (name, found.first()) {
        (Some(_), Some(one)) if format == Format::Json => print(format, one, &titles, &rows),
        (Some(_), Some(one)) if format == Format::Table => {
            let width = one.keys().map(|key| key.len()).max().unwrap_or(0);
            let line = |(key, value): (&String, &Value)| format!("{key:width$}  {}\n", cell(Some(value)));
            say(&one.iter().map(line).collect::<String>())
        }
        (Some(_) | None, _) => print(format, &found, &titles, &rows),
    }
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => {
            value.to_string()
        }
    }
}

/// Removes an object, after a question.
pub(super) async fn delete(client: &Client, kind: Kind, name: &str, sure: bool) -> Result<(), Failure> {
    let there: Map<String, Value> = client.ask(Ask::get(kind.item(name))).await?;
    if !sure && !prompt::agrees(&format!("Remove the {} {name}?", kind.name()))? {
        return Err(Failure::new(Exit::Failed, "nothing was removed").remedy("Agree, or say so with --yes."));
    }
    client.tell(Ask::delete(kind.item(name)).of_version(version(&there))).await?;
    say(&format!("{} {name} removed\n", kind.name()))
}

/// An object as a file has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// Where in which file: `lab.toml: target[0]`.
    pub(super) place: String,
    pub(super) document: Value,
}

/// What becomes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Created,
    Changed,
    Unchanged,
}

impl Change {
    fn text(self, is_done: bool) -> &'static str {
        match (self, is_done) {
            (Change::Created, true) => "created",
            (Change::Created, false) => "would be created",
            (Change::Changed, true) => "changed",
            (Change::Changed, false) => "would be changed",
            (Change::Unchanged, _) => "unchanged",
        }
    }
}

/// Makes the server's objects what the files say; stops at the first that it refuses, since later ones may name it.
pub(super) async fn apply(client: &Client, files: &[PathBuf], is_trial: bool) -> Result<(), Failure> {
    for wanted in read_all(files)? {
        let change = apply_one(client, &wanted, is_trial).await.map_err(|fault| fault.at(&wanted.place))?;
        say(&format!("{} {} {}\n", wanted.kind.name(), wanted.name, change.text(!is_trial)))?;
    }
    Ok(())
}

async fn apply_one(client: &Client, wanted: &Wanted, is_trial: bool) -> Result<Change, Trouble> {
    let Wanted { kind, name, document, .. } = wanted;
    let there: Map<String, Value> = match client.ask(Ask::get(kind.item(name))).await {
        Ok(there) => there,
        Err(fault) if fault.is_unknown() => {
            if !is_trial {
                client.tell(Ask::post(kind.path()).with(document)?).await?;
            }
            return Ok(Change::Created);
        }
        Err(fault) => return Err(fault),
    };
    if is_same(&there, document) {
        return Ok(Change::Unchanged);
    }
    if !is_trial {
        let before = version(&there);
        let ask = Ask::put(kind.item(name)).with(document)?.of_version(before);
        let after: Map<String, Value> = client.ask(ask).await?;
        if version(&after) == before {
            return Ok(Change::Unchanged);
        }
    }
    Ok(Change::Changed)
}

/// Whether the object says what the document does. What the document leaves out must be at its default.
fn is_same(there: &Map<String, Value>, document: &Value) -> bool {
    let Some(document) = document.as_object() else { return false };
    let is_default = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty() || text == "user" || text == "connector",
        Value::Array(items) => items.is_empty(),
        Value::Bool(true) | Value::Number(_) | Value::Object(_) => false,
    };
    let fields = there.iter().filter(|(field, _)| !KEPT.contains(&field.as_str()));
    let all_said = fields.clone().all(|(field, value)| match document.get(field) {
        Some(said) => said == value,
        None => is_default(value),
    });
    all_said && document.iter().all(|(field, said)| there.contains_key(field) || is_default(said))
}

fn version(object: &Map<String, Value>) -> u64 {
    object.get("version").and_then(Value::as_u64).unwrap_or(0)
}

fn read_all(files: &[PathBuf]) -> Result<Vec<Wanted>, Failure> {
    let mut all = Vec::new();
    for path in files {
        let mut text = String::new();
        let read = if path == Path::new("-") {
            std::io::stdin().lock().take(FILE_BYTES_MAX).read_to_string(&mut text)
        } else {
            fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
        };
        read.map_err(|error| {
            Failure::new(Exit::Configuration, format!("cannot read {}", path.display())).because(&error)
        })?;
        all.extend(parse(&path.display().to_string(), &text)?);
    }
    all.sort_by_key(|wanted| wanted.kind);
    Ok(all)
}

/// Reads TOML, or JSON of the same shape.
pub(super) fn parse(file: &str, text: &str) -> Result<Vec<Wanted>, Failure> {
    let wrong = |place: String, why: String| Failure::new(Exit::Configuration, place).because_text(why);
    let tables: Map<String, Value> = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|error| wrong(file.to_owned(), error.to_string()))?
    } else {
        toml::from_str(text).map_err(|error| wrong(file.to_owned(), error.to_string()))?
    };
    let mut all = Vec::new();
    for (table, entries) in tables {
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == table);
        let kind = kind.ok_or_else(|| {
            let names = Kind::ALL.map(Kind::name).join(", ");
            wrong(format!("{file}: {table}"), format!("there is no such kind; there are {names}"))
        })?;
        let Value::Array(entries) = entries else {
            return Err(wrong(format!("{file}: {table}"), format!("write [[{table}]]")));
        };
        for (index, document) in entries.into_iter().enumerate() {
            let place = format!("{file}: {table}[{index}]");
            let name = document.get("name").and_then(Value::as_str).map(str::to_owned);
            let name = name.ok_or_else(|| wrong(place.clone(), "name: is missing".to_owned()))?;
            all.push(Wanted { kind, name, place, document });
        }
    }
    all.sort_by_key(|wanted| wanted.kind);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sluice_api::{ConnectorSpec, MappingSpec, RoleSpec, RouterSpec, TargetSpec, TenantSpec, UserSpec};

    use super::*;

    #[test]
    fn objects_come_before_those_that_name_them_and_keep_their_order() {
        let text = "[[target]]\nname='t'\n[[user]]\nname='b'\n[[user]]\nname='a'\n[[role]]\nname='r'\n";
        let all = parse("x.toml", text).unwrap();
        let places: Vec<_> = all.iter().map(|wanted| wanted.place.as_str()).collect();
        assert_eq!(places, ["x.toml: role[0]", "x.toml: user[0]", "x.toml: user[1]", "x.toml: target[0]"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_table_and_index() {
        for (text, expected) in [
            ("[[user]]\n", "x.toml: user[0]\n  why: name: is missing"),
            ("[user]\nname='a'\n", "x.toml: user\n  why: write [[user]]"),
            ("[[usr]]\nname='a'\n", "x.toml: usr\n  why: there is no such kind"),
            ("[[user]\n", "x.toml\n  why: TOML parse error at line 1"),
        ] {
            let told = parse("x.toml", text).unwrap_err();
            assert_eq!(told.exit(), Exit::Configuration);
            assert!(told.to_string().contains(expected), "{told}");
        }
    }

    #[test]
    fn an_object_is_the_same_if_nothing_but_what_the_server_adds_or_defaults_differs() {
        let there = json!({ "id": "x", "version": 3, "author": "root", "name": "t", "disabled": false });
        let there = there.as_object().unwrap();
        for (document, same) in [
            (json!({ "name": "t" }), true),
            (json!({ "name": "t", "comment": "" }), true),
            (json!({ "name": "t", "disabled": true }), false),
            (json!({ "name": "t", "comment": "new" }), false),
            (json!({ "name": "u" }), false),
        ] {
            assert_eq!(is_same(there, &document), same, "{document}");
        }
    }

    #[test]
    fn the_example_has_every_object_as_the_server_takes_it() {
        let text = include_str!("../../../../docs/examples/lab.toml");
        let all = parse("lab.toml", text).unwrap();
        for Wanted { kind, document, place, .. } in &all {
            let document = document.clone();
            let taken = match kind {
                Kind::Tenant => serde_json::from_value::<TenantSpec>(document).map(drop),
                Kind::Role => serde_json::from_value::<RoleSpec>(document).map(drop),
                Kind::User => serde_json::from_value::<UserSpec>(document).map(drop),
                Kind::Router => serde_json::from_value::<RouterSpec>(document).map(drop),
                Kind::Device => serde_json::from_value::<sluice_api::DeviceSpec>(document).map(drop),
                Kind::Connector => serde_json::from_value::<ConnectorSpec>(document).map(drop),
                Kind::Mapping => serde_json::from_value::<MappingSpec>(document).map(drop),
                Kind::Target => serde_json::from_value::<TargetSpec>(document).map(drop),
            };
            taken.unwrap_or_else(|error| panic!("{place}: {error}"));
        }
        assert!(all.iter().any(|wanted| wanted.kind == Kind::Mapping));
    }
}
