//! Lines of bounded length, from sockets. A client that sends none cannot make us remember its bytes.

use std::io::{self, BufRead, Read};

/// What came from the client.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// One line, without its end.
    Text(&'a str),
    /// The client closed its side between two lines.
    End,
    /// Longer than was allowed, cut off by the end of input, or not text.
    Malformed,
}

/// Reads the next line of at most `max_bytes`, its end not counted, into `buffer`, whose former content is gone.
///
/// # Errors
/// What the reader says; a deadline passed counts among it.
pub fn read<'a>(
    reader: &mut impl BufRead,
    buffer: &'a mut Vec<u8>,
    max_bytes: usize,
) -> io::Result<Line<'a>> {
    buffer.clear();
    if reader.by_ref().take(max_bytes as u64 + 1).read_until(b'\n', buffer)? == 0 {
        return Ok(Line::End);
    }
    let Some(b'\n') = buffer.pop() else { return Ok(Line::Malformed) };
    Ok(std::str::from_utf8(buffer).map_or(Line::Malformed, Line::Text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_up_to_its_bound_and_no_further() {
        for (length, accepted) in [(0, true), (1, true), (9, true), (10, false)] {
            let text = "x".repeat(length) + "\n";
            let mut buffer = Vec::new();
            let line = read(&mut text.as_bytes(), &mut buffer, 9).unwrap();
            assert_eq!(matches!(line, Line::Text(_)), accepted, "{length} bytes");
        }
    }

    #[test]
    fn a_cut_off_line_is_not_taken_for_a_whole_one() {
        assert_eq!(read(&mut &b"set=1"[..], &mut Vec::new(), 9).unwrap(), Line::Malformed);
        assert_eq!(read(&mut &b""[..], &mut Vec::new(), 9).unwrap(), Line::End);
        assert_eq!(read(&mut &b"\xff\n"[..], &mut Vec::new(), 9).unwrap(), Line::Malformed);
    }
}
