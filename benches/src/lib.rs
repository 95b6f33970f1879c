//! Shared inputs of the micro-benchmarks.
