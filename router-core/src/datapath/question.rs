//! The rules' part of the road by itself, so that a benchmark can say what it takes.

use core::net::Ipv4Addr;

use wg_proto::{Device, Instant};

use super::family::tuple_of;
use super::source_check::{SourceChecked, check_afresh};
use super::{Ingress, Path, Tuple};
use crate::packet::{PacketMut, Version};

/// What the rules are asked about an IPv4 packet whose source has been checked.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    from: SourceChecked<Ipv4Addr>,
    tuple: Tuple<Ipv4Addr>,
}

impl Path {
    /// `None` for packets that the rules are not asked about.
    pub(crate) fn question(&self, device: &Device, ingress: Ingress, bytes: &mut [u8]) -> Option<Question> {
        let packet = PacketMut::parse(bytes).ok().filter(|packet| packet.version() == Version::V4)?;
        let tuple = tuple_of(&packet);
        let from = check_afresh(device, &self.v4.ours, ingress, (tuple.src, tuple.dst)).ok()?;
        Some(Question { from, tuple })
    }

    /// Whether a rule allows the packet.
    pub(crate) fn is_allowed(&self, now: Instant, question: &Question) -> bool {
        let Question { from, tuple } = question;
        self.shared.rules.classify(now, from, tuple.dst, tuple.protocol, tuple.dst_port).is_ok()
    }
}
