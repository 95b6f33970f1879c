//! What the fuzzers feed: each target is a plain function from bytes, which panics when a promise is broken.
//!
//! `cargo test` replays `corpus/<target>/` on stable. `cargo fuzz run -s none <target>` searches for more, on stable,
//! too. A file that made a target panic is replayed alone with `cargo run --bin <target> -- FILE`; give it a name and
//! put it into the corpus.
//!
//! To add a target: a module with its function and a line in [`TARGETS`], a file in `fuzz_targets/` with its `[[bin]]`,
//! a directory in `corpus/` with at least one input. `cargo test` says what is missing.

mod admin_conversation;
mod config_file;
mod fragment_sequence;
mod handshake_pair;
mod icmp_quote;
mod input;
mod ip_packet;
mod nat_operations;
mod pair;
mod transport_operations;
mod uapi_conversation;
mod wireguard_datagram;

pub use admin_conversation::admin_conversation;
pub use config_file::config_file;
pub use fragment_sequence::fragment_sequence;
pub use handshake_pair::handshake_pair;
pub use icmp_quote::icmp_quote;
pub use input::Input;
pub use ip_packet::ip_packet;
pub use nat_operations::nat_operations;
pub use transport_operations::transport_operations;
pub use uapi_conversation::uapi_conversation;
pub use wireguard_datagram::wireguard_datagram;

#[cfg(fuzzing)]
pub use libfuzzer_sys;

/// A fuzz target: its name and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, by name.
pub const TARGETS: &[Target] = &[
    ("admin_conversation", admin_conversation),
    ("config_file", config_file),
    ("fragment_sequence", fragment_sequence),
    ("handshake_pair", handshake_pair),
    ("icmp_quote", icmp_quote),
    ("ip_packet", ip_packet),
    ("nat_operations", nat_operations),
    ("transport_operations", transport_operations),
    ("uapi_conversation", uapi_conversation),
    ("wireguard_datagram", wireguard_datagram),
];

/// The body of a file in `fuzz_targets/`: libFuzzer's entry under cargo-fuzz, else a program that replays files.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        #[cfg(fuzzing)]
        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::$name(data));

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            for file in std::env::args_os().skip(1) {
                $crate::$name(&std::fs::read(file)?);
            }
            Ok(())
        }
    };
}
