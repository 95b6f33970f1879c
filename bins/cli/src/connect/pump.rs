//! Bytes between a local connection and one behind the tunnel. A half-close is handed on as a half-close, a reset as a reset.

use std::io;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;

/// Bytes that wait between the two, in each direction.
const BUFFER_BYTES: usize = 32 << 10;

/// Runs until both directions have ended, or one of the two connections broke.
///
/// # Errors
/// Which is how it ended if one of the two broke; then the other one was reset.
pub(crate) async fn pump<S>(mut local: TcpStream, mut far: S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // What comes in pieces was sent in pieces, for a reason.
    let _ = local.set_nodelay(true);
    let outcome = copy_bidirectional_with_sizes(&mut local, &mut far, BUFFER_BYTES, BUFFER_BYTES).await;
    if outcome.is_err() {
        reset(local);
    }
    outcome.map(drop)
}

/// Ends a connection with a reset: its program is not to take this for a regular end.
pub(crate) fn reset(local: TcpStream) {
    // Without it the connection ends regularly, which is all that can be done then.
    let _ = SockRef::from(&local).set_linger(Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn an_end_on_one_side_leaves_the_other_direction_open() {
        let ((mut program, local), (far, mut device)) = (pair().await, pair().await);
        let pumping = tokio::spawn(pump(local, far));
        program.write_all(b"question").await.unwrap();
        program.shutdown().await.unwrap();
        let mut question = String::new();
        device.read_to_string(&mut question).await.unwrap();
        device.write_all(b"answer").await.unwrap();
        drop(device);
        let mut answer = String::new();
        program.read_to_string(&mut answer).await.unwrap();
        assert_eq!((question.as_str(), answer.as_str()), ("question", "answer"));
        pumping.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_reset_on_one_side_is_a_reset_on_the_other() {
        let ((mut program, local), (far, device)) = (pair().await, pair().await);
        let pumping = tokio::spawn(pump(local, far));
        reset(device);
        let error = program.read(&mut [0; 1]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(pumping.await.unwrap().is_err());
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
        (one.unwrap(), other.unwrap().0)
    }
}
