//! From a decision to a packet: policy, what it compiles to, the rules a node makes of it, and what then passes.

mod endings;
mod flows;
mod plant;
