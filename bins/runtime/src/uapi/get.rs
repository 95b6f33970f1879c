//! The `get` operation, written peer by peer: the memory it takes is that of one peer, however many there are.

use std::io::{self, Write};

use wg_proto::{PresharedKey, PublicKey};

use super::interface::{Interface, PeerState};

/// Writes the whole state, without the closing `errno=` line.
///
/// # Errors
/// What the writer says.
pub fn write(interface: &impl Interface, out: &mut impl Write) -> io::Result<()> {
    write_device(interface, out)?;
    for key in interface.peers() {
        if let Some(peer) = interface.peer(&key) {
            write_peer(&key, &peer, out)?;
        }
    }
    Ok(())
}

fn write_device(interface: &impl Interface, out: &mut impl Write) -> io::Result<()> {
    if let Some(key) = interface.private_key() {
        writeln!(out, "private_key={}", key.to_hex().as_str())?;
    }
    if let port @ 1.. = interface.listen_port() {
        writeln!(out, "listen_port={port}")?;
    }
    if let mark @ 1.. = interface.fwmark() {
        writeln!(out, "fwmark={mark}")?;
    }
    Ok(())
}

fn write_peer(key: &PublicKey, peer: &PeerState, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "public_key={}", key.to_hex())?;
    write_preshared_key(peer.preshared_key.as_ref(), out)?;
    writeln!(out, "protocol_version=1")?;
    if let Some(endpoint) = peer.endpoint {
        writeln!(out, "endpoint={endpoint}")?;
    }
    let (secs, nanos) = peer.last_handshake.map_or((0, 0), |at| (at.secs, at.nanos));
    writeln!(out, "last_handshake_time_sec={secs}\nlast_handshake_time_nsec={nanos}")?;
    writeln!(out, "tx_bytes={}\nrx_bytes={}", peer.tx_bytes, peer.rx_bytes)?;
    let keepalive = peer.persistent_keepalive.map_or(0, u16::from);
    writeln!(out, "persistent_keepalive_interval={keepalive}")?;
    peer.allowed_ips.iter().try_for_each(|net| writeln!(out, "allowed_ip={net}"))
}

fn write_preshared_key(key: Option<&PresharedKey>, out: &mut impl Write) -> io::Result<()> {
    match key {
        Some(key) => writeln!(out, "preshared_key={}", key.to_hex().as_str()),
        None => writeln!(out, "preshared_key={:064}", 0),
    }
}
