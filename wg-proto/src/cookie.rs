//! Message authentication codes and cookies, both sides.
//!
//! `mac2` shows that the sender receives at the address it sends from: it is made with a cookie we sent there, bound to
//! address *and* port. (`mac1`, without which nothing is looked at, is checked in `mac1`.)
//! Read first: whitepaper §5.3, §5.4.4, §5.4.7; Linux cookie.c. Called by device.

use alloc::boxed::Box;
use core::net::{IpAddr, SocketAddr};

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::constants::{COOKIE_SECRET_LIFE, COOKIE_USED_FOR};
use crate::crypto::hash::{MAC_BYTES, MacKey, hash, mac, same_mac};
use crate::crypto::rustcrypto::{open_cookie, seal_cookie};
use crate::index::SessionIndex;
use crate::key::PublicKey;
use crate::mac1::mac1_key;
use crate::message::{COOKIE_REPLY_BYTES, CookieReply};
use crate::rng::DeviceRng;
use crate::time::Instant;

const LABEL_COOKIE: &[u8] = b"cookie--";

/// A cookie, or the MAC made with it.
type Mac = [u8; MAC_BYTES];

/// What a message shows of its sender's address.
pub(crate) enum Shown {
    /// The cookie that was sent there.
    Cookie,
    /// No `mac2`, or none that could be right.
    Nothing,
    /// A wrong `mac2`. Looking at it took the right cookie, which is kept for the answer.
    Another(Zeroizing<Mac>),
}

/// The side that receives handshake messages: makes cookies, checks that they are used.
pub(crate) struct CookieChecker {
    cookie_key: [u8; 32],
    secret: MacKey,
    secret_since: Option<Instant>,
}

impl CookieChecker {
    /// The checker of the device with this public key.
    pub(crate) fn new(our_key: &PublicKey) -> CookieChecker {
        CookieChecker {
            cookie_key: hash(&[LABEL_COOKIE, our_key.as_bytes()]),
            secret: MacKey::new(&[0; 32]),
            secret_since: None,
        }
    }

    /// Whether `message` carries the cookie of `src`.
    pub(crate) fn check(&self, now: Instant, src: SocketAddr, message: &[u8]) -> Shown {
        let alive = self.secret_since.is_some_and(|since| is_alive(now, since));
        // Who has no cookie sends zeros, and a flood sends nothing else: not worth a MAC.
        let Some(parts) = split_macs(message).filter(|parts| alive && *parts.mac2 != [0; MAC_BYTES]) else {
            return Shown::Nothing;
        };
        let cookie = self.cookie(src);
        if same_mac(&mac(&*cookie, &[parts.body, parts.mac1]), parts.mac2) {
            return Shown::Cookie;
        }
        Shown::Another(cookie)
    }

    /// The cookie of `src`, sealed so that only who saw `message` on its way can open it. `shown` is what the message showed
    /// at the same moment.
    pub(crate) fn reply(
        &mut self,
        now: Instant,
        rng: &mut DeviceRng,
        src: SocketAddr,
        message: &[u8],
        shown: Shown,
        receiver: SessionIndex,
    ) -> Option<[u8; COOKIE_REPLY_BYTES]> {
        let parts = split_macs(message)?;
        self.renew_secret(now, rng);
        let cookie = match shown {
            Shown::Another(cookie) => cookie,
            Shown::Nothing | Shown::Cookie => self.cookie(src),
        };
        let nonce = rng.bytes();
        let sealed_cookie = seal_cookie(&self.cookie_key, &nonce, parts.mac1, &cookie);
        Some(CookieReply { receiver, nonce, sealed_cookie }.write())
    }

    fn renew_secret(&mut self, now: Instant, rng: &mut DeviceRng) {
        if !self.secret_since.is_some_and(|since| is_alive(now, since)) {
            self.secret = MacKey::new(&*rng.secret());
            self.secret_since = Some(now);
        }
    }

    fn cookie(&self, src: SocketAddr) -> Zeroizing<Mac> {
        let port = src.port().to_be_bytes();
        Zeroizing::new(match src.ip().to_canonical() {
            IpAddr::V4(v4) => self.secret.mac(&[&v4.octets(), &port]),
            IpAddr::V6(v6) => self.secret.mac(&[&v6.octets(), &port]),
        })
    }
}

fn is_alive(now: Instant, since: Instant) -> bool {
    now.saturating_duration_since(since) < COOKIE_SECRET_LIFE
}

/// The side that sends handshake messages: signs them, keeps the cookie of a loaded peer. Memory only while used.
#[derive(Default)]
pub(crate) struct CookieJar(Option<Box<Jar>>);

#[derive(Default, Zeroize, ZeroizeOnDrop)]
struct Jar {
    /// `mac1` of the last message sent: a cookie reply is sealed to it. Used once.
    #[zeroize(skip)]
    sent_mac1: Option<Mac>,
    #[zeroize(skip)]
    received_at: Option<Instant>,
    cookie: Mac,
    /// The key of all that is sent: a jar belongs to one peer.
    #[zeroize(skip)]
    mac1_key: Option<MacKey>,
}

/// A cookie reply that answers no message of ours, or does not authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoCookie {
    /// Nothing was sent that it could answer.
    Unexpected,
    /// It is sealed to something else.
    NotAuthentic,
}

impl CookieJar {
    /// Writes both MACs of `message`; `mac2` stays zero without a fresh cookie.
    pub(crate) fn sign(&mut self, now: Instant, theirs: &PublicKey, message: &mut [u8]) {
        let Some(parts) = split_macs_mut(message) else {
            return;
        };
        let jar = self.0.get_or_insert_default();
        *parts.mac1 = jar.mac1_key.get_or_insert_with(|| mac1_key(theirs)).mac(&[parts.body]);
        jar.sent_mac1 = Some(*parts.mac1);
        if let Some(cookie) = jar.fresh_cookie(now) {
            *parts.mac2 = mac(cookie, &[parts.body, &*parts.mac1]);
        }
    }

    /// Keeps the cookie of `reply`, for at most [`COOKIE_USED_FOR`].
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        theirs: &PublicKey,
        reply: &CookieReply,
    ) -> Result<(), NoCookie> {
        let jar = self.0.as_deref_mut().ok_or(NoCookie::Unexpected)?;
        let mac1 = jar.sent_mac1.ok_or(NoCookie::Unexpected)?;
        let key = hash(&[LABEL_COOKIE, theirs.as_bytes()]);
        let cookie =
            open_cookie(&key, &reply.nonce, &mac1, &reply.sealed_cookie).ok_or(NoCookie::NotAuthentic)?;
        (jar.sent_mac1, jar.received_at, jar.cookie) = (None, Some(now), cookie);
        Ok(())
    }
}

impl Jar {
    fn fresh_cookie(&self, now: Instant) -> Option<&Mac> {
        let received_at = self.received_at?;
        (now.saturating_duration_since(received_at) < COOKIE_USED_FOR).then_some(&self.cookie)
    }
}

/// A handshake message as its MACs see it.
struct Parts<'a> {
    body: &'a [u8],
    mac1: &'a Mac,
    mac2: &'a Mac,
}

fn split_macs(message: &[u8]) -> Option<Parts<'_>> {
    let (rest, mac2) = message.split_last_chunk()?;
    let (body, mac1) = rest.split_last_chunk()?;
    Some(Parts { body, mac1, mac2 })
}

struct PartsMut<'a> {
    body: &'a [u8],
    mac1: &'a mut Mac,
    mac2: &'a mut Mac,
}

fn split_macs_mut(message: &mut [u8]) -> Option<PartsMut<'_>> {
    let (rest, mac2) = message.split_last_chunk_mut()?;
    let (body, mac1) = rest.split_last_chunk_mut()?;
    Some(PartsMut { body, mac1, mac2 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    struct Exchange {
        checker: CookieChecker,
        jar: CookieJar,
        rng: DeviceRng,
        key: PublicKey,
    }

    fn exchange() -> Exchange {
        let key = PublicKey::from_bytes([9; 32]);
        Exchange {
            checker: CookieChecker::new(&key),
            jar: CookieJar::default(),
            rng: DeviceRng::new([1; 32]),
            key,
        }
    }

    impl Exchange {
        fn signed(&mut self, now: u64) -> [u8; 148] {
            let mut message = [0x55; 148];
            message[132..].fill(0);
            self.jar.sign(Instant::from_nanos(now), &self.key, &mut message);
            message
        }

        fn fetch_cookie(&mut self, now: u64, src: &str) -> Result<(), NoCookie> {
            let message = self.signed(now);
            let (at, src) = (Instant::from_nanos(now), src.parse().unwrap());
            let reply = self.checker.answer(at, &mut self.rng, src, &message);
            self.jar.receive(at, &self.key, &CookieReply::read(&reply))
        }

        fn mac2_valid(&mut self, now: u64, src: &str) -> bool {
            let message = self.signed(now);
            self.checker.mac2_is_valid(now, src, &message)
        }
    }

    impl CookieChecker {
        fn mac2_is_valid(&self, now: u64, src: &str, message: &[u8]) -> bool {
            matches!(self.check(Instant::from_nanos(now), src.parse().unwrap(), message), Shown::Cookie)
        }

        /// As the device does it: what the message shows, then the reply.
        fn answer(
            &mut self,
            now: Instant,
            rng: &mut DeviceRng,
            src: SocketAddr,
            message: &[u8],
        ) -> [u8; COOKIE_REPLY_BYTES] {
            let shown = self.check(now, src, message);
            self.reply(now, rng, src, message, shown, SessionIndex::new(1)).unwrap()
        }
    }

    #[test]
    fn p13_cookies_are_bound_to_address_and_port() {
        let mut exchange = exchange();
        exchange.fetch_cookie(0, "192.0.2.1:51820").unwrap();
        assert!(exchange.mac2_valid(1, "192.0.2.1:51820"));
        assert!(exchange.mac2_valid(1, "[::ffff:192.0.2.1]:51820"));
        assert!(!exchange.mac2_valid(1, "192.0.2.1:51821"));
        assert!(!exchange.mac2_valid(1, "192.0.2.2:51820"));
        assert!(!exchange.mac2_valid(1, "[2001:db8::1]:51820"));
    }

    #[test]
    fn cookie_secrets_live_120_seconds_and_cookies_are_used_for_115() {
        let mut exchange = exchange();
        exchange.fetch_cookie(0, "192.0.2.1:1").unwrap();
        assert!(exchange.mac2_valid(115 * SECOND - 1, "192.0.2.1:1"));
        assert!(exchange.signed(115 * SECOND - 1)[132..] != [0; 16]);
        assert!(exchange.signed(115 * SECOND)[132..] == [0; 16]);
        let mut late = super::tests::exchange();
        late.fetch_cookie(0, "192.0.2.1:1").unwrap();
        late.fetch_cookie(100 * SECOND, "192.0.2.1:1").unwrap();
        assert!(late.mac2_valid(120 * SECOND - 1, "192.0.2.1:1"));
        assert!(!late.mac2_valid(120 * SECOND, "192.0.2.1:1"));
    }

    #[test]
    fn a_cookie_reply_is_accepted_once_and_only_for_the_last_message() {
        let mut exchange = exchange();
        let (at, src) = (Instant::from_nanos(0), "192.0.2.1:1".parse().unwrap());
        let old = exchange.signed(0);
        let reply = exchange.checker.answer(at, &mut exchange.rng, src, &old);
        let reply = CookieReply::read(&reply);
        let mut empty = CookieJar::default();
        assert_eq!(empty.receive(at, &exchange.key, &reply), Err(NoCookie::Unexpected));
        let mut other = [1; 148];
        exchange.jar.sign(at, &exchange.key, &mut other);
        assert_eq!(exchange.jar.receive(at, &exchange.key, &reply), Err(NoCookie::NotAuthentic));
        exchange.signed(0);
        assert_eq!(exchange.jar.receive(at, &exchange.key, &reply), Ok(()));
        assert_eq!(exchange.jar.receive(at, &exchange.key, &reply), Err(NoCookie::Unexpected));
    }

    #[test]
    fn who_shows_a_wrong_or_outdated_cookie_gets_the_right_one() {
        let mut exchange = exchange();
        exchange.fetch_cookie(0, "192.0.2.1:1").unwrap();
        for (now, src) in [
            (1, "192.0.2.1:2"),
            (2, "192.0.2.2:1"),
            (119 * SECOND, "192.0.2.1:1"),
            (120 * SECOND, "192.0.2.1:1"),
        ] {
            exchange.fetch_cookie(now, src).unwrap();
            assert!(exchange.mac2_valid(now, src), "{src} at {now}");
        }
    }

    #[test]
    fn mac2_is_never_valid_before_a_cookie_was_made() {
        let mut exchange = exchange();
        assert!(!exchange.mac2_valid(0, "192.0.2.1:1"));
        let mut message = exchange.signed(0);
        let forged = mac(&mac(&[0; 32], &[&[192, 0, 2, 1], &[0, 1]]), &[&message[..132]]);
        message[132..].copy_from_slice(&forged);
        assert!(!exchange.checker.mac2_is_valid(0, "192.0.2.1:1", &message));
    }
}
