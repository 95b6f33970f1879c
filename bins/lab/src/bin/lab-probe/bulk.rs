//! Datagrams in bulk, as QUIC stacks send and take them: runs of equal datagrams cut by the kernel (UDP_SEGMENT), and runs
//! handed over in one piece (UDP_GRO). One system call per datagram would measure the system call.

use std::io::{ErrorKind, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};

/// What a QUIC stack asks for; the system may give less.
const BUFFER_BYTES: usize = 4 << 20;
/// Room for the longest run.
const RUN_BYTES_MAX: usize = 65_507;
const RATE_MAX: f64 = 1e12;
const SECONDS_MAX: u32 = 60;
/// How long the first datagram is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// After this long without a datagram the sender is done.
const SILENCE: Duration = Duration::from_millis(300);
/// Between two looks at what is due.
const NAP: Duration = Duration::from_micros(100);

/// Sends datagrams of `payload_bytes` for `seconds`, at `bits_per_second` of payload or, where that is 0, as fast as the
/// system takes them. Prints JSON.
pub(crate) fn send(
    to: SocketAddr,
    payload_bytes: usize,
    bits_per_second: f64,
    seconds: u32,
) -> Result<String> {
    ensure!((1..=RUN_BYTES_MAX).contains(&payload_bytes), "a datagram has 1 to {RUN_BYTES_MAX} bytes");
    ensure!((0.0..=RATE_MAX).contains(&bits_per_second), "the rate is between 0 and {RATE_MAX} bit/s");
    ensure!(seconds <= SECONDS_MAX, "at most {SECONDS_MAX} s");
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    let state = state(&socket)?;
    let in_a_run = (RUN_BYTES_MAX / payload_bytes).min(state.max_gso_segments());
    let contents = vec![0x5a; in_a_run * payload_bytes];
    let run = Transmit {
        destination: to,
        ecn: None,
        contents: &contents,
        segment_size: Some(payload_bytes),
        src_ip: None,
    };
    let (started, limit) = (Instant::now(), Duration::from_secs(seconds.into()));
    let mut sent: u64 = 0;
    while started.elapsed() < limit {
        let due = started.elapsed().as_secs_f64() * bits_per_second / 8.0 / payload_bytes as f64;
        if bits_per_second > 0.0 && sent as f64 >= due {
            sleep(NAP);
            continue;
        }
        state.try_send(UdpSockRef::from(&socket), &run).context("send a run")?;
        sent += in_a_run as u64;
    }
    Ok(format!("{{\"sent\":{sent}}}"))
}

/// Counts datagrams until none come any more. Prints JSON: how many, their bytes, and the time from the first to the last.
pub(crate) fn receive(port: u16) -> Result<String> {
    let socket = UdpSocket::bind(SocketAddr::new("::".parse::<IpAddr>()?, port))?;
    let state = state(&socket)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = vec![0; RUN_BYTES_MAX];
    let (mut received, mut bytes) = (0u64, 0u64);
    let (mut first, mut last) = (None, Instant::now());
    loop {
        let mut run = RecvMeta::default();
        let taken = state.recv(
            UdpSockRef::from(&socket),
            &mut [IoSliceMut::new(&mut buffer)],
            std::slice::from_mut(&mut run),
        );
        match taken {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(error) => return Err(error.into()),
        }
        last = Instant::now();
        if first.is_none() {
            first = Some(last);
            socket.set_read_timeout(Some(SILENCE))?;
        }
        received += run.len.div_ceil(run.stride.max(1)) as u64;
        bytes += run.len as u64;
    }
    let micros = first.map_or(0, |first| last.duration_since(first).as_micros());
    Ok(format!("{{\"received\":{received},\"bytes\":{bytes},\"micros\":{micros}}}"))
}

/// Offloads on, large buffers, and calls that wait.
fn state(socket: &UdpSocket) -> Result<UdpSocketState> {
    let state = UdpSocketState::new(UdpSockRef::from(socket))?;
    let options = socket2::SockRef::from(socket);
    options.set_send_buffer_size(BUFFER_BYTES)?;
    options.set_recv_buffer_size(BUFFER_BYTES)?;
    socket.set_nonblocking(false)?;
    Ok(state)
}
