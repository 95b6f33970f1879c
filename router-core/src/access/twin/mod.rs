//! The policy against a model without any cleverness, driven by actors who do whatever they can, in any order.
//!
//! `office` is what a server does with the policy, and routers that hear of it late or not at all; `naive` says what the
//! specification says, over sets of packets in a small universe; `actors` are the deeds.

mod actors;
mod naive;
mod office;
mod tests;
