//! Bytes between a client's connection, which ends at our own stack, and a device's, which ends at the host's. They are
//! written from where they lie to where they belong; what one side does not take stays where it is, so that the other
//! side feels it. An end of one side is the same end of the other: FIN for FIN, RST for RST. Read first: RFC 9293
//! sections 3.6 and 3.10.4. Called by `connections`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio::net::TcpStream as DeviceStream;

use super::counters::SocketsCounters;
use crate::stack::TcpStream as ClientStream;

/// A direction moves so much, then others have their turn.
const TURN_BYTES: usize = 256 << 10;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Both sides were done.
    Closed,
    /// The client, or its node, broke it off; so the device's side was broken off.
    ClientReset,
    /// The device or its network broke it off; so the client's side was broken off.
    DeviceReset,
}

/// Pumps until both sides are done or one breaks off.
pub(super) async fn run(client: ClientStream, device: DeviceStream, counters: &SocketsCounters) -> Ending {
    let mut pump = Pump { client, device, up: Way::Open, down: Way::Open, counters };
    let broken = std::future::poll_fn(|context| pump.poll(context)).await;
    match broken {
        Ok(()) => Ending::Closed,
        Err(Broken::Client) => {
            break_off(&pump.device);
            Ending::ClientReset
        }
        Err(Broken::Device) => {
            pump.client.abort();
            Ending::DeviceReset
        }
    }
}

/// Has the device see a reset, not an end, when the stream is dropped.
pub(super) fn break_off(device: &DeviceStream) {
    if let Err(error) = device.set_zero_linger() {
        tracing::debug!(%error, "a device sees an end instead of a reset");
    }
}

struct Pump<'a> {
    client: ClientStream,
    device: DeviceStream,
    /// From the client to the device.
    up: Way,
    /// From the device to the client.
    down: Way,
    counters: &'a SocketsCounters,
}

/// How far a direction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Bytes may come.
    Open,
    /// The sender is done; the receiver is to be told.
    Ending,
    /// The receiver has been told.
    Done,
}

/// Who broke the connection off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    Client,
    Device,
}

/// What came of moving bytes once.
enum Moved {
    Bytes(usize),
    /// The sender is done.
    End,
    /// The device's socket has nothing to give, or no room.
    DeviceWaits,
}

impl Pump<'_> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        // Asked first: neither direction hears of it while the device's side holds both up.
        if self.client.poll_broken(context).is_ready() {
            return Poll::Ready(Err(Broken::Client));
        }
        let (up, down) = (self.poll_up(context)?, self.poll_down(context)?);
        if up.is_ready() && down.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_up(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let mut turn = 0;
        while self.up == Way::Open {
            match ready!(self.move_up(context))? {
                Moved::Bytes(count) => {
                    self.counters.bytes_to_devices.add(count as u64);
                    turn += count;
                    ready!(pause_after(turn, context));
                }
                Moved::End => self.up = Way::Ending,
                Moved::DeviceWaits => {
                    ready!(self.device.poll_write_ready(context)).map_err(|_| Broken::Device)?;
                }
            }
        }
        if self.up == Way::Ending {
            let shut = Pin::new(&mut self.device).poll_shutdown(context);
            ready!(shut).map_err(|_| Broken::Device)?;
            self.up = Way::Done;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_down(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let mut turn = 0;
        while self.down == Way::Open {
            match ready!(self.move_down(context))? {
                Moved::Bytes(count) => {
                    self.counters.bytes_to_clients.add(count as u64);
                    turn += count;
                    ready!(pause_after(turn, context));
                }
                Moved::End => self.down = Way::Ending,
                Moved::DeviceWaits => {
                    ready!(self.device.poll_read_ready(context)).map_err(|_| Broken::Device)?;
                }
            }
        }
        if self.down == Way::Ending {
            ready!(Pin::new(&mut self.client).poll_shutdown(context)).map_err(|_| Broken::Client)?;
            self.down = Way::Done;
        }
        Poll::Ready(Ok(()))
    }

    /// What the client's connection holds, to the device's socket.
    fn move_up(&mut self, context: &mut Context<'_>) -> Poll<Result<Moved, Broken>> {
        let (device, mut outcome) = (&self.device, None);
        let take = |bytes: &[u8]| *outcome.insert(device.try_write(bytes)).as_ref().unwrap_or(&0);
        let read = ready!(self.client.poll_read_with(context, take));
        Poll::Ready(match (read, outcome) {
            (Err(_), _) => Err(Broken::Client),
            (Ok(_), None) => Ok(Moved::End),
            (Ok(_), Some(outcome)) => moved(outcome),
        })
    }

    /// What the device's socket holds, to the client's connection.
    fn move_down(&mut self, context: &mut Context<'_>) -> Poll<Result<Moved, Broken>> {
        let (device, mut outcome) = (&self.device, None);
        let fill = |room: &mut [u8]| *outcome.insert(device.try_read(room)).as_ref().unwrap_or(&0);
        let written = ready!(self.client.poll_write_with(context, fill));
        Poll::Ready(match (written, outcome) {
            (Err(_), _) | (Ok(_), None) => Err(Broken::Client),
            (Ok(_), Some(Ok(0))) => Ok(Moved::End),
            (Ok(_), Some(outcome)) => moved(outcome),
        })
    }
}

fn moved(outcome: io::Result<usize>) -> Result<Moved, Broken> {
    match outcome {
        Ok(count) => Ok(Moved::Bytes(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Moved::DeviceWaits),
        Err(_) => Err(Broken::Device),
    }
}

/// Pending once a turn is over, with the promise of another one.
fn pause_after(turn: usize, context: &mut Context<'_>) -> Poll<()> {
    if turn < TURN_BYTES {
        return Poll::Ready(());
    }
    context.waker().wake_by_ref();
    Poll::Pending
}
