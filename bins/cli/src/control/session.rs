//! Sessions: opened, shown, ended.

use std::time::{Duration, Instant};

use serde_json::json;
use sluice_api::{EndSessions, ExtendSession, OpenSession, SessionState, SessionView};
use sluice_runtime::host::failure::{Exit, Failure};
use tokio::time::sleep;
use uuid::Uuid;

use super::client::{Ask, Client, quoted};
use super::options::{KillOptions, OpenOptions, SessionCommand, SessionListOptions};
use super::output::{Format, print, say};
use super::prompt;

const PATH: &str = "/api/v1/sessions";
/// How long routers may take to confirm, and how often one looks.
const WAIT_LIMIT: Duration = Duration::from_secs(30);
const WAIT_STEP: Duration = Duration::from_millis(200);

pub(super) async fn run(client: &Client, command: &SessionCommand) -> Result<(), Failure> {
    match command {
        SessionCommand::Open(options) => open(client, options).await,
        SessionCommand::List(options) => list(client, options).await,
        SessionCommand::Show { id, format } => show(format.output, &get(client, *id).await?),
        SessionCommand::Extend { id, duration, format } => {
            let body = ExtendSession { duration: *duration };
            let ask = Ask::post(format!("{PATH}/{id}/extend")).with(&body)?;
            show(format.output, &client.ask(ask).await?)
        }
        SessionCommand::Close { id } => {
            let ask = Ask::post(format!("{PATH}/{id}/end")).with(&json!({}))?;
            let _: SessionView = client.ask(ask).await?;
            say(&format!("session {id} ended\n"))
        }
        SessionCommand::Kill(options) => kill(client, options).await,
    }
}

async fn get(client: &Client, id: Uuid) -> Result<SessionView, Failure> {
    Ok(client.ask(Ask::get(format!("{PATH}/{id}"))).await?)
}

async fn open(client: &Client, options: &OpenOptions) -> Result<(), Failure> {
    let request = OpenSession {
        target: options.target.clone(),
        client_ip: options.from,
        device: options.device.clone(),
        reason: options.reason.clone(),
        duration: options.duration,
    };
    let mut session: SessionView = client.ask(Ask::post(PATH).with(&request)?).await?;
    let until = Instant::now() + WAIT_LIMIT;
    while options.wait && session.state == SessionState::Pending {
        if Instant::now() >= until {
            let waiting: Vec<_> = session
                .routers
                .iter()
                .filter(|router| !router.confirmed)
                .map(|router| &*router.router)
                .collect();
            return Err(Failure::new(Exit::Failed, format!("session {} is not open yet", session.id))
                .because_text(format!("no confirmation from {}", waiting.join(", ")))
                .remedy(format!("sluice session show {}, or sluice get routers", session.id)));
        }
        sleep(WAIT_STEP).await;
        session = get(client, session.id).await?;
    }
    if options.wait && session.state != SessionState::Active {
        let failure = Failure::new(Exit::Refused, format!("session {} has ended already", session.id));
        return Err(failure.because_text(session.ending_text.unwrap_or_default()));
    }
    show(options.format.output, &session)?;
    if options.format.output == Format::Table && !session.target.user_instructions.is_empty() {
        say(&format!("\n{}\n", session.target.user_instructions))?;
    }
    Ok(())
}

async fn list(client: &Client, options: &SessionListOptions) -> Result<(), Failure> {
    let ongoing = if options.all { None } else { Some(!options.past) };
    let sessions = find(client, options.user.as_deref(), options.target.as_deref(), ongoing).await?;
    let rows: Vec<_> = sessions.iter().map(row).collect();
    print(options.format.output, &sessions, &TITLES, &rows)
}

async fn find(
    client: &Client,
    user: Option<&str>,
    target: Option<&str>,
    ongoing: Option<bool>,
) -> Result<Vec<SessionView>, Failure> {
    let parts: Vec<_> = [
        user.map(|user| format!("user={}", quoted(user))),
        target.map(|target| format!("target={}", quoted(target))),
        ongoing.map(|ongoing| format!("ongoing={ongoing}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    let query = if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) };
    Ok(client.list(PATH, &query, usize::MAX).await?)
}

/// Says what will be cut, asks, cuts.
async fn kill(client: &Client, options: &KillOptions) -> Result<(), Failure> {
    let request = EndSessions {
        session: options.id,
        user: options.user.clone(),
        target: options.target.clone(),
        router: options.router.clone(),
        connector: options.connector.clone(),
        reason: Some(options.reason.clone()),
    };
    if !options.yes {
        let found = find(client, options.user.as_deref(), options.target.as_deref(), Some(true)).await?;
        let found: Vec<_> = found.iter().filter(|session| is_meant(session, &request)).collect();
        for session in &found {
            eprintln!("  {} of {} to {}", session.id, session.user, session.target.name);
        }
        if !prompt::agrees(&format!("End these {} sessions?", found.len()))? {
            return Err(
                Failure::new(Exit::Failed, "nothing was ended").remedy("Agree, or say so with --yes.")
            );
        }
    }
    let ended: sluice_api::Page<SessionView> =
        client.ask(Ask::post(format!("{PATH}/end")).with(&request)?).await?;
    let rows: Vec<_> = ended.items.iter().map(row).collect();
    print(options.format.output, &ended.items, &TITLES, &rows)
}

fn is_meant(session: &SessionView, request: &EndSessions) -> bool {
    let through = |connector: &String| {
        let mut translations = session.target.dst.iter().filter_map(|destination| destination.nat.as_ref());
        translations.any(|nat| {
            nat.addr.to_string().rsplit_once('/').is_some_and(|(name, _)| name == connector.as_str())
        })
    };
    request.session.is_none_or(|id| id == session.id)
        && request.router.as_ref().is_none_or(|name| session.routers.iter().any(|r| r.router == *name))
        && request.connector.as_ref().is_none_or(through)
}

const TITLES: [&str; 7] = ["id", "state", "user", "target", "from", "until", "ending"];

fn show(format: Format, session: &SessionView) -> Result<(), Failure> {
    print(format, session, &TITLES, &[row(session)])
}

fn row(session: &SessionView) -> Vec<String> {
    let state = match session.state {
        SessionState::Pending => "pending",
        SessionState::Active => "active",
        SessionState::Closing => "closing",
        SessionState::Closed => "closed",
    };
    vec![
        session.id.to_string(),
        state.to_owned(),
        session.user.clone(),
        session.target.name.clone(),
        session.client_ip.to_string(),
        session.expires.map(|expires| expires.to_string()).unwrap_or_default(),
        session.ending.clone().unwrap_or_default(),
    ]
}
