//! `[operations]`: what every program offers whoever runs it. All of it but `hardening` changes with a reload.

use std::net::SocketAddr;

use serde::Deserialize;
use thiserror::Error;

use super::document::{Document, Section};
use super::environment::Kind;
use super::fault::{Fault, Place, Problems};
use super::value;
use crate::service;

/// `[operations]` as written.
#[derive(Debug, Deserialize)]
struct OperationsTable {
    metrics: Option<String>,
    log_level: Option<String>,
    hardening: Option<bool>,
}

impl Section for OperationsTable {
    const TABLE: &'static str = "operations";
    const KEYS: &'static [(&'static str, Kind)] =
        &[("metrics", Kind::Text), ("log_level", Kind::Text), ("hardening", Kind::Flag)];
}

/// `[operations]`, legal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationsSettings {
    /// Where Prometheus may ask for metrics, without encryption or password; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
    /// What is logged, where the command line does not say.
    pub log_level: Option<String>,
    /// Whether the program gives up what it does not need once it runs.
    pub hardening: bool,
}

impl Default for OperationsSettings {
    fn default() -> Self {
        Self { metrics: None, log_level: None, hardening: true }
    }
}

/// What can be wrong with `[operations]` only.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum OperationsFault {
    /// The level is none.
    #[error("{0}")]
    LogLevel(String),
}

impl Fault for OperationsFault {
    fn remedy(&self) -> String {
        match self {
            Self::LogLevel(_) => {
                "Write error, warn, info, debug or trace, or levels by module: warn,router_core=debug.".into()
            }
        }
    }
}

/// Takes `[operations]`; `None` if something of it is wrong, and noted.
pub fn read(document: &mut Document, problems: &mut Problems) -> Option<OperationsSettings> {
    let table: OperationsTable = document.section(problems)?;
    let place = Place::table(OperationsTable::TABLE);
    let metrics = table.metrics.as_deref().map(value::endpoint).transpose();
    let metrics = problems.take(&place.field("metrics"), metrics);
    let log_level = table.log_level.map(|level| match service::check_filter(&level) {
        Ok(()) => Ok(level),
        Err(error) => Err(OperationsFault::LogLevel(error.to_string())),
    });
    let log_level = problems.take(&place.field("log_level"), log_level.transpose());
    Some(OperationsSettings {
        metrics: metrics?,
        log_level: log_level?,
        hardening: table.hardening.unwrap_or(OperationsSettings::default().hardening),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn nothing_is_offered_and_much_is_given_up_unless_the_file_says_otherwise() {
        assert_eq!(read_text("").unwrap(), OperationsSettings::default());
        let settings = read_text("[operations]\nmetrics = '127.0.0.1:9586'\nlog_level = 'warn,router_core=debug'\nhardening = false\n").unwrap();
        assert_eq!(settings.metrics, "127.0.0.1:9586".parse().ok());
        assert!(!settings.hardening);
    }

    #[test]
    fn each_fault_is_told_at_its_key() {
        for (line, place) in [("metrics = '9586'", "metrics"), ("log_level = 'sluice=loud'", "log_level")] {
            let told = read_text(&format!("[operations]\n{line}\n")).unwrap_err();
            assert!(told.len() == 1 && told[0].starts_with(&format!("[operations]: {place}")), "{told:?}");
        }
    }

    fn read_text(text: &str) -> Result<OperationsSettings, Vec<String>> {
        let path = Path::new("node.toml");
        let mut document = Document::parse(path, text, std::iter::empty()).unwrap();
        let mut problems = Problems::of(path);
        let settings = read(&mut document, &mut problems);
        document.finish(&mut problems);
        settings
            .filter(|_| problems.is_empty())
            .ok_or_else(|| problems.iter().map(|(place, fault)| format!("{place}: {fault}")).collect())
    }
}
