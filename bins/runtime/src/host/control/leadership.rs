//! A leader that several tasks speak to: those that decide what is wanted, and the one that is connected with the agent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use control_proto::{FromAgent, Leader, News};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};
use tokio::sync::{mpsc, watch};
use wg_proto::{Instant, PublicKey};

use super::pipe::Pipe;
use crate::clock;

// Our own choice.
/// Bytes on their way to or from an agent in the same process.
const DUPLEX_BYTES: usize = 256 * 1024;

/// Leads one agent. Clones lead the same one.
#[derive(Clone)]
pub struct Leadership(Arc<Inner>);

struct Inner {
    agent: PublicKey,
    seat: Mutex<Seat>,
    /// Rung when there may be something to say, and when another connection takes over.
    bell: watch::Sender<()>,
    news: mpsc::Sender<AgentNews>,
}

struct Seat {
    leader: Leader,
    /// Counts connections: only the latest speaks.
    connection: u64,
}

/// What an agent told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentNews {
    /// Who.
    pub agent: PublicKey,
    /// What.
    pub news: News,
}

impl Leadership {
    /// Leads the agent with this key. What it tells goes to `news`; while nobody takes that, the agent is not listened to.
    pub fn new(agent: PublicKey, leader: Leader, news: mpsc::Sender<AgentNews>) -> Self {
        let seat = Mutex::new(Seat { leader, connection: 0 });
        Self(Arc::new(Inner { agent, seat, bell: watch::Sender::new(()), news }))
    }

    /// Whom.
    pub fn agent(&self) -> PublicKey {
        self.0.agent
    }

    /// Asks how things stand.
    pub fn ask<R>(&self, question: impl FnOnce(&Leader, Instant) -> R) -> R {
        question(&self.seat().leader, clock::now())
    }

    /// Changes what is wanted. What follows is said at once.
    pub fn with<R>(&self, work: impl FnOnce(&mut Leader, Instant) -> R) -> R {
        let result = work(&mut self.seat().leader, clock::now());
        self.0.bell.send_replace(());
        result
    }

    /// An end for an agent in this process. Call it inside a tokio runtime.
    pub fn connect(&self) -> DuplexStream {
        let (near, far) = duplex(DUPLEX_BYTES);
        let leadership = self.clone();
        tokio::spawn(async move { leadership.converse(far).await });
        near
    }

    /// Speaks with the agent until the stream ends, or another one takes its place.
    pub async fn converse(&self, stream: impl AsyncRead + AsyncWrite) {
        let connection = self.enter();
        let mut pipe = Pipe::new(stream);
        let ended = self.talk(connection, &mut pipe).await;
        tracing::debug!(agent = %self.0.agent, why = ended.as_deref().unwrap_or("done"), "connection over");
        self.leave(connection);
        pipe.finish().await;
    }

    fn enter(&self) -> u64 {
        let mut seat = self.seat();
        seat.connection += 1;
        seat.leader.connected(clock::now());
        self.0.bell.send_replace(());
        seat.connection
    }

    fn leave(&self, connection: u64) {
        let mut seat = self.seat();
        if seat.connection == connection {
            seat.leader.disconnected();
        }
    }

    async fn talk<S: AsyncRead + AsyncWrite>(&self, connection: u64, pipe: &mut Pipe<S>) -> Option<String> {
        let mut bell = self.0.bell.subscribe();
        loop {
            bell.mark_unchanged();
            let until = match self.speak(connection, pipe) {
                Turn::Wait(until) => until,
                Turn::Over(why) => return why,
            };
            let rung = async {
                // It is closed only with this object.
                let _ = bell.changed().await;
            };
            if let Err(error) = pipe.step(until, rung).await {
                return Some(error.to_string());
            }
            if !self.listen(connection, pipe).await {
                return Some("nobody takes its news".to_owned());
            }
        }
    }

    /// Says all there is to say.
    fn speak<S: AsyncRead + AsyncWrite>(&self, connection: u64, pipe: &mut Pipe<S>) -> Turn {
        let mut seat = self.seat();
        if seat.connection != connection {
            return Turn::Over(Some("another connection has taken over".to_owned()));
        }
        let now = clock::now();
        seat.leader.handle_timeout(now);
        while pipe.has_room()
            && let Some(message) = seat.leader.poll_transmit(now, clock::unix_time())
        {
            if let Err(error) = pipe.say(&message) {
                return Turn::Over(Some(error.to_string()));
            }
        }
        if seat.leader.is_ending() { Turn::Over(None) } else { Turn::Wait(seat.leader.poll_timeout()) }
    }

    /// Takes all that has come. Says whether there is anybody to tell.
    async fn listen<S: AsyncRead + AsyncWrite>(&self, connection: u64, pipe: &mut Pipe<S>) -> bool {
        loop {
            let heard = pipe.hear::<FromAgent>();
            let news = {
                let mut seat = self.seat();
                if seat.connection != connection {
                    return true;
                }
                match heard {
                    Ok(None) => return true,
                    Ok(Some(message)) => seat.leader.receive(clock::now(), message).unwrap_or_else(|why| {
                        tracing::warn!(agent = %self.0.agent, %why, "an agent breaks the protocol");
                        None
                    }),
                    Err(why) => {
                        tracing::warn!(agent = %self.0.agent, %why, "an agent says what is no message");
                        seat.leader.refuse(why);
                        return true;
                    }
                }
            };
            if let Some(news) = news
                && self.0.news.send(AgentNews { agent: self.0.agent, news }).await.is_err()
            {
                return false;
            }
        }
    }

    fn seat(&self) -> MutexGuard<'_, Seat> {
        // A panic within the leader leaves it as it was before a message, or after.
        self.0.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a connection does next.
enum Turn {
    Wait(Option<Instant>),
    Over(Option<String>),
}
