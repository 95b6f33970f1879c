//! Answers that a router and a connector give alike.

use serde::Serialize;
use serde_json::{Value, json};

use super::collect;
use super::message::Refusal;
use super::server::Answer;
use crate::host::program::Program;

/// Sends the first `max` flows.
///
/// # Errors
/// If the client is gone.
pub fn flows(program: &Program, max: usize, answer: &mut Answer<'_>) -> Result<Value, Refusal> {
    let flows = collect::flows(program, max);
    for flow in &flows {
        answer.item(flow).map_err(|error| Refusal::new(error.to_string(), "Ask again."))?;
    }
    Ok(json!({ "flows": flows.len() }))
}

/// A report as it goes over the socket.
///
/// # Errors
/// Never, for the reports there are.
pub fn report(report: &impl Serialize) -> Result<Value, Refusal> {
    let failed =
        |error: serde_json::Error| Refusal::new(error.to_string(), "Report this fault of the program.");
    serde_json::to_value(report).map_err(failed)
}
