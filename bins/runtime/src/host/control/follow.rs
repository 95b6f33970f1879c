//! The agent's task: dials its server, follows it, and dials again, as long as the program runs.

use std::io;
use std::time::Duration;

use control_proto::{AgentKind, Backoff, BootId, Follower, FromServer, Name};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};

use super::led::LedNode;
use super::pipe::Pipe;
use super::reports::Reports;
use crate::clock;

// Our own choice.
/// How long a dial may take. A SYN is repeated after one, three and seven seconds.
const DIAL_LIMIT: Duration = Duration::from_secs(10);

/// Who follows.
#[derive(Debug, Clone)]
pub struct Agent {
    /// What it is.
    pub kind: AgentKind,
    /// Its program and version.
    pub software: Name,
    /// Its life: drawn anew at each start.
    pub boot_id: BootId,
}

/// Follows the server that `dial` reaches until the program of `led` is gone. Until it has a lease, nothing passes.
pub async fn follow<S, F>(mut led: LedNode, agent: Agent, mut dial: impl FnMut() -> F)
where
    S: AsyncRead + AsyncWrite,
    F: Future<Output = io::Result<S>>,
{
    let mut backoff = Backoff::new(agent.boot_id.0 as u64);
    let mut follower = Follower::new(clock::now(), agent.kind, agent.software, agent.boot_id);
    led.begin(follower.lease());
    while led.is_there() {
        match timeout(DIAL_LIMIT, dial()).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                follower.connected(clock::now());
                let mut pipe = Pipe::new(stream);
                let (was_up, why) = converse(&mut pipe, &mut follower, &mut led).await;
                follower.disconnected();
                led.disconnected();
                pipe.finish().await;
                tracing::info!(%why, "the connection to the server is over");
                if was_up {
                    backoff.reset();
                }
            }
            Err(why) => tracing::debug!(%why, "the server cannot be reached"),
        }
        sleep(backoff.next_wait()).await;
    }
}

/// Until the connection ends: whether it had come to something, and why it did.
async fn converse<S: AsyncRead + AsyncWrite>(
    pipe: &mut Pipe<S>,
    follower: &mut Follower,
    led: &mut LedNode,
) -> (bool, String) {
    let (mut was_up, mut reports) = (false, Reports::default());
    loop {
        let now = clock::now();
        follower.handle_timeout(now);
        while let Some(message) = follower.poll_transmit(now) {
            if let Err(why) = pipe.say(&message) {
                return (was_up, why.to_string());
            }
        }
        if follower.is_ending() {
            return (was_up, "said goodbye".to_owned());
        }
        if follower.is_up() {
            if !was_up {
                led.link().set_connected(true);
            }
            was_up = true;
            while pipe.has_room()
                && let Some(report) = reports.next(now, led)
            {
                if let Err(why) = pipe.say(&report) {
                    return (was_up, why.to_string());
                }
            }
        }
        let until = follower.poll_timeout().into_iter().chain(reports.next_at(was_up)).min();
        if let Err(why) = pipe.step(until, std::future::pending()).await {
            return (was_up, why.to_string());
        }
        loop {
            match pipe.hear::<FromServer>() {
                Ok(None) => break,
                Ok(Some(message)) => {
                    if let FromServer::Bye(bye) = &message {
                        tracing::warn!(reason = %bye.reason, "the server ends the connection");
                    }
                    if let Err(why) = follower.receive(clock::now(), message, led) {
                        tracing::error!(%why, "the server breaks the protocol");
                    }
                }
                Err(why) => {
                    tracing::error!(%why, "the server says what is no message");
                    follower.refuse(why);
                    break;
                }
            }
        }
    }
}
