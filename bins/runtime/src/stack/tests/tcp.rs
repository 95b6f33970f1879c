//! TCP from end to end.

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
