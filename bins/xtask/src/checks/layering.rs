//! The direction of dependencies, as DESIGN draws it: read from `cargo metadata` and, inside `router-core`, from the sources.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cargo::{cargo, root};
use crate::run::{Failure, Log};
use crate::step::Outcome;

/// Who may use whom, of our own crates; what is not listed here may not be used. Development dependencies are free.
const ALLOWED: &[(&str, &[&str])] = &[
    ("wg-proto", &[]),
    ("router-core", &["wg-proto"]),
    ("control-proto", &["router-core", "wg-proto"]),
    ("sluice-runtime", &["control-proto", "router-core", "wg-proto"]),
    ("sluice-router", &["sluice-runtime", "control-proto", "router-core", "wg-proto"]),
    ("sluice-connector", &["sluice-runtime", "control-proto", "router-core", "wg-proto"]),
    ("sluice-api", &[]),
    ("sluice-console", &["sluice-api"]),
    (
        "sluice-server",
        &["sluice-api", "sluice-console", "sluice-runtime", "control-proto", "router-core", "wg-proto"],
    ),
    (
        "sluice",
        &[
            "sluice-api",
            "sluice-connector",
            "sluice-router",
            "sluice-runtime",
            "control-proto",
            "router-core",
            "wg-proto",
        ],
    ),
    // Tools around the programs.
    ("sluice-lab", &["wg-proto", "router-core"]),
    ("sluice-benches", &["sluice-lab", "sluice-runtime", "router-core", "wg-proto"]),
    ("xtask", &["sluice-lab"]),
];

/// Modules of `router-core` that meet only at `rules`: neither imports the other.
const STRANGERS: [(&str, &str); 2] = [("access", "datapath"), ("datapath", "access")];

/// All that `access` may name of `router-core`: where it meets the data path, and the words both speak in.
const ACCESS_MAY_NAME: [&str; 6] = ["access", "rules", "selector", "packet", "flow::Caps", "Refusal"];

/// What the first lines of the pure crates must say.
const PURE: [&str; 2] = ["wg-proto", "router-core"];

/// The whole check; it takes no time.
pub(crate) fn check(_: &Log) -> Result<Outcome> {
    let output = cargo(&["metadata", "--format-version", "1", "--no-deps"]).current_dir(root()).output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")?;
    let mut wrong = wrong_dependencies(&metadata);
    wrong.extend(wrong_imports(&root()));
    wrong.extend(wrong_attributes(&root()));
    if wrong.is_empty() {
        return Ok(Outcome::Passed);
    }
    let reason = format!("{} dependencies point the wrong way", wrong.len());
    Ok(Outcome::Failed(Failure { reason, log: wrong.join("\n") }))
}

fn wrong_dependencies(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let own: Vec<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == name) else {
            wrong.push(format!("{name} has no place in the layering yet: add it to the table of this check"));
            continue;
        };
        for used in own_dependencies(package, &own).filter(|used| !allowed.contains(used)) {
            wrong.push(format!("{name} must not depend on {used}"));
        }
    }
    wrong
}

/// Normal and build dependencies that are members of this workspace.
fn own_dependencies<'a>(package: &'a Value, own: &[&str]) -> impl Iterator<Item = &'a str> {
    let dependencies = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
    let normal = dependencies.iter().filter(|dependency| dependency["kind"].as_str() != Some("dev"));
    normal.filter_map(|dependency| dependency["name"].as_str()).filter(|name| own.contains(name))
}

fn wrong_imports(root: &Path) -> Vec<String> {
    let core = root.join("router-core/src");
    let mut wrong = Vec::new();
    for (module, stranger) in STRANGERS {
        for (path, text) in sources(&core.join(module)) {
            if let Some(line) = code(&text).find(|line| names(line, stranger)) {
                wrong.push(format!("{path}: {module} must not know {stranger}: {line}"));
            }
        }
    }
    for (path, text) in sources(&core.join("access")) {
        if let Some(line) = code(&text).find(|line| names_too_much(line)) {
            wrong.push(format!("{path}: access may name {} only: {line}", ACCESS_MAY_NAME.join(", ")));
        }
    }
    wrong
}

fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.starts_with("//"))
}

/// Whether a line has the module in a path.
fn names(line: &str, module: &str) -> bool {
    line.match_indices(module).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + module.len()..]);
        let is_word = !before.ends_with(is_of_word) && !after.starts_with(is_of_word);
        is_word && (before.ends_with("::") || after.starts_with("::"))
    })
}

/// Whether a line of `access` names something of the crate that it may not know.
fn names_too_much(line: &str) -> bool {
    let may_name = |path: &str| {
        let rest = ACCESS_MAY_NAME.iter().find_map(|known| path.strip_prefix(known));
        rest.is_some_and(|rest| !rest.starts_with(is_of_word))
    };
    line.split("crate::").skip(1).any(|path| !may_name(path))
}

fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn wrong_attributes(root: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    for name in PURE {
        let path = root.join(name).join("src/lib.rs");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        for attribute in ["#![no_std]", "#![forbid(unsafe_code)]"] {
            if !text.lines().any(|line| line.trim() == attribute) {
                wrong.push(format!("{}: {attribute} is missing", path.display()));
            }
        }
    }
    wrong
}

/// The Rust files under a directory, or of a module in one file.
fn sources(module: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut waiting = vec![module.to_owned(), module.with_extension("rs")];
    while let Some(path) = waiting.pop() {
        if let Ok(entries) = std::fs::read_dir(&path) {
            waiting.extend(entries.flatten().map(|entry| entry.path()));
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && let Ok(text) = std::fs::read_to_string(&path)
        {
            found.push((path.display().to_string(), text));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(name: &str, uses: &str, kind: Value) -> Value {
        serde_json::json!({ "packages": [
            { "name": name, "dependencies": [{ "name": uses, "kind": kind }] },
            { "name": uses, "dependencies": [] },
        ] })
    }

    #[test]
    fn a_dependency_against_the_direction_is_found_and_one_for_tests_is_not() {
        for (name, uses, kind, expected) in [
            ("wg-proto", "router-core", Value::Null, 1),
            ("wg-proto", "router-core", "build".into(), 1),
            ("wg-proto", "router-core", "dev".into(), 0),
            ("router-core", "wg-proto", Value::Null, 0),
            ("router-core", "sluice-runtime", Value::Null, 1),
        ] {
            assert_eq!(wrong_dependencies(&metadata(name, uses, kind)).len(), expected, "{name} -> {uses}");
        }
    }

    #[test]
    fn a_module_is_named_by_paths_only() {
        for (line, expected) in [
            ("use crate::datapath::Question;", true),
            ("use super::super::datapath;", true),
            ("let side = datapath::side();", true),
            ("let datapath = 1;", false),
            ("use crate::datapath_of::Thing;", false),
            ("use crate::my_datapath::Thing;", false),
        ] {
            assert_eq!(names(line, "datapath"), expected, "{line}");
        }
    }

    #[test]
    fn access_names_what_it_meets_the_data_path_by_and_nothing_else() {
        for (line, expected) in [
            ("use crate::rules::{Dnat, SessionId};", false),
            ("use crate::access::id::UserId;", false),
            ("use crate::flow::Caps;", false),
            ("use crate::Refusal;", false),
            ("pub(in crate::access) fn place() {}", false),
            ("use crate::rules_of_thumb::Thumb;", true),
            ("use crate::flow::FlowTable;", true),
            ("use crate::{Refusal, Node};", true),
            ("fn at(node: &crate::Node) {}", true),
        ] {
            assert_eq!(names_too_much(line), expected, "{line}");
        }
    }

    #[test]
    fn a_crate_without_a_place_is_found() {
        let wrong = wrong_dependencies(&metadata("newcomer", "wg-proto", Value::Null));
        assert_eq!(wrong.len(), 1);
    }
}
