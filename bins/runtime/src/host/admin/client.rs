//! Asking the running program.

use std::io::{self, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use super::message::{LINE_BYTES_MAX, Reply, Request};
use crate::host::failure::{Exit, Failure};
use crate::host::line::{self, Line};
use crate::host::socket::give_patience;

/// Sends `request` to the program on `path`, hands each item to `item`, and returns what came with the end.
///
/// # Errors
/// [`Exit::Unreachable`] if nobody answers, [`Exit::Failed`] if the program refuses.
pub fn ask(path: &Path, request: &Request, mut item: impl FnMut(Value)) -> Result<Value, Failure> {
    let stream = connect(path).map_err(|error| unreachable_at(path, &error))?;
    send(&stream, request).map_err(|error| unreachable_at(path, &error))?;
    let mut reader = BufReader::new(&stream);
    let mut buffer = Vec::new();
    loop {
        match receive(&mut reader, &mut buffer).map_err(|error| unreachable_at(path, &error))? {
            Reply::Item(value) => item(value),
            Reply::Done(value) => return Ok(value),
            Reply::Refused(refusal) => {
                return Err(Failure::new(Exit::Failed, refusal.what).remedy(refusal.remedy));
            }
        }
    }
}

fn connect(path: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path)?;
    give_patience(&stream)?;
    Ok(stream)
}

fn send(mut stream: &UnixStream, request: &Request) -> io::Result<()> {
    stream.write_all((serde_json::to_string(request)? + "\n").as_bytes())
}

fn receive(reader: &mut impl io::BufRead, buffer: &mut Vec<u8>) -> io::Result<Reply> {
    match line::read(reader, buffer, REPLY_BYTES_MAX)? {
        Line::Text(text) => Ok(serde_json::from_str(text)?),
        Line::Malformed | Line::End => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A status with some ten thousand peers is one line; the running program is our own and trusted.
const REPLY_BYTES_MAX: usize = 1024 * LINE_BYTES_MAX;

fn unreachable_at(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Unreachable, format!("no running program answers on {}", path.display()))
        .because(error)
        .remedy("Check that it runs and that you may use its socket; --admin-socket names another one.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::admin::{AdminServer, Answer, Refusal};
    use serde_json::json;

    #[test]
    fn items_come_before_the_end_and_a_refusal_ends_it() {
        let path = std::env::temp_dir().join(format!("sluice-admin-{}", std::process::id())).join("a.sock");
        let _answering = AdminServer::bind(&path).unwrap().start(toy).unwrap();
        let mut items = Vec::new();
        let done = ask(&path, &Request::Flows { max: 3 }, |item| items.push(item)).unwrap();
        assert_eq!((items.len(), done), (3, json!("that was all")));
        let failure = ask(&path, &Request::SessionClose { id: "7".into() }, |_| {}).err().unwrap();
        assert_eq!(failure.exit(), Exit::Failed);
        assert_eq!(failure.to_string(), "error: no session 7\n  do:  Look at status.");
    }

    #[test]
    fn nobody_there_is_told_apart() {
        let failure = ask(Path::new("/nonexistent/a.sock"), &Request::Status, |_| {}).err().unwrap();
        assert_eq!(failure.exit(), Exit::Unreachable);
    }

    fn toy(request: Request, answer: &mut Answer<'_>) -> Result<Value, Refusal> {
        match request {
            Request::Flows { max } => {
                for number in 0..max {
                    answer.item(&number).unwrap();
                }
                Ok(json!("that was all"))
            }
            Request::SessionClose { id } => Err(Refusal::new(format!("no session {id}"), "Look at status.")),
            Request::Status
            | Request::Explain { .. }
            | Request::SessionOpen { .. }
            | Request::AccessAdd(_)
            | Request::AccessRemove { .. } => Ok(Value::Null),
        }
    }
}
