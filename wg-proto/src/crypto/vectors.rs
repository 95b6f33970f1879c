//! Known answers for hashing and cookies, and for each back end alone and against the other. Values: RFC 7693
//! appendix B, RFC 7748 §5.2 and §6.1, RFC 8439 §2.8.2, and an independent implementation in another language.

use alloc::vec::Vec;

use super::hash::{hash, hmac, kdf1, kdf2, kdf3, mac};
use super::rustcrypto::{open_cookie, seal_cookie};
use super::{ChaChaPoly, DiffieHellman, Plain, rustcrypto};

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn key(text: &str) -> [u8; 32] {
    unhex(text).try_into().unwrap()
}

/// 0, 1, 2, …
fn counting<const N: usize>(from: u8) -> [u8; N] {
    core::array::from_fn(|i| from + i as u8)
}

#[test]
fn blake2s_has_its_known_answers() {
    assert_eq!(
        hash(&[b"a", b"", b"bc"]).to_vec(),
        unhex("508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982")
    );
    assert_eq!(mac(&counting::<32>(0), &[b"ab", b"c"]).to_vec(), unhex("61ba5f165c194692e09d12520cc4c74a"));
}

#[test]
fn hmac_and_key_derivation_have_their_known_answers() {
    let chaining = counting(0);
    assert_eq!(
        hmac(&chaining, b"abc").to_vec(),
        unhex("82623be5bc0a391b24dce53e67d028eff92d586de0485ac37822e597d049c74f")
    );
    let (first, second, third) = kdf3(&chaining, b"input");
    assert_eq!(first.to_vec(), unhex("87b7f70b24183c6db5dc4f6d9f4c47cdb203321aa2a0bef714896adb3107a040"));
    assert_eq!(second.to_vec(), unhex("538a02e1eb2e31b7e4d4b82476d1fe2acf50085d3fb584537279195f5d1f5824"));
    assert_eq!(third.to_vec(), unhex("9ad858025593be88de0f9442a589cfe84a88dc19e4753d93684d1c5efc4837f9"));
    assert_eq!(kdf1(&chaining, b"input"), first);
    assert_eq!(kdf2(&chaining, b"input"), (first, second));
}

#[test]
fn cookies_have_their_known_answer() {
    let responder = unhex("0faa684ed28867b97f4a6a2dee5df8ce974e76b7018e3f22a1c4cf2678570f20");
    let cookie: [u8; 16] = mac(&[0x55; 32], &[&[192, 0, 2, 1], &51820u16.to_be_bytes()]);
    assert_eq!(cookie.to_vec(), unhex("38f01bbdf72bd5db6271696f0485843d"));
    let (key, mac1) = (hash(&[b"cookie--", &responder]), unhex("d8dcab803522717136fe97921747e0e6"));
    let sealed = seal_cookie(&key, &counting(0), &mac1, &cookie);
    assert_eq!(sealed.to_vec(), unhex("22c1f8c07ce0bc00befe01cf3a3191167bb185f83e09da0dd08af651a8e450e0"));
    assert_eq!(open_cookie(&key, &counting(0), &mac1, &sealed), Some(cookie));
    assert_eq!(open_cookie(&key, &counting(1), &mac1, &sealed), None);
    assert_eq!(open_cookie(&key, &counting(0), &mac1[1..], &sealed), None);
}

/// The seven points of low order, and encodings of them that are not reduced (RFC 7748 §7 warns of them).
pub(crate) const LOW_ORDER_POINTS: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

fn agreement_vectors<D: DiffieHellman>() {
    let secret = D::new(&key("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"));
    let theirs = key("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
    let shared = secret.agree(&theirs).unwrap();
    assert_eq!(*shared, key("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"));
    let alice = D::new(&counting(1));
    let bob = D::new(&key("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
    assert_eq!(bob.public(), key("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"));
    assert_eq!(alice.agree(&bob.public()), bob.agree(&alice.public()));
    for point in LOW_ORDER_POINTS {
        assert_eq!(secret.agree(&key(point)), None, "{point}");
    }
}

/// RFC 8439 §2.8.2 has a nonce whose first four bytes are not zero, which the protocol never uses; so the answer
/// for a transport packet is the independent implementation's.
fn cipher_vectors<A: ChaChaPoly>() {
    let cipher = A::new(&key("870ea0fffff57deb751f6fc7b30b0d26e672da21a0220f4869266c9df64e8ffc"));
    let packet = unhex(
        "040000000d0c0b0a0700000000000000037768e0ac430bc4051247e9a0f44602021ec15c291980cbccf0d2a82f8da3ed",
    );
    let mut sealed = packet[16..].to_vec();
    cipher.open(7, &mut sealed).unwrap();
    assert_eq!(sealed[..16], *b"sixteen bytes ok");
    assert!(cipher.open(8, &mut packet[16..].to_vec()).is_err());
    assert!(cipher.open(7, &mut packet[16..47].to_vec()).is_err());
    assert!(cipher.open(7, &mut []).is_err());
    let (mut payload, mut tag) = (*b"sixteen bytes ok", [0; 16]);
    cipher.seal_run(7, [Plain { payload: &mut payload, tag: &mut tag }]);
    assert_eq!([payload, tag].concat(), packet[16..]);
}

fn seals_what_the_other_opens<A: ChaChaPoly, B: ChaChaPoly>() {
    for len in [0, 1, 15, 16, 17, 63, 64, 65, 1420, 9000] {
        let (left, right) = (A::new(&[7; 32]), B::new(&[7; 32]));
        let mut payloads: [Vec<u8>; 3] = core::array::from_fn(|i| alloc::vec![i as u8; len]);
        let mut tags = [[0; 16]; 3];
        let run = payloads.iter_mut().zip(&mut tags).map(|(payload, tag)| Plain { payload, tag });
        left.seal_run(40, run);
        for (i, (payload, tag)) in payloads.iter().zip(&tags).enumerate() {
            let mut sealed = [&payload[..], tag].concat();
            right.open(40 + i as u64, &mut sealed).unwrap();
            assert_eq!(sealed[..len], alloc::vec![i as u8; len]);
        }
        let (mut field, mut tag) = (alloc::vec![5; len], [0; 16]);
        left.seal_field(&[1; 32], Plain { payload: &mut field, tag: &mut tag });
        field.extend(tag);
        assert!(right.open_field(&[2; 32], &mut field.clone()).is_err());
        right.open_field(&[1; 32], &mut field).unwrap();
        assert_eq!(field[..len], alloc::vec![5; len]);
    }
}

#[test]
fn rustcrypto_has_its_known_answers() {
    agreement_vectors::<rustcrypto::DhSecret>();
    cipher_vectors::<rustcrypto::Aead>();
    seals_what_the_other_opens::<rustcrypto::Aead, rustcrypto::Aead>();
}

#[cfg(feature = "aws-lc-rs")]
mod both {
    use super::super::aws_lc;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn aws_lc_has_its_known_answers() {
        agreement_vectors::<aws_lc::DhSecret>();
        cipher_vectors::<aws_lc::Aead>();
    }

    #[test]
    fn the_back_ends_open_each_others_packets() {
        seals_what_the_other_opens::<aws_lc::Aead, rustcrypto::Aead>();
        seals_what_the_other_opens::<rustcrypto::Aead, aws_lc::Aead>();
    }

    proptest! {
        #[test]
        fn the_back_ends_agree_on_every_secret_and_point(secret: [u8; 32], point: [u8; 32]) {
            let (left, right) = (aws_lc::DhSecret::new(&secret), rustcrypto::DhSecret::new(&secret));
            prop_assert_eq!(left.public(), right.public());
            prop_assert_eq!(left.agree(&point), right.agree(&point));
        }
    }
}
