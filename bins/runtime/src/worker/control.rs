//! Handshake and cookie messages wait here, so that a flood of them cannot starve data.
//! Read first: the WireGuard paper §5.3, §5.4; spec of the device's `QueueLoad`. Called by worker.
//!
//! What comes in was made by somebody who knows our key: `mac1` is checked on the way in, without the lock.

use std::collections::VecDeque;
use std::time::Duration;

use router_core::Node;
use wg_proto::{Admitted, Endpoint, Instant, Mac1Filter, NotAdmitted, QueueLoad, UnixTime};

use crate::clock;

// Our own choices.
/// Messages that may wait, per worker. One more is dropped and counted; the device asks for cookies long
/// before.
const WAITING_MAX: usize = 4096;
/// Time spent on control messages between two batches of data, after the first message. A batch of data
/// takes six to twelve times as long.
const SLICE: Duration = Duration::from_micros(25);

/// A bounded queue of messages, in order of arrival.
pub(super) struct ControlQueue {
    waiting: VecDeque<Message>,
    filter: Mac1Filter,
    refused: Refused,
}

struct Message {
    admitted: Admitted,
    from: Endpoint,
}

/// Messages the filter refused; the device has not been told yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Refused {
    mac1: u64,
    no_private_key: u64,
}

/// The queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueueFull;

impl ControlQueue {
    pub(super) fn new(filter: Mac1Filter) -> ControlQueue {
        let waiting = VecDeque::with_capacity(WAITING_MAX);
        ControlQueue { waiting, filter, refused: Refused::default() }
    }

    /// The device's key may have changed: what the old filter refuses may be right now.
    pub(super) fn set_filter(&mut self, filter: Mac1Filter) {
        self.filter = filter;
    }

    /// Takes a copy of a message whose kind and length were checked, if its `mac1` is right. What is refused
    /// for it is counted here.
    pub(super) fn push(&mut self, datagram: &[u8], from: Endpoint) -> Result<(), QueueFull> {
        if self.waiting.len() == WAITING_MAX {
            return Err(QueueFull);
        }
        match self.filter.admit(datagram) {
            Ok(admitted) => self.waiting.push_back(Message { admitted, from }),
            Err(NotAdmitted::Mac1) => self.refused.mac1 += 1,
            Err(NotAdmitted::NoPrivateKey) => self.refused.no_private_key += 1,
            Err(NotAdmitted::Malformed(_) | NotAdmitted::NotControl) => {}
        }
        Ok(())
    }

    /// Nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The device should be told of something: of a message, or of refusals.
    pub(super) fn has_news(&self) -> bool {
        !self.is_empty() || self.refused != Refused::default()
    }

    /// Tells the device what the filter refused, handles at least one message and stops when the time slice is
    /// used up. Returns how many it handled.
    pub(super) fn handle_some(&mut self, node: &mut Node, now: Instant, unix: UnixTime) -> u64 {
        self.report_refused(node);
        let mut handled = 0;
        while let Some(Message { admitted, from }) = self.waiting.pop_front() {
            let load = QueueLoad { waiting: self.waiting.len() as u32, capacity: WAITING_MAX as u32 };
            // The device counts what it rejects.
            let _ = node.handle_admitted(now, unix, from, &admitted, load);
            handled += 1;
            if clock::now().saturating_duration_since(now) > SLICE {
                break;
            }
        }
        handled
    }

    fn report_refused(&mut self, node: &mut Node) {
        let Refused { mac1, no_private_key } = std::mem::take(&mut self.refused);
        for (why, times) in [(NotAdmitted::Mac1, mac1), (NotAdmitted::NoPrivateKey, no_private_key)] {
            if times > 0 {
                node.count_not_admitted(why, times);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use router_core::NodeConfig;
    use wg_proto::{Device, DeviceConfig, PeerConfig, PrivateKey};

    use super::*;

    fn key(byte: u8) -> PrivateKey {
        PrivateKey::from_bytes([byte; 32])
    }

    fn node_of(byte: u8) -> Node {
        let mut node = Node::new(NodeConfig::interface(), [7; 32]);
        node.device_mut().set_private_key(clock::now(), Some(key(byte)));
        node
    }

    fn address() -> Endpoint {
        Endpoint { remote: "192.0.2.1:1".parse().expect("address"), source: None }
    }

    /// An initiation by somebody unknown, to the holder of the key.
    fn initiation_to(byte: u8) -> Vec<u8> {
        let config = DeviceConfig { private_key: Some(key(9)), mtu_bytes: 1420 };
        let mut device = Device::new(config, [9; 32]);
        let mut peer = PeerConfig::new(key(byte).public_key());
        peer.endpoint = Some(address());
        let peer = device.add_peer(clock::now(), peer).expect("added");
        device.stage(clock::now(), peer, &[0x45; 20]).expect("staged");
        let mut room = [0; 200];
        let sent = device.poll_transmit(clock::now(), clock::unix_time(), &mut room).expect("an initiation");
        room[..sent.len].to_vec()
    }

    #[test]
    fn a_message_for_another_key_is_counted_and_does_not_wait() {
        let mut node = node_of(1);
        let mut queue = ControlQueue::new(node.mac1_filter());
        queue.push(&initiation_to(2), address()).expect("room");
        assert!(queue.is_empty() && queue.has_news());
        assert_eq!(queue.handle_some(&mut node, clock::now(), clock::unix_time()), 0);
        assert_eq!(node.device().counters().mac1_invalid, 1);
        assert!(!queue.has_news(), "told once");
    }

    #[test]
    fn a_message_for_our_key_waits_until_it_is_handled() {
        let mut node = node_of(1);
        let mut queue = ControlQueue::new(node.mac1_filter());
        queue.push(&initiation_to(1), address()).expect("room");
        assert!(!queue.is_empty());
        assert_eq!(queue.handle_some(&mut node, clock::now(), clock::unix_time()), 1);
        assert_eq!(node.device().counters().unknown_peer, 1, "it was taken to the device");
    }

    #[test]
    fn one_message_more_than_fit_is_refused() {
        let mut queue = ControlQueue::new(node_of(1).mac1_filter());
        let message = initiation_to(1);
        for _ in 0..WAITING_MAX {
            queue.push(&message, address()).expect("room");
        }
        assert_eq!(queue.push(&message, address()), Err(QueueFull));
    }
}
