//! A device with one small web page, which says who asks.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::CONNECTIONS_MAX;

/// What the page says, so that whoever reads it knows that he has come to the right place.
pub(in crate::demo) const GREETING: &str = "Hello from behind the connector.";
/// A request of a browser is far smaller.
const REQUEST_BYTES_MAX: usize = 16 << 10;
const PATIENCE: Duration = Duration::from_secs(10);

/// The device. Dropping it ends it.
pub(in crate::demo) struct Web {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Web {
    pub(in crate::demo) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok(Self { address, serving: tokio::spawn(serve(listener)) })
    }

    pub(in crate::demo) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        let Ok((stream, from)) = listener.accept().await else { continue };
        tokio::spawn(async move {
            // A program that goes away in the middle is no concern of the device's.
            let _ = timeout(PATIENCE, answer(stream, from)).await;
            drop(permit);
        });
    }
}

/// Every request gets the page, once.
async fn answer(mut stream: TcpStream, from: SocketAddr) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < REQUEST_BYTES_MAX {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let page = page(from);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        page.len()
    );
    // A HEAD is answered without the page, as RFC 9110 §9.3.2 wants it.
    let body = if request.starts_with(b"HEAD ") { "" } else { &page };
    stream.write_all([head.as_str(), body].concat().as_bytes()).await?;
    stream.shutdown().await
}

fn page(from: SocketAddr) -> String {
    format!(
        "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>Sluice demo</title>\n\
         <h1>{GREETING}</h1>\n<p>You are seen here as <b>{from}</b>: an ordinary connection of the connector's.\n"
    )
}
