//! The WireGuard protocol as a state machine: bytes, time and randomness in; bytes and events out.
//!
//! A [`Device`] is one WireGuard interface with all its peers. It holds no socket, reads no clock, starts no
//! thread and draws no randomness: the caller passes time with each call and a seed at construction.
//!
//! # Order of calls
//! After **each** input, in this order:
//! 1. one input: [`Device::handle_control`], [`Device::commit_received`], [`Device::begin_send`],
//!    [`Device::stage`], [`Device::handle_timeout`], or a change of configuration;
//! 2. [`Device::poll_transmit`] until it returns `None`, sending each datagram;
//! 3. [`Device::poll_event`] until it returns `None`;
//! 4. [`Device::poll_timeout`], and call [`Device::handle_timeout`] at that moment if nothing comes before.
//!
//! Several inputs may be made before the polling ones; answers to control messages are bounded
//! ([`constants::REPLIES_MAX`]).
//!
//! # Transport packets
//! The cipher does not need the device, so threads share one behind a lock and hold it only for bookkeeping:
//!
//! * receiving: [`classify`] → [`Device::rx_key`] (or a cached [`RxKey`]) → [`RxKey::open`] **without the lock** →
//!   [`Device::commit_received`], once for a run of packets of one session and source. Use only packets that are
//!   [`Opened::accepted`] then, and only if [`Device::owner_of`] their inner source is the peer;
//! * sending: [`Device::begin_send`] takes a range of nonces and sets the timers → [`TxBatch::seal`] **without the
//!   lock**. There is no step after that.
//!
//! Handshake messages must be handled by the device, but their `mac1` need not: a [`Mac1Filter`]
//! ([`Device::mac1_filter`]) refuses a blind flood **without the lock**, and what it admits goes to
//! [`Device::handle_admitted`].
//!
//! A caller with one thread uses [`Device::encapsulate`] and [`Device::decapsulate`], which do the same steps.
//!
//! ```
//! use wg_proto::{Device, DeviceConfig, Instant, PeerConfig, PrivateKey, UnixTime};
//!
//! let (ours, theirs) = (PrivateKey::from_bytes([1; 32]), PrivateKey::from_bytes([2; 32]));
//! let mut device = Device::new(DeviceConfig { private_key: Some(ours), mtu_bytes: 1420 }, [7; 32]);
//! let mut config = PeerConfig::new(theirs.public_key());
//! config.endpoint = Some("192.0.2.1:51820".parse::<std::net::SocketAddr>()?.into());
//! config.allowed_ips.push("10.0.0.2/32".parse()?);
//!
//! let (now, unix) = (Instant::from_nanos(0), UnixTime::new(1_700_000_000, 0));
//! let peer = device.add_peer(now, config)?;
//! device.stage(now, peer, &[0x45; 20])?;
//!
//! let mut buffer = [0; 2048];
//! let initiation = device.poll_transmit(now, unix, &mut buffer).expect("a handshake starts");
//! assert_eq!((initiation.len, initiation.tos), (148, 0x88));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//! `rustcrypto` (default) is pure Rust for any target. `aws-lc-rs` needs std and a C compiler, and takes over the
//! expensive operations where it is on.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(not(any(feature = "rustcrypto", feature = "aws-lc-rs")))]
compile_error!("enable a back end: `rustcrypto` or `aws-lc-rs`");

extern crate alloc;

mod allowed_ips;
mod batch;
pub mod constants;
mod cookie;
mod counter;
mod counters;
mod crypto;
mod device;
pub mod ecn;
mod endpoint;
mod error;
mod event;
mod handshake;
mod hex;
mod index;
mod inner;
mod key;
mod load;
mod mac1;
mod message;
mod noise;
mod outcome;
mod peer;
mod replay;
mod rng;
mod schedule;
mod session;
mod siphash;
mod slots;
mod staging;
mod tai64n;
mod time;
mod timers;
mod view;

pub use batch::{LastTooLong, Run, TxBatch};
pub use counter::Counter;
pub use counters::Counters;
pub use device::{Device, DeviceConfig, PeerConfig};
pub use endpoint::{Endpoint, Source};
pub use error::{
    AddPeerError, DecapsulateError, Dropped, EncapsulateError, NoSuchPeer, NotAdmitted, NotReady, OpenError,
    Rejected, SealError, SessionGone, StageError,
};
pub use event::{Event, Wake};
pub use index::{PeerIndex, SessionIndex};
pub use inner::InnerPacket;
pub use key::{KEY_BYTES, NotAKey, PresharedKey, PrivateKey, PublicKey};
pub use load::QueueLoad;
pub use mac1::{Admitted, Mac1Filter};
pub use message::{
    COOKIE_REPLY_BYTES, HEADER_BYTES, INITIATION_BYTES, Malformed, MessageKind, OVERHEAD_BYTES,
    RESPONSE_BYTES, TAG_BYTES, classify, padded_len,
};
pub use outcome::{Decapsulated, Encapsulated, Handled, Transmit};
pub use session::{Opened, RxKey};
pub use siphash::SipHash;
pub use time::{Instant, UnixTime};
pub use timers::Timer;
pub use view::PeerView;

pub use ipnet::IpNet;
