//! A leader and a follower over a wire that delays and breaks, in virtual time, against a model node. Whatever happens, nothing
//! passes that must not (P15, P16), and once it is quiet both are in step (P17).

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

mod items;
mod node;
mod pair;
mod story;

mod random;
