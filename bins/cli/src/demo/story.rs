//! Steps 3 to 6: refused, opened, followed, cut.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_runtime::host::admin::Request;
use sluice_runtime::host::failure::Failure;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::cast;
use super::device::{Ended, GREETING};
use super::hops::Hops;
use super::stage::Stage;
use super::steps::{Outcome, Steps, Trouble};
use super::visit;
use crate::connect::{Dial, DialFault, FarStream};
use crate::target::Target;
use crate::terminal::Mark;

/// How long the device's end may take once the client's is cut.
const END_LIMIT: Duration = Duration::from_secs(10);
/// Enough to fill every buffer on the way.
const ECHO_BYTES: usize = 1 << 20;

/// Plays all of it.
///
/// # Errors
/// Which step failed.
pub(super) fn play(steps: &Steps<'_>, stage: &Stage) -> Result<(), Failure> {
    refused(steps, stage)?;
    let session = opened(steps, stage)?;
    let stream = followed(steps, stage)?;
    cut(steps, stage, &session, stream)
}

fn refused(steps: &Steps<'_>, stage: &Stage) -> Result<(), Failure> {
    steps.terminal.title("3. Nobody has access, so nothing passes");
    steps.take(&format!("connect to {}", cast::WEB), refusal(stage))?;
    let packet = format!("tcp {}:50000 > {}", cast::CLIENT, cast::WEB);
    let report = stage.router.explain(&packet)?;
    let reason = report.reason.unwrap_or(report.verdict);
    steps.terminal.note(&format!("sluice-router explain \"{packet}\" says: {reason}."));
    Ok(())
}

fn opened(steps: &Steps<'_>, stage: &Stage) -> Result<String, Failure> {
    steps.terminal.title("4. An operator opens access");
    let session = steps.take("open a session", open(stage, cast::CLIENT))?;
    steps.take(&format!("fetch http://{}/", cast::DEVICE), page(stage))?;
    steps.take(&format!("echo at {}", cast::ECHO), echo(stage))?;
    Ok(session)
}

fn followed(steps: &Steps<'_>, stage: &Stage) -> Result<FarStream, Failure> {
    steps.terminal.title("5. One connection, hop by hop");
    let (stream, hops, seen) = steps.take("an open connection", follow(stage))?;
    steps.terminal.picture(&hops.lines(seen, steps.terminal.width()));
    Ok(stream)
}

fn cut(steps: &Steps<'_>, stage: &Stage, session: &str, stream: FarStream) -> Result<(), Failure> {
    steps.terminal.title("6. The operator takes access away, in the middle of it");
    let ends = Ends::watch(steps, stage, stream);
    let ordered = Instant::now();
    steps.take("close the session", close(stage, session))?;
    for (whose, end) in steps.quietly(ends.wait()).map_err(Trouble::into_failure)? {
        let after = end.at.saturating_duration_since(ordered);
        steps.terminal.step(Mark::Good, whose, &end.how, Some(after));
    }
    steps.terminal.note("Both ends measured from the order on.");
    steps.take("another try", refusal(stage))
}

/// Both ends of a connection, watched until they end.
struct Ends {
    client: JoinHandle<io::Result<Ended>>,
    device: JoinHandle<Option<Ended>>,
}

impl Ends {
    fn watch(steps: &Steps<'_>, stage: &Stage, stream: FarStream) -> Self {
        let device = stage.echo.next_end();
        steps.quietly(async {
            Self { client: tokio::spawn(visit::end_of(stream)), device: tokio::spawn(device) }
        })
    }

    async fn wait(self) -> Result<[(&'static str, Ended); 2], Trouble> {
        let client = self.client.await??;
        let device = timeout(END_LIMIT, self.device).await?;
        let device = device?.ok_or("the device is gone")?;
        Ok([("the client's end", client), ("the device's end", device)])
    }
}

async fn refusal(stage: &Stage) -> Outcome<()> {
    match dial(stage, cast::WEB).await {
        Err(DialFault::Refused) => Ok(((), "refused".to_owned())),
        Err(fault) => Err(format!("refused was expected, not: {fault}").into()),
        Ok(_) => Err("connected, without a session".into()),
    }
}

async fn page(stage: &Stage) -> Outcome<()> {
    let page = visit::fetch(dial(stage, cast::WEB).await?).await?;
    if !page.contains(GREETING) {
        return Err(format!("another page came: {page:.80}").into());
    }
    Ok(((), format!("\"{GREETING}\"")))
}

async fn echo(stage: &Stage) -> Outcome<()> {
    visit::echo(dial(stage, cast::ECHO).await?, ECHO_BYTES).await?;
    Ok(((), format!("{} MiB came back as it was sent", ECHO_BYTES >> 20)))
}

async fn follow(stage: &Stage) -> Outcome<(FarStream, Hops, SocketAddr)> {
    let mut stream = dial(stage, cast::ECHO).await?;
    visit::ping(&mut stream).await?;
    let ends = (stream.local_addr(), stream.peer_addr());
    let hops = Hops::of(ends, &stage.router.flows()?, &stage.connector.flows()?);
    let hops = hops.ok_or("the nodes' flow tables do not have it")?;
    let seen = stage.echo.last_peer().ok_or("the device has seen nobody")?;
    Ok(((stream, hops, seen), "from the nodes' own flow tables:".to_owned()))
}

async fn close(stage: &Stage, session: &str) -> Outcome<()> {
    let closed = stage.router.tell(&Request::SessionClose { id: session.to_owned() })?;
    if closed["closed"].get(0).is_none() {
        return Err("the router knows no such session".into());
    }
    Ok(((), "the router has closed it".to_owned()))
}

/// Opens access for a client, and returns the session.
pub(super) async fn open(stage: &Stage, client_ip: IpAddr) -> Outcome<String> {
    let request = Request::SessionOpen { client_ip, target: cast::TARGET.to_owned(), seconds: None };
    let opened = stage.router.tell(&request)?;
    let id = opened["opened"].get(0).and_then(Value::as_str).ok_or("no session was opened")?;
    let told = format!("{client_ip} may use {} and :{}", cast::WEB, cast::ECHO.port());
    Ok((id.to_owned(), told))
}

async fn dial(stage: &Stage, to: SocketAddr) -> Result<FarStream, DialFault> {
    stage.client.dialer.dial(&Target::from(to)).await
}
