//! How long small datagrams take there and back.
//!
//! Requests leave on a schedule, whether or not answers have come: a slow answer does not thin out the samples around it.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// A request is as small as DNS's or a voice packet: 64 bytes with its IPv4 and UDP headers.
const PAYLOAD_BYTES: usize = 36;
/// How long the last answers are waited for.
const PATIENCE: Duration = Duration::from_millis(300);
const COUNT_MAX: u32 = 1_000_000;
/// How long an echo server serves without requests.
const ECHO_LIMIT: Duration = Duration::from_secs(1800);

/// Sends every datagram back to where it came from.
pub(crate) fn echo(port: u16) -> Result<String> {
    let socket = UdpSocket::bind(SocketAddr::new("::".parse::<IpAddr>()?, port))?;
    socket.set_read_timeout(Some(ECHO_LIMIT))?;
    let mut buffer = [0; 2048];
    while let Ok((len, from)) = socket.recv_from(&mut buffer) {
        // An answer that the kernel refuses counts as lost at the other end.
        let _ = socket.send_to(&buffer[..len], from);
    }
    Ok("nobody asked any more".to_owned())
}

/// `count` requests, one every `interval_micros`; prints percentiles of the round trips as JSON.
pub(crate) fn measure(to: SocketAddr, count: u32, interval_micros: u64) -> Result<String> {
    ensure!((1..=COUNT_MAX).contains(&count), "between 1 and {COUNT_MAX} requests");
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let started = Instant::now();
    let receiver = {
        let socket = socket.try_clone()?;
        spawn(move || receive(&socket, started, count))
    };
    send(&socket, started, count, Duration::from_micros(interval_micros));
    let mut times = receiver.join().unwrap_or_default();
    ensure!(!times.is_empty(), "no answer at all from {to}");
    times.sort_unstable();
    let [p50, p99, p999] = [500, 990, 999].map(|per_mille| percentile(&times, per_mille));
    let lost = count as usize - times.len();
    Ok(format!("{{\"sent\":{count},\"lost\":{lost},\"p50_us\":{p50},\"p99_us\":{p99},\"p999_us\":{p999}}}"))
}

fn send(socket: &UdpSocket, started: Instant, count: u32, interval: Duration) {
    let mut request = [0; PAYLOAD_BYTES];
    for number in 0..count {
        sleep((interval * number).saturating_sub(started.elapsed()));
        request[..8].copy_from_slice(&(started.elapsed().as_nanos() as u64).to_be_bytes());
        // A request that the kernel refuses counts as lost.
        let _ = socket.send(&request);
    }
}

/// Round trips in microseconds, until all are there or none comes any more.
fn receive(socket: &UdpSocket, started: Instant, count: u32) -> Vec<u64> {
    let mut times = Vec::with_capacity(count as usize);
    let mut buffer = [0; PAYLOAD_BYTES];
    while times.len() < count as usize && socket.recv(&mut buffer).is_ok() {
        let now = started.elapsed().as_nanos() as u64;
        let sent = buffer.first_chunk().map_or(now, |bytes| u64::from_be_bytes(*bytes));
        times.push(now.saturating_sub(sent) / 1000);
    }
    times
}

/// Of sorted values, by the nearest-rank method.
pub(crate) fn percentile(sorted: &[u64], per_mille: usize) -> u64 {
    let rank = (sorted.len() * per_mille).div_ceil(1000).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<u64> = (1..=1000).collect();
        for (per_mille, expected) in [(500, 500), (990, 990), (999, 999)] {
            assert_eq!(percentile(&values, per_mille), expected);
        }
        assert_eq!(percentile(&[7], 999), 7);
    }
}
