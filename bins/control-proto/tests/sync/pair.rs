//! A leader and a follower, their clocks and their wire.

use std::collections::VecDeque;
use std::time::Duration;

use control_proto::{
    AgentKind, BootId, Epoch, Follower, FrameDecoder, FromAgent, FromServer, Leader, Name, News, Position,
    Standing, Terms, Violation, decode, encode,
};
use wg_proto::{Instant, UnixTime};

use crate::items::session;
use crate::node::Node;

/// The agent was started so much before the server: their clocks have nothing to do with each other.
const AGENT_IS_AHEAD: Duration = Duration::from_secs(100_000);
const UNIX: u64 = 1_790_000_000;

pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) leader: Leader,
    pub(crate) follower: Follower,
    pub(crate) node: Node,
    is_connected: bool,
    pub(crate) latency: Duration,
    /// Nothing goes over the wire at all, but nobody notices.
    pub(crate) is_stalled: bool,
    to_agent: Wire,
    to_server: Wire,
    lives: u128,
    pub(crate) news: Vec<News>,
    pub(crate) violations: Vec<Violation>,
    last_position: Option<Position>,
    /// Sessions that were ever opened here.
    pub(crate) known: u32,
    /// Longest frame that was sent.
    pub(crate) frame_bytes_max: usize,
    pub(crate) frames: usize,
}

#[derive(Default)]
struct Wire {
    frames: VecDeque<(Instant, Vec<u8>)>,
    decoder: FrameDecoder,
}

impl Wire {
    /// Frames that have come by `now`, byte by byte so to say.
    fn take(&mut self, now: Instant) -> Option<Vec<u8>> {
        let (at, _) = self.frames.front()?;
        let (_, frame) = if *at <= now { self.frames.pop_front()? } else { return None };
        for piece in frame.chunks(1 + frame.len() / 3) {
            self.decoder.push(piece);
            if let Some(body) = self.decoder.next().unwrap() {
                return Some(body.to_vec());
            }
        }
        None
    }
}

impl Pair {
    pub(crate) fn new() -> Pair {
        let now = Instant::from_nanos(1_000_000_000_000);
        let mut pair = Pair {
            now,
            leader: leader(now, 0),
            follower: follower(agent_time(now), 0),
            node: Node::new(agent_time(now)),
            is_connected: false,
            latency: Duration::from_millis(10),
            is_stalled: false,
            to_agent: Wire::default(),
            to_server: Wire::default(),
            lives: 0,
            news: Vec::new(),
            violations: Vec::new(),
            last_position: None,
            known: 0,
            frame_bytes_max: 0,
            frames: 0,
        };
        pair.connect();
        pair
    }

    pub(crate) fn agent_now(&self) -> Instant {
        agent_time(self.now)
    }

    pub(crate) fn standing(&self, number: u32) -> Standing {
        self.leader.standing(self.now, session(number))
    }

    pub(crate) fn passes(&self, number: u32) -> bool {
        self.node.passes(self.agent_now(), session(number))
    }

    pub(crate) fn connect(&mut self) {
        self.cut();
        self.is_connected = true;
        self.leader.connected(self.now);
        self.follower.connected(agent_time(self.now));
        self.pump();
    }

    pub(crate) fn cut(&mut self) {
        self.is_connected = false;
        (self.to_agent, self.to_server) = (Wire::default(), Wire::default());
        self.leader.disconnected();
        self.follower.disconnected();
    }

    /// The server is started anew, and knows what is wanted.
    pub(crate) fn restart_server(&mut self) {
        self.cut();
        self.lives += 1;
        let wanted: Vec<_> = self.leader.desired().items().map(|item| item.as_ref().clone()).collect();
        self.leader = leader(self.now, self.lives);
        self.leader.replace(wanted).unwrap();
    }

    /// The agent is started anew, and has nothing.
    pub(crate) fn restart_agent(&mut self) {
        self.cut();
        self.lives += 1;
        self.follower = follower(agent_time(self.now), self.lives);
        self.node = Node::new(agent_time(self.now));
        self.last_position = None;
    }

    /// Lets time pass; who is without a connection dials after a second.
    pub(crate) fn run(&mut self, time: Duration) {
        const STEP: Duration = Duration::from_millis(50);
        for step in 0..time.as_millis() / STEP.as_millis() {
            self.now = self.now.saturating_add(STEP);
            self.leader.handle_timeout(self.now);
            self.follower.handle_timeout(agent_time(self.now));
            if !self.is_connected && step % 20 == 19 {
                self.connect();
            }
            self.pump();
        }
    }

    /// Time passes without a connection.
    pub(crate) fn sleep(&mut self, time: Duration) {
        self.cut();
        for _ in 0..time.as_millis() / 50 {
            self.now = self.now.saturating_add(Duration::from_millis(50));
            self.leader.handle_timeout(self.now);
            self.check();
        }
    }

    /// Everything that can be said and heard now.
    pub(crate) fn pump(&mut self) {
        self.check();
        while self.is_connected && !self.is_stalled && self.say_and_hear() {}
        self.check();
    }

    fn say_and_hear(&mut self) -> bool {
        let (now, agent_now) = (self.now, agent_time(self.now));
        let mut is_busy = false;
        let arrives = now.saturating_add(self.latency);
        while let Some(message) = self.leader.poll_transmit(now, UnixTime::new(UNIX, 0)) {
            let frame = encode(&message).unwrap();
            self.frame_bytes_max = self.frame_bytes_max.max(frame.len());
            self.frames += 1;
            self.to_agent.frames.push_back((arrives, frame));
            is_busy = true;
        }
        while let Some(message) = self.follower.poll_transmit(agent_now) {
            self.to_server.frames.push_back((arrives, encode(&message).unwrap()));
            is_busy = true;
        }
        if let Some(body) = self.to_agent.take(now) {
            let message: FromServer = decode(&body).unwrap();
            let taken = self.follower.receive(agent_now, message, &mut self.node);
            self.violations.extend(taken.err());
            is_busy = true;
        }
        if let Some(body) = self.to_server.take(now) {
            let message: FromAgent = decode(&body).unwrap();
            match self.leader.receive(now, message) {
                Ok(news) => self.news.extend(news),
                Err(violation) => self.violations.push(violation),
            }
            is_busy = true;
        }
        self.check();
        if !is_busy && (self.leader.is_ending() || self.follower.is_ending()) && self.is_idle() {
            self.cut();
        }
        is_busy
    }

    fn is_idle(&self) -> bool {
        self.to_agent.frames.is_empty() && self.to_server.frames.is_empty()
    }

    /// What holds at every moment.
    fn check(&mut self) {
        let allowed = agent_time(self.leader.lapses_at().max(self.now));
        assert!(self.node.lease <= allowed, "p16: no lease outlives its permission");
        assert!(
            self.leader.lapses_at() <= self.now.saturating_add(Terms::default().lease),
            "p16: nor is there one for longer than the server could be gone"
        );
        assert_eq!(self.node.lease, self.follower.lease());
        for number in 0..self.known {
            let passes = self.passes(number);
            match self.standing(number) {
                Standing::Closed => assert!(!passes, "p15: session {number} is closed, and passes"),
                Standing::Open | Standing::Opening | Standing::Closing => {}
            }
        }
        let position = self.follower.position();
        if let (Some(before), Some(after)) = (self.last_position, position)
            && before.epoch == after.epoch
        {
            assert!(before.generation <= after.generation, "generations only grow");
        }
        self.last_position = position.or(self.last_position);
    }

    /// Once all is quiet.
    pub(crate) fn assert_in_step(&self) {
        assert!(self.leader.is_synced(), "{:?}", self.leader);
        let wanted: Vec<_> = self.leader.desired().items().cloned().collect();
        let has: Vec<_> = self.node.items.values().cloned().collect();
        assert_eq!(wanted, has, "p17: what the agent has is what is wanted");
        assert_eq!(self.leader.desired(), self.follower.state());
        for number in 0..self.known {
            let is_wanted = wanted.iter().any(|item| item.key() == crate::items::grant(number, 1).key());
            let (standing, passes) =
                if is_wanted { (Standing::Open, true) } else { (Standing::Closed, false) };
            assert_eq!((self.standing(number), self.passes(number)), (standing, passes), "session {number}");
        }
    }
}

fn agent_time(now: Instant) -> Instant {
    now.saturating_add(AGENT_IS_AHEAD)
}

fn leader(now: Instant, life: u128) -> Leader {
    Leader::new(now, AgentKind::Router, Epoch(life), Terms::default())
}

fn follower(now: Instant, life: u128) -> Follower {
    Follower::new(now, AgentKind::Router, Name::cut("test"), BootId(life))
}
