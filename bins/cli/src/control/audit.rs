//! The audit: its newest events, and whether it is whole.

use std::time::Duration;

use sluice_api::{AuditEvent, ChainState};
use sluice_runtime::host::failure::{Exit, Failure};
use tokio::time::sleep;

use super::client::{Ask, Client, quoted};
use super::options::{AuditCommand, TailOptions};
use super::output::{print, say};

const PATH: &str = "/api/v1/audit";
/// How often one looks for new events.
const STEP: Duration = Duration::from_secs(2);
/// Of one look.
const EVENTS_MAX: usize = 10_000;

pub(super) async fn run(client: &Client, command: &AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::Tail(options) => tail(client, options).await,
        AuditCommand::Verify => match client.ask(Ask::post(format!("{PATH}/verify"))).await? {
            ChainState::Whole { events, head } => {
                say(&format!("whole: {events} events, the newest {head}\n"))
            }
            ChainState::Broken { seq, why } => {
                Err(Failure::new(Exit::Failed, format!("the audit is broken at event {seq}"))
                    .because_text(why)
                    .remedy("Keep the store as it is; compare it with a backup."))
            }
        },
    }
}

async fn tail(client: &Client, options: &TailOptions) -> Result<(), Failure> {
    let newest = find(client, options, options.since, options.count).await?;
    show(options, &newest)?;
    let mut last = newest.last().map(|event| (event.seq, event.time));
    if !options.follow {
        return Ok(());
    }
    loop {
        sleep(STEP).await;
        let since = last.map(|(_, time)| time).or(options.since);
        let mut events = find(client, options, since, EVENTS_MAX).await?;
        events.retain(|event| last.is_none_or(|(seq, _)| event.seq > seq));
        if let Some(event) = events.last() {
            last = Some((event.seq, event.time));
            show(options, &events)?;
        }
    }
}

/// The newest last.
async fn find(
    client: &Client,
    options: &TailOptions,
    since: Option<jiff::Timestamp>,
    max: usize,
) -> Result<Vec<AuditEvent>, Failure> {
    let parts: Vec<_> = [
        options.actor.as_ref().map(|actor| format!("actor={}", quoted(actor))),
        options.action.as_ref().map(|action| format!("action={}", quoted(action))),
        options.object.map(|object| format!("object={object}")),
        since.map(|since| format!("since={}", quoted(&since.to_string()))),
    ]
    .into_iter()
    .flatten()
    .collect();
    let query = if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) };
    let mut events: Vec<AuditEvent> = client.list(PATH, &query, max).await?;
    events.truncate(max);
    events.reverse();
    Ok(events)
}

fn show(options: &TailOptions, events: &[AuditEvent]) -> Result<(), Failure> {
    let row = |event: &AuditEvent| {
        let object = event.object.as_ref().map(|object| format!("{} {}", object.kind, object.name));
        vec![
            event.seq.to_string(),
            event.time.to_string(),
            event.actor.clone(),
            event.action.clone(),
            event.outcome.clone(),
            object.unwrap_or_default(),
            event.reason.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = events.iter().map(row).collect();
    let titles = ["seq", "time", "actor", "action", "outcome", "object", "reason"];
    print(options.format.output, &events, &titles, &rows)
}
