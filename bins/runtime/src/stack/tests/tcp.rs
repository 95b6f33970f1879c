//! TCP from end to end.

use etherparse::{PacketBuilder, PacketBuilderStep, TcpHeader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

#[tokio::test]
async fn bytes_arrive_in_order_both_ways_and_both_ends_see_the_end() {
    for at in far(80) {
        let cable = Cable::new();
        let mut listener = cable.far.listen(at).unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, from) = listener.accept().await.unwrap();
            assert_eq!((stream.local_addr(), stream.peer_addr()), (at, from));
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).await.unwrap();
            stream.write_all(&heard).await.unwrap();
            stream.shutdown().await.unwrap();
            heard.len()
        });
        let sent = pattern(5 * MIB);
        let stream = soon(cable.near.connect(near(at), at)).await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(stream);
        let back = soon(async {
            let send = async {
                writer.write_all(&sent).await.unwrap();
                writer.shutdown().await.unwrap();
            };
            let mut back = Vec::new();
            let (_, read) = tokio::join!(send, reader.read_to_end(&mut back));
            read.unwrap();
            back
        })
        .await;
        assert!(back == sent, "{} of {} bytes came back", back.len(), sent.len());
        assert_eq!(soon(server).await.unwrap(), sent.len());
        drop((reader, writer));
        until("both forget the connection", || {
            cable.near.stats().buffer_bytes == 0 && cable.far.stats().buffer_bytes == 0
        })
        .await;
    }
}

#[tokio::test]
async fn where_nobody_listens_a_connection_is_refused_at_once() {
    for at in far(81) {
        let cable = Cable::new();
        let refused = soon(cable.near.connect(near(at), at)).await.err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(cable.near.stats().flows + cable.far.stats().flows, 0);
    }
}

#[tokio::test]
async fn a_stream_that_is_dropped_unfinished_resets_the_other_end() {
    for at in far(80) {
        let cable = Cable::new();
        let mut listener = cable.far.listen(at).unwrap();
        let (near_end, far_end) =
            soon(async { tokio::join!(cable.near.connect(near(at), at), listener.accept()) }).await;
        let (mut near_end, (far_end, _)) = (near_end.unwrap(), far_end.unwrap());
        near_end.write_all(b"hello").await.unwrap();
        drop(far_end);
        let broken = soon(near_end.read(&mut [0; 10])).await.unwrap_err();
        assert_eq!(broken.kind(), io::ErrorKind::ConnectionReset);
        drop(near_end);
        until("both forget it", || cable.near.stats().flows + cable.far.stats().flows == 0).await;
    }
}

/// Both ends of a connection between the two.
async fn pair(cable: &Cable, at: SocketAddr) -> (TcpStream, TcpStream) {
    let mut listener = cable.far.listen(at).unwrap();
    let (near_end, far_end) =
        soon(async { tokio::join!(cable.near.connect(near(at), at), listener.accept()) }).await;
    (near_end.unwrap(), far_end.unwrap().0)
}

#[tokio::test]
async fn either_end_may_go_on_when_the_other_is_done() {
    let cable = Cable::new();
    let (mut near_end, mut far_end) = pair(&cable, far(80)[0]).await;
    near_end.shutdown().await.unwrap();
    assert_eq!(near_end.write(b"more").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    let mut heard = Vec::new();
    soon(far_end.read_to_end(&mut heard)).await.unwrap();
    assert!(heard.is_empty());
    let sent = pattern(MIB);
    let send = async {
        far_end.write_all(&sent).await.unwrap();
        far_end.shutdown().await.unwrap();
    };
    let (_, read) = soon(async { tokio::join!(send, near_end.read_to_end(&mut heard)) }).await;
    assert_eq!(read.unwrap(), sent.len());
    assert!(heard == sent);
}

#[tokio::test]
async fn a_writer_waits_for_a_reader_and_then_goes_on() {
    for at in far(80) {
        let cable = Cable::with(|config| config.buffer_bytes_max = MIB);
        let (mut near_end, mut far_end) = pair(&cable, at).await;
        let sent = pattern(MIB);
        let mut writing = Box::pin(near_end.write_all(&sent));
        let stalled = tokio::time::timeout(Duration::from_millis(300), &mut writing).await;
        assert!(stalled.is_err(), "there is no room for so much");
        let mut heard = vec![0; sent.len()];
        let (written, read) = soon(async { tokio::join!(writing, far_end.read_exact(&mut heard)) }).await;
        written.unwrap();
        read.unwrap();
        assert!(heard == sent);
    }
}

#[tokio::test]
async fn a_watcher_hears_of_a_reset_while_data_waits_and_not_of_an_end() {
    let cable = Cable::new();
    let (mut near_end, far_end) = pair(&cable, far(80)[0]).await;
    near_end.write_all(b"unread").await.unwrap();
    let mut broken = Box::pin(std::future::poll_fn(|context| far_end.poll_broken(context)));
    let quiet = tokio::time::timeout(Duration::from_millis(50), &mut broken).await;
    assert!(quiet.is_err());
    near_end.abort();
    soon(broken).await;

    let (mut near_end, mut far_end) = pair(&cable, far(81)[0]).await;
    near_end.write_all(b"unread").await.unwrap();
    near_end.shutdown().await.unwrap();
    far_end.shutdown().await.unwrap();
    assert_eq!(soon(near_end.read(&mut [0; 1])).await.unwrap(), 0);
    let quiet = tokio::time::timeout(
        Duration::from_millis(50),
        std::future::poll_fn(|context| far_end.poll_broken(context)),
    );
    assert!(quiet.await.is_err(), "it can still be read");
    let mut heard = Vec::new();
    soon(far_end.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"unread");
}

#[tokio::test]
async fn a_foreign_connection_waits_without_buffers_until_it_is_answered() {
    let cable = Cable::new();
    let mut arrivals = arrivals(&cable.far);
    assert_eq!(cable.far.set_foreign(Box::new(drop)), Err(Taken));
    for at in ["192.0.2.7:22", "[2001:db8::7]:22"] {
        let at: SocketAddr = at.parse().unwrap();
        let connecting = cable.near.connect(near(at), at);
        let answering = async {
            let Some(Arrival::Tcp(pending)) = arrivals.recv().await else { panic!("no connection") };
            assert_eq!((pending.local(), cable.far.stats().buffer_bytes), (at, 0));
            assert_eq!(pending.remote().ip(), near(at));
            let stream = pending.accept().unwrap();
            assert!(cable.far.stats().buffer_bytes > 0);
            stream
        };
        let (near_end, far_end) = soon(async { tokio::join!(connecting, answering) }).await;
        assert_eq!(near_end.unwrap().local_addr(), far_end.peer_addr());
    }
}

/// Has all foreign connections answered at once, and hands on what comes of them.
fn answered_at_once(stack: &Stack) -> mpsc::UnboundedReceiver<Result<TcpStream, NoRoom>> {
    let (sender, connections) = mpsc::unbounded_channel();
    let take = move |arrival| {
        if let Arrival::Tcp(pending) = arrival {
            let sender = sender.clone();
            pending.accept_at_once(move |connection| drop(sender.send(connection)));
        }
    };
    stack.set_foreign(Box::new(take)).unwrap();
    connections
}

#[tokio::test]
async fn a_connection_that_was_answered_at_once_is_handed_over_when_it_stands_or_has_come_to_nothing() {
    let at: SocketAddr = "192.0.2.7:22".parse().unwrap();
    let cable = Cable::new();
    let mut connections = answered_at_once(&cable.far);
    let mut client = soon(cable.near.connect(near(at), at)).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    let mut stream = soon(connections.recv()).await.unwrap().unwrap();
    let mut heard = [0; 5];
    soon(stream.read_exact(&mut heard)).await.unwrap();
    assert_eq!((&heard, stream.peer_addr()), (b"hello", client.local_addr()));

    // One that only knocks, and one that says then that it did not mean it.
    let knock = |flags: fn(PacketBuilderStep<TcpHeader>) -> PacketBuilderStep<TcpHeader>, sequence| {
        let builder = PacketBuilder::ipv4([10, 0, 0, 9], [192, 0, 2, 7], 64).tcp(4000, 22, sequence, 8000);
        let mut packet = Vec::new();
        flags(builder).write(&mut packet, &[]).unwrap();
        cable.far.receive(0, VirtioHeader::default(), &[IoSlice::new(&packet)]);
    };
    knock(PacketBuilderStep::syn, 999);
    assert!(connections.try_recv().is_err(), "it does not stand yet");
    assert!(cable.far.stats().buffer_bytes > 0);
    knock(PacketBuilderStep::rst, 1000);
    let mut stream = soon(connections.recv()).await.unwrap().unwrap();
    let reset = soon(stream.read_u8()).await.unwrap_err();
    assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn whoever_answers_at_once_hears_that_there_is_no_room() {
    let at: SocketAddr = "192.0.2.7:22".parse().unwrap();
    let is_far = |config: &StackConfig| config.addresses.contains(&far(0)[0].ip());
    let cable = Cable::with(|config| {
        if is_far(config) {
            config.buffer_bytes_max = 1000;
        }
    });
    let mut connections = answered_at_once(&cable.far);
    let refused = soon(cable.near.connect(near(at), at)).await.err().unwrap();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(soon(connections.recv()).await.unwrap().err(), Some(NoRoom));
}

#[tokio::test]
async fn a_foreign_connection_is_refused_in_the_way_that_was_chosen() {
    use router_core::packet::build::{Notice, Unreachable};
    let cable = Cable::new();
    let mut arrivals = arrivals(&cable.far);
    let at: SocketAddr = "192.0.2.7:22".parse().unwrap();
    for (refusal, kind) in [
        (None, io::ErrorKind::ConnectionRefused),
        (Some(Notice::Unreachable(Unreachable::Host)), io::ErrorKind::HostUnreachable),
        (Some(Notice::Unreachable(Unreachable::NoRoute)), io::ErrorKind::NetworkUnreachable),
        (Some(Notice::Unreachable(Unreachable::AdminProhibited)), io::ErrorKind::PermissionDenied),
    ] {
        let answering = async {
            let Some(Arrival::Tcp(pending)) = arrivals.recv().await else { panic!("no connection") };
            match refusal {
                None => pending.reset(),
                Some(notice) => pending.unreachable(notice, None),
            }
        };
        let (refused, ()) = soon(async { tokio::join!(cable.near.connect(near(at), at), answering) }).await;
        assert_eq!(refused.err().map(|error| error.kind()), Some(kind));
        assert_eq!(cable.far.stats().flows + cable.near.stats().flows, 0);
    }
}

#[tokio::test]
async fn a_client_that_gives_up_is_gone() {
    let cable = Cable::new();
    let mut arrivals = arrivals(&cable.far);
    let at: SocketAddr = "192.0.2.7:22".parse().unwrap();
    let connecting = tokio::time::timeout(Duration::from_millis(100), cable.near.connect(near(at), at));
    let waiting = async {
        let Some(Arrival::Tcp(pending)) = arrivals.recv().await else { panic!("no connection") };
        pending.gone().await;
        assert_eq!(cable.far.stats().flows, 0);
        assert!(pending.accept().is_ok_and(|stream| {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            stream.poll_broken(&mut context).is_ready()
        }));
    };
    let (connected, ()) = soon(async { tokio::join!(connecting, waiting) }).await;
    assert!(connected.is_err(), "nobody answered");
}

#[tokio::test]
async fn thousands_wait_in_bounded_memory_and_one_too_many_is_refused() {
    const BUDGET: usize = 64 * MIB;
    let cable = Cable::with(|config| {
        config.buffer_bytes_max = BUDGET;
        config.flows_max = 2000;
    });
    let at = far(80)[0];
    let mut listener = cable.far.listen(at).unwrap();
    let mut held = Vec::new();
    for _ in 0..2000 {
        let (near_end, far_end) =
            soon(async { tokio::join!(cable.near.connect(near(at), at), listener.accept()) }).await;
        held.push((near_end.unwrap(), far_end.unwrap().0));
    }
    assert!(cable.far.stats().buffer_bytes <= BUDGET);
    let refused = soon(cable.near.connect(near(at), at)).await.err().unwrap();
    assert_eq!(refused.kind(), io::ErrorKind::OutOfMemory);
    let (near_end, far_end) = &mut held[1234];
    near_end.write_all(b"still there").await.unwrap();
    let mut heard = [0; 11];
    soon(far_end.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"still there");
    drop(held);
    until("all is given back", || {
        cable.near.stats().buffer_bytes + cable.far.stats().buffer_bytes == 0
            && cable.near.stats().flows + cable.far.stats().flows == 0
    })
    .await;
}

#[tokio::test]
async fn a_connection_without_room_for_buffers_is_reset() {
    let at: SocketAddr = "192.0.2.7:22".parse().unwrap();
    let is_far = |config: &StackConfig| config.addresses.contains(&far(0)[0].ip());
    let cable = Cable::with(|config| {
        if is_far(config) {
            config.buffer_bytes_max = 1000;
        }
    });
    let mut arrivals = arrivals(&cable.far);
    let answering = async {
        let Some(Arrival::Tcp(pending)) = arrivals.recv().await else { panic!("no connection") };
        assert_eq!(pending.accept().err(), Some(NoRoom));
    };
    let (refused, ()) = soon(async { tokio::join!(cable.near.connect(near(at), at), answering) }).await;
    assert_eq!(refused.err().map(|error| error.kind()), Some(io::ErrorKind::ConnectionRefused));
    let from_far = soon(cable.far.connect(far(0)[0].ip(), SocketAddr::new(near(at), 80))).await;
    assert_eq!(from_far.err().map(|error| error.kind()), Some(io::ErrorKind::OutOfMemory));
}

#[tokio::test]
async fn a_finished_connection_keeps_its_place_for_a_while_but_no_buffers() {
    let cable = Cable::new();
    let (mut near_end, mut far_end) = pair(&cable, far(80)[0]).await;
    near_end.shutdown().await.unwrap();
    assert_eq!(soon(far_end.read(&mut [0; 1])).await.unwrap(), 0);
    far_end.shutdown().await.unwrap();
    assert_eq!(soon(near_end.read(&mut [0; 1])).await.unwrap(), 0);
    drop((near_end, far_end));
    until("buffers are given back", || cable.near.stats().buffer_bytes + cable.far.stats().buffer_bytes == 0)
        .await;
    assert_eq!((cable.near.stats().flows, cable.far.stats().flows), (1, 0), "who closed first waits");
}

#[tokio::test]
async fn connections_that_only_wait_give_way_when_the_table_is_full() {
    let cable = Cable::with(|config| config.flows_max = 3);
    let mut listener = cable.far.listen(far(80)[0]).unwrap();
    for _ in 0..10 {
        let connecting = cable.near.connect(near(far(80)[0]), far(80)[0]);
        let (near_end, far_end) = soon(async { tokio::join!(connecting, listener.accept()) }).await;
        let (mut near_end, mut far_end) = (near_end.unwrap(), far_end.unwrap().0);
        near_end.shutdown().await.unwrap();
        assert_eq!(soon(far_end.read(&mut [0; 1])).await.unwrap(), 0);
        far_end.shutdown().await.unwrap();
        assert_eq!(soon(near_end.read(&mut [0; 1])).await.unwrap(), 0);
    }
    assert!(cable.near.stats().flows <= 3);
}
