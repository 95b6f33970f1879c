//! The translation of a new flow: from what came in and what the rule says, to the tuple its answers will have.

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

use super::hold_down::{HOLD_DOWN, Remote};
use super::mapping::Inside;
use super::pool::{Mapping, PoolError, PoolId, Pools, has_ports};
use super::space::{PortSpace, Wish, tries};
use crate::flow::{Address, FlowTable, Rank, Removed, Tick, Tuple, TupleHash, ticks};
use crate::packet::Protocol;

/// Pools, ports in use and randomness of one IP version.
#[derive(Debug)]
pub struct Nat<A> {
    pools: Pools<A>,
    random: ChaCha12Rng,
    counters: NatCounters,
}

/// Whether the source is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Snat {
    /// It stays, unless its port must change so that answers find their way back.
    Off,
    /// It becomes an address of the pool.
    Pool(PoolId),
}

/// How a new flow is translated. Insert it with the original tuple it was made for, or
/// [`cancel`](Nat::cancel) it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the port stays taken until the flow is released or the translation cancelled"]
pub struct Translation<A> {
    /// The tuple that answers will have as they come in. The first packet leaves with its inverse.
    pub reply: Tuple<A>,
    /// Its hash in the flow table that was asked.
    pub(crate) reply_hash: TupleHash,
    /// Whether it holds a port of a pool, which MAP-8 counts.
    pub holds_port: bool,
}

/// Why a flow cannot be translated. Nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NatError {
    /// There is no such pool.
    #[error("no pool of this number")]
    UnknownPool,
    /// The pool has no address of this IP version.
    #[error("the pool has no address of this IP version")]
    NoAddress,
    /// Every port that was tried is in use or held. MAP-7.
    #[error("no external port is free")]
    PortsExhausted,
    /// No port of the host's own address would keep answers apart from another flow's.
    #[error("answers could not be told from another flow's")]
    TupleTaken,
    /// A protocol without ports, and another host behind the same address talks to the same far end. ANY.
    #[error("another host has this protocol to the same far end")]
    PairTaken,
}

/// How often translation was refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NatCounters {
    /// [`NatError::UnknownPool`] and [`NatError::NoAddress`].
    pub no_address: u64,
    /// [`NatError::PortsExhausted`].
    pub ports_exhausted: u64,
    /// [`NatError::TupleTaken`].
    pub tuple_taken: u64,
    /// [`NatError::PairTaken`].
    pub pair_taken: u64,
}

impl<A: Address> Nat<A> {
    /// No pools. All choices come from `seed`.
    pub fn new(seed: [u8; 32]) -> Nat<A> {
        let mut random = ChaCha12Rng::from_seed(seed);
        let mut key = [0; 16];
        random.fill_bytes(&mut key);
        Nat { pools: Pools::new(&key), random, counters: NatCounters::default() }
    }

    /// Adds a pool or changes one. Flows keep the translation they have.
    pub fn set_pool(&mut self, id: PoolId, addresses: &[A], mapping: Mapping) -> Result<(), PoolError> {
        self.pools.set(id, addresses, mapping)
    }

    /// Removes a pool. Flows keep the translation they have.
    pub fn remove_pool(&mut self, id: PoolId) {
        self.pools.remove(id);
    }

    /// How often translation was refused.
    pub fn counters(&self) -> &NatCounters {
        &self.counters
    }

    /// The inside end whose endpoint-independent mapping this external end is: where a hairpinned packet goes. MAP-9.
    pub fn inside_of(&self, protocol: Protocol, address: A, port: u16) -> Option<(A, u16)> {
        let inside = self.pools.existing_space(address, protocol)?.mappings.inside_of(port)?;
        Some((inside.address, inside.port))
    }

    /// Chooses the reply tuple of a new flow such that no flow in `flows` is known by it. `to` is its destination after
    /// translation.
    pub fn translate(
        &mut self,
        now: Tick,
        flows: &FlowTable<A>,
        original: &Tuple<A>,
        to: (A, u16),
        snat: Snat,
    ) -> Result<Translation<A>, NatError> {
        let sent = Tuple { dst: to.0, dst_port: to.1, ..*original };
        let chosen = self.choose(now, flows, original, &sent, snat);
        self.count(chosen.as_ref().err());
        let Vacant { reply, hash } = chosen?;
        Ok(Translation { reply, reply_hash: hash, holds_port: holds_port(original, &reply) })
    }

    /// What the reply tuple of such a flow will nearly always be, as hosts nearly always keep their ports. A guess: nothing is
    /// looked up.
    pub(crate) fn likely_reply(&self, original: &Tuple<A>, to: (A, u16), snat: Snat) -> Tuple<A> {
        let address = match snat {
            Snat::Off => None,
            Snat::Pool(id) => self.pools.pool(id).and_then(|pool| self.pools.address_for(pool, original.src)),
        };
        let src = address.unwrap_or(original.src);
        Tuple { src, dst: to.0, dst_port: to.1, ..*original }.inverse()
    }

    /// Gives back what a removed flow held. Its port is held for a while (MAP-6).
    pub fn release(&mut self, now: Tick, flow: &Removed<A>) {
        let Some((space, inside)) = self.held_by(&flow.original, &flow.reply) else { return };
        let remote = remote_end(&flow.reply.inverse());
        match hold(now, flow) {
            Hold::From(now) => space.release(now, flow.reply.dst_port, inside, remote),
            Hold::Over => space.cancel(flow.reply.dst_port, inside),
        }
        self.pools.remove_flow(flow.reply.dst);
    }

    /// Gives back what a translation holds whose flow was not stored; at once, as nothing was sent.
    pub fn cancel(&mut self, original: &Tuple<A>, translation: &Translation<A>) {
        let Some((space, inside)) = self.held_by(original, &translation.reply) else { return };
        space.cancel(translation.reply.dst_port, inside);
        self.pools.remove_flow(translation.reply.dst);
    }
}

/// Whether a flow with these tuples holds a port of a pool.
pub fn holds_port<A: Address>(original: &Tuple<A>, reply: &Tuple<A>) -> bool {
    original.src != reply.dst && has_ports(original.protocol)
}

/// The source a flow leaves with.
#[derive(Clone, Copy, Debug)]
struct Outside<A> {
    address: A,
    port: u16,
}

/// A reply tuple that no flow is known by.
#[derive(Clone, Copy, Debug)]
struct Vacant<A> {
    reply: Tuple<A>,
    hash: TupleHash,
}

impl<A: Address> Nat<A> {
    fn choose(
        &mut self,
        now: Tick,
        flows: &FlowTable<A>,
        original: &Tuple<A>,
        sent: &Tuple<A>,
        snat: Snat,
    ) -> Result<Vacant<A>, NatError> {
        let (address, mapping) = match snat {
            Snat::Off => return self.keep_source(flows, sent),
            Snat::Pool(id) => {
                let pool = self.pools.pool(id).ok_or(NatError::UnknownPool)?;
                (self.pools.address_for(pool, original.src).ok_or(NatError::NoAddress)?, pool.mapping)
            }
        };
        if address == sent.src {
            self.keep_source(flows, sent)
        } else if has_ports(sent.protocol) {
            self.take_port(now, flows, sent, address, mapping)
        } else {
            keep_apart_by_address(flows, sent, address)
        }
    }

    /// The host's own address, and its own port if answers then belong to this flow only.
    fn keep_source(&mut self, flows: &FlowTable<A>, sent: &Tuple<A>) -> Result<Vacant<A>, NatError> {
        if !has_ports(sent.protocol) {
            return keep_apart_by_address(flows, sent, sent.src);
        }
        let others = tries(sent.protocol, sent.src_port, &mut self.random);
        let mut outside =
            core::iter::once(sent.src_port).chain(others).map(|port| Outside { address: sent.src, port });
        outside.find_map(|outside| vacant(flows, sent, outside)).ok_or(NatError::TupleTaken)
    }

    fn take_port(
        &mut self,
        now: Tick,
        flows: &FlowTable<A>,
        sent: &Tuple<A>,
        address: A,
        mapping: Mapping,
    ) -> Result<Vacant<A>, NatError> {
        let vacant = |port| vacant(flows, sent, Outside { address, port });
        let (inside, remote) = (inside_end(sent), remote_end(sent));
        let wish = Wish { protocol: sent.protocol, source_port: sent.src_port, remote };
        let external = self.pools.external(address);
        let space = external.space(sent.protocol).ok_or(NatError::PortsExhausted)?;
        let taken = match mapping {
            Mapping::PerDestination => space
                .take(now, &wish, &mut self.random, vacant)
                .or_else(|| space.share(&wish, &mut self.random, vacant)),
            Mapping::EndpointIndependent => match space.mappings.port_of(inside) {
                Some(port) => match vacant(port) {
                    Some(vacant) => {
                        space.mappings.join(inside);
                        Some((port, vacant))
                    }
                    // Two destinations became one by translation: this flow gets a port of its own.
                    None => space.take(now, &wish, &mut self.random, vacant),
                },
                None => space
                    .take(now, &wish, &mut self.random, vacant)
                    .inspect(|(port, _)| space.mappings.add(inside, *port)),
            },
        };
        let (_, vacant) = taken.ok_or(NatError::PortsExhausted)?;
        external.add_flow();
        Ok(vacant)
    }

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn let_go_all(&mut self, now: Tick) {
        self.pools.spaces_mut().for_each(|space| space.let_go_all(now));
    }

    /// The ports among which a flow with these tuples holds one, and its inside end.
    fn held_by(&mut self, original: &Tuple<A>, reply: &Tuple<A>) -> Option<(&mut PortSpace<A>, Inside<A>)> {
        let space = self.pools.existing_space_mut(reply.dst, reply.protocol);
        space.filter(|_| holds_port(original, reply)).map(|space| (space, inside_end(original)))
    }

    fn count(&mut self, refused: Option<&NatError>) {
        match refused {
            None => {}
            Some(NatError::UnknownPool | NatError::NoAddress) => self.counters.no_address += 1,
            Some(NatError::PortsExhausted) => self.counters.ports_exhausted += 1,
            Some(NatError::TupleTaken) => self.counters.tuple_taken += 1,
            Some(NatError::PairTaken) => self.counters.pair_taken += 1,
        }
    }
}

/// How long a removed flow's port is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    From(Tick),
    Over,
}

/// RFC 6888 REQ-8 (a): a TCP flow that was seen to end needs no further wait once that lies the hold-down behind. Without
/// this, one far end could get no more than 180 connections a second from one external address.
fn hold<A>(now: Tick, flow: &Removed<A>) -> Hold {
    let ended = flow.phase.rank() == Rank::Closing;
    if ended && flow.last_seen.after(ticks(HOLD_DOWN)) <= now { Hold::Over } else { Hold::From(now) }
}

/// Without ports, only the addresses can tell answers apart.
fn keep_apart_by_address<A: Address>(
    flows: &FlowTable<A>,
    sent: &Tuple<A>,
    address: A,
) -> Result<Vacant<A>, NatError> {
    vacant(flows, sent, Outside { address, port: sent.src_port }).ok_or(NatError::PairTaken)
}

/// The tuple of answers to a flow that leaves from there, unless they would belong to another flow.
fn vacant<A: Address>(flows: &FlowTable<A>, sent: &Tuple<A>, outside: Outside<A>) -> Option<Vacant<A>> {
    let reply = Tuple { src: outside.address, src_port: outside.port, ..*sent }.inverse();
    let hash = flows.hash(&reply);
    flows.lookup_hashed(hash, &reply).is_none().then_some(Vacant { reply, hash })
}

fn inside_end<A: Address>(sent: &Tuple<A>) -> Inside<A> {
    Inside { address: sent.src, port: sent.src_port }
}

fn remote_end<A: Address>(sent: &Tuple<A>) -> Remote<A> {
    Remote { address: sent.dst, port: sent.dst_port }
}
