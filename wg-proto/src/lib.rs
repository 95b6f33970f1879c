//! The WireGuard protocol as a state machine: bytes, time and randomness in; bytes and events out.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
