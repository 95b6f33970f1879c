//! Short connections: how many requests get through, and how long a connection takes to stand.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::LIMIT;
use crate::latency::percentile;

/// As many requests may wait for their answers.
const THREADS: u32 = 32;
const RATE_MAX: u32 = 100_000;
const COUNT_MAX: u32 = 100_000;

/// Fetches `/` `rate` times a second for `seconds`, each time over a connection of its own that the server ends; prints how
/// many answers came, and how many did not.
pub(crate) fn load(to: SocketAddr, rate: u32, seconds: u32) -> Result<String> {
    ensure!((1..=RATE_MAX).contains(&rate), "between 1 and {RATE_MAX} a second");
    let (start, next) = (Instant::now(), Arc::new(AtomicU32::new(0)));
    let share = || {
        let next = Arc::clone(&next);
        spawn(move || fetch_in_turn(to, start, rate, rate * seconds, &next))
    };
    let workers: Vec<_> = (0..THREADS).map(|_| share()).collect();
    let (mut done, mut failed) = (0, 0);
    for worker in workers {
        let (fetched, missed) = worker.join().unwrap_or_default();
        (done, failed) = (done + fetched, failed + missed);
    }
    Ok(format!("{{\"done\":{done},\"failed\":{failed}}}"))
}

/// Each request at its moment, whether or not others have been answered, as long as a thread is free.
fn fetch_in_turn(to: SocketAddr, start: Instant, rate: u32, count: u32, next: &AtomicU32) -> (u64, u64) {
    let (mut done, mut failed) = (0, 0);
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            return (done, failed);
        }
        let due = Duration::from_secs(1) * number / rate;
        sleep(due.saturating_sub(start.elapsed()));
        match fetch(to) {
            Ok(()) => done += 1,
            Err(_) => failed += 1,
        }
    }
}

fn fetch(to: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "no page");
    Ok(())
}

/// Opens `count` connections one after the other; prints percentiles of how long each took to stand.
pub(crate) fn connects(to: SocketAddr, count: u32) -> Result<String> {
    ensure!((1..=COUNT_MAX).contains(&count), "between 1 and {COUNT_MAX} connections");
    let mut times = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let start = Instant::now();
        let stream = TcpStream::connect_timeout(&to, LIMIT)?;
        times.push(start.elapsed().as_micros() as u64);
        drop(stream);
    }
    times.sort_unstable();
    let [p50, p99, p999] = [500, 990, 999].map(|per_mille| percentile(&times, per_mille));
    Ok(format!("{{\"sent\":{count},\"lost\":0,\"p50_us\":{p50},\"p99_us\":{p99},\"p999_us\":{p999}}}"))
}
