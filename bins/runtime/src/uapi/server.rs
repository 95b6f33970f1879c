//! The userspace interface on its socket, `/var/run/wireguard/IFACE.sock`.

use std::io::{self, BufReader, BufWriter};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketType, netdevice, socket};

use super::conversation;
use super::interface::Interface;
use crate::host::socket::PrivateSocket;

/// Where every implementation of WireGuard puts its sockets and `wg` looks for them.
pub const DIRECTORY: &str = "/var/run/wireguard";

/// Answers are written through a buffer of this size.
const ANSWER_BUFFER_BYTES: usize = 64 << 10;

/// The socket of one interface, bound but not yet answering.
pub struct Server {
    socket: PrivateSocket,
}

impl Server {
    /// Binds the socket of `interface`; a stale one, that nobody answers on, is replaced.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] if another process answers there, or what the system says.
    pub fn bind(interface: &str) -> io::Result<Self> {
        PrivateSocket::bind(&path_of(interface)).map(|socket| Self { socket })
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        self.socket.path()
    }

    /// Starts answering, in threads of its own; `on_removed` is called once if somebody removes the socket file,
    /// which is how scripts end a userspace interface.
    ///
    /// # Errors
    /// If the system refuses a thread or a watch on the directory.
    pub fn start<I>(
        self,
        interface: Arc<I>,
        on_removed: impl FnOnce() + Send + 'static,
    ) -> io::Result<Answering>
    where
        I: Interface + Send + Sync + 'static,
    {
        let client = move |stream: UnixStream| {
            // The client's own trouble: it sees its connection end, nobody else is concerned.
            if let Err(error) = converse(&stream, &*interface) {
                tracing::debug!(%error, "userspace interface client gone");
            }
        };
        self.socket.start("uapi", client, on_removed).map(Answering)
    }
}

/// A socket being answered; dropping it removes the socket file.
#[must_use = "dropping it removes the socket"]
pub struct Answering(#[expect(dead_code, reason = "held for its drop")] crate::host::socket::Answering);

fn path_of(interface: &str) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{interface}.sock"))
}

fn converse(stream: &UnixStream, interface: &impl Interface) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = BufWriter::with_capacity(ANSWER_BUFFER_BYTES, stream);
    conversation::serve(&mut reader, &mut writer, interface, &interface_index)
}

fn interface_index(name: &str) -> Option<u32> {
    let any = socket(AddressFamily::INET, SocketType::DGRAM, None).ok()?;
    netdevice::name_to_index(any, name).ok()
}
