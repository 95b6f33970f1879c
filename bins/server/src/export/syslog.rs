//! Audit events as syslog messages. Read first: RFC 5424 (the message), RFC 5426 (over UDP), RFC 6587 §3.4.1 (over TCP).
//!
//! TCP says nothing about what a receiver has read when it goes away: what was under way then is lost, as with every sender of
//! this protocol. The numbers of events show it.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket, UnixDatagram};
use tokio::time::timeout;

use super::file::line;
use super::{ExportError, Gap, SyslogPlace};
use crate::store::audit::{Entry, Outcome};

/// RFC 5424: log audit.
const FACILITY: u8 = 13;
/// RFC 5424 reserves this enterprise number for whoever has none.
const ENTERPRISE: u32 = 32_473;
const APP_NAME: &str = "sluice-server";
/// RFC 5424.
const MSGID_MAX: usize = 32;
const HOSTNAME_MAX: usize = 255;

// Our own choices.
/// What fits into a datagram of UDP over either version, with some room. A longer event is cut.
const MESSAGE_MAX: usize = 60_000;
const CONNECT_TIME: Duration = Duration::from_secs(5);
const SEND_TIME: Duration = Duration::from_secs(5);

/// A receiver, reached when it is first needed, and anew when it was lost.
pub(super) struct Syslog {
    place: SyslogPlace,
    way: Option<Way>,
}

enum Way {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Unix(UnixDatagram),
}

impl Syslog {
    pub(super) fn new(place: SyslogPlace) -> Syslog {
        Syslog { place, way: None }
    }

    /// Gives them to the system.
    pub(super) async fn tell(&mut self, gap: Option<Gap>, entries: &[Entry]) -> Result<(), ExportError> {
        let host = host_name();
        let mut messages: Vec<String> = gap.iter().map(|gap| of_gap(*gap, &host)).collect();
        for entry in entries {
            messages.push(of_event(entry, &host)?);
        }
        let told = self.send(&messages).await;
        if told.is_err() {
            self.way = None;
        }
        told
    }

    async fn send(&mut self, messages: &[String]) -> Result<(), ExportError> {
        if self.way.as_ref().is_some_and(Way::is_over) {
            self.way = None;
        }
        let way = match &mut self.way {
            Some(way) => way,
            lost => lost.insert(within(CONNECT_TIME, connect(&self.place)).await?),
        };
        within(SEND_TIME, way.send(messages)).await
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> Result<T, ExportError> {
    Ok(timeout(limit, work).await.map_err(|_| ExportError::Late)??)
}

async fn connect(place: &SyslogPlace) -> io::Result<Way> {
    match place {
        SyslogPlace::Udp(place) => {
            let mut last = io::Error::from(io::ErrorKind::NotFound);
            for address in tokio::net::lookup_host(place).await? {
                let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any).await?;
                match socket.connect(address).await {
                    Ok(()) => return Ok(Way::Udp(socket)),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
        SyslogPlace::Tcp(place) => TcpStream::connect(place).await.map(Way::Tcp),
        SyslogPlace::Unix(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            Ok(Way::Unix(socket))
        }
    }
}

impl Way {
    /// Whether the receiver has gone: it never says anything, so what comes is the end.
    fn is_over(&self) -> bool {
        match self {
            Way::Tcp(stream) => {
                let error = stream.try_read(&mut [0; 64]).err();
                error.is_none_or(|error| error.kind() != io::ErrorKind::WouldBlock)
            }
            Way::Udp(_) | Way::Unix(_) => false,
        }
    }

    async fn send(&mut self, messages: &[String]) -> io::Result<()> {
        match self {
            Way::Udp(socket) => {
                for message in messages {
                    socket.send(message.as_bytes()).await?;
                }
            }
            Way::Unix(socket) => {
                for message in messages {
                    socket.send(message.as_bytes()).await?;
                }
            }
            Way::Tcp(stream) => {
                let framed: String =
                    messages.iter().map(|message| format!("{} {message}", message.len())).collect();
                stream.write_all(framed.as_bytes()).await?;
                stream.flush().await?;
            }
        }
        Ok(())
    }
}

fn of_event(entry: &Entry, host: &str) -> io::Result<String> {
    let link = &entry.link;
    // RFC 5424: informational, warning, error.
    let severity = match link.outcome {
        Outcome::Success => 6,
        Outcome::Refused => 4,
        Outcome::Failure => 3,
    };
    let data = format!(
        "[sluice@{ENTERPRISE} seq=\"{}\" actor=\"{}\" hash=\"{}\"]",
        link.seq,
        value(&link.actor),
        value(&entry.hash)
    );
    let mut message = head(severity, &link.time.to_string(), host, &link.action);
    message += &format!(" {data} {}", ascii(&line(entry)?));
    message.truncate(MESSAGE_MAX);
    Ok(message)
}

fn of_gap(gap: Gap, host: &str) -> String {
    let Gap { first, last } = gap;
    let head = head(3, &jiff::Timestamp::now().to_string(), host, "events-left-out");
    format!(
        "{head} [sluice@{ENTERPRISE} first=\"{first}\" last=\"{last}\"] {} audit events were left out",
        gap.count()
    )
}

fn head(severity: u8, time: &str, host: &str, id: &str) -> String {
    let (priority, process) = (FACILITY * 8 + severity, std::process::id());
    format!("<{priority}>1 {time} {host} {APP_NAME} {process} {}", printable(id, MSGID_MAX))
}

/// What may stand in a value, quoted where it must be. What is beyond ASCII is in the message.
fn value(text: &str) -> String {
    let mut quoted = String::new();
    for c in text.chars() {
        match c {
            '"' | '\\' | ']' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            _ => quoted.push('?'),
        }
    }
    quoted
}

/// A field of the head: never empty.
fn printable(text: &str, max: usize) -> String {
    let text: String = text.chars().filter(char::is_ascii_graphic).take(max).collect();
    if text.is_empty() { "-".to_owned() } else { text }
}

/// The same JSON without what is beyond ASCII: it needs no mark for its encoding, and can be cut anywhere.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
    text
}

fn host_name() -> String {
    printable(&rustix::system::uname().nodename().to_string_lossy(), HOSTNAME_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ascii_is_escaped_and_what_ends_a_value_is_quoted() {
        assert_eq!(ascii("{\"a\":\"é𝄞\"}"), "{\"a\":\"\\u00e9\\ud834\\udd1e\"}");
        assert_eq!(value("a\"]\\é\n"), "a\\\"\\]\\\\??");
        assert_eq!(printable("", 4), "-");
        assert_eq!(printable("session opened", 8), "sessiono");
    }
}
