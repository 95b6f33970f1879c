//! The admin socket: how `status` and its like ask the running program. Local, for its owner only, one JSON document
//! a line, every line and every wait bounded.
//!
//! A client sends one [`Request`] and reads [`Reply`]s: any number of items, then how it ended.

pub mod answers;
pub mod client;
pub mod collect;
pub mod message;
pub mod print;
pub mod report;
pub mod server;
pub mod table;
mod words;

pub use client::ask;
pub use message::{AccessRequest, Refusal, Reply, Request};
pub use server::{AdminServer, Answer};
