//! Who a packet claims to be from, checked before any state is looked at, ICMP errors too (FLT-2, FLT-3, P1, P33).
//! Read first: BCP 38, RFC 1812 section 5.3.7. Called first on the road; the only place that makes a [`SourceChecked`].

use alloc::boxed::Box;
use alloc::vec;

use wg_proto::Device;

use super::Ours;
use super::family::{Family, leg_in};
use super::side::Side;
use crate::flow::Leg;
use crate::verdict::{DropReason, Ingress};

/// Proof that a packet's source belongs to where it came in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SourceChecked<A> {
    ingress: Ingress,
    source: A,
}

/// Sources that passed lately, so that a flow's next packet is compared, not looked up. An entry holds as long as neither
/// prefixes nor our own addresses have changed since.
#[derive(Debug)]
pub(super) struct Vouched<A>(Box<[Entry<A>]>);

#[derive(Debug, Clone, Copy)]
struct Entry<A> {
    /// Of prefixes and own addresses; 0 is before all of them.
    stamp: u64,
    source: A,
    leg: Leg,
}

/// Our own choice: 64 KiB for IPv4, 128 for IPv6. Sources whose places meet are looked up in turn.
const ENTRIES: usize = 4096;

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

impl<A: Family> Vouched<A> {
    pub(super) fn new() -> Vouched<A> {
        Vouched(vec![Entry { stamp: 0, source: A::from_number(0), leg: Leg(0) }; ENTRIES].into())
    }

    #[inline]
    fn place(source: A) -> usize {
        let number = source.to_number();
        let folded = (number >> 64) as u64 ^ number as u64;
        (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % ENTRIES
    }
}

/// Checks a packet's source, and from the TUN its destination, against where it came in.
#[inline]
pub(super) fn check<A: Family>(
    device: &Device,
    side: &mut Side<A>,
    ingress: Ingress,
    (source, destination): (A, A),
) -> Result<SourceChecked<A>, DropReason> {
    if ingress == Ingress::Tun && side.ours.is_overlay(destination) {
        return Err(DropReason::OverlayAddressOutsideTunnel);
    }
    let stamp = 1 + device.owner_changes() + side.ours.changes();
    let leg = leg_in(ingress);
    let entry = &mut side.vouched.0[Vouched::place(source)];
    if (entry.stamp, entry.source, entry.leg) != (stamp, source, leg) {
        check_source(device, &side.ours, ingress, source)?;
        *entry = Entry { stamp, source, leg };
    }
    Ok(SourceChecked { ingress, source })
}

/// As [`check`], with nothing remembered.
pub(super) fn check_afresh<A: Family>(
    device: &Device,
    ours: &Ours<A>,
    ingress: Ingress,
    (source, destination): (A, A),
) -> Result<SourceChecked<A>, DropReason> {
    if ingress == Ingress::Tun && ours.is_overlay(destination) {
        return Err(DropReason::OverlayAddressOutsideTunnel);
    }
    check_source(device, ours, ingress, source)?;
    Ok(SourceChecked { ingress, source })
}

/// From the host's network comes nobody who has a tunnel; from a tunnel, only what its peer owns. Our own stack speaks for
/// whomever its conversations lead to: for us, for a device, for a device on this very host.
#[cold]
fn check_source<A: Family>(
    device: &Device,
    ours: &Ours<A>,
    ingress: Ingress,
    source: A,
) -> Result<(), DropReason> {
    if ingress == Ingress::Sockets {
        return Ok(());
    }
    if source.is_martian_source() {
        return Err(DropReason::MartianSource);
    }
    if ours.has(source) {
        return Err(DropReason::SourceIsOurs);
    }
    match (ingress, device.owner_of(source.into())) {
        (Ingress::Peer(peer), Some(owner)) if owner == peer => Ok(()),
        (Ingress::Tun, None) | (Ingress::Sockets, _) => Ok(()),
        (Ingress::Peer(_) | Ingress::Tun, _) => Err(DropReason::SourceNotAssigned),
    }
}
