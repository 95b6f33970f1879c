//! One client's connection: operations in, answers out. Pure but for the reader and the writer it is given.
//! Called by `server`, one thread a client.

use std::io::{self, BufRead, Write};

use super::errno::Errno;
use super::get;
use super::interface::Interface;
use super::set::Transaction;
use crate::host::line::{self, Line};

/// Longest line we read. The longest legal one, an endpoint with a scope id or a key in hexadecimal, stays under
/// 100 bytes.
pub const LINE_BYTES_MAX: usize = 512;

/// Answers operations until the client closes its side or sends something that is none.
///
/// # Errors
/// What the reader or the writer says.
pub fn serve(
    reader: &mut impl BufRead,
    writer: &mut impl Write,
    interface: &impl Interface,
    interface_index: &dyn Fn(&str) -> Option<u32>,
) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(128);
    loop {
        let outcome = match line::read(reader, &mut buffer, LINE_BYTES_MAX)? {
            Line::Text("get=1") => answer_get(reader, &mut buffer, writer, interface)?,
            Line::Text("set=1") => answer_set(reader, &mut buffer, interface, interface_index)?,
            Line::Text("") => continue,
            Line::Text(_) | Line::Malformed | Line::End => return Ok(()),
        };
        let code = outcome.err().map_or(0, Errno::code);
        writeln!(writer, "errno={code}\n")?;
        writer.flush()?;
    }
}

/// A `get` is followed by an empty line and nothing else.
fn answer_get(
    reader: &mut impl BufRead,
    buffer: &mut Vec<u8>,
    writer: &mut impl Write,
    interface: &impl Interface,
) -> io::Result<Result<(), Errno>> {
    match line::read(reader, buffer, LINE_BYTES_MAX)? {
        Line::Text("") => get::write(interface, writer).map(Ok),
        Line::Text(_) => Ok(Err(Errno::Invalid)),
        Line::End | Line::Malformed => Ok(Err(Errno::Protocol)),
    }
}

/// Applies lines up to the empty one. After a refused line the others are read and ignored, so that the answer
/// belongs to this operation and the next one starts at its own first line. A `set` cut off before its empty line
/// does not apply its last section.
fn answer_set(
    reader: &mut impl BufRead,
    buffer: &mut Vec<u8>,
    interface: &impl Interface,
    interface_index: &dyn Fn(&str) -> Option<u32>,
) -> io::Result<Result<(), Errno>> {
    let mut transaction = Transaction::new(interface, interface_index);
    let mut outcome = Ok(());
    loop {
        match line::read(reader, buffer, LINE_BYTES_MAX)? {
            Line::Text("") => return Ok(outcome.and_then(|()| transaction.finish())),
            Line::Text(text) => outcome = outcome.and_then(|()| transaction.line(text)),
            Line::Malformed | Line::End => return Ok(Err(Errno::Protocol)),
        }
    }
}
