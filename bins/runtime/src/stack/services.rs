//! Who listens at our own addresses. Called by receive; entered by listeners and sockets.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::{PoisonError, RwLock};

use tokio::sync::mpsc;

use super::pending::PendingTcp;
use super::udp::UdpEntrance;

/// Listeners and sockets by where they listen.
#[derive(Default)]
pub(super) struct Services {
    tcp: RwLock<HashMap<SocketAddr, mpsc::Sender<PendingTcp>>>,
    udp: RwLock<HashMap<SocketAddr, UdpEntrance>>,
}

/// Somebody listens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InUse;

impl Services {
    pub(super) fn open_tcp(
        &self,
        local: SocketAddr,
        entrance: mpsc::Sender<PendingTcp>,
    ) -> Result<(), InUse> {
        enter(&self.tcp, local, entrance)
    }

    pub(super) fn open_udp(&self, local: SocketAddr, entrance: UdpEntrance) -> Result<(), InUse> {
        enter(&self.udp, local, entrance)
    }

    pub(super) fn close_tcp(&self, local: &SocketAddr) {
        self.tcp.write().unwrap_or_else(PoisonError::into_inner).remove(local);
    }

    pub(super) fn close_udp(&self, local: &SocketAddr) {
        self.udp.write().unwrap_or_else(PoisonError::into_inner).remove(local);
    }

    pub(super) fn tcp(&self, local: &SocketAddr) -> Option<mpsc::Sender<PendingTcp>> {
        self.tcp.read().unwrap_or_else(PoisonError::into_inner).get(local).cloned()
    }

    pub(super) fn udp(&self, local: &SocketAddr) -> Option<UdpEntrance> {
        self.udp.read().unwrap_or_else(PoisonError::into_inner).get(local).cloned()
    }
}

fn enter<T>(services: &RwLock<HashMap<SocketAddr, T>>, local: SocketAddr, entrance: T) -> Result<(), InUse> {
    match services.write().unwrap_or_else(PoisonError::into_inner).entry(local) {
        Entry::Occupied(_) => Err(InUse),
        Entry::Vacant(vacant) => {
            vacant.insert(entrance);
            Ok(())
        }
    }
}
