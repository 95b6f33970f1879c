//! What the built-in client does at the devices.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::cast;
use super::device::Ended;

/// The page is far smaller.
const PAGE_BYTES_MAX: u64 = 64 << 10;
/// How long one waits for anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// Fetches the page over a fresh connection: its body.
pub(super) async fn fetch(stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<String> {
    within(PATIENCE, fetch_once(stream)).await
}

async fn fetch_once(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<String> {
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", cast::DEVICE);
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(PAGE_BYTES_MAX).read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(format!(
            "the device answers {:.60}",
            head.lines().next().unwrap_or("")
        )));
    }
    Ok(body.to_owned())
}

/// Sends `count` bytes and compares what comes back.
pub(super) async fn echo(stream: impl AsyncRead + AsyncWrite, count: usize) -> io::Result<()> {
    within(PATIENCE, echo_once(stream, count)).await
}

async fn echo_once(stream: impl AsyncRead + AsyncWrite, count: usize) -> io::Result<()> {
    let sent: Vec<u8> = (0..count).map(|position| (position % 251) as u8).collect();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let send = async {
        writer.write_all(&sent).await?;
        writer.shutdown().await
    };
    let mut heard = Vec::with_capacity(count);
    let receive = reader.read_to_end(&mut heard);
    tokio::try_join!(send, receive)?;
    if heard == sent { Ok(()) } else { Err(io::Error::other("other bytes came back than were sent")) }
}

/// One short message there and back, over a connection that stays open.
pub(super) async fn ping(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    const MESSAGE: [u8; 5] = *b"still";
    within(PATIENCE, async {
        stream.write_all(&MESSAGE).await?;
        let mut heard = [0; MESSAGE.len()];
        stream.read_exact(&mut heard).await?;
        if heard == MESSAGE { Ok(()) } else { Err(io::Error::other("something else came back")) }
    })
    .await
}

/// Waits for the end of a connection that nobody writes to.
pub(super) async fn end_of(mut stream: impl AsyncRead + Unpin) -> io::Result<Ended> {
    within(PATIENCE, async {
        let how = match stream.read(&mut [0; 16]).await {
            Ok(0) => "closed".to_owned(),
            Ok(_) => return Err(io::Error::other("bytes came that nobody asked for")),
            Err(error) => error.kind().to_string(),
        };
        Ok(Ended { at: Instant::now(), how })
    })
    .await
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::device::{Echo, GREETING, Web};
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn the_page_says_who_asks() {
        let web = Web::start().await.unwrap();
        let stream = TcpStream::connect(web.address()).await.unwrap();
        let own = stream.local_addr().unwrap();
        let page = fetch(stream).await.unwrap();
        assert!(page.contains(GREETING) && page.contains(&own.to_string()), "{page}");
    }

    #[tokio::test]
    async fn what_is_sent_comes_back_and_ends_are_told() {
        let device = Echo::start().await.unwrap();
        let ended = device.next_end();
        echo(TcpStream::connect(device.address()).await.unwrap(), 100_000).await.unwrap();
        assert_eq!(ended.await.unwrap().how, "closed");
        let mut stream = TcpStream::connect(device.address()).await.unwrap();
        ping(&mut stream).await.unwrap();
        drop(device);
    }

    #[tokio::test]
    async fn a_silent_end_and_a_broken_page_are_errors() {
        let (near, far) = tokio::io::duplex(1024);
        drop(far);
        assert!(fetch(near).await.is_err());
        let (near, mut far) = tokio::io::duplex(1024);
        far.write_all(b"HTTP/1.1 500 Oh\r\n\r\n").await.unwrap();
        far.shutdown().await.unwrap();
        assert_eq!(fetch(near).await.unwrap_err().to_string(), "the device answers HTTP/1.1 500 Oh");
    }
}
