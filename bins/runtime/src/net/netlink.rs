//! One request, one answer over rtnetlink. Read first: rtnetlink(7). Called by the rest of net.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// What to do about an object that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    /// Fail with `EEXIST`.
    Refuse,
    /// Take its place.
    Replace,
    /// The request changes or removes an object; nothing is created.
    Required,
}

/// A connection to the kernel's routing tables in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct Rtnetlink {
    socket: Socket,
    sequence: u32,
}

impl Rtnetlink {
    pub(super) fn open() -> io::Result<Rtnetlink> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Rtnetlink { socket, sequence: 0 })
    }

    /// Sends one request and waits for the kernel's verdict on it.
    pub(super) fn request(&mut self, message: RouteNetlinkMessage, existing: Existing) -> io::Result<()> {
        let flags = NLM_F_REQUEST | NLM_F_ACK | creation_flags(existing);
        self.send(message, flags)?;
        let answer = self.answer()?.payload;
        if let NetlinkPayload::Error(error) = answer
            && error.code.is_some()
        {
            return Err(error.to_io());
        }
        Ok(())
    }

    /// Sends one query; an error says that the object it names is not there.
    pub(super) fn query(&mut self, message: RouteNetlinkMessage) -> io::Result<()> {
        self.send(message, NLM_F_REQUEST)?;
        let answer = self.answer()?.payload;
        if let NetlinkPayload::Error(error) = answer {
            return Err(error.to_io());
        }
        Ok(())
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map(drop)
    }

    /// The answer to the last request; answers to older, abandoned ones are passed over.
    fn answer(&mut self) -> io::Result<NetlinkMessage<RouteNetlinkMessage>> {
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if message.header.sequence_number == self.sequence {
                return Ok(message);
            }
        }
    }
}

fn creation_flags(existing: Existing) -> u16 {
    match existing {
        Existing::Refuse => NLM_F_CREATE | NLM_F_EXCL,
        Existing::Replace => NLM_F_CREATE | NLM_F_REPLACE,
        Existing::Required => 0,
    }
}
