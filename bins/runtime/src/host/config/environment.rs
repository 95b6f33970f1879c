//! Overrides from the environment: `SLUICE_NODE_LISTEN_PORT=51821` for `listen_port` in `[node]`. Lists of tables
//! are not overridden.

use toml::{Table, Value};

use super::fault::DocumentFault;

/// What a key holds, so that the text of a variable becomes the right value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Taken as it stands.
    Text,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Flag,
    /// Texts separated by commas; an empty variable is an empty list.
    List,
}

/// Tables that can be overridden. Other `SLUICE_…` variables are somebody else's.
const TABLES: [&str; 6] = ["node", "tun", "sockets", "operations", "server", "audit"];

/// All variables of this process that are text.
pub fn of_this_process() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The variables that mean us.
pub(super) fn ours(all: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    all.filter(|(name, _)| TABLES.iter().any(|table| name.starts_with(&prefix(table)))).collect()
}

/// Whether a variable concerns `table`.
pub(super) fn touches(variables: &[(String, String)], table: &str) -> bool {
    variables.iter().any(|(name, _)| name.starts_with(&prefix(table)))
}

/// Puts the values of variables into `table`, takes those variables away, and returns what does not fit.
pub(super) fn override_keys(
    table: &mut Table,
    name: &str,
    keys: &[(&str, Kind)],
    variables: &mut Vec<(String, String)>,
) -> Vec<DocumentFault> {
    let mut faults = Vec::new();
    for (key, kind) in keys {
        let variable = prefix(name) + &key.to_uppercase();
        let Some(at) = variables.iter().position(|(known, _)| *known == variable) else { continue };
        let (variable, text) = variables.swap_remove(at);
        match value(*kind, &text) {
            Ok(value) => drop(table.insert((*key).to_owned(), value)),
            Err(expected) => faults.push(DocumentFault::BadOverride { variable, expected }),
        }
    }
    faults
}

fn prefix(table: &str) -> String {
    format!("SLUICE_{}_", table.to_uppercase())
}

fn value(kind: Kind, text: &str) -> Result<Value, &'static str> {
    match kind {
        Kind::Text => Ok(Value::String(text.to_owned())),
        Kind::Number => text.parse().map(Value::Integer).map_err(|_| "a whole number"),
        Kind::Flag => text.parse().map(Value::Boolean).map_err(|_| "true or false"),
        Kind::List => Ok(Value::Array(list(text))),
    }
}

fn list(text: &str) -> Vec<Value> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(|item| Value::String(item.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &[(&str, Kind)] = &[
        ("name", Kind::Text),
        ("listen_port", Kind::Number),
        ("accept_clients", Kind::Flag),
        ("addresses", Kind::List),
    ];

    #[test]
    fn a_variable_becomes_a_value_of_its_keys_kind() {
        for (variable, text, expected) in [
            ("SLUICE_NODE_NAME", "123", Some("\"123\"")),
            ("SLUICE_NODE_LISTEN_PORT", "123", Some("123")),
            ("SLUICE_NODE_LISTEN_PORT", "many", None),
            ("SLUICE_NODE_ACCEPT_CLIENTS", "true", Some("true")),
            ("SLUICE_NODE_ACCEPT_CLIENTS", "yes", None),
            ("SLUICE_NODE_ADDRESSES", "10.0.0.1, fd00::1", Some("[\"10.0.0.1\", \"fd00::1\"]")),
            ("SLUICE_NODE_ADDRESSES", "", Some("[]")),
        ] {
            let mut table = Table::new();
            let mut variables = vec![(variable.to_owned(), text.to_owned())];
            let faults = override_keys(&mut table, "node", KEYS, &mut variables);
            assert_eq!(table.values().next().map(Value::to_string).as_deref(), expected, "{variable}={text}");
            assert_eq!(faults.is_empty(), expected.is_some(), "{variable}={text}");
        }
    }

    #[test]
    fn other_programs_variables_are_left_alone() {
        let all = [("SLUICE_LAB_KEEP", "1"), ("PATH", "/bin"), ("SLUICE_NODE_NAME", "r")];
        let ours = ours(all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        assert_eq!(ours, [("SLUICE_NODE_NAME".to_owned(), "r".to_owned())]);
    }
}
