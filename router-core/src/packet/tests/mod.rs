//! Tests of the packet views, one file per verb.

mod build;
mod chain;
mod mss;
mod parse;
mod quote;
mod samples;
mod split;
mod translate;
