//! Identities of rules that a file defines: the same rule has the same one at every reload, so that what stays keeps
//! its flows.

use router_core::rules::SessionId;

/// The identity of what `parts` name together. FNV-1a over the parts with their lengths: the file is the operator's
/// own, so nobody looks for collisions, and by chance two of 128 bits never meet.
pub fn of(parts: &[&str]) -> SessionId {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mix = |hash: u128, byte: u8| (hash ^ u128::from(byte)).wrapping_mul(PRIME);
    let whole = parts.iter().fold(OFFSET, |hash, part| {
        let hash = part.len().to_le_bytes().into_iter().fold(hash, mix);
        part.bytes().fold(hash, mix)
    });
    SessionId(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_parts_have_the_same_identity_and_others_another() {
        assert_eq!(of(&["10.77.0.2", "db"]), of(&["10.77.0.2", "db"]));
        for other in
            [&["10.77.0.2", "db2"][..], &["10.77.0.2d", "b"], &["10.77.0.2db"], &["10.77.0.2", "db", ""]]
        {
            assert_ne!(of(&["10.77.0.2", "db"]), of(other), "{other:?}");
        }
    }
}
