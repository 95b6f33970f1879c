//! Bytes on a control connection, from a server to an agent or from an agent to a server: frames or none, messages or none, and
//! what is a message means the same when it is written again. Whatever comes, an agent's node has what its follower says it has, and
//! a lease has an end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use control_proto::{
    AgentKind, Applied, BootId, Change, Epoch, Follower, FrameDecoder, FromAgent, FromServer, Generation,
    Item, ItemKey, Leader, Led, Name, Problem, ServerClock, State, Terms, decode, encode,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wg_proto::{Instant, UnixTime};

use crate::{Input, Tally, Target};

pub(crate) const TARGET: Target = Target {
    name: "control_frames",
    run: control_frames,
    outcomes: &[
        "DeltaLength",
        "Empty",
        "LeaseAhead Generation",
        "NeverSent",
        "NoCommonVersion",
        "OutOfPlace",
        "PartOutOfOrder",
        "TooLong",
        "Truncated",
        "WrongKind",
        "ack",
        "bye",
        "counted",
        "counters",
        "delta",
        "health",
        "heard",
        "heartbeat",
        "hello",
        "lease",
        "no message",
        "peers",
        "refused",
        "snapshot",
        "welcome",
        "what came is in force",
    ],
};

/// The longest lease that an agent takes.
const LEASE_MAX: Duration = Duration::from_secs(60);

/// The first byte says who listens (bit 0: the server) and whether frames follow as they are (bit 1) or lines, each of which
/// becomes one.
fn control_frames(data: &[u8], tally: &mut Tally) {
    let mut input = Input::new(data);
    let mode = input.u8();
    let stream = if mode & 2 != 0 { input.rest().to_vec() } else { framed(input.rest()) };
    if mode & 1 == 0 {
        listen(&stream, tally, Agent::new());
    } else {
        listen(&stream, tally, Server::new());
    }
}

/// Each line as the body of a frame.
fn framed(lines: &[u8]) -> Vec<u8> {
    let frame = |line: &[u8]| {
        let length = u32::try_from(line.len()).expect("inputs are short");
        [&length.to_be_bytes(), line].concat()
    };
    lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).flat_map(frame).collect()
}

/// An end of the connection.
trait End {
    type Heard: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug;

    /// Takes a message. Says whether it goes on.
    fn take(&mut self, message: Self::Heard, tally: &mut Tally) -> bool;
}

fn listen<E: End>(stream: &[u8], tally: &mut Tally, mut end: E) {
    let bodies = bodies(stream, stream.len().max(1), tally);
    assert_eq!(bodies, self::bodies(stream, 1, &mut Tally::default()), "pieces make no difference");
    for body in bodies {
        let Ok(message) = decode::<E::Heard>(&body) else {
            tally.count("no message");
            return;
        };
        let again = encode(&message).expect("it came in a frame");
        assert_eq!(decode::<E::Heard>(&again[4..]).as_ref(), Ok(&message), "read and written again");
        if !end.take(message, tally) {
            return;
        }
    }
}

fn bodies(stream: &[u8], piece: usize, tally: &mut Tally) -> Vec<Vec<u8>> {
    let (mut decoder, mut bodies) = (FrameDecoder::default(), Vec::new());
    for piece in stream.chunks(piece) {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(body)) => bodies.push(body.to_vec()),
                Ok(None) => break,
                Err(error) => {
                    tally.variant(&error);
                    return bodies;
                }
            }
        }
    }
    if let Err(error) = decoder.finish() {
        tally.variant(&error);
    }
    bodies
}

struct Agent {
    now: Instant,
    follower: Follower,
    node: Node,
}

impl Agent {
    fn new() -> Agent {
        let now = Instant::from_nanos(1_000_000_000);
        let mut follower = Follower::new(now, AgentKind::Router, Name::cut("fuzz"), BootId(1));
        follower.connected(now);
        let _hello = follower.poll_transmit(now);
        Agent { now, follower, node: Node { items: BTreeMap::new(), lease: now } }
    }
}

impl End for Agent {
    type Heard = FromServer;

    fn take(&mut self, message: FromServer, tally: &mut Tally) -> bool {
        tally.count(message.word());
        let taken = self.follower.receive(self.now, message, &mut self.node);
        if let Err(violation) = taken {
            tally.variant(&violation);
        }
        while let Some(said) = self.follower.poll_transmit(self.now) {
            encode(&said).expect("what an agent says fits into a frame");
            if matches!(said, FromAgent::Ack(_)) {
                tally.count("what came is in force");
                assert!(self.follower.state().items().eq(self.node.items.values()), "p17");
            }
        }
        assert!(self.node.lease <= self.now.saturating_add(LEASE_MAX), "p16: a lease has an end");
        self.now = self.now.saturating_add(Duration::from_millis(500));
        self.follower.handle_timeout(self.now);
        taken.is_ok() && !self.follower.is_ending()
    }
}

/// Remembers what it was told.
struct Node {
    items: BTreeMap<ItemKey, Arc<Item>>,
    lease: Instant,
}

impl Led for Node {
    fn whole(&mut self, state: &State, _: ServerClock) -> Result<Applied, Problem> {
        self.items = state.items().map(|item| (item.key(), Arc::clone(item))).collect();
        Ok(Applied::default())
    }

    fn part(&mut self, _: &State, changes: &[Change], _: ServerClock) -> Result<Applied, Problem> {
        for change in changes {
            match change {
                Change::Put(item) => drop(self.items.insert(item.key(), Arc::clone(item))),
                Change::Remove(key) => drop(self.items.remove(key)),
            }
        }
        Ok(Applied::default())
    }

    fn lease(&mut self, until: Instant) {
        self.lease = until;
    }

    fn counted(&mut self, _: u64) {}
}

struct Server {
    now: Instant,
    leader: Leader,
}

impl Server {
    /// Has an item to tell: generation 1.
    fn new() -> Server {
        let now = Instant::from_nanos(1_000_000_000);
        let mut leader = Leader::new(now, AgentKind::Router, Epoch(1), Terms::default());
        let identity = control_proto::Identity { addresses: Vec::new() };
        let told = leader.change([Change::put(Item::Identity(identity))]);
        assert_eq!(told, Ok(Generation(1)));
        leader.connected(now);
        Server { now, leader }
    }
}

impl End for Server {
    type Heard = FromAgent;

    fn take(&mut self, message: FromAgent, tally: &mut Tally) -> bool {
        tally.count(message.word());
        let taken = self.leader.receive(self.now, message);
        if let Err(violation) = &taken {
            tally.variant(violation);
        }
        while let Some(said) = self.leader.poll_transmit(self.now, UnixTime::new(1, 0)) {
            encode(&said).expect("what a server says fits into a frame");
        }
        assert!(self.leader.lapses_at() <= self.now.saturating_add(Terms::default().lease), "p16");
        assert!(self.leader.acknowledged().is_none_or(|acked| acked <= self.leader.generation()));
        self.now = self.now.saturating_add(Duration::from_millis(500));
        self.leader.handle_timeout(self.now);
        taken.is_ok() && !self.leader.is_ending()
    }
}
