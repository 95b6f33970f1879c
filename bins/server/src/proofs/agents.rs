//! Routers that are led, and do nothing but say that they did: the real protocol over a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use control_proto::{
    AgentKind, Applied, BootId, Change, Follower, FrameDecoder, FromServer, Led, Name, Problem, ServerClock,
    State, decode, encode,
};
use sluice_runtime::host::control::Leadership;
use sluice_runtime::host::moment::Moment;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use uuid::Uuid;
use wg_proto::Instant;

/// A router that follows; dropping it breaks its connection.
pub(crate) struct SimulatedRouter {
    /// Bytes that its server has sent.
    heard: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

/// A node without packets.
struct Nothing;

impl Led for Nothing {
    fn whole(&mut self, _state: &State, _clock: ServerClock) -> Result<Applied, Problem> {
        Ok(Applied::default())
    }

    fn part(&mut self, _state: &State, _changes: &[Change], _clock: ServerClock) -> Result<Applied, Problem> {
        Ok(Applied::default())
    }

    fn lease(&mut self, _until: Instant) {}

    fn counted(&mut self, _report: u64) {}
}

impl SimulatedRouter {
    pub(crate) fn follow(leadership: &Leadership) -> SimulatedRouter {
        let heard = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(converse(leadership.connect(), Arc::clone(&heard)));
        SimulatedRouter { heard, task }
    }

    pub(crate) fn bytes_heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }
}

impl Drop for SimulatedRouter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse(mut stream: tokio::io::DuplexStream, heard: Arc<AtomicU64>) {
    let now = || Moment::now().boot;
    let boot = BootId(Uuid::now_v7().as_u128());
    let mut follower = Follower::new(now(), AgentKind::Router, Name::cut("simulated"), boot);
    follower.connected(now());
    let (mut decoder, mut room) = (FrameDecoder::default(), vec![0; 64 * 1024]);
    loop {
        follower.handle_timeout(now());
        while let Some(message) = follower.poll_transmit(now()) {
            if stream.write_all(&encode(&message).unwrap()).await.is_err() {
                return;
            }
        }
        let wait =
            follower.poll_timeout().map_or(Duration::from_secs(1), |at| at.saturating_duration_since(now()));
        let Ok(read) = tokio::time::timeout(wait, stream.read(&mut room)).await else { continue };
        let bytes = read.unwrap_or(0);
        if bytes == 0 {
            return;
        }
        heard.fetch_add(bytes as u64, Ordering::Relaxed);
        decoder.push(&room[..bytes]);
        while let Some(body) = decoder.next().unwrap() {
            follower.receive(now(), decode::<FromServer>(body).unwrap(), &mut Nothing).unwrap();
        }
    }
}
