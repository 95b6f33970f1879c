//! Where two documents differ, field by field.

use serde::Serialize;
use serde_json::{Map, Value};

use super::output::words;

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Difference {
    /// `dst[0].selector.port`
    pub(super) field: String,
    /// What is there; absent: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<Value>,
    /// What is to be there; absent: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<Value>,
}

/// Where they differ, in the order of their fields.
pub(super) fn between(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<Difference> {
    let mut found = Vec::new();
    objects("", before, after, &mut found);
    found
}

fn objects(
    place: &str,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    found: &mut Vec<Difference>,
) {
    let fields = before.keys().chain(after.keys().filter(|field| !before.contains_key(*field)));
    for field in fields {
        let place = if place.is_empty() { field.clone() } else { format!("{place}.{field}") };
        values(&place, before.get(field), after.get(field), found);
    }
}

fn values(place: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Difference>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => objects(place, before, after, found),
        // Of lists of words the whole is shown: places say nothing there.
        (Some(Value::Array(before)), Some(Value::Array(after)))
            if before.iter().chain(after).all(Value::is_object) =>
        {
            for index in 0..before.len().max(after.len()) {
                values(&format!("{place}[{index}]"), before.get(index), after.get(index), found);
            }
        }
        (before, after) => {
            found.push(Difference { field: place.to_owned(), before: before.cloned(), after: after.cloned() })
        }
    }
}

impl Difference {
    /// `~ comment: old -> new`
    pub(super) fn line(&self) -> String {
        let Self { field, before, after } = self;
        match (before, after) {
            (Some(before), Some(after)) => format!("~ {field}: {} -> {}", words(before), words(after)),
            (Some(before), None) => format!("- {field}: {}", words(before)),
            (None, Some(after)) => format!("+ {field}: {}", words(after)),
            (None, None) => format!("  {field}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_field_that_differs_is_told_with_what_it_is_and_will_be() {
        let before = json!({ "comment": "old", "roles": ["dba"], "dst": [
            { "selector": { "ip": "10.0.0.1", "port": 22 } }, { "selector": { "ip": "10.0.0.2" } },
        ] });
        let after = json!({ "roles": ["dba", "dev"], "src_nat": true, "dst": [
            { "selector": { "ip": "10.0.0.1", "port": 2222 } },
        ] });
        let found = between(before.as_object().unwrap(), after.as_object().unwrap());
        let lines: Vec<_> = found.iter().map(Difference::line).collect();
        assert_eq!(
            lines,
            [
                "- comment: old",
                "~ dst[0].selector.port: 22 -> 2222",
                "- dst[1]: {\"selector\":{\"ip\":\"10.0.0.2\"}}",
                "~ roles: dba -> dba, dev",
                "+ src_nat: true",
            ]
        );
        assert!(between(before.as_object().unwrap(), before.as_object().unwrap()).is_empty());
    }
}
