//! Whole networks in the simulator: tunnels, links, hosts and attackers around real nodes, in virtual time. One program, because
//! linking a dozen would take longer than running them.

mod access;
mod attackers;
mod cases;
mod chain;
mod common;
mod endings;
mod gateway;
mod golden;
mod outsiders;
mod pair;
mod random;
mod taken_over;
