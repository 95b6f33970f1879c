//! A client's stack, a cable, the stack behind which sockets stand, and devices on this host: no privilege, no tunnel.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::host::config::sockets::Sources;
use crate::stack::TcpStream as ClientStream;
use crate::stack::tests::{Cable, near, soon, until};

pub(super) fn settings() -> SocketsSettings {
    SocketsSettings {
        sources: Sources::default(),
        connect_timeout: Duration::from_secs(5),
        udp_idle_timeout: Duration::from_secs(300),
        buffer_bytes_max: 16 << 20,
        connections_max: 64,
    }
}

/// A client, and sockets at the other end of its cable.
struct Site {
    cable: Cable,
    counters: Arc<SocketsCounters>,
}

impl Site {
    fn new() -> Site {
        Site::with(settings())
    }

    fn with(settings: SocketsSettings) -> Site {
        let (cable, counters) = (Cable::new(), Arc::<SocketsCounters>::default());
        cable.far.set_foreign(taker(settings, Arc::clone(&counters), Handle::current())).unwrap();
        Site { cable, counters }
    }

    async fn connect(&self, device: SocketAddr) -> io::Result<ClientStream> {
        soon(self.cable.near.connect(near(device), device)).await
    }

    fn count(&self, name: &str) -> u64 {
        self.counters.iter().find(|(known, _)| *known == name).unwrap().1
    }

    async fn nothing_is_left(&self) {
        until("the end of all connections", || self.counters.open() == [0; 3]).await;
    }
}

/// A device of each IP version.
async fn devices() -> Vec<(TcpListener, SocketAddr)> {
    let mut devices = Vec::new();
    for any in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(any).await.unwrap();
        let address = listener.local_addr().unwrap();
        devices.push((listener, address));
    }
    devices
}

/// The client's end and the device's end of one connection.
async fn pair(site: &Site, listener: &TcpListener, device: SocketAddr) -> (ClientStream, TcpStream) {
    let client = site.connect(device).await.unwrap();
    (client, soon(listener.accept()).await.unwrap().0)
}

fn noise(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_bytes_pass_both_ways_at_once_and_each_half_ends_by_itself() {
    let site = Site::new();
    for (listener, device) in devices().await {
        let (client, server) = pair(&site, &listener, device).await;
        let (mut from_device, mut to_device) = tokio::io::split(client);
        let (mut from_client, mut to_client) = server.into_split();
        let bytes = noise(3_000_000);
        let (up, down) = (bytes.clone(), bytes.iter().rev().copied().collect::<Vec<_>>());
        let expected = (up.clone(), down.clone());
        let sends = [
            tokio::spawn(async move {
                to_device.write_all(&up).await.unwrap();
                to_device.shutdown().await.unwrap();
            }),
            tokio::spawn(async move {
                to_client.write_all(&down).await.unwrap();
                to_client.shutdown().await.unwrap();
            }),
        ];
        let reads = (
            tokio::spawn(async move {
                let mut read = Vec::new();
                from_client.read_to_end(&mut read).await.map(|_| read).unwrap()
            }),
            tokio::spawn(async move {
                let mut read = Vec::new();
                from_device.read_to_end(&mut read).await.map(|_| read).unwrap()
            }),
        );
        for send in sends {
            soon(send).await.unwrap();
        }
        assert!((soon(reads.0).await.unwrap(), soon(reads.1).await.unwrap()) == expected);
    }
    site.nothing_is_left().await;
    assert_eq!(site.counters.bytes(), [6_000_000; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_that_has_ended_does_not_end_the_other() {
    let site = Site::new();
    for (listener, device) in devices().await {
        let (mut client, mut server) = pair(&site, &listener, device).await;
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut question = Vec::new();
        soon(server.read_to_end(&mut question)).await.unwrap();
        assert_eq!(question, b"question");
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            server.write_all(b"answer").await.unwrap();
        }
        drop(server);
        let mut answer = Vec::new();
        soon(client.read_to_end(&mut answer)).await.unwrap();
        assert_eq!(answer, b"answeransweranswer");
    }
    site.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_port_refuses_the_client_before_it_is_answered() {
    let site = Site::new();
    for (listener, device) in devices().await {
        drop(listener);
        let error = site.connect(device).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
    site.nothing_is_left().await;
    assert_eq!((site.count("dials_refused"), site.count("dials_connected")), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_of_one_end_is_a_reset_of_the_other() {
    let site = Site::new();
    for (listener, device) in devices().await {
        let (mut client, mut server) = pair(&site, &listener, device).await;
        client.write_all(b"x").await.unwrap();
        soon(server.read_u8()).await.unwrap();
        client.abort();
        assert_eq!(soon(server.read_u8()).await.unwrap_err().kind(), ErrorKind::ConnectionReset);

        let (mut client, server) = pair(&site, &listener, device).await;
        server.set_zero_linger().unwrap();
        drop(server);
        assert_eq!(soon(client.read_u8()).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    site.nothing_is_left().await;
    assert_eq!((site.count("reset_by_clients"), site.count("reset_by_devices")), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_breaks_off_is_noticed_while_the_device_reads_nothing() {
    let site = Site::new();
    for (listener, device) in devices().await {
        let (mut client, server) = pair(&site, &listener, device).await;
        let block = noise(1 << 20);
        // Writes until nothing moves any more: the device takes nothing, and what is between has a bound.
        let mut written = 0;
        while let Ok(Ok(more)) = tokio::time::timeout(Duration::from_millis(300), client.write(&block)).await
        {
            written += more;
            assert!(written < 256 << 20, "there is no back-pressure");
        }
        client.abort();
        site.nothing_is_left().await;
        drop(server);
    }
    assert_eq!(site.count("reset_by_clients"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_where_the_device_reads_late() {
    let site = Site::new();
    for (listener, device) in devices().await {
        let (client, mut server) = pair(&site, &listener, device).await;
        let bytes = noise(12_000_000);
        let (mut client, sent) = (client, bytes.clone());
        let sender = tokio::spawn(async move {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await.map(|_| rest)
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut read = Vec::new();
        soon(server.read_to_end(&mut read)).await.unwrap();
        assert!(read == bytes);
        drop(server);
        assert_eq!(soon(sender).await.unwrap().unwrap(), b"");
    }
    site.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_more_than_there_may_be_is_refused() {
    let site = Site::with(SocketsSettings { connections_max: 2, ..settings() });
    let (listener, device) = devices().await.remove(0);
    let held = [pair(&site, &listener, device).await, pair(&site, &listener, device).await];
    let dial = site.cable.near.connect(near(device), device);
    let connected = tokio::time::timeout(Duration::from_secs(2), dial).await;
    assert!(!matches!(connected, Ok(Ok(_))));
    assert!(site.count("turned_away") >= 1);
    drop(held);
    site.nothing_is_left().await;
    pair(&site, &listener, device).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_of_all_sizes_come_back_from_an_echo() {
    let site = Site::new();
    for any in ["127.0.0.1:0", "[::1]:0"] {
        let device = tokio::net::UdpSocket::bind(any).await.unwrap();
        let address = device.local_addr().unwrap();
        tokio::spawn(async move {
            let mut room = vec![0; 65_535];
            while let Ok((len, from)) = device.recv_from(&mut room).await {
                device.send_to(&room[..len], from).await.unwrap();
            }
        });
        let own: IpAddr = near(address);
        let client = site.cable.near.bind_udp(SocketAddr::new(own, 5353)).unwrap();
        for len in [0, 1, 1000, 9000, 60_000] {
            let payload = noise(len);
            client.send_to(&payload, address).unwrap();
            let (back, from) = soon(client.recv_from()).await.unwrap();
            assert!(*back.payload == *payload, "{len} bytes to {address}");
            assert_eq!(from, address);
        }
    }
    assert_eq!(site.counters.open(), [0, 2, 0]);
    assert_eq!((site.count("datagrams_to_devices"), site.count("datagrams_to_clients")), (10, 10));
}
