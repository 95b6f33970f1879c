//! Objects as files have them: TOML, YAML or JSON, a list under the name of each kind.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sluice_api::{
    ConnectorSpec, MappingSpec, NewDevice, RoleSpec, RouterSpec, TargetSpec, TenantSpec, UserSpec,
};
use sluice_runtime::host::failure::{Exit, Failure};
use thiserror::Error;

use super::kind::Kind;

/// What the server adds to what was written.
const KEPT: [&str; 6] = ["id", "version", "created", "author", "updated", "updated_by"];
/// Of a file of objects.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// An object as it is to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// Where in which file: `lab.toml: target[0]`.
    pub(super) place: String,
    /// As the server writes it.
    pub(super) document: Map<String, Value>,
}

impl Wanted {
    /// An object of a document that stands at `place`.
    ///
    /// # Errors
    /// Which field is wrong, and why.
    pub(super) fn new(kind: Kind, place: String, document: Value) -> Result<Self, Failure> {
        let wrong = |why: String| Failure::new(Exit::Configuration, place.clone()).because_text(why);
        let document = normal(kind, document).map_err(wrong)?;
        let text = |field: &str| document.get(field).and_then(Value::as_str);
        let name = text("name").ok_or_else(|| wrong("name: is missing".to_owned()))?;
        // A device is known by its user and itself.
        let name = match (kind, text("user")) {
            (Kind::Device, Some(user)) => format!("{user}/{name}"),
            _ => name.to_owned(),
        };
        Ok(Self { kind, name, place, document })
    }
}

/// What an object says, without what the server adds to it.
pub(super) fn said(kind: Kind, object: &Map<String, Value>) -> Map<String, Value> {
    let mut document = object.clone();
    document.retain(|field, _| !KEPT.contains(&field.as_str()));
    // A server of another version may have fields that are not known here: they are shown as they are.
    normal(kind, Value::Object(document.clone())).unwrap_or(document)
}

/// Fields that the server fills in, and keeps where a document leaves them out.
pub(super) fn filled_in(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Router | Kind::Connector => &["addresses", "public_key"],
        Kind::Mapping => &["tenant", "virtual_port"],
        Kind::Device => &["user", "router", "client_ip"],
        Kind::Tenant | Kind::Role | Kind::User | Kind::Target => &[],
    }
}

/// A document as the server writes it: durations are numbers.
fn normal(kind: Kind, document: Value) -> Result<Map<String, Value>, String> {
    let written = match kind {
        Kind::Tenant => through::<TenantSpec>(document),
        Kind::Role => through::<RoleSpec>(document),
        Kind::User => through::<UserSpec>(document),
        Kind::Router => through::<RouterSpec>(document),
        Kind::Device => through::<NewDevice>(document),
        Kind::Connector => through::<ConnectorSpec>(document),
        Kind::Mapping => through::<MappingSpec>(document),
        Kind::Target => through::<TargetSpec>(document),
    }?;
    match written {
        Value::Object(fields) => Ok(fields),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err("is no object".to_owned())
        }
    }
}

/// Without what is at its default, whether it is written or not.
pub(super) fn trimmed(document: &Map<String, Value>) -> Map<String, Value> {
    let mut fields = document.clone();
    fields.retain(|_, value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Bool(true) | Value::Number(_) | Value::String(_) | Value::Object(_) => true,
    });
    fields
}

fn through<S: DeserializeOwned + Serialize>(document: Value) -> Result<Value, String> {
    let spec: S = serde_path_to_error::deserialize(document).map_err(|error| {
        let (path, why) = (error.path().to_string(), error.inner().to_string());
        if path == "." { why } else { format!("{path}: {why}") }
    })?;
    serde_json::to_value(spec).map_err(|error| error.to_string())
}

/// The objects of all files, those first that others name.
pub(super) fn read_all(files: &[PathBuf]) -> Result<Vec<Wanted>, Failure> {
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

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Toml,
    Yaml,
    Json,
}

/// By the name, or else by what it begins with: a table of TOML, a key of YAML.
fn language(file: &str, text: &str) -> Language {
    let extension = Path::new(file).extension().and_then(|extension| extension.to_str());
    match extension {
        Some("toml") => return Language::Toml,
        Some("yaml" | "yml") => return Language::Yaml,
        Some("json") => return Language::Json,
        Some(_) | None => {}
    }
    let lines = text.lines().map(str::trim_end);
    let first = lines.map(str::trim_start).find(|line| !line.is_empty() && !line.starts_with('#'));
    match first {
        Some(line) if line.starts_with('{') => Language::Json,
        Some(line) if line == "---" || line.ends_with(':') => Language::Yaml,
        Some(_) | None => Language::Toml,
    }
}

/// Reads TOML, YAML or JSON.
pub(super) fn parse(file: &str, text: &str) -> Result<Vec<Wanted>, Failure> {
    let wrong = |place: String, why: String| Failure::new(Exit::Configuration, place).because_text(why);
    let unread = |why: String| wrong(file.to_owned(), why.trim_end().to_owned());
    let tables: Map<String, Value> = match language(file, text) {
        Language::Json => serde_json::from_str(text).map_err(|error| unread(error.to_string()))?,
        Language::Yaml => serde_saphyr::from_str(text).map_err(|error| unread(error.to_string()))?,
        Language::Toml => toml::from_str(text).map_err(|error| unread(error.to_string()))?,
    };
    let mut all = Vec::new();
    for (table, entries) in tables {
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == table);
        let kind = kind.ok_or_else(|| {
            let names = Kind::ALL.map(Kind::name).join(", ");
            wrong(format!("{file}: {table}"), format!("there is no such kind; there are {names}"))
        })?;
        let Value::Array(entries) = entries else {
            let why = format!("is no list: write [[{table}]] in TOML, a list under {table}: in YAML");
            return Err(wrong(format!("{file}: {table}"), why));
        };
        for (index, document) in entries.into_iter().enumerate() {
            all.push(Wanted::new(kind, format!("{file}: {table}[{index}]"), document)?);
        }
    }
    all.sort_by_key(|wanted| wanted.kind);
    Ok(all)
}

/// A field and its value, as the command line has them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Setting {
    path: Vec<String>,
    value: Value,
}

/// Why a text is no setting.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("write FIELD=VALUE, such as comment=text or roles='[\"dba\"]'")]
pub(crate) struct NotASetting;

impl FromStr for Setting {
    type Err = NotASetting;

    /// What is JSON is taken as such, all else as a text.
    fn from_str(text: &str) -> Result<Self, NotASetting> {
        let (field, value) = text.split_once('=').ok_or(NotASetting)?;
        let path: Vec<_> = field.split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(NotASetting);
        }
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        Ok(Self { path, value })
    }
}

impl Setting {
    /// Sets the field.
    pub(super) fn set_in(&self, document: &mut Map<String, Value>) {
        let Some((last, above)) = self.path.split_last() else { return };
        let mut inner = document;
        for field in above {
            let entry = inner.entry(field.clone()).or_insert(Value::Null);
            if !entry.is_object() {
                *entry = Value::Object(Map::new());
            }
            let Value::Object(next) = entry else { return };
            inner = next;
        }
        inner.insert(last.clone(), self.value.clone());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_come_before_those_that_name_them_and_keep_their_order() {
        let text =
            "[[target]]\nname='t'\ndst=[]\n[[user]]\nname='b'\n[[user]]\nname='a'\n[[role]]\nname='r'\n";
        let all = parse("x.toml", text).unwrap();
        let places: Vec<_> = all.iter().map(|wanted| wanted.place.as_str()).collect();
        assert_eq!(places, ["x.toml: role[0]", "x.toml: user[0]", "x.toml: user[1]", "x.toml: target[0]"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_table_index_and_field() {
        for (file, text, expected) in [
            ("x.toml", "[[user]]\n", "x.toml: user[0]\n  why: missing field `name`"),
            ("x.toml", "[user]\nname='a'\n", "x.toml: user\n  why: is no list: write [[user]]"),
            ("x.toml", "[[usr]]\nname='a'\n", "x.toml: usr\n  why: there is no such kind"),
            ("x.toml", "[[user]\n", "x.toml\n  why: TOML parse error at line 1"),
            (
                "-",
                "target:\n- name: a\n  dst:\n  - selector: {ip: 10.0.0.1, prto: tcp}\n",
                "-: target[0]\n  why: dst[0].selector.prto: unknown field",
            ),
            ("x.yaml", "user: [\n", "x.yaml\n  why: "),
            (
                "-",
                "{\"user\": [{\"name\": \"a\", \"right\": \"king\"}]}",
                "-: user[0]\n  why: right: unknown variant",
            ),
        ] {
            let told = parse(file, text).unwrap_err();
            assert_eq!(told.exit(), Exit::Configuration);
            assert!(told.to_string().contains(expected), "{told}");
        }
    }

    #[test]
    fn a_file_means_the_same_in_each_language() {
        let toml = "# a comment\n[[target]]\nname = 'web'\nmax_duration = '8h'\n[[target.dst]]\nselector = { ip = '10.0.0.1', proto = 'tcp', port = 80 }\n";
        let yaml = "# a comment\ntarget:\n- name: web\n  max_duration: 8h\n  dst:\n  - selector:\n      ip: 10.0.0.1\n      proto: tcp\n      port: 80\n";
        let json = json!({ "target": [{ "name": "web", "max_duration": 28_800, "disabled": false,
            "dst": [{ "selector": { "ip": "10.0.0.1", "proto": "tcp", "port": 80 } }] }] });
        let read = |text: &str| parse("-", text).unwrap().remove(0).document;
        assert_eq!(read(toml), read(&json.to_string()));
        assert_eq!(read(yaml), read(toml));
        let wide = format!("target:\n- name: web\n  comment: &a {}\n", "x".repeat(64));
        assert_eq!(parse("x.yml", &(wide + "  dst: []\n")).unwrap().len(), 1);
    }

    #[test]
    fn yaml_that_grows_when_it_is_read_is_refused() {
        let mut text = "target:\n- &a0 [x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..7 {
            let above = format!("*a{}, ", level - 1).repeat(8);
            text += &format!("- &a{level} [{above}]\n");
        }
        assert_eq!(parse("x.yaml", &text).unwrap_err().exit(), Exit::Configuration);
    }

    #[test]
    fn a_device_is_named_with_its_user() {
        let device = json!({ "name": "laptop", "user": "alice", "public_key": "x" });
        assert_eq!(Wanted::new(Kind::Device, String::new(), device).unwrap().name, "alice/laptop");
    }

    #[test]
    fn settings_are_json_or_text_at_a_path() {
        let mut document = Map::new();
        for setting in [
            "comment=a=b",
            "roles=[\"dba\"]",
            "disabled=true",
            "schedule.windows=[]",
            "schedule.utc_offset=+02:00",
        ] {
            setting.parse::<Setting>().unwrap().set_in(&mut document);
        }
        let expected = json!({ "comment": "a=b", "roles": ["dba"], "disabled": true,
            "schedule": { "windows": [], "utc_offset": "+02:00" } });
        assert_eq!(Value::Object(document), expected);
        for wrong in ["comment", "=x", "a..b=x"] {
            assert_eq!(wrong.parse::<Setting>(), Err(NotASetting));
        }
    }

    #[test]
    fn the_example_has_every_object_as_the_server_takes_it() {
        let all = parse("lab.toml", include_str!("../../../../docs/examples/lab.toml")).unwrap();
        assert!(all.iter().any(|wanted| wanted.kind == Kind::Mapping));
    }
}
