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
use super::budget::Grant;
use super::connection::{Connection, Size};
use super::door::From;
use super::table::Key;
use super::wire::Outgoing;
use crate::clock;

// Our own choices.
/// A stream that was let go after its end is waited out so long: for the other end's FIN, and for its last
/// acknowledgement.
const ORPHAN_MAX: Duration = Duration::from_secs(60);
/// RFC 9293 section 3.4.2 wants four minutes of TIME-WAIT; like most systems we wait less, and a SYN ends it (RFC 6191).
const TIME_WAIT: Duration = Duration::from_secs(10);

/// A TCP flow.
pub(super) struct TcpFlow {
    pub(super) key: Key,
    stack: Weak<Inner>,
    /// Whose door it sends by: that of the worker that heard from it last, so that its packets stay in order.
    worker: AtomicUsize,
    state: Mutex<State>,
    /// The state has changed.
    changed: Notify,
}

enum State {
    /// The SYN, which nobody has answered.
    Pending(Box<[u8]>),
    Open(Box<Open>),
    /// Both ends are done; our last acknowledgement, in case it was lost.
    TimeWait(Box<[u8]>, Instant),
    Gone,
}

pub(super) struct Open {
    pub(super) connection: Connection,
    _buffers: Grant,
    /// Our last acknowledgement, once both ends are done.
    farewell: Option<Box<[u8]>>,
    /// The clock calls at this moment at the latest.
    armed: Option<Instant>,
    /// Nobody holds the stream any more; until when the rest is waited for.
    orphan_until: Option<Instant>,
}

/// There is no memory for another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no memory for another connection")]
pub struct NoRoom;

thread_local! {
    static OUTGOING: RefCell<Outgoing> = RefCell::default();
}

impl TcpFlow {
    /// A flow whose SYN waits for an answer.
    pub(super) fn pending(stack: &Arc<Inner>, key: Key, worker: usize, syn: &[u8]) -> Arc<TcpFlow> {
        TcpFlow::new(stack, key, worker, State::Pending(syn.into()))
    }

    /// A flow that we open, to send a SYN when it is next polled.
    pub(super) fn active(stack: &Arc<Inner>, key: Key, buffers: Grant) -> Arc<TcpFlow> {
        let size = Size { buffer_bytes: buffers.bytes(), mtu_bytes: stack.mtu_bytes };
        let seed = stack.connection_seed();
        let connection = Connection::active(clock::now(), key.local, key.remote, size, seed);
        TcpFlow::new(stack, key, 0, State::Open(Box::new(Open::new(connection, buffers))))
    }

    fn new(stack: &Arc<Inner>, key: Key, worker: usize, state: State) -> Arc<TcpFlow> {
        Arc::new(TcpFlow {
            key,
            stack: Arc::downgrade(stack),
            worker: AtomicUsize::new(worker),
            state: Mutex::new(state),
            changed: Notify::new(),
        })
    }

    /// Where the other end is, and what it calls ours.
    pub(super) fn ends(&self) -> (SocketAddr, SocketAddr) {
        (self.key.remote, self.key.local)
    }

    /// Takes a segment whose checksums are right. Says whether the flow is over and may give its place to another.
    pub(super) fn receive(self: &Arc<Self>, worker: usize, segment: Segment<'_>) -> bool {
        self.worker.store(worker, Ordering::Relaxed);
        let mut state = self.lock();
        match &mut *state {
            State::Pending(syn) => {
                if segment.is_reset {
                    *state = State::Gone;
                    drop(state);
                    self.leave();
                } else if segment.is_syn && segment.bytes.len() <= SYN_BYTES_MAX {
                    // The same one again, or a client that has begun anew.
                    *syn = segment.bytes.into();
                }
                false
            }
            State::Open(_) => {
                self.work(state, From::Worker, |open, now, out| {
                    open.connection.receive(now, segment.bytes, out);
                });
                false
            }
            State::TimeWait(acknowledgment, _) if !segment.is_syn && !segment.is_reset => {
                if let Some(stack) = self.stack.upgrade() {
                    let _ = stack.send(worker, acknowledgment, From::Worker);
                }
                false
            }
            State::TimeWait(..) => {
                *state = State::Gone;
                drop(state);
                self.leave();
                segment.is_syn
            }
            State::Gone => true,
        }
    }

    /// Lets the connection do what is due, and send what it may.
    pub(super) fn poll(self: &Arc<Self>, from: From) {
        let state = self.lock();
        match &*state {
            State::Open(_) => self.work(state, from, |open, now, out| open.connection.poll(now, out)),
            State::TimeWait(_, until) if *until <= clock::now() => {
                drop(state);
                self.vanish();
            }
            State::TimeWait(_, until) => {
                let until = *until;
                drop(state);
                self.arm(until);
            }
            State::Pending(_) | State::Gone => {}
        }
    }

    /// The clock has come round.
    pub(super) fn tick(self: &Arc<Self>) {
        if let State::Open(open) = &mut *self.lock() {
            open.armed = None;
        }
        self.poll(From::Task);
    }

    /// Works on the connection, then sends what it has to say. `None` if there is none any more.
    pub(super) fn with<R>(self: &Arc<Self>, work: impl FnOnce(&mut Connection) -> R) -> Option<R> {
        let state = self.lock();
        if !matches!(&*state, State::Open(_)) {
            return None;
        }
        let mut result = None;
        self.work(state, From::Task, |open, now, out| {
            result = Some(work(&mut open.connection));
            open.connection.poll(now, out);
        });
        result
    }

    /// Packets of the connection are no longer than that from now on.
    pub(super) fn lower_mtu(self: &Arc<Self>, mtu_bytes: u16) {
        let state = self.lock();
        self.work(state, From::Worker, |open, now, out| {
            open.connection.lower_mtu(now, mtu_bytes.max(MTU_MIN_BYTES));
            open.connection.poll(now, out);
        });
    }

    /// Looks at the connection, or changes what it sends nothing about.
    pub(super) fn look<R>(&self, look: impl FnOnce(&mut Connection) -> R) -> Option<R> {
        match &mut *self.lock() {
            State::Open(open) => Some(look(&mut open.connection)),
            State::Pending(_) | State::TimeWait(..) | State::Gone => None,
        }
    }

    /// Answers the SYN.
    pub(super) fn accept(self: &Arc<Self>) -> Result<(), NoRoom> {
        let stack = self.stack.upgrade().ok_or(NoRoom)?;
        let mut state = self.lock();
        let State::Pending(syn) = &mut *state else { return Ok(()) };
        let syn = std::mem::take(syn);
        let Some(buffers) = stack.budget.grant() else {
            *state = State::Pending(syn);
            return Err(NoRoom);
        };
        let size = Size { buffer_bytes: buffers.bytes(), mtu_bytes: stack.mtu_bytes };
        let connection = Connection::passive(clock::now(), self.key.local, size, stack.connection_seed());
        *state = State::Open(Box::new(Open::new(connection, buffers)));
        self.work(state, From::Task, |open, now, out| open.connection.receive(now, &syn, out));
        Ok(())
    }

    /// Takes the SYN away from a flow that is to be refused; `None` if the client has gone or was answered.
    pub(super) fn refuse(&self) -> Option<Box<[u8]>> {
        let mut state = self.lock();
        let State::Pending(syn) = &mut *state else { return None };
        let syn = std::mem::take(syn);
        *state = State::Gone;
        drop(state);
        self.leave();
        Some(syn)
    }

    /// Nobody holds the stream any more. What was finished is waited out, anything else is broken off.
    pub(super) fn let_go(self: &Arc<Self>, is_finished: bool) {
        let state = self.lock();
        if !matches!(&*state, State::Open(_)) {
            return;
        }
        self.work(state, From::Task, |open, now, out| {
            if !is_finished || open.connection.unread() > 0 {
                open.connection.abort();
            }
            open.orphan_until = Some(now.saturating_add(ORPHAN_MAX));
            open.connection.poll(now, out);
        });
    }

    /// Waits until the client is gone: it has broken off, or nothing is left of the flow.
    pub(super) async fn gone(&self) {
        loop {
            let changed = self.changed.notified();
            if matches!(&*self.lock(), State::Gone) {
                return;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in smoltcp leaves a connection that nobody should go on with; it is alone with that.
        self.state.lock().unwrap_or_else(|poisoned| {
            let mut state = PoisonError::into_inner(poisoned);
            *state = State::Gone;
            state
        })
    }

    /// One piece of work on an open connection, and all that follows from it.
    fn work(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        from: From,
        work: impl FnOnce(&mut Open, Instant, &mut Outgoing),
    ) {
        let (Some(stack), State::Open(open)) = (self.stack.upgrade(), &mut *state) else { return };
        let worker = self.worker.load(Ordering::Relaxed);
        let (door, now) = (stack.door(worker), clock::now());
        let is_held_back = OUTGOING.with_borrow_mut(|out| {
            out.reset(door.room());
            work(open, now, out);
            if open.has_outlived(now) {
                open.connection.abort();
                open.connection.poll(now, out);
            }
            door.push_all(out, from);
            if out.was_held_back() {
                door.hold_back(Arc::downgrade(self));
            }
            if open.connection.is_waiting_out()
                && let Some(last) = out.last()
            {
                open.farewell = Some(last.into());
            }
            out.was_held_back()
        });
        let is_alone = open.orphan_until.is_some();
        if is_alone && open.connection.is_closed() && !is_held_back {
            drop(state);
            self.vanish();
        } else if is_alone && open.connection.is_waiting_out() {
            let until = now.saturating_add(TIME_WAIT);
            *state = State::TimeWait(open.farewell.take().unwrap_or_default(), until);
            drop(state);
            stack.timers.call(until, Arc::downgrade(self));
        } else if let Some(deadline) = open.next_call(now) {
            open.armed = Some(deadline);
            drop(state);
            stack.timers.call(deadline, Arc::downgrade(self));
        }
    }

    fn arm(self: &Arc<Self>, at: Instant) {
        if let Some(stack) = self.stack.upgrade() {
            stack.timers.call(at, Arc::downgrade(self));
        }
    }

    fn vanish(&self) {
        *self.lock() = State::Gone;
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
    fn new(connection: Connection, buffers: Grant) -> Open {
        Open { connection, _buffers: buffers, farewell: None, armed: None, orphan_until: None }
    }

    fn has_outlived(&self, now: Instant) -> bool {
        self.orphan_until.is_some_and(|until| until <= now)
    }

    /// When the clock must call, if it would not call by then.
    fn next_call(&mut self, now: Instant) -> Option<Instant> {
        let wanted = self.connection.deadline(now).into_iter().chain(self.orphan_until).min()?;
        self.armed.is_none_or(|armed| wanted < armed).then_some(wanted)
    }
}

/// RFC 1191 section 3: no path is narrower than 68 bytes; what says less than this is not worth believing.
const MTU_MIN_BYTES: u16 = 576;
/// The longest SYN that is kept: headers with all options they can have.
const SYN_BYTES_MAX: usize = 256;

/// A TCP packet, and what decides about its flow.
#[derive(Clone, Copy)]
pub(super) struct Segment<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) is_syn: bool,
    pub(super) is_reset: bool,
}
