//! Who a packet claims to be from, checked before any state is looked at, ICMP errors too (FLT-2, FLT-3, P1, P33).
//! Read first: BCP 38, RFC 1812 section 5.3.7. Called first on the road; the only place that makes a [`SourceChecked`].

use wg_proto::Device;

use super::Ours;
use super::family::Family;
use crate::verdict::{DropReason, Ingress};

/// Proof that a packet's source belongs to where it came in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SourceChecked<A> {
    ingress: Ingress,
    source: A,
}

impl<A: Copy> SourceChecked<A> {
    /// Where the packet came in.
    pub(crate) fn ingress(&self) -> Ingress {
        self.ingress
    }

    /// Its source.
    pub(crate) fn source(&self) -> A {
        self.source
    }
}

/// Checks a packet's addresses against where it came in.
#[inline]
pub(super) fn check<A: Family>(
    device: &Device,
    ours: &Ours<A>,
    ingress: Ingress,
    (source, destination): (A, A),
) -> Result<SourceChecked<A>, DropReason> {
    if source.is_martian_source() {
        return Err(DropReason::MartianSource);
    }
    if destination.is_martian_destination() {
        return Err(DropReason::MartianDestination);
    }
    if ours.has(source) {
        return Err(DropReason::SourceIsOurs);
    }
    match ingress {
        Ingress::Peer(peer) if device.owner_of(source.into()) == Some(peer) => {}
        Ingress::Peer(_) => return Err(DropReason::SourceNotAssigned),
        Ingress::Tun => check_tun(device, ours, source, destination)?,
    }
    Ok(SourceChecked { ingress, source })
}

/// From the host's network comes nobody who has a tunnel, and nothing for an address of ours inside the tunnels.
fn check_tun<A: Family>(
    device: &Device,
    ours: &Ours<A>,
    source: A,
    destination: A,
) -> Result<(), DropReason> {
    if ours.is_overlay(destination) {
        return Err(DropReason::OverlayAddressOutsideTunnel);
    }
    match device.owner_of(source.into()) {
        Some(_) => Err(DropReason::SourceNotAssigned),
        None => Ok(()),
    }
}
