//! Network-namespace topologies with real peers and real clients.
