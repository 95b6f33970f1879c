//! What a router does with packets, rule by rule of the specification: packets in, verdicts and packets out, no tunnel
//! around them. The same through real tunnels and lossy links: the simulator's tests.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names the outcome it wants")]

mod admission;
mod chains;
mod desk;
mod filter;
mod fragments;
mod hops;
mod icmp_errors;
mod pings;
mod senders;
mod sessions;
mod snapshots;
mod sockets;
mod tcp;
mod told;
mod translation;
