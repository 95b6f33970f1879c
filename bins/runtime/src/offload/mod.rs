//! Segmentation in userspace: super-packets from the TUN are cut, packets for the TUN are merged.
//! Read first: segmentation-offloads in the kernel's documentation. Called by worker.

mod checksum;
mod coalesce;
mod header;
mod merge;
mod partial;
mod split;

pub use self::coalesce::{CoalesceCounts, Coalescer, PacketSink};
pub(crate) use self::partial::leave_checksum;
pub use self::split::{BadSuperPacket, SuperPacket, complete_checksum, restore_partial_checksum};

/// Most bytes in one `UDP_SEGMENT` send. UDP allows 65 507; an Ethernet device whose `gso_max_size` is the
/// default of 65 536, frame header included, would have the kernel cut anything larger in software.
pub(crate) const GSO_BYTES_MAX: usize = 65_535 - 14 - 40 - 8;

#[cfg(test)]
mod tests;
