//! Fragments: the rules one by one, then everything against a slow twin.

mod rules;
mod twin;

use alloc::vec::Vec;
use core::time::Duration;

use wg_proto::Instant;

use super::*;
use crate::packet::{Span, made};

/// A piece of datagram `id` between two fixed hosts.
fn piece(id: u32, offset: u16, len: usize, more: bool) -> Piece {
    let addresses = made::ends("10.0.0.1:0", "10.0.0.2:0").addresses;
    let datagram = Datagram { addresses, identification: id, protocol: 17 };
    Piece { datagram, span: Span::new(offset, len, more, 20).unwrap() }
}

fn at(secs: u64) -> Instant {
    Instant::from_nanos(Duration::from_secs(secs).as_nanos() as u64)
}

fn released<S: Copy + Ord, V: Clone>(fragments: &mut Fragments<S, V>) -> Vec<(V, Vec<u8>)> {
    core::iter::from_fn(|| fragments.pop_released())
        .map(|released| (released.verdict, released.packet.into_vec()))
        .collect()
}
