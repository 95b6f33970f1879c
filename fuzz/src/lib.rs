//! What the fuzzers feed: each target is a plain function from bytes, which panics when a promise is broken, and counts
//! what it reached. Read first: docs/fuzzing.md.
//!
//! `cargo test` replays `corpus/<target>/` on stable; `cargo xtask fuzz <target>` searches for more, on stable, too. A
//! file that made a target panic is replayed alone with `cargo run --bin <target> -- FILE`; give it a name and put it
//! into the corpus.
//!
//! To add a target: a module with its function and its outcomes, a line in [`TARGETS`], a file in `fuzz_targets/` with
//! its `[[bin]]`, a directory in `corpus/` with at least one input. `cargo test` says what is missing.

mod admin_conversation;
mod config_file;
mod control_frames;
mod fragment_sequence;
mod handshake_pair;
mod icmp_quote;
mod input;
mod ip_packet;
mod nat_operations;
mod offload_packets;
mod pair;
mod router_packets;
mod stack_packets;
mod tally;
mod transport_operations;
mod uapi_conversation;
mod wireguard_datagram;

pub use input::Input;
pub use tally::Tally;

#[cfg(fuzzing)]
pub use libfuzzer_sys;

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, that of its program and its corpus.
    pub name: &'static str,
    /// What it does with an input.
    pub run: fn(&[u8], &mut Tally),
    /// All that can come of an input. The committed ones reach each of them.
    pub outcomes: &'static [&'static str],
}

/// Every target, by name.
pub const TARGETS: &[Target] = &[
    admin_conversation::TARGET,
    config_file::TARGET,
    control_frames::TARGET,
    fragment_sequence::TARGET,
    handshake_pair::TARGET,
    icmp_quote::TARGET,
    ip_packet::TARGET,
    nat_operations::TARGET,
    offload_packets::TARGET,
    router_packets::TARGET,
    stack_packets::TARGET,
    transport_operations::TARGET,
    uapi_conversation::TARGET,
    wireguard_datagram::TARGET,
];

/// The target of this name, and what it reached with this input. For the programs.
///
/// # Panics
/// If there is no such target, and if a promise is broken.
pub fn run(name: &str, data: &[u8]) -> Tally {
    let mut tally = Tally::default();
    let target =
        TARGETS.iter().find(|target| target.name == name).expect("a program is called like its target");
    (target.run)(data, &mut tally);
    tally
}

/// The body of a file in `fuzz_targets/`: libFuzzer's entry when fuzzing, else a program that replays files and shows
/// what they reach.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        #[cfg(fuzzing)]
        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| drop($crate::run(stringify!($name), data)));

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            for file in std::env::args_os().skip(1) {
                let tally = $crate::run(stringify!($name), &std::fs::read(&file)?);
                println!("{}: {:?}", file.display(), tally);
            }
            Ok(())
        }
    };
}
