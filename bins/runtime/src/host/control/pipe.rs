//! Messages over a byte stream: what is to be said waits in a bounded buffer while one listens.

use std::io;
use std::time::Duration;

use control_proto::{FRAME_BYTES_MAX, FrameDecoder, FrameError, Misread, TooLong, decode, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{sleep, timeout};
use wg_proto::Instant;

use crate::clock;

// Our own choices.
/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;
/// With so much waiting, nothing more is to be said. One message more than that waits at most.
const WAITING_BYTES: usize = 64 * 1024;
/// How long the last words may take.
const END_LIMIT: Duration = Duration::from_secs(2);
/// Without anything due one looks again so soon.
const IDLE: Duration = Duration::from_secs(3600);

const _: () = assert!(WAITING_BYTES < FRAME_BYTES_MAX);

/// A stream of frames in both directions.
pub(super) struct Pipe<S> {
    read: ReadHalf<S>,
    write: WriteHalf<S>,
    decoder: FrameDecoder,
    room: Box<[u8]>,
    waiting: Vec<u8>,
}

/// What comes over a stream is no message.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotAMessage {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Misread(#[from] Misread),
}

impl<S: AsyncRead + AsyncWrite> Pipe<S> {
    pub(super) fn new(stream: S) -> Pipe<S> {
        let (read, write) = tokio::io::split(stream);
        let room = vec![0; READ_BYTES].into();
        Pipe { read, write, decoder: FrameDecoder::default(), room, waiting: Vec::new() }
    }

    /// Whether more may be said now.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < WAITING_BYTES
    }

    /// Says a message, as soon as the other end takes it.
    pub(super) fn say(&mut self, message: &impl Serialize) -> Result<(), TooLong> {
        self.waiting.extend(encode(message)?);
        Ok(())
    }

    /// The next message that has come.
    pub(super) fn hear<M: DeserializeOwned>(&mut self) -> Result<Option<M>, NotAMessage> {
        let Some(body) = self.decoder.next()? else { return Ok(None) };
        Ok(Some(decode(body)?))
    }

    /// Waits until something has come or gone, `until` that moment, or until `rung` is done.
    ///
    /// # Errors
    /// If the stream is over.
    pub(super) async fn step(
        &mut self,
        until: Option<Instant>,
        rung: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let wait = until.map_or(IDLE, |until| until.saturating_duration_since(clock::now()));
        tokio::select! {
            read = self.read.read(&mut self.room) => match read? {
                0 => {
                    self.decoder.finish().map_err(io::Error::other)?;
                    Err(io::ErrorKind::UnexpectedEof.into())
                }
                bytes => {
                    self.decoder.push(&self.room[..bytes]);
                    Ok(())
                }
            },
            written = self.write.write(&self.waiting), if !self.waiting.is_empty() => {
                self.waiting.drain(..written?);
                Ok(())
            }
            () = sleep(wait) => Ok(()),
            () = rung => Ok(()),
        }
    }

    /// Says what waits, and closes.
    pub(super) async fn finish(mut self) {
        let last_words = async {
            self.write.write_all(&self.waiting).await?;
            self.write.shutdown().await
        };
        // Whoever does not take them does not need them.
        let _ = timeout(END_LIMIT, last_words).await;
    }
}
