//! Terminates WireGuard tunnels, enforces session rules, translates, forwards.

fn main() {}
