//! A steady stream of pings, and how long it was without an answer.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::host::Host;
use crate::process::Process;

/// Between two requests. `ping` lets nobody but root ask more often than this.
const INTERVAL: Duration = Duration::from_millis(100);

/// A running `ping`.
#[derive(Debug)]
pub struct Pings {
    process: Process,
}

/// What became of its requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Requests.
    pub sent: u64,
    /// Answers.
    pub received: u64,
    /// The longest row of requests without an answer.
    pub longest_gap: Duration,
}

impl Pings {
    /// Ten requests a second to `address`, for `duration`.
    pub fn start(host: &Host, address: &str, duration: Duration) -> Result<Pings> {
        let (interval, limit) = (INTERVAL.as_secs_f64().to_string(), duration.as_secs().to_string());
        Ok(Pings { process: host.spawn(&["ping", "-n", "-i", &interval, "-w", &limit, address])? })
    }

    /// True while it goes on.
    pub fn is_running(&self) -> bool {
        self.process.is_running()
    }

    /// What became of the requests so far; all of them once it has ended.
    pub fn answers(&self) -> Result<Answers> {
        let log = self.process.log();
        answers(&log).with_context(|| format!("no summary of ping:\n{log}"))
    }
}

impl Answers {
    /// Of two streams.
    pub fn with(self, other: Answers) -> Answers {
        Answers {
            sent: self.sent + other.sent,
            received: self.received + other.received,
            longest_gap: self.longest_gap.max(other.longest_gap),
        }
    }
}

/// Sequence numbers begin at 1, and in the output they wrap at 2^16.
fn answers(log: &str) -> Option<Answers> {
    let (mut last, mut longest) = (0u16, 0u16);
    for line in log.lines().filter(|line| !line.contains("DUP!")) {
        let Some((_, rest)) = line.split_once("icmp_seq=") else { continue };
        let number: u16 = rest.split_whitespace().next()?.parse().ok()?;
        let ahead = number.wrapping_sub(last);
        // What comes late was counted as missing; it came all the same, but not in time.
        if ahead < 1 << 15 {
            longest = longest.max(ahead.saturating_sub(1));
            last = number;
        }
    }
    let summary = log.lines().find(|line| line.contains(" packets transmitted, "))?;
    let mut numbers = summary.split(", ").map(|part| part.split_whitespace().next()?.parse::<u64>().ok());
    let (sent, received) = (numbers.next()??, numbers.next()??);
    let unanswered_at_the_end = (sent as u16).wrapping_sub(last);
    let longest_gap = INTERVAL * u32::from(longest.max(unanswered_at_the_end));
    Some(Answers { sent, received, longest_gap })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(numbers: &[u16], sent: u64) -> String {
        let mut text = "PING 10.9.0.2 (10.9.0.2) 56(84) bytes of data.\n".to_owned();
        for number in numbers {
            text.push_str(&format!("64 bytes from 10.9.0.2: icmp_seq={number} ttl=64 time=0.5 ms\n"));
        }
        let received = numbers.len();
        text + &format!("\n{sent} packets transmitted, {received} received, 0% packet loss, time 9ms\n")
    }

    #[test]
    fn the_longest_gap_is_found_at_both_ends_and_across_the_wrap() {
        for (numbers, sent, gap) in [
            (&[1, 2, 3][..], 3, 0),
            (&[3, 4], 4, 2),
            (&[1, 2], 6, 4),
            (&[1, 5, 3, 6], 6, 3),
            (&[1, 30_000, 60_000, 65_535, 0, 2], 65_538, 29_999),
        ] {
            let found = answers(&log(numbers, sent)).unwrap();
            assert_eq!(found.sent, sent);
            assert_eq!(found.received, numbers.len() as u64);
            assert_eq!(found.longest_gap, INTERVAL * gap, "{numbers:?}");
        }
        assert_eq!(answers("PING"), None);
    }
}
