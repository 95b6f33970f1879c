//! TCP connections: a server that sends back what it gets, clients that hold many, that close one half, that break off.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::event::epoll;
use rustix::net::{RecvFlags, recv};

use crate::crowd::allow_sockets;

/// How long a server serves.
const SERVE_LIMIT: Duration = Duration::from_secs(600);
/// How long one step of one connection may take.
const STEP_LIMIT: Duration = Duration::from_secs(20);
/// How long a refused connection is tried again: a session opens so many a second and no more.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// Between two connections of a crowd.
const CONNECT_PAUSE: Duration = Duration::from_micros(2500);
const COUNT_MAX: usize = 20_000;
const BYTES_MAX: usize = 1 << 30;
const HOLD_SECONDS_MAX: u64 = 300;

/// Sends back what it gets, on any number of connections; a client that ends its half gets the end of ours.
pub(crate) fn echo(port: u16) -> Result<String> {
    allow_sockets()?;
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?;
    listener.set_nonblocking(true)?;
    let (poll, until) = (epoll::create(epoll::CreateFlags::CLOEXEC)?, Instant::now() + SERVE_LIMIT);
    let watch = |key: &dyn AsRawFd| epoll::EventData::new_u64(key.as_raw_fd() as u64);
    epoll::add(&poll, &listener, watch(&listener), epoll::EventFlags::IN)?;
    let mut clients: HashMap<u64, TcpStream> = HashMap::new();
    let mut events = Vec::with_capacity(256);
    while Instant::now() < until {
        events.clear();
        let second = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&second))?;
        for event in &events {
            let key = event.data.u64();
            if key != listener.as_raw_fd() as u64 {
                if clients.get(&key).is_some_and(|client| !send_back(client)) {
                    clients.remove(&key);
                }
            } else if let Ok((client, _)) = listener.accept() {
                client.set_nonblocking(false)?;
                client.set_write_timeout(Some(STEP_LIMIT))?;
                epoll::add(&poll, &client, watch(&client), epoll::EventFlags::IN)?;
                clients.insert(client.as_raw_fd() as u64, client);
            }
        }
    }
    Ok("nobody ended it".to_owned())
}

/// Says whether the connection goes on.
fn send_back(mut client: &TcpStream) -> bool {
    let mut buffer = [0; 65_536];
    match recv(client, &mut buffer, RecvFlags::DONTWAIT) {
        Ok((0, _)) => false,
        Ok((len, _)) => client.write_all(&buffer[..len]).is_ok(),
        Err(error) => error == rustix::io::Errno::AGAIN,
    }
}

/// Opens connections to an [`echo`], one after the other, and holds them; each is answered at the start and at the end.
pub(crate) fn hold_many(to: SocketAddr, count: usize, seconds: u64) -> Result<String> {
    ensure!(
        count <= COUNT_MAX && seconds <= HOLD_SECONDS_MAX,
        "at most {COUNT_MAX} for {HOLD_SECONDS_MAX} s"
    );
    allow_sockets()?;
    let mut held = Vec::with_capacity(count);
    for number in 0..count {
        let stream = connect(to).with_context(|| format!("connection {number}"))?;
        ask(&stream, number).with_context(|| format!("first answer on connection {number}"))?;
        held.push(stream);
        sleep(CONNECT_PAUSE);
    }
    println!("holding {count}");
    sleep(Duration::from_secs(seconds));
    for (number, stream) in held.iter().enumerate() {
        ask(stream, number).with_context(|| format!("last answer on connection {number}"))?;
    }
    Ok(format!("answered {count}"))
}

/// Opens, uses and closes connections to an [`echo`], every tenth by breaking it off, for so many seconds.
pub(crate) fn churn(to: SocketAddr, seconds: u64) -> Result<String> {
    ensure!(seconds <= HOLD_SECONDS_MAX, "at most {HOLD_SECONDS_MAX} s");
    let (until, mut done, mut failed) = (Instant::now() + Duration::from_secs(seconds), 0_u64, 0_u64);
    while Instant::now() < until {
        let number = done + failed;
        let outcome =
            TcpStream::connect_timeout(&to, STEP_LIMIT).map_err(anyhow::Error::from).and_then(|stream| {
                let outcome = ask(&stream, number as usize);
                if number.is_multiple_of(10) {
                    break_off(&stream)?;
                }
                outcome
            });
        match outcome {
            Ok(()) => done += 1,
            Err(_) => failed += 1,
        }
        sleep(CONNECT_PAUSE);
    }
    Ok(format!("{{\"done\":{done},\"failed\":{failed}}}"))
}

/// A session admits so many new flows a second; a refusal for that reason passes.
fn connect(to: SocketAddr) -> Result<TcpStream> {
    let until = Instant::now() + CONNECT_LIMIT;
    loop {
        match TcpStream::connect_timeout(&to, STEP_LIMIT) {
            Ok(stream) => {
                stream.set_read_timeout(Some(STEP_LIMIT))?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) if Instant::now() >= until => return Err(error.into()),
            Err(_) => sleep(Duration::from_millis(100)),
        }
    }
}

fn ask(mut stream: &TcpStream, number: usize) -> Result<()> {
    let (question, mut answer) = ((number as u64).to_be_bytes(), [0; 8]);
    stream.set_read_timeout(Some(STEP_LIMIT))?;
    stream.write_all(&question)?;
    stream.read_exact(&mut answer)?;
    ensure!(question == answer, "another's answer");
    Ok(())
}

/// Sends so many bytes to an [`echo`], then the end, and reads until the other end: all must come back, in order.
pub(crate) fn half_close(to: SocketAddr, bytes: usize) -> Result<String> {
    ensure!(bytes <= BYTES_MAX, "at most {BYTES_MAX} bytes");
    let stream = connect(to)?;
    let sent = scope(|scope| {
        let sender = scope.spawn(|| {
            let mut stream = &stream;
            let mut numbers = numbers();
            let mut left = bytes;
            while left > 0 {
                let block: Vec<u8> = numbers.by_ref().take(left.min(65_536)).collect();
                stream.write_all(&block)?;
                left -= block.len();
            }
            stream.shutdown(Shutdown::Write)
        });
        let read = read_numbers(&stream);
        sender.join().map_err(|_| anyhow::anyhow!("the sender failed"))??;
        read
    })?;
    Ok(format!("{sent} bytes came back, then the end"))
}

fn read_numbers(mut stream: &TcpStream) -> Result<usize> {
    let (mut buffer, mut expected, mut count) = (vec![0; 65_536], numbers(), 0);
    loop {
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            return Ok(count);
        }
        for byte in &buffer[..len] {
            ensure!(expected.next() == Some(*byte), "another byte than the one sent at {count}");
            count += 1;
        }
    }
}

/// Bytes that look like noise and are the same at every call: a lost, doubled or swapped block does not go unnoticed.
fn numbers() -> impl Iterator<Item = u8> {
    let mut state = 0x9e37_79b9_u32;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    })
}

/// Connects, says something and breaks off.
pub(crate) fn abort(to: SocketAddr) -> Result<String> {
    let mut stream = connect(to)?;
    stream.write_all(b"word")?;
    // The other side is to have a connection before it loses it.
    sleep(Duration::from_millis(300));
    break_off(&stream)?;
    Ok("broken off".to_owned())
}

/// Accepts one connection, reads something and breaks off.
pub(crate) fn accept_and_abort(port: u16) -> Result<String> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?;
    let (mut stream, _) = listener.accept()?;
    let mut word = [0; 4];
    match stream.read_exact(&mut word) {
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => return Err(error.into()),
        _ => {}
    }
    break_off(&stream)?;
    Ok("broken off".to_owned())
}

/// Dropped after this, a stream sends a reset.
fn break_off(stream: &TcpStream) -> Result<()> {
    Ok(rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?)
}
