//! Which conversations sessions carried.

use sluice_api::FlowView;
use sluice_runtime::host::failure::Failure;

use super::client::{Client, quoted};
use super::options::FlowsOptions;
use super::output::print;

const TITLES: [&str; 9] = ["ended", "user", "target", "proto", "from", "to", "reached", "sent", "received"];

pub(super) async fn run(client: &Client, options: &FlowsOptions) -> Result<(), Failure> {
    let parts: Vec<_> = [
        options.session.map(|session| format!("session={session}")),
        options.user.as_ref().map(|user| format!("user={}", quoted(user))),
        options.target.as_ref().map(|target| format!("target={}", quoted(target))),
        options.since.map(|since| format!("since={}", quoted(&since.to_string()))),
        options.until.map(|until| format!("until={}", quoted(&until.to_string()))),
    ]
    .into_iter()
    .flatten()
    .collect();
    let query = if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) };
    let mut flows: Vec<FlowView> = client.list("/api/v1/flows", &query, options.count).await?;
    flows.truncate(options.count);
    let rows: Vec<_> = flows.iter().map(row).collect();
    print(options.format.output, &flows, &TITLES, &rows)
}

fn row(flow: &FlowView) -> Vec<String> {
    vec![
        flow.ended.to_string(),
        flow.user.clone(),
        flow.target.clone(),
        flow.proto.clone(),
        flow.client.to_string(),
        flow.destination.to_string(),
        flow.reached.to_string(),
        flow.bytes_out.to_string(),
        flow.bytes_in.to_string(),
    ]
}
