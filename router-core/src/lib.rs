//! Routes decrypted IP packets. Holds no socket, reads no clock, draws no randomness: callers pass all three.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod access;
mod config;
mod datapath;
pub mod flow;
pub mod fragments;
mod index;
mod limits;
pub mod nat;
mod node;
pub mod packet;
pub mod rules;
pub mod selector;
#[cfg(feature = "sim")]
pub mod sim;
mod verdict;

pub use config::{FLOW_V4_BYTES, FLOW_V6_BYTES, Mode, NodeConfig};
#[cfg(feature = "sim")]
pub use datapath::Question;
pub use datapath::{EndedFlow, Explanation, FlowView, Heard, Refusals, RefusedPacket};
pub use node::{Event, Node, NodeTransmit, NodeWake};
pub use verdict::{
    Counters, DropReason, Egress, Forward, Ingress, Offload, Reaction, Refusal, Verdict, reaction,
};
