//! Reports of the running program on standard output: as JSON for scripts, as tables for people.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::message::Request;
use super::report::{FlowReport, PacketReport, Status};
use super::{ask, table};
use crate::host::arguments::{FlowOptions, ReportOptions};
use crate::host::failure::{Exit, Failure};

/// `status`, of the program at `options`' socket or at `default`.
///
/// # Errors
/// If nobody answers.
pub fn status(options: &ReportOptions, default: &str) -> Result<(), Failure> {
    let value = ask(&options.admin.path(default), &Request::Status, |_| {})?;
    show(options.json, value, |status: &Status| table::status(status))
}

/// `flows`.
///
/// # Errors
/// If nobody answers.
pub fn flows(options: &FlowOptions, default: &str) -> Result<(), Failure> {
    let mut flows = Vec::new();
    let path = options.report.admin.path(default);
    ask(&path, &Request::Flows { max: options.max }, |flow| flows.push(flow))?;
    show(options.report.json, Value::Array(flows), |flows: &Vec<FlowReport>| {
        format!("{}\n", table::flows(flows))
    })
}

/// `explain`, of a packet as people write it.
///
/// # Errors
/// If nobody answers, or the text is no packet.
pub fn explain(packet: String, from: Option<String>, json: bool, path: &Path) -> Result<(), Failure> {
    let value = ask(path, &Request::Explain { packet, from }, |_| {})?;
    show(json, value, |report: &PacketReport| table::packet(report))
}

fn show<T: DeserializeOwned>(json: bool, value: Value, draw: impl Fn(&T) -> String) -> Result<(), Failure> {
    if json {
        println!("{value:#}");
        return Ok(());
    }
    let report = serde_json::from_value(value).map_err(|error| {
        Failure::new(Exit::Failed, "the running program answers in another version's words")
            .because(&error)
            .remedy("Use --json, or the program of the same version.")
    })?;
    print!("{}", draw(&report));
    Ok(())
}
