//! Looking names up: by the tunnel file's DNS through the tunnel, else as this machine does. Called by `dialer`; calls
//! `dns`, which knows the messages. Read first: RFC 1035 §4.2, RFC 7766.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sluice_runtime::entropy;
use sluice_runtime::stack::Stack;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout, timeout_at};

use super::dns::{Answer, AnswerFault, Question, Version};
use crate::target::{Host, TargetFault};

/// Where DNS servers listen.
const DNS_PORT: u16 = 53;
/// How long one server may take before the next one is asked.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often all servers are asked.
const ROUNDS: usize = 2;

/// Who knows names.
pub(super) struct Names {
    servers: Vec<IpAddr>,
    own: Vec<IpAddr>,
    stack: Stack,
}

/// Why a name leads nowhere.
#[derive(Debug, Error)]
pub(crate) enum NameFault {
    /// It cannot be one.
    #[error("{0}")]
    NotAName(TargetFault),
    /// There is no such name, or it has no address of a version that we have.
    #[error("{name} has no address, says {by}")]
    Unknown {
        /// Which.
        name: String,
        /// Who says so.
        by: String,
    },
    /// No server answered.
    #[error("{name}: no DNS server answers ({servers})")]
    Silent {
        /// Which.
        name: String,
        /// Those asked.
        servers: String,
    },
    /// A server failed.
    #[error("{name}: {why}")]
    Refused {
        /// Which.
        name: String,
        /// In words.
        why: String,
    },
    /// The system's own look-up failed.
    #[error("{name}: {error}")]
    System {
        /// Which.
        name: String,
        /// Its words.
        error: io::Error,
    },
}

/// What one server says, or that it says nothing.
type Said = Option<Result<Answer, AnswerFault>>;

impl Names {
    /// Asks `servers` from our `own` addresses; if there are none, the system.
    pub(super) fn new(servers: Vec<IpAddr>, own: Vec<IpAddr>, stack: Stack) -> Self {
        Self { servers, own, stack }
    }

    /// Who is asked, for people.
    pub(super) fn in_words(&self) -> String {
        if self.servers.is_empty() {
            return "this machine".to_owned();
        }
        format!("{}, through the tunnel", self.servers_in_words())
    }

    fn servers_in_words(&self) -> String {
        self.servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// The addresses of a host, at least one, only of versions that we have ourselves.
    ///
    /// # Errors
    /// Why there are none.
    pub(super) async fn addresses(&self, host: &Host) -> Result<Vec<IpAddr>, NameFault> {
        match host {
            Host::Address(address) => Ok(vec![*address]),
            Host::Name(name) if self.servers.is_empty() => self.of_system(name).await,
            Host::Name(name) => self.of_servers(name).await,
        }
    }

    async fn of_system(&self, name: &str) -> Result<Vec<IpAddr>, NameFault> {
        let system = |error| NameFault::System { name: name.to_owned(), error };
        let found = lookup_host((name, 0)).await.map_err(system)?.map(|found| found.ip());
        let found: Vec<_> = found.filter(|address| self.has_version_of(*address)).collect();
        let unknown = || NameFault::Unknown { name: name.to_owned(), by: "this machine".to_owned() };
        if found.is_empty() { Err(unknown()) } else { Ok(found) }
    }

    fn has_version_of(&self, address: IpAddr) -> bool {
        self.own.iter().any(|own| own.is_ipv4() == address.is_ipv4())
    }

    async fn of_servers(&self, name: &str) -> Result<Vec<IpAddr>, NameFault> {
        let (v4, v6) = tokio::join!(self.version(name, Version::V4), self.version(name, Version::V6));
        match (v4, v6) {
            (Ok(v4), Ok(v6)) if v4.is_empty() && v6.is_empty() => {
                Err(NameFault::Unknown { name: name.to_owned(), by: self.servers_in_words() })
            }
            (Err(fault), Ok(other)) | (Ok(other), Err(fault)) if other.is_empty() => Err(fault),
            (Err(fault), Err(_)) => Err(fault),
            (v4, v6) => Ok([v4.unwrap_or_default(), v6.unwrap_or_default()].concat()),
        }
    }

    /// The addresses of one version; none if we have none of it ourselves.
    async fn version(&self, name: &str, version: Version) -> Result<Vec<IpAddr>, NameFault> {
        if !self.own.iter().any(|own| own.is_ipv4() == (version == Version::V4)) {
            return Ok(Vec::new());
        }
        let mut refused = None;
        for server in std::iter::repeat_n(&self.servers, ROUNDS).flatten() {
            let to = SocketAddr::new(*server, DNS_PORT);
            match self.ask(name, version, to).await? {
                Some(Ok(Answer::Addresses(addresses))) => return Ok(addresses),
                Some(Ok(Answer::NoSuchName)) => return Ok(Vec::new()),
                Some(Err(fault)) => refused = Some(format!("{fault}, at {server}")),
                Some(Ok(Answer::Truncated)) | None => {}
            }
        }
        let (name, servers) = (name.to_owned(), self.servers_in_words());
        Err(match refused {
            Some(why) => NameFault::Refused { name, why },
            None => NameFault::Silent { name, servers },
        })
    }

    async fn ask(&self, name: &str, version: Version, to: SocketAddr) -> Result<Said, NameFault> {
        let Some(own) = self.own.iter().find(|own| own.is_ipv4() == to.is_ipv4()) else { return Ok(None) };
        let [low, high, ..] =
            entropy::seed().map_err(|error| NameFault::System { name: name.to_owned(), error })?;
        let not_a_name = || NameFault::NotAName(TargetFault::NotAHost(name.to_owned()));
        let question =
            Question::new(name, version, u16::from_le_bytes([low, high])).ok_or_else(not_a_name)?;
        let said = self.ask_by_udp(&question, *own, to).await;
        if let Some(Ok(Answer::Truncated)) = said {
            return Ok(timeout(PATIENCE, self.ask_by_tcp(&question, *own, to)).await.ok().flatten());
        }
        Ok(said)
    }

    /// The stack chooses a port that others cannot guess, as RFC 5452 wants it.
    async fn ask_by_udp(&self, question: &Question, own: IpAddr, to: SocketAddr) -> Said {
        let socket = self.stack.bind_udp_anywhere(own).ok()?;
        socket.send_to(question.bytes(), to).ok()?;
        let limit = Instant::now() + PATIENCE;
        loop {
            let (datagram, from) = timeout_at(limit, socket.recv_from()).await.ok()?.ok()?;
            match question.read(&datagram.payload) {
                Err(AnswerFault::Foreign) => {}
                said if from == to => return Some(said),
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Messages have their length before them, RFC 1035 §4.2.2.
    async fn ask_by_tcp(&self, question: &Question, own: IpAddr, to: SocketAddr) -> Said {
        let mut stream = self.stack.connect(own, to).await.ok()?;
        let length = u16::try_from(question.bytes().len()).ok()?;
        stream.write_all(&[&length.to_be_bytes()[..], question.bytes()].concat()).await.ok()?;
        let mut answer = vec![0; usize::from(stream.read_u16().await.ok()?)];
        stream.read_exact(&mut answer).await.ok()?;
        Some(question.read(&answer))
    }
}
