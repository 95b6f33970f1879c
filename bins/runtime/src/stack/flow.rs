//! A TCP flow of the stack: a SYN that nobody has answered, a connection, or what is left of one. Its lock is held while smoltcp
//! works and while bytes are copied. Called by workers with packets, by streams with bytes, by the clock; calls connection.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use wg_proto::Instant;

use super::Inner;
use super::buffers::Buffers;
use super::connection::Connection;
use super::door::From;
use super::segment::Header;
use super::stream::TcpStream;
use super::table::Key;
use super::wire::Outgoing;
use crate::clock;

// Our own choices.
/// RFC 9293 section 3.4.2 wants four minutes of TIME-WAIT; like most systems we wait less, and a SYN ends it (RFC 6191).
const TIME_WAIT: Duration = Duration::from_secs(10);
/// The longest SYN that is kept: headers with all options they can have.
const SYN_BYTES_MAX: usize = 256;
/// The clock is not asked to call sooner: nothing here is more urgent, and what is due at once was done at once.
const CALL_DELAY_MIN: Duration = Duration::from_millis(1);

/// A TCP flow.
pub(super) struct TcpFlow {
    pub(super) key: Key,
    number: u64,
    stack: Weak<Inner>,
    /// Whose door it sends by: that of the worker that heard from it last, so that its packets stay in order.
    worker: AtomicUsize,
    guarded: Mutex<Guarded>,
    /// The flow is gone.
    changed: Notify,
}

/// What the lock guards.
struct Guarded {
    state: State,
    /// When the clock calls.
    armed: Option<Instant>,
}

enum State {
    /// The SYN, which nobody has answered.
    Pending(Box<[u8]>),
    Open(Box<Open>),
    /// Both ends are done; our last acknowledgement, in case it was lost, and until when.
    TimeWait(Box<[u8]>, Instant),
    Gone,
}

struct Open {
    connection: Connection,
    /// Called when it stands, or has come to nothing.
    then: Option<Then>,
    /// Our last acknowledgement, once both ends are done.
    farewell: Option<Box<[u8]>>,
    /// The door will have it polled when there is room.
    is_held_back: bool,
}

/// What is to happen with a connection once it stands, or has come to nothing.
pub(super) type Then = Box<dyn FnOnce(Result<TcpStream, NoRoom>) + Send>;

/// There is no memory for another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no memory for another connection")]
pub struct NoRoom;

thread_local! {
    static OUTGOING: RefCell<Outgoing> = RefCell::default();
}

impl TcpFlow {
    /// What an open flow takes, without its buffers.
    #[cfg(test)]
    pub(super) const BYTES: usize = size_of::<TcpFlow>() + size_of::<Open>() + Connection::BYTES_BESIDE;

    /// A flow whose SYN waits for an answer.
    pub(super) fn pending(stack: &Arc<Inner>, key: Key, worker: usize, syn: &[u8]) -> Arc<TcpFlow> {
        TcpFlow::new(stack, key, worker, State::Pending(syn.into()))
    }

    /// A flow that we open, to send a SYN when it is next polled.
    pub(super) fn active(stack: &Arc<Inner>, key: Key, buffers: Buffers) -> Arc<TcpFlow> {
        let connection = Connection::active(clock::now(), key.local, key.remote, stack.means(buffers));
        TcpFlow::new(stack, key, 0, State::Open(Box::new(Open::new(connection, None))))
    }

    fn new(stack: &Arc<Inner>, key: Key, worker: usize, state: State) -> Arc<TcpFlow> {
        Arc::new(TcpFlow {
            key,
            number: stack.flow_number(),
            stack: Arc::downgrade(stack),
            worker: AtomicUsize::new(worker),
            guarded: Mutex::new(Guarded { state, armed: None }),
            changed: Notify::new(),
        })
    }

    /// Where the other end is, and what it calls ours.
    pub(super) fn ends(&self) -> (SocketAddr, SocketAddr) {
        (self.key.remote, self.key.local)
    }

    /// Takes a segment whose checksums are right; it may be changed. Says whether the flow is over and may give its place to
    /// another.
    pub(super) fn receive(self: &Arc<Self>, worker: usize, segment: &mut [u8], header: &Header) -> bool {
        self.worker.store(worker, Ordering::Relaxed);
        let mut guarded = self.lock();
        match &mut guarded.state {
            State::Pending(syn) => {
                if header.flags.rst() {
                    self.vanish(guarded);
                } else if header.is_opening() && segment.len() <= SYN_BYTES_MAX {
                    // The same one again, or a client that has begun anew.
                    *syn = (&*segment).into();
                }
                false
            }
            State::Open(_) => {
                self.work(guarded, From::Worker, |connection, now, out| {
                    connection.receive(now, segment, out);
                });
                false
            }
            // RFC 1337: a reset must not end it.
            State::TimeWait(..) if header.flags.rst() => false,
            State::TimeWait(acknowledgment, _) if !header.is_opening() => {
                if let Some(stack) = self.stack.upgrade() {
                    // What is lost is asked for again.
                    let _ = stack.send(worker, acknowledgment, From::Worker);
                }
                false
            }
            State::TimeWait(..) => {
                self.vanish(guarded);
                true
            }
            State::Gone => header.is_opening(),
        }
    }

    /// Lets the connection do what is due, and send what it may.
    pub(super) fn poll(self: &Arc<Self>, from: From) {
        let guarded = self.lock();
        match &guarded.state {
            State::Open(_) => self.work(guarded, from, |connection, now, out| connection.poll(now, out)),
            State::TimeWait(_, until) if *until <= clock::now() => self.vanish(guarded),
            State::TimeWait(..) | State::Pending(_) | State::Gone => {}
        }
    }

    /// The clock has come round.
    pub(super) fn tick(self: &Arc<Self>) {
        self.lock().armed = None;
        self.poll(From::Task);
    }

    /// The door has room again.
    pub(super) fn resume(self: &Arc<Self>) {
        if let State::Open(open) = &mut self.lock().state {
            open.is_held_back = false;
        }
        self.poll(From::Worker);
    }

    /// Works on the connection, then sends what it has to say. `None` if there is none any more.
    pub(super) fn with<R>(self: &Arc<Self>, work: impl FnOnce(&mut Connection) -> R) -> Option<R> {
        let mut result = None;
        self.work(self.lock(), From::Task, |connection, now, out| {
            result = Some(work(connection));
            connection.poll(now, out);
        });
        result
    }

    /// Looks at the connection, or changes what it sends nothing about.
    pub(super) fn look<R>(&self, look: impl FnOnce(&mut Connection) -> R) -> Option<R> {
        match &mut self.lock().state {
            State::Open(open) => Some(look(&mut open.connection)),
            State::Pending(_) | State::TimeWait(..) | State::Gone => None,
        }
    }

    /// Memory for the connection.
    pub(super) fn buffers(&self) -> Result<Buffers, NoRoom> {
        self.stack.upgrade().and_then(|stack| stack.budget.grant()).ok_or(NoRoom)
    }

    /// Answers the SYN. `then` is called once the connection stands or has come to nothing, by the worker that brings the news when
    /// it has sent what there is to send, or by the clock.
    pub(super) fn accept(self: &Arc<Self>, from: From, buffers: Buffers, then: Option<Then>) {
        let mut guarded = self.lock();
        let (Some(stack), State::Pending(syn)) = (self.stack.upgrade(), &mut guarded.state) else {
            drop(guarded);
            if let Some(then) = then {
                then(Ok(TcpStream::new(Arc::clone(self))));
            }
            return;
        };
        let mut syn = std::mem::take(syn);
        let connection = Connection::passive(clock::now(), self.key.local, stack.means(buffers));
        guarded.state = State::Open(Box::new(Open::new(connection, then)));
        self.work(guarded, from, |connection, now, out| connection.receive(now, &mut syn, out));
    }

    /// Takes the SYN away from a flow that is to be refused; `None` if the client has gone or was answered.
    pub(super) fn refuse(&self) -> Option<Box<[u8]>> {
        let mut guarded = self.lock();
        let State::Pending(syn) = &mut guarded.state else { return None };
        let syn = std::mem::take(syn);
        self.vanish(guarded);
        Some(syn)
    }

    /// Nobody holds the stream any more. What was finished comes to its end, anything else is broken off.
    pub(super) fn let_go(self: &Arc<Self>) {
        self.work(self.lock(), From::Task, |connection, now, out| {
            connection.let_go(now);
            connection.poll(now, out);
        });
    }

    /// Waits until the client is gone: it has broken off, or nothing is left of the flow.
    pub(super) async fn gone(&self) {
        loop {
            let changed = self.changed.notified();
            if matches!(self.lock().state, State::Gone) {
                return;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Guarded> {
        // A panic in smoltcp leaves a connection that nobody should go on with; it is alone with that.
        self.guarded.lock().unwrap_or_else(|poisoned| {
            let mut guarded = PoisonError::into_inner(poisoned);
            guarded.state = State::Gone;
            guarded
        })
    }

    /// One piece of work on an open connection, and all that follows from it.
    fn work(
        self: &Arc<Self>,
        mut guarded: MutexGuard<'_, Guarded>,
        from: From,
        work: impl FnOnce(&mut Connection, Instant, &mut Outgoing),
    ) {
        let Guarded { state, armed } = &mut *guarded;
        let (Some(stack), State::Open(open)) = (self.stack.upgrade(), state) else { return };
        let (door, now) = (stack.door(self.worker.load(Ordering::Relaxed)), clock::now());
        let must_wait = OUTGOING.with_borrow_mut(|out| {
            out.reset(door.room());
            work(&mut open.connection, now, out);
            door.push_all(out, from);
            if open.connection.is_waiting_out()
                && let Some(last) = out.last_completed()
            {
                open.farewell = Some(last);
            }
            out.was_held_back()
        });
        if must_wait && !open.is_held_back {
            open.is_held_back = true;
            door.hold_back(Arc::downgrade(self));
        }
        let wakes = open.connection.take_wakes();
        let is_decided = open.connection.is_established() || open.connection.ending().is_some();
        let then = open.then.take_if(|_| is_decided);
        let is_orphan = open.connection.is_orphan();
        if open.connection.ending().is_some() && !must_wait {
            // Its stream may still be read; its place is free for another.
            stack.timers.cancel(armed.take(), self.number);
            if is_orphan {
                guarded.state = State::Gone;
            }
            drop(guarded);
            self.leave();
        } else if is_orphan && let Some(farewell) = open.farewell.take() {
            let until = now.saturating_add(TIME_WAIT);
            guarded.state = State::TimeWait(farewell, until);
            self.arm(&stack, &mut guarded.armed, until);
            drop(guarded);
            stack.waiting.push(self);
        } else {
            if !must_wait && let Some(deadline) = open.connection.deadline(now) {
                let deadline = deadline.max(now.saturating_add(CALL_DELAY_MIN));
                if armed.is_none_or(|armed| deadline < armed) {
                    self.arm(&stack, armed, deadline);
                }
            }
            drop(guarded);
        }
        wakes.wake();
        if let Some(then) = then {
            let stream = TcpStream::new(Arc::clone(self));
            match from {
                From::Worker => door.do_later(Box::new(move || then(Ok(stream)))),
                From::Task => then(Ok(stream)),
            }
        }
    }

    fn arm(self: &Arc<Self>, stack: &Inner, armed: &mut Option<Instant>, at: Instant) {
        stack.timers.cancel(armed.take(), self.number);
        *armed = Some(at);
        stack.timers.call(at, self.number, Arc::downgrade(self));
    }

    /// Gives way to another, if it is only waiting. Says whether it did.
    pub(super) fn give_way(&self) -> bool {
        let guarded = self.lock();
        let is_waiting = matches!(guarded.state, State::TimeWait(..));
        if is_waiting {
            self.vanish(guarded);
        }
        is_waiting
    }

    /// Whether it is only waiting, in case its last acknowledgement was lost.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.lock().state, State::TimeWait(..))
    }

    /// Nothing is left of it.
    fn vanish(&self, mut guarded: MutexGuard<'_, Guarded>) {
        guarded.state = State::Gone;
        let armed = guarded.armed.take();
        drop(guarded);
        if let Some(stack) = self.stack.upgrade() {
            stack.timers.cancel(armed, self.number);
        }
        self.leave();
    }

    /// Gives up its place in the table, and tells those who wait for it.
    fn leave(&self) {
        if let Some(stack) = self.stack.upgrade() {
            stack.table.remove_tcp(&self.key, self);
        }
        self.changed.notify_waiters();
    }
}

impl Open {
    fn new(connection: Connection, then: Option<Then>) -> Open {
        Open { connection, then, farewell: None, is_held_back: false }
    }
}
