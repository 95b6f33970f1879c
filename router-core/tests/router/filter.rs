//! Handshake messages that are checked outside a node and handed in afterwards, as a worker does with its node behind a lock.

use router_core::{Node, NodeConfig, NodeTransmit};
use wg_proto::{
    Endpoint, Handled, Instant, NotAdmitted, PeerConfig, PeerIndex, PrivateKey, QueueLoad, Rejected, UnixTime,
};

const NOW: Instant = Instant::from_nanos(1_000_000_000);
const UNIX: UnixTime = UnixTime::new(1_800_000_000, 0);
const IDLE: QueueLoad = QueueLoad { waiting: 0, capacity: 64 };

fn endpoint() -> Endpoint {
    Endpoint::new("192.0.2.1:51820".parse().unwrap())
}

fn key(n: u8) -> PrivateKey {
    PrivateKey::from_bytes([n; 32])
}

/// A plain interface with one peer, whose key is given.
fn node(own: u8, peer: u8) -> (Node, PeerIndex) {
    let mut node = Node::new(NodeConfig::interface(), [own; 32]);
    node.device_mut().set_private_key(NOW, Some(key(own)));
    let peer = PeerConfig { endpoint: Some(endpoint()), ..PeerConfig::new(key(peer).public_key()) };
    let peer = node.device_mut().add_peer(NOW, peer).unwrap();
    (node, peer)
}

/// A message from the holder of key 1 to the holder of key 2.
fn initiation() -> Vec<u8> {
    let (mut node, peer) = node(1, 2);
    node.stage(NOW, peer, &[0x45; 20]).unwrap();
    let mut buffer = [0; 2048];
    let Some(NodeTransmit::Datagram { len, .. }) = node.poll_transmit(NOW, UNIX, &mut buffer) else {
        panic!("a staged packet asks for a handshake")
    };
    buffer[..len].to_vec()
}

#[test]
fn p13_a_message_checked_outside_the_node_is_answered_like_any_other() {
    let (mut node, _) = node(2, 1);
    let message = node.mac1_filter().admit(&initiation()).unwrap();
    let handled = node.handle_admitted(NOW, UNIX, endpoint(), &message, IDLE);
    assert!(matches!(handled, Ok(Handled::Initiation { .. })), "{handled:?}");
    assert_eq!(node.device().counters().responses_sent, 1);
}

#[test]
fn p14_what_a_filter_refused_is_counted_as_often_as_it_happened() {
    let (mut node, _) = node(2, 1);
    let mut message = initiation();
    message[40] ^= 1;
    let why = node.mac1_filter().admit(&message).unwrap_err();
    assert_eq!(why, NotAdmitted::Mac1);
    node.count_not_admitted(why, 3);
    assert_eq!(node.device().counters().mac1_invalid, 3);
}

#[test]
fn p14_a_filter_is_out_of_date_once_the_key_has_changed_and_lets_nothing_slip_through() {
    let (mut node, _) = node(2, 1);
    let filter = node.mac1_filter();
    assert!(node.is_current(&filter));
    let message = filter.admit(&initiation()).unwrap();
    node.device_mut().set_private_key(NOW, Some(key(3)));
    assert!(!node.is_current(&filter));
    assert!(node.is_current(&node.mac1_filter()));
    let handled = node.handle_admitted(NOW, UNIX, endpoint(), &message, IDLE);
    assert_eq!(handled, Err(Rejected::Mac1));
}
