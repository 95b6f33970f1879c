//! Randomness: a stream seeded by the caller once. The device draws everything from it, so a run with the
//! same seed and the same inputs repeats itself.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng, TryRng};
use zeroize::{Zeroize, Zeroizing};

use core::convert::Infallible;
use core::time::Duration;

use crate::constants::JITTER_MAX;
use crate::crypto::{Secret, hash};

/// ChaCha20 under the caller's seed.
pub(crate) struct DeviceRng(ChaCha20Rng);

impl DeviceRng {
    pub(crate) fn new(mut seed: [u8; 32]) -> DeviceRng {
        let rng = DeviceRng(ChaCha20Rng::from_seed(seed));
        seed.zeroize();
        rng
    }

    /// Mixes fresh entropy in; the stream stays unpredictable if either was.
    pub(crate) fn reseed(&mut self, entropy: &[u8; 32]) {
        let old = self.secret();
        *self = DeviceRng::new(hash::hash(&[&*old, entropy]));
    }

    /// 32 secret bytes. The generator's own key is replaced at once, so that who reads this memory later cannot
    /// compute what was drawn before: ephemeral keys must not outlive their handshake, in any form.
    pub(crate) fn secret(&mut self) -> Secret {
        let (mut secret, mut next) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
        self.fill_bytes(&mut *secret);
        self.fill_bytes(&mut *next);
        self.0 = ChaCha20Rng::from_seed(*next);
        secret
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill_bytes(&mut bytes);
        bytes
    }

    /// A uniform delay from zero to [`JITTER_MAX`].
    pub(crate) fn jitter(&mut self) -> Duration {
        let span = JITTER_MAX.as_nanos() as u64 + 1;
        Duration::from_nanos(((u128::from(self.next_u64()) * u128::from(span)) >> 64) as u64)
    }
}

/// Overwrites the generator's key.
impl Drop for DeviceRng {
    fn drop(&mut self) {
        self.0 = ChaCha20Rng::from_seed([0; 32]);
        core::hint::black_box(&self.0);
    }
}

/// What makes it a `rand_core::Rng`.
impl TryRng for DeviceRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_covers_its_range_and_no_more() {
        let mut rng = DeviceRng::new([3; 32]);
        let draws: alloc::vec::Vec<_> = (0..10_000).map(|_| rng.jitter()).collect();
        assert!(draws.iter().all(|jitter| *jitter <= JITTER_MAX));
        assert!(draws.iter().any(|jitter| *jitter < Duration::from_millis(3)));
        assert!(draws.iter().any(|jitter| *jitter > Duration::from_millis(330)));
    }

    #[test]
    fn a_drawn_secret_cannot_be_computed_from_the_generator_afterwards() {
        let mut rng = DeviceRng::new([3; 32]);
        let before = rng.0.get_seed();
        let secret = rng.secret();
        let after = rng.0.get_seed();
        assert_ne!(before, after);
        assert_eq!(*DeviceRng::new(before).secret(), *secret);
        assert_ne!(*DeviceRng::new(after).secret(), *secret);
    }

    #[test]
    fn reseeding_changes_the_stream() {
        let (mut left, mut right) = (DeviceRng::new([3; 32]), DeviceRng::new([3; 32]));
        assert_eq!(left.secret(), right.secret());
        right.reseed(&[1; 32]);
        assert_ne!(left.secret(), right.secret());
    }
}
