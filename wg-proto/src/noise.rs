//! Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s: the three steps of a handshake, as functions without side effects.
//! Read first: whitepaper §5.4.2, §5.4.3, §5.4.5. Called by device, which owns indices, time and peers.

use crate::crypto::hash::{hash, kdf1, kdf2, kdf3};
use crate::crypto::{Aead, ChaChaPoly, DhSecret, DiffieHellman, Plain, Secret};
use crate::index::SessionIndex;
use crate::key::{PrivateKey, PublicKey};
use crate::message::{Initiation, Response};
use crate::session::{Role, SessionKeys};
use crate::tai64n::Tai64n;

use zeroize::Zeroizing;

/// The first chaining key of every handshake: the hash of the construction's name.
const FIRST_CHAINING_KEY: [u8; 32] = [
    0x60, 0xe2, 0x6d, 0xae, 0xf3, 0x27, 0xef, 0xc0, 0x2e, 0xc3, 0x35, 0xe2, 0xa0, 0x25, 0xd2, 0xd0, 0x16,
    0xeb, 0x42, 0x06, 0xf8, 0x72, 0x77, 0xf5, 0x2d, 0x38, 0xd1, 0x98, 0x8b, 0x78, 0xcd, 0x36,
];
/// The first hash of every handshake: that of the first chaining key and the protocol's identifier.
const FIRST_HASH: [u8; 32] = [
    0x22, 0x11, 0xb3, 0x61, 0x08, 0x1a, 0xc5, 0x66, 0x69, 0x12, 0x43, 0xdb, 0x45, 0x8a, 0xd5, 0x32, 0x2d,
    0x9c, 0x6c, 0x66, 0x22, 0x93, 0xe8, 0xb7, 0x0e, 0xe1, 0x9c, 0x65, 0xba, 0x07, 0x9e, 0xf3,
];

/// Our static key, with what is derived from it once.
pub(crate) struct Identity {
    pub(crate) private_key: PrivateKey,
    pub(crate) public_key: PublicKey,
    secret: DhSecret,
}

impl Identity {
    pub(crate) fn new(private_key: PrivateKey) -> Identity {
        let secret = DhSecret::new(private_key.as_bytes());
        Identity { public_key: PublicKey::from_bytes(secret.public()), private_key, secret }
    }

    /// The agreement with a peer's static key, or `None` for a low-order key.
    pub(crate) fn agree(&self, theirs: &PublicKey) -> Option<Secret> {
        self.secret.agree(theirs.as_bytes())
    }
}

/// Why a handshake step failed. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoiseError {
    /// An agreement was all zero.
    LowOrderPoint,
    /// A field does not authenticate.
    NotAuthentic,
}

/// Chaining key and transcript hash.
#[derive(Clone)]
struct Transcript {
    chaining_key: Secret,
    hash: [u8; 32],
}

impl Transcript {
    /// The transcript of a handshake towards `responder`.
    fn new(responder: &PublicKey) -> Transcript {
        let hash = hash(&[&FIRST_HASH, responder.as_bytes()]);
        Transcript { chaining_key: Zeroizing::new(FIRST_CHAINING_KEY), hash }
    }

    fn mix_hash(&mut self, bytes: &[u8]) {
        self.hash = hash(&[&self.hash, bytes]);
    }

    /// A public ephemeral key enters both hash and chaining key (the "psk" in IKpsk2 asks for the latter).
    fn mix_ephemeral(&mut self, ephemeral: &[u8; 32]) {
        self.mix_hash(ephemeral);
        self.mix_secret(ephemeral);
    }

    fn mix_secret(&mut self, secret: &[u8; 32]) {
        self.chaining_key = kdf1(&self.chaining_key, secret);
    }

    /// Mixes an agreement in and returns the key of the next field.
    fn mix_key(&mut self, secret: &[u8; 32]) -> Secret {
        let (chaining_key, key) = kdf2(&self.chaining_key, secret);
        self.chaining_key = chaining_key;
        key
    }

    /// Mixes the preshared key in and returns the key of the last field.
    fn mix_preshared(&mut self, preshared_key: &[u8; 32]) -> Secret {
        let (chaining_key, tau, key) = kdf3(&self.chaining_key, preshared_key);
        self.chaining_key = chaining_key;
        self.mix_hash(&*tau);
        key
    }

    /// Seals `text` followed by room for its tag, and mixes the result in.
    fn seal(&mut self, key: &[u8; 32], field: &mut [u8]) {
        let (payload, tag) = field.split_last_chunk_mut().expect("fields end in a tag");
        Aead::new(key).seal_field(&self.hash, Plain { payload, tag });
        self.mix_hash(field);
    }

    /// Opens a copy of `field`, and mixes the sealed original in.
    fn open<const N: usize>(&mut self, key: &[u8; 32], field: &[u8; N]) -> Result<[u8; N], NoiseError> {
        let mut opened = *field;
        Aead::new(key).open_field(&self.hash, &mut opened).map_err(|_| NoiseError::NotAuthentic)?;
        self.mix_hash(field);
        Ok(opened)
    }

    /// The two transport keys: first the initiator's, then the responder's sending key (whitepaper §5.4.5).
    fn split(&self) -> (Secret, Secret) {
        kdf2(&self.chaining_key, &[])
    }
}

/// What an initiator keeps until the response comes.
pub(crate) struct InitiatorState {
    transcript: Transcript,
    ephemeral: DhSecret,
}

/// What goes into an initiation.
pub(crate) struct InitiationInput<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) theirs: &'a PublicKey,
    /// The agreement of both static keys.
    pub(crate) static_secret: &'a Secret,
    /// Fresh random bytes.
    pub(crate) ephemeral: &'a Secret,
    pub(crate) sender: SessionIndex,
    pub(crate) stamp: Tai64n,
}

/// Step one, initiator: makes the initiation.
pub(crate) fn initiate(input: &InitiationInput<'_>) -> Result<(Initiation, InitiatorState), NoiseError> {
    let mut transcript = Transcript::new(input.theirs);
    let secret = DhSecret::new(input.ephemeral);
    let ephemeral = secret.public();
    transcript.mix_ephemeral(&ephemeral);
    let key = transcript.mix_key(&*agree(&secret, input.theirs.as_bytes())?);
    let mut sealed_static = [0; 48];
    sealed_static[..32].copy_from_slice(input.identity.public_key.as_bytes());
    transcript.seal(&key, &mut sealed_static);
    let key = transcript.mix_key(input.static_secret);
    let mut sealed_timestamp = [0; 28];
    sealed_timestamp[..12].copy_from_slice(input.stamp.as_bytes());
    transcript.seal(&key, &mut sealed_timestamp);
    let message = Initiation { sender: input.sender, ephemeral, sealed_static, sealed_timestamp };
    Ok((message, InitiatorState { transcript, ephemeral: secret }))
}

/// An initiation whose sender claims to be `theirs`: authentic only once its time stamp opens.
pub(crate) struct ClaimedInitiation {
    transcript: Transcript,
    message: Initiation,
    pub(crate) theirs: PublicKey,
}

/// An authentic initiation.
pub(crate) struct AuthenticInitiation {
    transcript: Transcript,
    message: Initiation,
    theirs: PublicKey,
    pub(crate) stamp: Tai64n,
}

/// Step two, responder, first half: learns who the sender claims to be. One agreement.
pub(crate) fn read_initiation(
    identity: &Identity,
    message: Initiation,
) -> Result<ClaimedInitiation, NoiseError> {
    let mut transcript = Transcript::new(&identity.public_key);
    transcript.mix_ephemeral(&message.ephemeral);
    let key = transcript.mix_key(&*agree(&identity.secret, &message.ephemeral)?);
    let opened = transcript.open(&key, &message.sealed_static)?;
    let theirs = PublicKey::from_bytes(*opened.first_chunk().expect("48 bytes hold a key"));
    Ok(ClaimedInitiation { transcript, message, theirs })
}

impl ClaimedInitiation {
    /// Checks the claim with the agreement of both static keys, and gives the time stamp out. No agreement.
    pub(crate) fn authenticate(self, static_secret: &Secret) -> Result<AuthenticInitiation, NoiseError> {
        let ClaimedInitiation { mut transcript, message, theirs } = self;
        let key = transcript.mix_key(static_secret);
        let opened = transcript.open(&key, &message.sealed_timestamp)?;
        let stamp = Tai64n::from_bytes(*opened.first_chunk().expect("28 bytes hold a time stamp"));
        Ok(AuthenticInitiation { transcript, message, theirs, stamp })
    }
}

/// What goes into a response.
pub(crate) struct ResponseInput<'a> {
    pub(crate) preshared_key: &'a [u8; 32],
    /// Fresh random bytes.
    pub(crate) ephemeral: &'a Secret,
    pub(crate) sender: SessionIndex,
    pub(crate) serial: u64,
}

impl AuthenticInitiation {
    /// Step two, responder, second half: makes the response and the session. Two agreements.
    pub(crate) fn respond(self, input: &ResponseInput<'_>) -> Result<(Response, SessionKeys), NoiseError> {
        let mut transcript = self.transcript;
        let secret = DhSecret::new(input.ephemeral);
        let ephemeral = secret.public();
        transcript.mix_ephemeral(&ephemeral);
        transcript.mix_secret(&*agree(&secret, &self.message.ephemeral)?);
        transcript.mix_secret(&*agree(&secret, self.theirs.as_bytes())?);
        let key = transcript.mix_preshared(input.preshared_key);
        let mut sealed_empty = [0; 16];
        transcript.seal(&key, &mut sealed_empty);
        let (receive, send) = transcript.split();
        let (local, remote, serial) = (input.sender, self.message.sender, input.serial);
        let keys = SessionKeys { role: Role::Responder, local, remote, send, receive, serial };
        Ok((Response { sender: local, receiver: remote, ephemeral, sealed_empty }, keys))
    }
}

impl InitiatorState {
    /// Step three, initiator: checks the response and makes the session. Leaves the state as it was, so that a
    /// forged response costs nothing but two agreements.
    pub(crate) fn read_response(
        &self,
        identity: &Identity,
        preshared_key: &[u8; 32],
        message: &Response,
        serial: u64,
    ) -> Result<SessionKeys, NoiseError> {
        let mut transcript = self.transcript.clone();
        transcript.mix_ephemeral(&message.ephemeral);
        transcript.mix_secret(&*agree(&self.ephemeral, &message.ephemeral)?);
        transcript.mix_secret(&*agree(&identity.secret, &message.ephemeral)?);
        let key = transcript.mix_preshared(preshared_key);
        transcript.open(&key, &message.sealed_empty)?;
        let (send, receive) = transcript.split();
        let (local, remote) = (message.receiver, message.sender);
        Ok(SessionKeys { role: Role::Initiator, local, remote, send, receive, serial })
    }
}

fn agree(secret: &DhSecret, theirs: &[u8; 32]) -> Result<Secret, NoiseError> {
    secret.agree(theirs).ok_or(NoiseError::LowOrderPoint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cookie::CookieJar;
    use crate::crypto::vectors::{LOW_ORDER_POINTS, unhex};
    use crate::mac1::Mac1Filter;
    use crate::time::{Instant, UnixTime};

    /// A whole handshake with fixed keys, made by an independent implementation in another language.
    const INITIATION: &str = concat!(
        "01000000040302017b0d47d93427f8311160781c7c733fd89f88970aef490d8aa0ee19a4cb8a1b1481e498317da9",
        "59fba46669572516a5e6c021bfa620bb6c56ca0082e1feae14988c2c64d024c617734a263f76a008df04d0f94bad",
        "8ee75ec8e4c2695598baaff7c562e307cd8cd549e6bb78f0d8dcab803522717136fe97921747e0e6000000000000",
        "00000000000000000000"
    );
    const RESPONSE: &str = concat!(
        "020000000d0c0b0a04030201ff2ee45601ec1b67310c7790404585ae697331eee1c1f8cf2419731c1fff3e6bd172",
        "e74ac617015ba2b38123897660b8a3b5129a8ba3ed5feb1ba9274cbe3be300000000000000000000000000000000"
    );
    const INITIATOR_SENDS_WITH: &str = "870ea0fffff57deb751f6fc7b30b0d26e672da21a0220f4869266c9df64e8ffc";
    const RESPONDER_SENDS_WITH: &str = "4dc2b0020d17e7ceb0d34eb369c5da695190a92fd30eee6d12db56f49a9f7aae";

    struct Sides {
        initiator: Identity,
        responder: Identity,
        preshared_key: [u8; 32],
    }

    fn sides() -> Sides {
        let identity = |byte| Identity::new(PrivateKey::from_bytes([byte; 32]));
        Sides {
            initiator: identity(0x11),
            responder: identity(0x22),
            preshared_key: core::array::from_fn(|i| i as u8),
        }
    }

    fn initiation(sides: &Sides) -> (Initiation, InitiatorState) {
        let input = InitiationInput {
            identity: &sides.initiator,
            theirs: &sides.responder.public_key,
            static_secret: &sides.initiator.agree(&sides.responder.public_key).unwrap(),
            ephemeral: &Zeroizing::new([0x33; 32]),
            sender: SessionIndex::new(0x0102_0304),
            stamp: Tai64n::ZERO.next(UnixTime::new(0x6553_f100, 5 << 24)),
        };
        initiate(&input).unwrap()
    }

    fn response(sides: &Sides, message: Initiation) -> (Response, SessionKeys) {
        let claimed = read_initiation(&sides.responder, message).unwrap();
        assert_eq!(claimed.theirs, sides.initiator.public_key);
        let static_secret = sides.responder.agree(&claimed.theirs).unwrap();
        let authentic = claimed.authenticate(&static_secret).unwrap();
        let input = ResponseInput {
            preshared_key: &sides.preshared_key,
            ephemeral: &Zeroizing::new([0x44; 32]),
            sender: SessionIndex::new(0x0a0b_0c0d),
            serial: 0,
        };
        authentic.respond(&input).unwrap()
    }

    fn signed<const N: usize>(mut message: [u8; N], theirs: &PublicKey) -> [u8; N] {
        CookieJar::default().sign(Instant::from_nanos(0), theirs, &mut message);
        message
    }

    #[test]
    fn the_handshake_has_its_known_answer_in_every_byte() {
        let sides = sides();
        let (initiation, state) = initiation(&sides);
        let bytes = signed(initiation.write(), &sides.responder.public_key);
        assert_eq!(bytes.to_vec(), unhex(INITIATION));
        assert!(Mac1Filter::new(Some(sides.responder.public_key)).admit(&bytes).is_ok());
        let (message, theirs) = response(&sides, Initiation::read(&bytes));
        let bytes = signed(message.write(), &sides.initiator.public_key);
        assert_eq!(bytes.to_vec(), unhex(RESPONSE));
        let message = Response::read(&bytes);
        let ours = state.read_response(&sides.initiator, &sides.preshared_key, &message, 0).unwrap();
        for (secret, expected) in [
            (&ours.send, INITIATOR_SENDS_WITH),
            (&ours.receive, RESPONDER_SENDS_WITH),
            (&theirs.send, RESPONDER_SENDS_WITH),
            (&theirs.receive, INITIATOR_SENDS_WITH),
        ] {
            assert_eq!(secret.to_vec(), unhex(expected));
        }
    }

    #[test]
    fn handshakes_begin_with_the_hashes_of_the_protocols_names() {
        assert_eq!(FIRST_CHAINING_KEY, hash(&[b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"]));
        assert_eq!(FIRST_HASH, hash(&[&FIRST_CHAINING_KEY, b"WireGuard v1 zx2c4 Jason@zx2c4.com"]));
    }

    #[test]
    fn another_preshared_key_fails_at_the_response() {
        let mut sides = sides();
        let (initiation, state) = initiation(&sides);
        let (message, _) = response(&sides, initiation);
        sides.preshared_key[31] ^= 1;
        let keys = state.read_response(&sides.initiator, &sides.preshared_key, &message, 0);
        assert_eq!(keys.map(|_| ()), Err(NoiseError::NotAuthentic));
    }

    #[test]
    fn p12_low_order_points_end_the_handshake_at_every_step() {
        let sides = sides();
        for point in LOW_ORDER_POINTS {
            let point: [u8; 32] = unhex(point).try_into().unwrap();
            let theirs = PublicKey::from_bytes(point);
            assert!(sides.initiator.agree(&theirs).is_none());
            let (mut message, state) = initiation(&sides);
            message.ephemeral = point;
            let read = read_initiation(&sides.responder, message);
            assert_eq!(read.map(|_| ()), Err(NoiseError::LowOrderPoint));
            let (mut answer, _) = response(&sides, initiation(&sides).0);
            answer.ephemeral = point;
            let read = state.read_response(&sides.initiator, &sides.preshared_key, &answer, 0);
            assert_eq!(read.map(|_| ()), Err(NoiseError::LowOrderPoint));
        }
    }
}
