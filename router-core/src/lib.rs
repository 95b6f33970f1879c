//! Routes decrypted IP packets. Holds no socket, reads no clock, draws no randomness: callers pass all three.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod flow;
pub mod fragments;
pub mod nat;
pub mod packet;
