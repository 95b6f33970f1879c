//! Frames: a length in four bytes, big-endian, and so many bytes of JSON. Called by whoever has a byte stream.

use serde::Serialize;
use serde::de::DeserializeOwned;

// Our own choice: snapshots are cut into parts far below it.
/// The longest message in bytes, its length not counted.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

const LENGTH_BYTES: usize = 4;

/// Cuts a byte stream into messages, whatever pieces it comes in. Holds at most one frame and the last piece.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    buffer: Vec<u8>,
    /// What is before it has been handed out.
    start: usize,
}

/// A byte stream that is none of frames. Nothing behind it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame of length 0.
    #[error("a frame of no bytes")]
    Empty,
    /// A frame longer than [`FRAME_BYTES_MAX`].
    #[error("a frame of {announced} bytes; at most {FRAME_BYTES_MAX} are read")]
    TooLong {
        /// The length it announces.
        announced: u32,
    },
    /// The stream ends within a frame.
    #[error("the stream ends within a frame: {have} of {need} bytes have come")]
    Truncated {
        /// Bytes that have come, the length included.
        have: usize,
        /// Bytes of the frame, as far as that is known.
        need: usize,
    },
}

/// A message longer than [`FRAME_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of {bytes} bytes; at most {FRAME_BYTES_MAX} are sent")]
pub struct TooLong {
    /// Its length.
    pub bytes: usize,
}

/// A frame that is no message of the kind expected. It is refused whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {problem}")]
pub struct Misread {
    /// Where, as a path: `delta.changes[0].put.grant.destinations[1].selector`. A dot alone is the message itself.
    pub at: String,
    /// What is wrong there, with line and column.
    pub problem: String,
}

/// The frame of a message.
///
/// # Errors
/// If it is too long.
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, TooLong> {
    let mut frame = vec![0; LENGTH_BYTES];
    serde_json::to_writer(&mut frame, message).expect("messages have text keys, and memory takes all bytes");
    let bytes = frame.len() - LENGTH_BYTES;
    let length = u32::try_from(bytes).ok().filter(|_| bytes <= FRAME_BYTES_MAX).ok_or(TooLong { bytes })?;
    frame[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

/// The message in a frame's body.
///
/// # Errors
/// Where it is not one.
pub fn decode<M: DeserializeOwned>(body: &[u8]) -> Result<M, Misread> {
    // Keeping track of the place costs time, which only a wrong message is worth.
    serde_json::from_slice(body).or_else(|_| {
        let mut json = serde_json::Deserializer::from_slice(body);
        let placed = serde_path_to_error::deserialize(&mut json);
        let message = placed.map_err(|error| Misread {
            at: error.path().to_string(),
            problem: error.into_inner().to_string(),
        })?;
        let rest = json.end();
        rest.map(|()| message).map_err(|error| Misread { at: ".".to_owned(), problem: error.to_string() })
    })
}

impl FrameDecoder {
    /// Takes the next bytes of the stream. Call [`next`](FrameDecoder::next) until it has nothing more before the next ones.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The body of the next frame; `None` until more bytes have come.
    ///
    /// # Errors
    /// If what comes is no frame, each time from then on.
    #[expect(clippy::should_implement_trait, reason = "what it returns is borrowed")]
    pub fn next(&mut self) -> Result<Option<&[u8]>, FrameError> {
        let waiting = &self.buffer[self.start..];
        let Some((length, body)) = waiting.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let announced = u32::from_be_bytes(*length);
        let bytes = announced as usize;
        if bytes == 0 {
            return Err(FrameError::Empty);
        }
        if bytes > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong { announced });
        }
        if body.len() < bytes {
            return Ok(None);
        }
        let body = self.start + LENGTH_BYTES;
        self.start = body + bytes;
        Ok(Some(&self.buffer[body..self.start]))
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// [`FrameError::Truncated`] if it did so within a frame.
    pub fn finish(&self) -> Result<(), FrameError> {
        let waiting = &self.buffer[self.start..];
        let need = waiting
            .first_chunk::<LENGTH_BYTES>()
            .map_or(LENGTH_BYTES, |length| LENGTH_BYTES + u32::from_be_bytes(*length) as usize);
        let have = waiting.len();
        if have == 0 { Ok(()) } else { Err(FrameError::Truncated { have, need }) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_is_its_length_and_its_body() {
        assert_eq!(encode(&"hi").unwrap(), b"\0\0\0\x04\"hi\"");
    }

    #[test]
    fn what_is_too_long_is_neither_sent_nor_waited_for() {
        let longest = "x".repeat(FRAME_BYTES_MAX - 2);
        assert_eq!(encode(&longest).unwrap().len(), FRAME_BYTES_MAX + LENGTH_BYTES);
        assert_eq!(encode(&(longest + "x")), Err(TooLong { bytes: FRAME_BYTES_MAX + 1 }));
        let announced = FRAME_BYTES_MAX as u32 + 1;
        let mut decoder = FrameDecoder::default();
        decoder.push(&announced.to_be_bytes());
        assert_eq!(decoder.next(), Err(FrameError::TooLong { announced }));
        assert_eq!(decoder.next(), Err(FrameError::TooLong { announced }));
    }

    #[test]
    fn a_frame_of_nothing_is_none() {
        let mut decoder = FrameDecoder::default();
        decoder.push(&[0; 4]);
        assert_eq!(decoder.next(), Err(FrameError::Empty));
    }

    #[test]
    fn a_stream_that_ends_within_a_frame_says_how_much_is_missing() {
        let frame = encode(&"hello").unwrap();
        for (have, expected) in [
            (0, Ok(())),
            (1, Err(FrameError::Truncated { have: 1, need: 4 })),
            (6, Err(FrameError::Truncated { have: 6, need: 11 })),
            (11, Ok(())),
        ] {
            let mut decoder = FrameDecoder::default();
            decoder.push(&frame[..have]);
            while decoder.next().unwrap().is_some() {}
            assert_eq!(decoder.finish(), expected, "{have}");
        }
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_whatever_pieces_they_come_in(
            messages in prop::collection::vec(".{0,40}", 0..20),
            pieces in prop::collection::vec(1..60_usize, 1..40),
        ) {
            let stream: Vec<u8> = messages.iter().flat_map(|message| encode(message).unwrap()).collect();
            let (mut decoder, mut read, mut rest) = (FrameDecoder::default(), Vec::new(), &stream[..]);
            for piece in pieces.iter().cycle() {
                let (piece, behind) = rest.split_at((*piece).min(rest.len()));
                decoder.push(piece);
                while let Some(body) = decoder.next().unwrap() {
                    read.push(decode::<String>(body).unwrap());
                }
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(read, messages);
            prop_assert_eq!(decoder.finish(), Ok(()));
        }
    }
}
