//! What several test files need.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use router_core::sim::{Chain, ConnectionId, Host, Sim, StationId, TcpEnd, names};
use router_core::{DropReason, Event};

/// Runs a test with each seed; a failure prints which. `SIM_SEEDS` asks for more.
pub(crate) fn for_seeds(count: u64, test: impl Fn(u64)) {
    let more = std::env::var("SIM_SEEDS").ok().and_then(|count| count.parse().ok());
    let count = more.unwrap_or(count);
    for seed in 1..=count {
        let outcome = catch_unwind(AssertUnwindSafe(|| test(seed)));
        outcome.unwrap_or_else(|panic| {
            eprintln!("failed with seed {seed}");
            resume_unwind(panic)
        });
    }
}

/// How often a node dropped for this reason.
pub(crate) fn dropped(sim: &Sim, station: StationId, reason: DropReason) -> u64 {
    sim.node(station).counters().dropped(reason)
}

/// How many handshakes a station has completed.
pub(crate) fn handshakes(sim: &Sim, station: StationId) -> usize {
    let is_completed =
        |event: &Event| matches!(event, Event::Device(wg_proto::Event::HandshakeCompleted { .. }));
    sim.station(station).events.iter().filter(|(_, event)| is_completed(event)).count()
}

/// A pattern that shows where it was cut.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 251 + at) as u8).collect()
}

/// A user sends `len` bytes through TCP, gets them back, and both ends finish.
pub(crate) fn tcp_round_trip(chain: &mut Chain, user: usize, port: u16, to: SocketAddr, len: usize) {
    let sent = pattern(len);
    let connection = chain.sim.connect(chain.users[user], port, to);
    chain.sim.write(connection, &sent, true);
    chain.sim.run_secs(120);
    let connection = chain.sim.connection(connection);
    let seed = chain.sim.seed();
    assert_eq!(connection.end(), Some(TcpEnd::Finished), "seed {seed}: {:?}", connection.stage);
    assert!(connection.received == sent, "seed {seed}: {} of {len} bytes", connection.received.len());
}

/// Both properties that every run has.
pub(crate) fn assert_both(sim: &Sim) {
    sim.assert_forwarded_was_allowed();
    sim.assert_allowed_got_through();
}

/// The datagram whose pieces a host has got, whole, as its receiver puts it together.
pub(crate) fn reassembled(host: &Host) -> Option<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut header = Vec::new();
    for arrival in &host.inbox {
        let packet = &arrival.packet;
        let (at, place) = match packet[0] >> 4 {
            4 => (20, (u16::from_be_bytes([packet[6], packet[7]]) & 0x1fff) * 8),
            _ if packet[6] == 44 => (48, u16::from_be_bytes([packet[42], packet[43]]) & 0xfff8),
            _ => continue,
        };
        if packet[0] >> 4 == 6 && place == 0 {
            header = packet[..40].to_vec();
            header[6] = packet[40];
        } else if place == 0 {
            header = packet[..20].to_vec();
        }
        pieces.push((usize::from(place), packet[at..].to_vec()));
    }
    pieces.sort();
    let mut payload = Vec::new();
    for (at, bytes) in pieces {
        (at == payload.len()).then(|| payload.extend(bytes))?;
    }
    let mut whole = [header, payload].concat();
    let len = whole.len();
    if whole.first()? >> 4 == 4 {
        whole[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        whole[6..8].fill(0);
        // The sum over the whole header comes out right again.
        whole = router_core::sim::wire::with_hop_limit(&whole, whole[8]);
    } else {
        whole[4..6].copy_from_slice(&(len as u16 - 40).to_be_bytes());
    }
    Some(whole)
}

/// The second user is the attacker.
pub(crate) const ATTACKER: usize = 1;

/// A chain in which the first user has a connection to the device.
pub(crate) fn at_work() -> (Chain, ConnectionId) {
    let mut chain = Sim::chain().clients(2).start();
    let connection = chain.sim.connect(chain.users[0], 41_000, names::ssh(0, true));
    chain.sim.write(connection, b"before", false);
    for user in [0, 1] {
        chain.sim.send_udp(chain.users[user], 5000, names::dns(0, true), b"query");
    }
    chain.sim.run_secs(1);
    (chain, connection)
}

/// The user's work goes on as if nothing had happened.
pub(crate) fn assert_undisturbed(mut chain: Chain, connection: ConnectionId) {
    chain.sim.write(connection, &pattern(20_000), true);
    chain.sim.send_udp(chain.users[0], 5000, names::dns(0, true), b"query");
    chain.sim.run_secs(30);
    let connection = chain.sim.connection(connection);
    assert_eq!(connection.end(), Some(TcpEnd::Finished));
    assert_eq!(connection.received.len(), b"before".len() + 20_000);
    assert_eq!(chain.sim.host(chain.users[0]).datagrams(5000).len(), 2);
    assert_both(&chain.sim);
}
