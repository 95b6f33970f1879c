//! The running program's side of the admin socket.

use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::message::{LINE_BYTES_MAX, Refusal, Reply, Request};
use crate::host::line::{self, Line};
use crate::host::socket::{Answering, PrivateSocket};

/// The socket, bound but not yet answering.
pub struct AdminServer(PrivateSocket);

/// Where the items of an answer go.
pub struct Answer<'a>(&'a mut dyn Write);

impl Answer<'_> {
    /// Sends one item.
    ///
    /// # Errors
    /// If the client is gone.
    pub fn item(&mut self, item: &impl Serialize) -> io::Result<()> {
        send(self.0, &Reply::Item(serde_json::to_value(item)?))
    }
}

impl AdminServer {
    /// Binds the socket.
    ///
    /// # Errors
    /// See [`PrivateSocket::bind`].
    pub fn bind(path: &Path) -> io::Result<Self> {
        PrivateSocket::bind(path).map(Self)
    }

    /// Starts answering, in threads of its own.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn start<F>(self, program: F) -> io::Result<Answering>
    where
        F: Fn(Request, &mut Answer<'_>) -> Result<Value, Refusal> + Send + Sync + 'static,
    {
        let client = move |stream: UnixStream| {
            let (mut reader, mut writer) = (BufReader::new(&stream), BufWriter::new(&stream));
            if let Err(error) = converse(&mut reader, &mut writer, &program) {
                tracing::debug!(%error, "admin client gone");
            }
        };
        let removed = || tracing::warn!("the admin socket was removed: status and its like no longer work");
        self.0.start("admin", client, removed)
    }
}

/// Answers requests until the client closes its side.
///
/// # Errors
/// What the reader or the writer says.
pub fn converse<F>(reader: &mut impl BufRead, writer: &mut impl Write, program: &F) -> io::Result<()>
where
    F: Fn(Request, &mut Answer<'_>) -> Result<Value, Refusal>,
{
    let mut buffer = Vec::new();
    loop {
        let outcome = match line::read(reader, &mut buffer, LINE_BYTES_MAX)? {
            Line::End => return Ok(()),
            Line::Malformed => {
                Err(Refusal::new("the request is too long or cut off", "Send one JSON document a line."))
            }
            Line::Text(text) => answer(text, program, writer),
        };
        send(writer, &outcome.map_or_else(Reply::Refused, Reply::Done))?;
        writer.flush()?;
    }
}

fn answer<F>(text: &str, program: &F, writer: &mut dyn Write) -> Result<Value, Refusal>
where
    F: Fn(Request, &mut Answer<'_>) -> Result<Value, Refusal>,
{
    let request = serde_json::from_str(text).map_err(|error| {
        Refusal::new(
            format!("not a request: {error}"),
            "Use the program of the same version as the running one.",
        )
    })?;
    program(request, &mut Answer(writer))
}

fn send(writer: &mut dyn Write, reply: &Reply) -> io::Result<()> {
    serde_json::to_writer(&mut *writer, reply)?;
    writer.write_all(b"\n")
}
