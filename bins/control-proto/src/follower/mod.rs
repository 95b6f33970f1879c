//! The agent's side. Read first: docs/protocol.md. Called by whoever drives a router or connector; calls assembly.
//!
//! Drive order: one input ([`Follower::connected`], [`Follower::receive`], [`Follower::handle_timeout`], …), then
//! [`Follower::poll_transmit`] until it returns `None`, then [`Follower::poll_timeout`]. What has to be done to the node is
//! done within [`Follower::receive`], by the [`Led`] that it is given: an answer says only what is so.

mod assembly;

use std::collections::VecDeque;
use std::time::Duration;

use wg_proto::{Instant, UnixTime};

use self::assembly::Assembly;
use crate::item::Change;
use crate::message::{
    Ack, AgentKind, Applied, Bye, Delta, FromAgent, FromServer, Heartbeat, Hello, Lease, Problem, Refused,
    Snapshot, Welcome,
};
use crate::position::{BootId, Epoch, Generation, Position};
use crate::state::State;
use crate::terms::{GREETING_MAX, HEARTBEAT_RANGE, LEASE_MAX, SILENCE_MAX};
use crate::text::Name;
use crate::version::Versions;
use crate::violation::Violation;

// Our own choice: leases come within a heartbeat or two, or not at all.
/// Heartbeats whose moments are remembered.
const HEARTBEATS_KEPT: usize = 16;

/// What is led: a node, and what is around it.
pub trait Led {
    /// Makes everything what `state` says; what is not in it goes. What stays as it is keeps its flows.
    ///
    /// # Errors
    /// Why not; then everything is as before.
    fn whole(&mut self, state: &State, clock: ServerClock) -> Result<Applied, Problem>;

    /// Makes the changes that led to `state`. Costs as much as they are.
    ///
    /// # Errors
    /// Why not; a snapshot follows, whatever is in force until then.
    fn part(&mut self, state: &State, changes: &[Change], clock: ServerClock) -> Result<Applied, Problem>;

    /// Lets nothing pass from this moment on, unless a later one is told before.
    fn lease(&mut self, until: Instant);

    /// The server has taken a report of counters.
    fn counted(&mut self, report: u64);
}

/// The server's clock and the own one, at one moment: the own wall clock may be wrong, and step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerClock {
    /// On the own clock, which never steps.
    pub boot: Instant,
    /// On the server's.
    pub unix: UnixTime,
}

/// Follows one server.
#[derive(Debug)]
pub struct Follower {
    kind: AgentKind,
    software: Name,
    boot_id: BootId,
    state: State,
    position: Option<Position>,
    /// Until a snapshot has come, changes mean nothing.
    needs_snapshot: bool,
    lease: Instant,
    link: Link,
}

/// The connection to the server.
#[derive(Debug)]
enum Link {
    /// There is none. Entered from all others, when it breaks.
    Down,
    /// Entered from `Down`: `welcome` must come before `deadline`.
    Greeting { hello_is_due: bool, began: Instant, deadline: Instant },
    /// Entered from `Greeting`.
    Up(Box<Up>),
    /// Entered from `Greeting` and `Up`: nothing comes any more but a `bye`, which may have been sent.
    Ending(Option<Bye>),
}

#[derive(Debug)]
struct Up {
    epoch: Epoch,
    clock: ServerClock,
    heartbeat: Duration,
    next_heartbeat: Instant,
    /// The last heartbeats, and when each was sent.
    heartbeats: VecDeque<(u64, Instant)>,
    assembly: Option<Assembly>,
    ack: Option<Ack>,
    refused: Option<Refused>,
    heard_at: Instant,
}

impl Follower {
    /// Of an agent that has nothing and forwards nothing.
    pub fn new(now: Instant, kind: AgentKind, software: Name, boot_id: BootId) -> Follower {
        Follower {
            kind,
            software,
            boot_id,
            state: State::new(kind),
            position: None,
            needs_snapshot: true,
            lease: now,
            link: Link::Down,
        }
    }

    /// What is in force.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What has been applied; `None` if that is nothing, or cannot be told in generations.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// Until when the agent may forward.
    pub fn lease(&self) -> Instant {
        self.lease
    }

    /// Whether server and agent speak with each other: reports may be sent.
    pub fn is_up(&self) -> bool {
        matches!(self.link, Link::Up(_))
    }

    /// There is a connection.
    pub fn connected(&mut self, now: Instant) {
        let deadline = now.saturating_add(GREETING_MAX);
        self.link = Link::Greeting { hello_is_due: true, began: now, deadline };
    }

    /// The connection is gone. The lease runs on.
    pub fn disconnected(&mut self) {
        self.link = Link::Down;
    }

    /// Takes a message, and does to `led` what it says.
    ///
    /// # Errors
    /// If it breaks the protocol: send what [`poll_transmit`](Follower::poll_transmit) has, and close.
    pub fn receive(
        &mut self,
        now: Instant,
        message: FromServer,
        led: &mut impl Led,
    ) -> Result<(), Violation> {
        let taken = match (&mut self.link, message) {
            (Link::Greeting { hello_is_due: false, began, .. }, FromServer::Welcome(welcome)) => {
                let clock = ServerClock { boot: *began, unix: UnixTime::new(welcome.now, 0) };
                self.greet(now, &welcome, clock)
            }
            (Link::Up(up), message) => {
                up.heard_at = now;
                self.take(message, led)
            }
            (_, FromServer::Bye(_)) => {
                self.link = Link::Ending(None);
                Ok(())
            }
            (Link::Ending(_), _) => Ok(()),
            (Link::Down | Link::Greeting { .. }, message) => {
                Err(Violation::OutOfPlace { word: message.word() })
            }
        };
        taken.inspect_err(|violation| self.refuse(violation))
    }

    /// Ends the connection from this side. Send what [`poll_transmit`](Follower::poll_transmit) has, and close.
    pub fn refuse(&mut self, why: impl std::fmt::Display) {
        self.link = Link::Ending(Some(Bye::because(why)));
    }

    /// Whether the connection is to be closed, once what is to be sent was sent.
    pub fn is_ending(&self) -> bool {
        matches!(self.link, Link::Ending(_))
    }

    /// The next message to send.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<FromAgent> {
        match &mut self.link {
            Link::Down => None,
            Link::Ending(bye) => bye.take().map(FromAgent::Bye),
            Link::Greeting { hello_is_due, .. } => std::mem::take(hello_is_due).then(|| {
                FromAgent::Hello(Hello {
                    versions: Versions::OURS,
                    kind: self.kind,
                    software: self.software.clone(),
                    boot_id: self.boot_id,
                    applied: self.position.filter(|_| !self.needs_snapshot),
                })
            }),
            Link::Up(up) => up.poll_transmit(now),
        }
    }

    /// When [`handle_timeout`](Follower::handle_timeout) wants to be called, if nothing comes before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.link {
            Link::Down | Link::Ending(_) => None,
            Link::Greeting { deadline, .. } => Some(*deadline),
            Link::Up(up) => Some(up.next_heartbeat.min(up.silent_at())),
        }
    }

    /// Does what is due: a heartbeat comes out of [`poll_transmit`](Follower::poll_transmit) by itself. Calling it early or late
    /// does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_silent = match &self.link {
            Link::Down | Link::Ending(_) => false,
            Link::Greeting { deadline, .. } => now >= *deadline,
            Link::Up(up) => now >= up.silent_at(),
        };
        if is_silent {
            self.refuse(Violation::Silent);
        }
    }

    fn greet(&mut self, now: Instant, welcome: &Welcome, clock: ServerClock) -> Result<(), Violation> {
        if !Versions::OURS.contains(welcome.version) {
            let server = Versions::new(welcome.version, welcome.version).unwrap_or(Versions::OURS);
            return Err(Violation::NoCommonVersion { server, agent: Versions::OURS });
        }
        let heartbeat = Duration::from_millis(u64::from(welcome.heartbeat_ms));
        if self.position.is_none_or(|position| position.epoch != welcome.epoch) {
            self.needs_snapshot = true;
        }
        self.link = Link::Up(Box::new(Up {
            epoch: welcome.epoch,
            clock,
            heartbeat: heartbeat.clamp(*HEARTBEAT_RANGE.start(), *HEARTBEAT_RANGE.end()),
            next_heartbeat: now,
            heartbeats: VecDeque::with_capacity(HEARTBEATS_KEPT),
            assembly: None,
            ack: None,
            refused: None,
            heard_at: now,
        }));
        Ok(())
    }

    fn take(&mut self, message: FromServer, led: &mut impl Led) -> Result<(), Violation> {
        match message {
            FromServer::Welcome(_) => Err(Violation::OutOfPlace { word: "welcome" }),
            FromServer::Snapshot(part) => self.take_part(part, led),
            FromServer::Delta(delta) => self.take_delta(&delta, led),
            FromServer::Lease(lease) => self.take_lease(lease, led),
            FromServer::Heard(_) => Ok(()),
            FromServer::Counted(counted) => {
                led.counted(counted.report);
                Ok(())
            }
            FromServer::Bye(_) => {
                self.link = Link::Ending(None);
                Ok(())
            }
        }
    }

    fn take_part(&mut self, part: Snapshot, led: &mut impl Led) -> Result<(), Violation> {
        let Link::Up(up) = &mut self.link else { return Ok(()) };
        let mut assembly = match up.assembly.take() {
            Some(assembly) => assembly,
            None => Assembly::begin(self.kind, &part)?,
        };
        assembly.take(part)?;
        if !assembly.is_whole() {
            up.assembly = Some(assembly);
            return Ok(());
        }
        let (generation, state) = assembly.into_state();
        let applied = state.and_then(|state| led.whole(&state, up.clock).map(|applied| (state, applied)));
        match applied {
            Ok((state, applied)) => {
                self.state = state;
                self.position = Some(Position { epoch: up.epoch, generation });
                self.needs_snapshot = false;
                up.acknowledge(generation, applied);
            }
            Err(problem) => {
                self.needs_snapshot = true;
                up.refused = Some(Refused { generation, problem });
            }
        }
        Ok(())
    }

    fn take_delta(&mut self, delta: &Delta, led: &mut impl Led) -> Result<(), Violation> {
        let Delta { base, generation, ref changes } = *delta;
        if changes.is_empty() || generation.changes_since(base) != Some(changes.len() as u64) {
            return Err(Violation::DeltaLength { changes: changes.len(), base, generation });
        }
        let Link::Up(up) = &mut self.link else { return Ok(()) };
        // Those that were on their way when one before was refused.
        let Some(position) = self.position.filter(|_| !self.needs_snapshot) else { return Ok(()) };
        let applied = if position.generation == base {
            let undo = self.state.apply_all(changes).map_err(Problem::new);
            undo.and_then(|undo| {
                let applied = led.part(&self.state, changes, up.clock);
                applied.inspect_err(|_| self.state.undo(undo))
            })
        } else {
            let has = position.generation;
            Err(Problem::new(format_args!("changes of generation {base}, but {has} is in force")))
        };
        match applied {
            Ok(applied) => {
                self.position = Some(Position { generation, ..position });
                up.acknowledge(generation, applied);
            }
            Err(problem) => {
                self.needs_snapshot = true;
                self.position = None;
                up.refused = Some(Refused { generation, problem });
            }
        }
        Ok(())
    }

    fn take_lease(&mut self, lease: Lease, led: &mut impl Led) -> Result<(), Violation> {
        let Link::Up(up) = &mut self.link else { return Ok(()) };
        let has = self.position.filter(|position| position.epoch == up.epoch && !self.needs_snapshot);
        if has.is_none_or(|position| position.generation < lease.generation) {
            // One that crossed a refusal is not the server's fault.
            let crossed = self.needs_snapshot;
            return if crossed { Ok(()) } else { Err(Violation::LeaseAhead(lease.generation)) };
        }
        if let Some(sent_at) = up.sent_at(lease.heartbeat) {
            let ttl = Duration::from_millis(u64::from(lease.ttl_ms)).min(LEASE_MAX);
            self.lease = self.lease.max(sent_at.saturating_add(ttl));
            led.lease(self.lease);
        }
        Ok(())
    }
}

impl Up {
    fn poll_transmit(&mut self, now: Instant) -> Option<FromAgent> {
        if let Some(ack) = self.ack.take() {
            return Some(FromAgent::Ack(ack));
        }
        if let Some(refused) = self.refused.take() {
            return Some(FromAgent::Refused(refused));
        }
        (now >= self.next_heartbeat).then(|| {
            let seq = self.heartbeats.back().map_or(1, |(seq, _)| seq + 1);
            if self.heartbeats.len() == HEARTBEATS_KEPT {
                self.heartbeats.pop_front();
            }
            self.heartbeats.push_back((seq, now));
            self.next_heartbeat = now.saturating_add(self.heartbeat);
            FromAgent::Heartbeat(Heartbeat { seq })
        })
    }

    /// Answers that wait go together: the last one covers those before.
    fn acknowledge(&mut self, generation: Generation, applied: Applied) {
        let applied = self.ack.map_or(applied, |before| before.applied.and(applied));
        self.ack = Some(Ack { generation, applied });
    }

    fn sent_at(&self, heartbeat: u64) -> Option<Instant> {
        self.heartbeats.iter().find(|(seq, _)| *seq == heartbeat).map(|(_, sent_at)| *sent_at)
    }

    fn silent_at(&self) -> Instant {
        self.heard_at.saturating_add(SILENCE_MAX)
    }
}
