//! Numbered datagrams of many flows: do those of one flow arrive in order?

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

/// After this long without a datagram the flows have ended.
const SILENCE: Duration = Duration::from_millis(700);
/// How long the first datagram is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
const PAYLOAD_BYTES: usize = 1000;
const FLOWS_MAX: usize = 1000;
const RATE_MAX: u32 = 1_000_000;
const SECONDS_MAX: u32 = 60;
/// An ordered flow has at most this many datagrams under way.
const WINDOW: u64 = 64;
/// After this long without an answer those under way are lost.
const LOST_AFTER: Duration = Duration::from_millis(300);
const ORDER_LIMIT: Duration = Duration::from_secs(30);
const ORDER_BYTES: usize = 200;
const BURST_INTERVAL: Duration = Duration::from_millis(1);

/// Counts what arrives until nothing does; at most `flows_max` flows. Prints JSON.
pub(crate) fn count(port: u16, flows_max: usize) -> Result<String> {
    let socket = UdpSocket::bind(SocketAddr::new("::".parse::<IpAddr>()?, port))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let (mut received, mut reordered) = (0u64, 0u64);
    let mut expected: HashMap<SocketAddr, u64> = HashMap::new();
    let mut buffer = [0; PAYLOAD_BYTES];
    while let Ok((_, from)) = socket.recv_from(&mut buffer) {
        if received == 0 {
            socket.set_read_timeout(Some(SILENCE))?;
        }
        ensure!(expected.len() <= flows_max.min(FLOWS_MAX), "more flows than were announced");
        received += 1;
        let number = buffer.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let next = expected.entry(from).or_default();
        reordered += u64::from(number < *next);
        *next = (*next).max(number + 1);
    }
    let flows = expected.len();
    Ok(format!("{{\"flows\":{flows},\"received\":{received},\"reordered\":{reordered}}}"))
}

/// `rate_per_sec` datagrams, the flows in turns; each flow has a socket and counts from 0.
pub(crate) fn send(to: SocketAddr, flows: usize, rate_per_sec: u32, seconds: u32) -> Result<String> {
    ensure!((1..=FLOWS_MAX).contains(&flows), "between 1 and {FLOWS_MAX} flows");
    ensure!(
        rate_per_sec <= RATE_MAX && seconds <= SECONDS_MAX,
        "at most {RATE_MAX} a second for {SECONDS_MAX} s"
    );
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let sockets: Vec<UdpSocket> = (0..flows).map(|_| UdpSocket::bind(any)).collect::<Result<_, _>>()?;
    let (started, limit) = (Instant::now(), Duration::from_secs(seconds.into()));
    let mut sent: u64 = 0;
    let mut datagram = [0; PAYLOAD_BYTES];
    while started.elapsed() < limit {
        let due = (started.elapsed().as_secs_f64() * f64::from(rate_per_sec)) as u64;
        for number in sent..due {
            datagram[..8].copy_from_slice(&(number / flows as u64).to_be_bytes());
            // What a full buffer loses is missing at the other end, not out of order.
            let _ = sockets[(number % flows as u64) as usize].send_to(&datagram, to);
        }
        sent = due;
        sleep(BURST_INTERVAL);
    }
    Ok(format!("{{\"sent\":{sent}}}"))
}

/// Has each of `flows` flows send numbered datagrams to somebody who sends them back, until `count` of them are back.
pub(crate) fn order(to: SocketAddr, flows: usize, count: u64) -> Result<String> {
    ensure!((1..=FLOWS_MAX).contains(&flows), "between 1 and {FLOWS_MAX} flows");
    let counts: Result<Vec<(u64, u64)>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..flows).map(|_| scope.spawn(|| order_of_one(to, count))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a flow's thread panicked"))?)
            .collect()
    });
    let (received, reordered) = counts?.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    Ok(format!("{{\"flows\":{flows},\"received\":{received},\"reordered\":{reordered}}}"))
}

/// How many came back, and how many of those after a later one.
fn order_of_one(to: SocketAddr, count: u64) -> Result<(u64, u64)> {
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(LOST_AFTER))?;
    let (started, mut datagram) = (Instant::now(), [0; ORDER_BYTES]);
    let (mut sent, mut under_way, mut expected) = (0u64, 0, 0);
    let (mut received, mut reordered) = (0, 0);
    while received < count && started.elapsed() < ORDER_LIMIT {
        while under_way < WINDOW {
            datagram[..8].copy_from_slice(&sent.to_be_bytes());
            // What a full buffer loses is missing at the end, not out of order.
            let _ = socket.send(&datagram);
            (sent, under_way) = (sent + 1, under_way + 1);
        }
        if socket.recv(&mut datagram).is_err() {
            under_way = 0;
            continue;
        }
        let number = datagram.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        received += 1;
        reordered += u64::from(number < expected);
        expected = expected.max(number + 1);
        under_way = under_way.saturating_sub(1);
    }
    Ok((received, reordered))
}
