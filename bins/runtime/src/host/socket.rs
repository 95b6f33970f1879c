//! A Unix socket for the machine's administrator: mode 0600, bounded in clients, with deadlines, gone when we are.
//! Called by the userspace interface and the admin socket.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, inotify};

/// Clients answered at the same time; further ones are closed at once.
const CLIENTS_MAX: usize = 32;

/// How long a client may take to send its next line, or to take what we send.
const CLIENT_PATIENCE: Duration = Duration::from_secs(30);

/// After a failed `accept` (no descriptors left, mostly) so much time passes before the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound socket, not yet answering. Dropping it removes the file.
pub struct PrivateSocket {
    listener: UnixListener,
    file: SocketFile,
}

/// A socket being answered by threads of its own; dropping it removes the file.
#[must_use = "dropping it removes the socket"]
pub struct Answering(Arc<SocketFile>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.remove();
    }
}

impl PrivateSocket {
    /// Binds `path`, readable and writable by the owner only. A stale socket, that nobody answers on, is replaced.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] if another process answers there or something that is no socket is there;
    /// else what the system says.
    pub fn bind(path: &Path) -> io::Result<Self> {
        make_parent(path)?;
        clear_stale(path)?;
        let listener = bind_owner_only(path)?;
        listener.set_nonblocking(true)?;
        let file = SocketFile::of(path)?;
        Ok(Self { listener, file })
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Answers each client with `client`, in a thread of its own. `on_removed` is called once, if somebody else
    /// removes the file; nothing is answered after that.
    ///
    /// # Errors
    /// If the system refuses a thread or a watch on the directory.
    pub fn start(
        self,
        name: &'static str,
        client: impl Fn(UnixStream) + Send + Sync + 'static,
        on_removed: impl FnOnce() + Send + 'static,
    ) -> io::Result<Answering> {
        let watch = Watch::on(&self.file.path)?;
        let file = Arc::new(self.file);
        let answering = Answering(Arc::clone(&file));
        let listener = self.listener;
        let acceptor = Acceptor { name, client: Arc::new(client), busy: Arc::default() };
        thread::Builder::new().name(format!("{name}-accept")).spawn(move || {
            acceptor.run(&listener, &watch, &file);
            if !file.removed_by_us.load(Ordering::Relaxed) {
                on_removed();
            }
        })?;
        Ok(answering)
    }
}

struct Acceptor<F> {
    name: &'static str,
    client: Arc<F>,
    busy: Arc<AtomicUsize>,
}

impl<F: Fn(UnixStream) + Send + Sync + 'static> Acceptor<F> {
    /// Returns when the file is gone.
    fn run(&self, listener: &UnixListener, watch: &Watch, file: &SocketFile) {
        while file.is_there() {
            let ready = [listener.as_fd(), watch.0.as_fd()];
            let mut ready = ready.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            if poll(&mut ready, None).is_err() {
                continue;
            }
            watch.drain();
            self.accept(listener);
        }
    }

    fn accept(&self, listener: &UnixListener) {
        match listener.accept() {
            Ok((stream, _)) => self.welcome(stream),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                tracing::warn!(socket = self.name, %error, "cannot accept a client");
                thread::sleep(ACCEPT_PAUSE);
            }
        }
    }

    fn welcome(&self, stream: UnixStream) {
        if self.busy.fetch_add(1, Ordering::Relaxed) >= CLIENTS_MAX {
            self.busy.fetch_sub(1, Ordering::Relaxed);
            return tracing::warn!(socket = self.name, clients_max = CLIENTS_MAX, "client turned away");
        }
        let seat = Seat(Arc::clone(&self.busy));
        let client = Arc::clone(&self.client);
        let answer = move || {
            let _seat = seat;
            if give_patience(&stream).is_ok() {
                client(stream);
            }
        };
        if let Err(error) = thread::Builder::new().name(self.name.to_owned()).spawn(answer) {
            tracing::warn!(socket = self.name, %error, "no thread for a client");
        }
    }
}

/// One of [`CLIENTS_MAX`]; given back when dropped.
struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Deadlines in both directions, and blocking again: the listener's flag may be inherited.
pub(super) fn give_patience(stream: &UnixStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(CLIENT_PATIENCE))?;
    stream.set_write_timeout(Some(CLIENT_PATIENCE))
}

/// The file of a bound socket, known by device and inode, so that a successor's is never taken for ours.
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
    removed_by_us: AtomicBool,
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)?, removed_by_us: AtomicBool::new(false) })
    }

    fn is_there(&self) -> bool {
        identity(&self.path).is_ok_and(|found| found == self.identity)
    }

    /// Removes the file unless it is gone or another's.
    fn remove(&self) {
        self.removed_by_us.store(true, Ordering::Relaxed);
        if self.is_there()
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket");
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Tells when something goes from the socket's directory.
struct Watch(rustix::fd::OwnedFd);

impl Watch {
    fn on(path: &Path) -> io::Result<Self> {
        let queue = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let gone =
            inotify::WatchFlags::DELETE | inotify::WatchFlags::MOVED_FROM | inotify::WatchFlags::DELETE_SELF;
        inotify::add_watch(&queue, path.parent().unwrap_or(Path::new(".")), gone)?;
        Ok(Self(queue))
    }

    /// What exactly happened is of no interest: the file is looked at anyway.
    fn drain(&self) {
        let mut events = [0_u8; 4096];
        while rustix::io::read(&self.0, &mut events).is_ok_and(|read| read > 0) {}
    }
}

fn make_parent(path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)
}

/// Removes a socket that nobody answers on.
fn clear_stale(path: &Path) -> io::Result<()> {
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process answers on this socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && is_socket(path) => {
            std::fs::remove_file(path)
        }
        Err(error) => Err(error),
    }
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// Binds under a umask, so that there is no moment with other rights.
fn bind_owner_only(path: &Path) -> io::Result<UnixListener> {
    let before = rustix::process::umask(Mode::RWXG | Mode::RWXO | Mode::XUSR);
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    listener
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::sync::mpsc;

    #[test]
    fn only_the_owner_may_use_it_and_it_goes_with_us() {
        let path = scratch("owner");
        let socket = PrivateSocket::bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_live_socket_is_left_alone_and_a_stale_one_replaced() {
        let path = scratch("stale");
        let live = PrivateSocket::bind(&path).unwrap();
        assert_eq!(PrivateSocket::bind(&path).err().unwrap().kind(), io::ErrorKind::AddrInUse);
        std::mem::forget(live.file);
        drop(live.listener);
        PrivateSocket::bind(&path).unwrap();
    }

    #[test]
    fn something_else_in_its_place_is_not_removed() {
        let path = scratch("file");
        make_parent(&path).unwrap();
        std::fs::write(&path, "precious").unwrap();
        assert!(PrivateSocket::bind(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn clients_are_answered_until_the_file_is_removed() {
        let path = scratch("answer");
        let (gone, told) = mpsc::channel();
        let socket = PrivateSocket::bind(&path).unwrap();
        let answering = socket.start("test", hello, move || gone.send(()).unwrap()).unwrap();
        let mut answer = String::new();
        UnixStream::connect(&path).unwrap().read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "hello");
        std::fs::remove_file(&path).unwrap();
        told.recv_timeout(Duration::from_secs(5)).unwrap();
        drop(answering);
    }

    #[test]
    fn ending_removes_the_file_while_the_acceptor_still_waits() {
        let path = scratch("ending");
        let (gone, told) = mpsc::channel();
        let answering =
            PrivateSocket::bind(&path).unwrap().start("test", hello, move || gone.send(()).unwrap());
        drop(answering.unwrap());
        assert!(!path.exists());
        assert!(told.recv_timeout(Duration::from_secs(5)).is_err());
    }

    #[test]
    fn a_successors_socket_is_not_removed_with_ours() {
        let path = scratch("successor");
        let ours = PrivateSocket::bind(&path).unwrap();
        std::fs::rename(&path, path.with_extension("old")).unwrap();
        let successor = PrivateSocket::bind(&path).unwrap();
        drop(ours);
        assert!(path.exists());
        drop(successor);
        std::fs::remove_file(path.with_extension("old")).unwrap();
    }

    fn hello(mut stream: UnixStream) {
        stream.write_all(b"hello").unwrap();
    }

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("sluice-socket-{}", std::process::id())).join(name)
    }
}
