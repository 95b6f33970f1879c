//! The server's side: one for each agent. Read first: docs/protocol.md. Called by whoever serves agents; calls holdings, log and
//! parts.
//!
//! Drive order: one input ([`Leader::change`], [`Leader::receive`], [`Leader::handle_timeout`], …), then
//! [`Leader::poll_transmit`] as long as the connection takes more, then [`Leader::poll_timeout`]. There is no queue: what
//! is to be sent follows from what the agent has, so a slow connection only makes the messages fewer and longer.

mod holdings;
mod log;
mod parts;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use router_core::rules::SessionId;
use wg_proto::{Instant, UnixTime};

use self::holdings::Holdings;
use self::log::Log;
use self::parts::Parts;
use crate::item::{Change, Item, ItemKey};
use crate::message::{
    Ack, AgentKind, Bye, Counted, CounterReport, Delta, FlowReport, FromAgent, FromServer, Health, Heard,
    Hello, Lease, PeerReport, Problem, RefusalReport, Refused, Welcome,
};
use crate::position::{BootId, Epoch, Generation, Position};
use crate::state::{State, StateFault};
use crate::terms::{GREETING_MAX, RETRY, SILENCE_MAX, Terms};
use crate::text::Name;
use crate::version::{Version, Versions};
use crate::violation::Violation;

// Our own choice.
/// Deltas that are on their way at once. Further changes wait, and go together.
const IN_FLIGHT_MAX: usize = 64;

/// Leads one agent to its desired state.
#[derive(Debug)]
pub struct Leader {
    terms: Terms,
    epoch: Epoch,
    desired: State,
    /// When each wanted grant became what it is.
    since: BTreeMap<SessionId, Generation>,
    log: Log,
    holdings: Holdings,
    link: Link,
    /// No lease is longer than one that was granted at this moment; `None`: nobody has said so.
    vouched: Option<Instant>,
    leases_are_withheld: bool,
}

/// The connection to the agent.
#[derive(Debug)]
enum Link {
    /// There is none. Entered from all others, when it breaks.
    Down,
    /// Entered from `Down`: `hello` must come before `deadline`.
    Greeting { deadline: Instant },
    /// Entered from `Greeting`: agent and server speak one version.
    Up(Box<Up>),
    /// Entered from `Greeting` and `Up`: nothing comes any more but a `bye`, which may have been sent.
    Ending(Option<Bye>),
}

#[derive(Debug)]
struct Up {
    version: Version,
    welcome_is_due: bool,
    /// What the agent has, once all that was sent has come.
    sent: Generation,
    /// What was sent and is not answered for, in this order.
    in_flight: VecDeque<Sent>,
    snapshot: Option<Parts>,
    /// The agent forwards again when it has at least what was wanted when it came.
    synced_from: Generation,
    /// Nothing more is sent until then, because the agent has refused all there is.
    blocked_until: Option<Instant>,
    refused_a_snapshot: bool,
    heartbeat: Option<Asked>,
    counted: Option<u64>,
    heard_at: Instant,
}

/// A whole snapshot, or a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    generation: Generation,
    is_snapshot: bool,
}

/// A heartbeat that has no lease yet.
#[derive(Debug, Clone, Copy)]
struct Asked {
    heartbeat: u64,
    is_answered: bool,
}

/// What an agent told, for whoever stores and decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It is there.
    Arrived {
        /// Its program.
        software: Name,
        /// Its life.
        boot_id: BootId,
        /// The version spoken.
        version: Version,
        /// Whether it goes on from what it has, or is told everything.
        resumes: bool,
    },
    /// A generation is in force.
    Acknowledged(Ack),
    /// A generation is not: to be audited.
    Refused {
        /// Which.
        generation: Generation,
        /// Why.
        problem: Problem,
    },
    /// How it is.
    Health(Health),
    /// What sessions have carried: to be stored, and then answered for ([`Leader::counted`]).
    Counters(CounterReport),
    /// Whom it has heard of.
    Peers(PeerReport),
    /// Which conversations are over.
    Flows(FlowReport),
    /// What it has refused.
    Refusals(RefusalReport),
    /// It goes.
    Left(Bye),
}

/// How a session stands at this agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Wanted, but not yet answered for.
    Opening,
    /// Wanted, and in force while there is a lease.
    Open,
    /// Not wanted, but perhaps still in force.
    Closing,
    /// Not wanted, and certainly not in force.
    Closed,
}

impl Leader {
    /// Of an agent of which nothing is known: whoever led it before may have granted it a lease just now.
    pub fn new(now: Instant, kind: AgentKind, epoch: Epoch, terms: Terms) -> Leader {
        Leader {
            terms,
            epoch,
            desired: State::new(kind),
            since: BTreeMap::new(),
            log: Log::new(),
            holdings: Holdings::unknown(now.saturating_add(terms.lease)),
            link: Link::Down,
            vouched: None,
            leases_are_withheld: false,
        }
    }

    /// Whether the agent gets no lease, whatever it has: for a server that may not stand by what is wanted, because it could not
    /// store it. What lease there is runs down.
    pub fn withhold_leases(&mut self, withhold: bool) {
        self.leases_are_withheld = withhold;
    }

    /// What is wanted.
    pub fn desired(&self) -> &State {
        &self.desired
    }

    /// How often what is wanted has changed.
    pub fn generation(&self) -> Generation {
        self.log.end()
    }

    /// The newest generation that the agent has answered for.
    pub fn acknowledged(&self) -> Option<Generation> {
        self.holdings.acked()
    }

    /// Whether the agent is connected: it has said hello, and is led.
    pub fn is_up(&self) -> bool {
        matches!(self.link, Link::Up(_))
    }

    /// Whether the agent is connected and has all that is wanted.
    pub fn is_synced(&self) -> bool {
        matches!(self.link, Link::Up(_)) && self.holdings.has(self.generation())
    }

    /// When the agent can have no lease any more.
    pub fn lapses_at(&self) -> Instant {
        self.holdings.lapses_at()
    }

    /// Whoever decides what is wanted was able to, and alone in it, at this moment: leases end one lease after it at the latest,
    /// until a later moment is told.
    pub fn vouch(&mut self, at: Instant) {
        self.vouched = self.vouched.max(Some(at));
    }

    /// A report of counters is stored: the agent need not say it again.
    pub fn counted(&mut self, report: u64) {
        if let Link::Up(up) = &mut self.link {
            up.counted = Some(report);
        }
    }

    /// How a session stands at this agent.
    pub fn standing(&self, now: Instant, session: SessionId) -> Standing {
        match self.since.get(&session) {
            Some(since) if self.holdings.has(*since) => Standing::Open,
            Some(_) => Standing::Opening,
            None if self.holdings.may_hold(now, session) => Standing::Closing,
            None => Standing::Closed,
        }
    }

    /// Changes what is wanted, all of it or nothing. What is so already makes no generation.
    ///
    /// # Errors
    /// The first change that does not fit.
    pub fn change(&mut self, changes: impl IntoIterator<Item = Change>) -> Result<Generation, StateFault> {
        let mut made: Vec<(Change, Option<Arc<Item>>)> = Vec::new();
        for change in changes {
            let before = self.desired.get(&change.key());
            let is_so = match &change {
                Change::Put(item) => before == Some(item.as_ref()),
                Change::Remove(_) => before.is_none(),
            };
            if is_so {
                continue;
            }
            match self.desired.apply(&change) {
                Ok(before) => made.push((change, before)),
                Err(fault) => {
                    self.desired.undo(made.into_iter().map(|(change, before)| (change.key(), before)));
                    return Err(fault);
                }
            }
        }
        made.into_iter().for_each(|(change, before)| self.note(change, before.is_some()));
        Ok(self.generation())
    }

    /// Makes what is wanted exactly this, by as few changes as that takes.
    ///
    /// # Errors
    /// If the items do not fit together.
    pub fn replace(&mut self, items: impl IntoIterator<Item = Item>) -> Result<Generation, StateFault> {
        let mut wanted = State::new(self.desired.kind());
        for item in items {
            wanted.put(item.into())?;
        }
        self.change(self.desired.steps_to(&wanted))
    }

    /// The agent has connected; a connection that was there is over.
    pub fn connected(&mut self, now: Instant) {
        self.link = Link::Greeting { deadline: now.saturating_add(GREETING_MAX) };
    }

    /// The connection is gone.
    pub fn disconnected(&mut self) {
        self.link = Link::Down;
    }

    /// Takes a message.
    ///
    /// # Errors
    /// If it breaks the protocol: send what [`poll_transmit`](Leader::poll_transmit) has, and close.
    pub fn receive(&mut self, now: Instant, message: FromAgent) -> Result<Option<News>, Violation> {
        let taken = match (&mut self.link, message) {
            (Link::Greeting { .. }, FromAgent::Hello(hello)) => self.greet(now, hello).map(Some),
            (Link::Up(up), message) => {
                up.heard_at = now;
                self.take(now, message)
            }
            (_, FromAgent::Bye(bye)) => Ok(Some(self.end(bye))),
            (Link::Ending(_), _) => Ok(None),
            (Link::Down | Link::Greeting { .. }, message) => {
                Err(Violation::OutOfPlace { word: message.word() })
            }
        };
        taken.inspect_err(|violation| self.refuse(violation))
    }

    /// Ends the connection from this side. Send what [`poll_transmit`](Leader::poll_transmit) has, and close.
    pub fn refuse(&mut self, why: impl std::fmt::Display) {
        self.link = Link::Ending(Some(Bye::because(why)));
    }

    /// Whether the connection is to be closed, once what is to be sent was sent.
    pub fn is_ending(&self) -> bool {
        matches!(self.link, Link::Ending(_))
    }

    /// The next message to send.
    pub fn poll_transmit(&mut self, now: Instant, unix: UnixTime) -> Option<FromServer> {
        let lease = self.lease(now);
        let up = match &mut self.link {
            Link::Down | Link::Greeting { .. } => return None,
            Link::Ending(bye) => return bye.take().map(FromServer::Bye),
            Link::Up(up) => up,
        };
        if std::mem::take(&mut up.welcome_is_due) {
            return Some(FromServer::Welcome(Welcome {
                version: up.version,
                epoch: self.epoch,
                now: unix.secs,
                lease_ms: millis(self.terms.lease),
                heartbeat_ms: millis(self.terms.heartbeat),
            }));
        }
        if let Some(asked) = up.heartbeat.take_if(|asked| lease.is_some() || !asked.is_answered) {
            if let Some((generation, lease)) = lease {
                self.holdings.leased(now.saturating_add(lease));
                let (heartbeat, ttl_ms) = (asked.heartbeat, millis(lease));
                return Some(FromServer::Lease(Lease { generation, ttl_ms, heartbeat }));
            }
            up.heartbeat = Some(Asked { is_answered: true, ..asked });
            return Some(FromServer::Heard(Heard { heartbeat: asked.heartbeat }));
        }
        if let Some(report) = up.counted.take() {
            return Some(FromServer::Counted(Counted { report }));
        }
        self.poll_state(now)
    }

    /// When [`handle_timeout`](Leader::handle_timeout) wants to be called, if nothing comes before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let link = match &self.link {
            Link::Down | Link::Ending(_) => None,
            Link::Greeting { deadline } => Some(*deadline),
            Link::Up(up) => Some(
                up.blocked_until.map_or(up.silent_at(), |blocked_until| blocked_until.min(up.silent_at())),
            ),
        };
        link.into_iter().chain(self.holdings.next_lapse()).min()
    }

    /// Does what is due. Calling it early or late does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.holdings.lapse(now);
        match &mut self.link {
            Link::Down | Link::Ending(_) => {}
            Link::Greeting { deadline } if now >= *deadline => self.refuse(Violation::Silent),
            Link::Greeting { .. } => {}
            Link::Up(up) if now >= up.silent_at() => self.refuse(Violation::Silent),
            Link::Up(up) => {
                if up.blocked_until.take_if(|until| now >= *until).is_some() {
                    up.snapshot = Some(Parts::of(&self.desired, self.log.end()));
                }
            }
        }
    }

    /// What brings the agent on: the rest of a snapshot, else changes.
    fn poll_state(&mut self, now: Instant) -> Option<FromServer> {
        let Link::Up(up) = &mut self.link else { return None };
        if up.blocked_until.is_some_and(|until| now < until) {
            return None;
        }
        if up.snapshot.is_none() && !self.log.reaches_back_to(up.sent) {
            up.snapshot = Some(Parts::of(&self.desired, self.log.end()));
        }
        if let Some(parts) = &mut up.snapshot {
            let part = parts.next_part();
            if part.part + 1 == part.parts {
                up.sent = part.generation;
                up.in_flight.push_back(Sent { generation: part.generation, is_snapshot: true });
                up.snapshot = None;
            }
            return Some(FromServer::Snapshot(part));
        }
        if up.in_flight.len() >= IN_FLIGHT_MAX {
            return None;
        }
        let changes = self.log.after(up.sent);
        if changes.is_empty() {
            return None;
        }
        let (base, generation) = (up.sent, up.sent.after(changes.len()));
        up.sent = generation;
        up.in_flight.push_back(Sent { generation, is_snapshot: false });
        Some(FromServer::Delta(Delta { base, generation, changes }))
    }

    fn greet(&mut self, now: Instant, hello: Hello) -> Result<News, Violation> {
        let (server, agent) = (Versions::OURS, hello.versions);
        let version = server.newest_in_common(&agent).ok_or(Violation::NoCommonVersion { server, agent })?;
        let (known, said) = (self.desired.kind(), hello.kind);
        if known != said {
            return Err(Violation::WrongKind { said, known });
        }
        let resumed = hello.applied.and_then(|position| self.resumable(position));
        let snapshot = match resumed {
            Some(generation) => {
                self.holdings.acknowledge(generation);
                None
            }
            None => {
                self.holdings.forget_acks();
                Some(Parts::of(&self.desired, self.log.end()))
            }
        };
        self.link = Link::Up(Box::new(Up {
            version,
            welcome_is_due: true,
            sent: resumed.unwrap_or(self.log.end()),
            in_flight: VecDeque::new(),
            snapshot,
            synced_from: self.log.end(),
            blocked_until: None,
            refused_a_snapshot: false,
            heartbeat: None,
            counted: None,
            heard_at: now,
        }));
        let Hello { software, boot_id, .. } = hello;
        Ok(News::Arrived { software, boot_id, version, resumes: resumed.is_some() })
    }

    /// Where the agent can go on.
    fn resumable(&self, position: Position) -> Option<Generation> {
        let is_ours = position.epoch == self.epoch && self.log.reaches_back_to(position.generation);
        // What it has answered for it cannot have lost: such an agent is not what it says.
        let is_not_behind = self.holdings.acked().is_none_or(|acked| acked <= position.generation);
        (is_ours && is_not_behind).then_some(position.generation)
    }

    fn take(&mut self, now: Instant, message: FromAgent) -> Result<Option<News>, Violation> {
        let Link::Up(up) = &mut self.link else { return Ok(None) };
        match message {
            FromAgent::Hello(_) => Err(Violation::OutOfPlace { word: "hello" }),
            FromAgent::Ack(ack) => self.acknowledge(ack).map(Some),
            FromAgent::Refused(refused) => self.take_refusal(now, refused).map(Some),
            FromAgent::Heartbeat(heartbeat) => {
                up.heartbeat = Some(Asked { heartbeat: heartbeat.seq, is_answered: false });
                Ok(None)
            }
            FromAgent::Health(health) => Ok(Some(News::Health(health))),
            FromAgent::Counters(report) => Ok(Some(News::Counters(report))),
            FromAgent::Peers(report) => Ok(Some(News::Peers(report))),
            FromAgent::Flows(report) => Ok(Some(News::Flows(report))),
            FromAgent::Refusals(report) => Ok(Some(News::Refusals(report))),
            FromAgent::Bye(bye) => Ok(Some(self.end(bye))),
        }
    }

    fn acknowledge(&mut self, ack: Ack) -> Result<News, Violation> {
        let Link::Up(up) = &mut self.link else { return Ok(News::Acknowledged(ack)) };
        let Some(place) = up.place_of(ack.generation) else {
            return Err(Violation::NeverSent { answered: ack.generation, sent: up.sent });
        };
        up.in_flight.drain(..=place);
        up.refused_a_snapshot = false;
        self.holdings.acknowledge(ack.generation);
        Ok(News::Acknowledged(ack))
    }

    /// Changes that were refused are sent once more as a snapshot; one that was refused as well, after a while.
    fn take_refusal(&mut self, now: Instant, refused: Refused) -> Result<News, Violation> {
        let Refused { generation, problem } = refused;
        let Link::Up(up) = &mut self.link else { return Ok(News::Refused { generation, problem }) };
        let Some(place) = up.place_of(generation) else {
            return Err(Violation::NeverSent { answered: generation, sent: up.sent });
        };
        let healing = up.in_flight.iter().skip(place + 1).position(|sent| sent.is_snapshot);
        up.in_flight.drain(..healing.map_or(up.in_flight.len(), |behind| place + 1 + behind));
        if healing.is_some() || (up.snapshot.is_some() && !up.refused_a_snapshot) {
            // A snapshot is on its way already.
            up.refused_a_snapshot = true;
        } else if std::mem::replace(&mut up.refused_a_snapshot, true) {
            up.blocked_until = Some(now.saturating_add(RETRY));
            up.snapshot = None;
        } else {
            up.snapshot = Some(Parts::of(&self.desired, self.log.end()));
        }
        Ok(News::Refused { generation, problem })
    }

    /// What may be granted: the generation that the agent has, if a lease would let nothing pass that is not wanted and the agent
    /// has all that was wanted when it came; and for how long.
    fn lease(&self, now: Instant) -> Option<(Generation, Duration)> {
        let Link::Up(up) = &self.link else { return None };
        let may =
            !up.refused_a_snapshot && self.holdings.has(up.synced_from) && self.holdings.is_rid_of_all();
        let may = may && !self.leases_are_withheld;
        let until = self.vouched.unwrap_or(now).saturating_add(self.terms.lease);
        let length = until.saturating_duration_since(now).min(self.terms.lease);
        self.holdings.acked().filter(|_| may && !length.is_zero()).map(|generation| (generation, length))
    }

    fn end(&mut self, bye: Bye) -> News {
        self.link = Link::Ending(None);
        News::Left(bye)
    }

    /// A change that the desired state has taken becomes a generation.
    fn note(&mut self, change: Change, revokes: bool) {
        let generation = self.generation().after(1);
        match &change {
            Change::Put(item) => {
                if let Item::Grant(grant) = item.as_ref() {
                    self.since.insert(grant.session, generation);
                    self.holdings.restored(grant.session);
                }
            }
            Change::Remove(ItemKey::Grant(session)) => {
                self.since.remove(session);
                self.holdings.removed(*session, generation);
            }
            Change::Remove(ItemKey::Identity | ItemKey::Peer(_) | ItemKey::Mapping(_)) => {}
        }
        if revokes {
            self.holdings.revoked(generation);
        }
        self.log.push(change);
    }
}

impl Up {
    fn place_of(&self, generation: Generation) -> Option<usize> {
        self.in_flight.iter().position(|sent| sent.generation == generation)
    }

    fn silent_at(&self) -> Instant {
        self.heard_at.saturating_add(SILENCE_MAX)
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
