//! Handshake initiations from keys that the responder does not know.

use std::net::{SocketAddr, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use wg_proto::{Device, DeviceConfig, PeerConfig, PrivateKey, PublicKey, UnixTime};

/// Bounds of a flood.
const RATE_MAX: u32 = 100_000;
const SECONDS_MAX: u32 = 30;
/// How many different initiations are sent in turn.
const VARIETY: u8 = 64;
/// Where the first MAC stands in an initiation (WireGuard paper, section 5.4.2).
const MAC1_AT: usize = 116;
const BURST_INTERVAL: Duration = Duration::from_millis(2);

/// Sends initiations of a kind: `valid-mac1`, each of which costs the responder its expensive part, or `bad-mac1`.
pub(crate) fn run(
    kind: &str,
    endpoint: SocketAddr,
    key: &str,
    rate_per_sec: u32,
    seconds: u32,
) -> Result<String> {
    ensure!(
        rate_per_sec <= RATE_MAX && seconds <= SECONDS_MAX,
        "at most {RATE_MAX} a second for {SECONDS_MAX} seconds"
    );
    let key: PublicKey = key.parse()?;
    let mut messages: Vec<Vec<u8>> =
        (1..=VARIETY).map(|seed| initiation(seed, key, endpoint)).collect::<Result<_>>()?;
    match kind {
        "valid-mac1" => {}
        "bad-mac1" => messages.iter_mut().for_each(|message| message[MAC1_AT] ^= 1),
        _ => bail!("unknown kind of flood {kind:?}"),
    }
    let socket = UdpSocket::bind(if endpoint.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    let (started, limit) = (Instant::now(), Duration::from_secs(seconds.into()));
    let mut messages = messages.iter().cycle();
    let mut sent: u64 = 0;
    while started.elapsed() < limit {
        let due = (started.elapsed().as_secs_f64() * f64::from(rate_per_sec)) as u64;
        for message in messages.by_ref().take(due.saturating_sub(sent) as usize) {
            // A full socket buffer loses a packet of the flood, nothing else.
            let _ = socket.send_to(message, endpoint);
        }
        sent = sent.max(due);
        sleep(BURST_INTERVAL);
    }
    Ok(format!("sent {sent} initiations in {seconds} s"))
}

fn initiation(seed: u8, key: PublicKey, endpoint: SocketAddr) -> Result<Vec<u8>> {
    let config = DeviceConfig { private_key: Some(PrivateKey::from_bytes([seed; 32])), mtu_bytes: 0 };
    let mut device = Device::new(config, [seed; 32]);
    let mut peer = PeerConfig::new(key);
    peer.endpoint = Some(endpoint.into());
    let now = wg_proto::Instant::from_nanos(0);
    let peer = device.add_peer(now, peer)?;
    device.stage(now, peer, &[])?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let mut buffer = [0; wg_proto::INITIATION_BYTES];
    let unix = UnixTime::new(since.as_secs(), since.subsec_nanos());
    let transmit = device.poll_transmit(now, unix, &mut buffer).context("no handshake started")?;
    Ok(buffer[..transmit.len].to_vec())
}
