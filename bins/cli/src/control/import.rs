//! Network targets as SSH PrivX exports them, made here. What cannot be carried over is named, with the reason.

use std::fs;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use sluice_runtime::host::failure::{Exit, Failure};

use super::client::{Ask, Client};
use super::document::Wanted;
use super::kind::Kind;
use super::objects::{Change, carry_out, compare};
use super::options::ImportOptions;
use super::output::say;

/// Of an exported file.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// What the server writes itself, and what says nothing of access.
const OWN: [&str; 6] = ["id", "created", "author", "updated", "updated_by", "version"];

/// A network target as it is exported. What is not known here is kept, to be told.
#[derive(Debug, Deserialize)]
struct Exported {
    name: String,
    #[serde(default)]
    comment: String,
    #[serde(default)]
    user_instructions: String,
    #[serde(default)]
    tags: Option<Vec<String>>,
    #[serde(default)]
    roles: Option<Vec<RoleHandle>>,
    #[serde(default)]
    dst: Option<Vec<Destination>>,
    #[serde(default)]
    src_nat: bool,
    #[serde(default)]
    exclusive_access: bool,
    /// A word in newer versions, `BY_ADMIN` and others; a truth value in older ones.
    #[serde(default)]
    disabled: Value,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct RoleHandle {
    #[serde(default)]
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    deleted: bool,
}

#[derive(Debug, Deserialize)]
struct Destination {
    selector: Selector,
    #[serde(default)]
    nat: Option<Nat>,
}

#[derive(Debug, Deserialize)]
struct Selector {
    ip: Ends<String>,
    #[serde(default)]
    proto: Option<String>,
    #[serde(default)]
    port: Option<Ends<u16>>,
}

#[derive(Debug, Deserialize)]
struct Ends<T> {
    start: T,
    end: T,
}

#[derive(Debug, Deserialize)]
struct Nat {
    #[serde(default)]
    addr: String,
    #[serde(default)]
    port: u16,
}

/// A target as it will be here.
#[derive(Debug, PartialEq)]
struct Translated {
    name: String,
    document: Value,
    /// The names of its roles.
    roles: Vec<String>,
    /// What stays behind: `roles[1]: it is deleted there`.
    left: Vec<String>,
}

/// Makes what is not there yet.
pub(super) async fn privx(client: &Client, options: &ImportOptions) -> Result<(), Failure> {
    let exported = read(&options.file)?;
    let mut roles = roles(client).await?;
    let (all, mut failed) = (exported.len(), 0_usize);
    for (index, entry) in exported.into_iter().enumerate() {
        let place = format!("{}: target[{index}]", options.file.display());
        match one(client, options, entry, &place, &mut roles).await {
            Ok(()) => {}
            // The server or the login is gone: the others would fail alike.
            Err(failure) if matches!(failure.exit(), Exit::Unreachable | Exit::NotLoggedIn) => {
                return Err(failure);
            }
            Err(failure) => {
                failed += 1;
                say(&format!("{failure}\n"))?;
            }
        }
    }
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::new(Exit::Configuration, format!("{failed} of {all} targets cannot be carried over"))
        .remedy("Correct them in the file and import it again: what is here already stays as it is."))
}

async fn one(
    client: &Client,
    options: &ImportOptions,
    entry: Value,
    place: &str,
    roles: &mut Vec<String>,
) -> Result<(), Failure> {
    let wrong = |why: String| Failure::new(Exit::Configuration, place.to_owned()).because_text(why);
    let exported: Exported = serde_path_to_error::deserialize(entry)
        .map_err(|error| wrong(format!("{}: {}", error.path(), error.inner())))?;
    let mut translated = translate(exported, options.tenant.as_deref());
    let mut granting = Vec::new();
    for role in std::mem::take(&mut translated.roles) {
        if !roles.contains(&role) && options.create_roles {
            if !options.dry_run {
                let document =
                    json!({ "name": role, "tenant": options.tenant, "comment": "imported from PrivX" });
                client
                    .tell(Ask::post(Kind::Role.path()).with(&document)?)
                    .await
                    .map_err(|trouble| trouble.at(place))?;
            }
            say(&format!("role {role} {}\n", if options.dry_run { "would be created" } else { "created" }))?;
            roles.push(role.clone());
        }
        if roles.contains(&role) {
            granting.push(role);
        } else {
            translated.left.push(format!("roles: there is no role {role:?} here (--create-roles makes it)"));
        }
    }
    translated.document["roles"] = json!(granting);
    let Translated { name, document, left, .. } = translated;
    let wanted = Wanted::new(Kind::Target, format!("{place} {name}"), document)?;
    let change = compare(client, &wanted).await?;
    let what = match &change {
        Change::Changed { .. } if !options.update => {
            "is here already and differs: left as it is (--update changes it)"
        }
        change @ (Change::Created | Change::Changed { .. } | Change::Unchanged) => {
            if !options.dry_run {
                carry_out(client, &wanted, change).await.map_err(|trouble| trouble.at(&wanted.place))?;
            }
            change.text(!options.dry_run)
        }
    };
    let left: String = left.iter().map(|left| format!("  not carried over: {left}\n")).collect();
    say(&format!("target {name} {what}\n{left}"))
}

/// The names of those there are.
async fn roles(client: &Client) -> Result<Vec<String>, Failure> {
    let roles: Vec<Map<String, Value>> = client.list(&Kind::Role.path(), "", usize::MAX).await?;
    Ok(roles.iter().filter_map(|role| role.get("name")?.as_str().map(str::to_owned)).collect())
}

/// A list, what the API answers (`{"count", "items"}`), or one target.
fn read(path: &Path) -> Result<Vec<Value>, Failure> {
    let wrong = || Failure::new(Exit::Configuration, format!("cannot read {}", path.display()));
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(FILE_BYTES_MAX).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| wrong().because(&error))?;
    entries(serde_json::from_str(&text).map_err(|error| wrong().because(&error))?).ok_or_else(|| {
        wrong().because_text("it has no network targets: expected a list, or items of an answer of the API")
    })
}

fn entries(document: Value) -> Option<Vec<Value>> {
    match document {
        Value::Array(entries) => Some(entries),
        Value::Object(mut fields) => match fields.remove("items") {
            Some(Value::Array(entries)) => Some(entries),
            Some(_) => None,
            None => fields.contains_key("dst").then(|| vec![Value::Object(fields)]),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn translate(exported: Exported, tenant: Option<&str>) -> Translated {
    let mut left = Vec::new();
    let mut roles = Vec::new();
    for (index, role) in exported.roles.unwrap_or_default().into_iter().enumerate() {
        match (role.deleted, role.name.is_empty()) {
            (true, _) => left.push(format!("roles[{index}]: it is deleted there")),
            (false, true) => {
                left.push(format!("roles[{index}]: it has no name, only the identity {:?}", role.id))
            }
            (false, false) => roles.push(role.name),
        }
    }
    for (field, value) in &exported.others {
        let is_empty = match value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.is_empty() || text.eq_ignore_ascii_case("none"),
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            Value::Bool(true) | Value::Number(_) => false,
        };
        if !is_empty && !OWN.contains(&field.as_str()) {
            left.push(format!("{field}: there is nothing like it here"));
        }
    }
    let dst: Vec<_> = exported.dst.unwrap_or_default().iter().map(destination).collect();
    let document = json!({
        "name": exported.name, "tenant": tenant, "comment": exported.comment,
        "user_instructions": exported.user_instructions, "tags": exported.tags.unwrap_or_default(), "dst": dst,
        "src_nat": exported.src_nat, "exclusive_access": exported.exclusive_access,
        "disabled": is_disabled(&exported.disabled),
    });
    Translated { name: exported.name, document, roles, left }
}

/// Whatever is not known to mean that it is on, is off.
fn is_disabled(word: &Value) -> bool {
    match word {
        Value::Null => false,
        Value::Bool(disabled) => *disabled,
        Value::String(word) => !(word.is_empty() || word.eq_ignore_ascii_case("false")),
        Value::Number(_) | Value::Array(_) | Value::Object(_) => true,
    }
}

/// What is empty or zero is not there: some versions leave nothing out.
fn destination(destination: &Destination) -> Value {
    let Destination { selector: Selector { ip, proto, port }, nat } = destination;
    let ip = if ip.start == ip.end || ip.end.is_empty() {
        json!(ip.start)
    } else {
        json!({ "start": ip.start, "end": ip.end })
    };
    let mut selector = json!({ "ip": ip });
    if let Some(proto) = proto.as_deref().filter(|proto| !proto.is_empty()) {
        selector["proto"] = json!(proto.to_ascii_lowercase());
    }
    if let Some(Ends { start, end }) = port.as_ref().filter(|port| (port.start, port.end) != (0, 0)) {
        selector["port"] = if start == end { json!(start) } else { json!({ "start": start, "end": end }) };
    }
    let mut whole = json!({ "selector": selector });
    if let Some(Nat { addr, port }) = nat.as_ref().filter(|nat| !nat.addr.is_empty()) {
        whole["nat"] = json!({ "addr": addr });
        if *port != 0 {
            whole["nat"]["port"] = json!(port);
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(document: Value) -> Translated {
        translate(serde_json::from_value(document).unwrap(), None)
    }

    #[test]
    fn a_target_is_carried_over_with_its_destinations_and_what_stays_behind_is_named() {
        let found = translated(json!({
            "id": "b3", "created": "2024-01-01T00:00:00Z", "author": "x", "updated": "", "updated_by": "",
            "name": "prod web", "comment": "c", "user_instructions": "ssh", "tags": ["prod"],
            "roles": [{ "id": "1", "name": "ops" }, { "id": "2", "name": "old", "deleted": true }, { "id": "3" }],
            "dst": [
                { "selector": { "ip": { "start": "10.1.0.1", "end": "10.1.0.1" }, "proto": "TCP",
                  "port": { "start": 443, "end": 443 } }, "nat": { "addr": "ext1/10.9.0.1", "port": 8443 } },
                { "selector": { "ip": { "start": "10.2.0.0", "end": "10.2.0.9" }, "proto": "",
                  "port": { "start": 0, "end": 0 } }, "nat": { "addr": "", "port": 0 } },
            ],
            "src_nat": true, "exclusive_access": true, "disabled": "BY_ADMIN",
            "static_config": "{}", "integration_type": "NQX", "labels": [],
        }));
        assert_eq!(found.roles, ["ops"]);
        assert_eq!(
            found.left,
            [
                "roles[1]: it is deleted there",
                "roles[2]: it has no name, only the identity \"3\"",
                "integration_type: there is nothing like it here",
                "static_config: there is nothing like it here",
            ]
        );
        let wanted = Wanted::new(Kind::Target, String::new(), found.document).unwrap();
        assert_eq!(
            wanted.document["dst"],
            json!([
                { "selector": { "ip": "10.1.0.1", "proto": "tcp", "port": 443 },
                  "nat": { "addr": "ext1/10.9.0.1", "port": 8443 } },
                { "selector": { "ip": { "start": "10.2.0.0", "end": "10.2.0.9" } } },
            ])
        );
        assert_eq!((&wanted.document["disabled"], &wanted.document["src_nat"]), (&json!(true), &json!(true)));
    }

    #[test]
    fn what_is_not_known_to_be_on_is_off() {
        for (word, disabled) in [
            (json!(null), false),
            (json!(""), false),
            (json!("FALSE"), false),
            (json!(false), false),
            (json!("BY_LICENSE"), true),
            (json!(true), true),
            (json!(1), true),
        ] {
            assert_eq!(is_disabled(&word), disabled, "{word}");
        }
    }

    #[test]
    fn a_file_is_a_list_an_answer_or_one_target() {
        for (document, count) in [
            (json!([{}, {}]), Some(2)),
            (json!({ "count": 1, "items": [{}] }), Some(1)),
            (json!({ "name": "a", "dst": [] }), Some(1)),
            (json!({ "items": 5 }), None),
            (json!({ "error": "x" }), None),
            (json!("x"), None),
        ] {
            assert_eq!(entries(document).map(|entries| entries.len()), count);
        }
    }
}
