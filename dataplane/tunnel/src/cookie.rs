//! The MACs at the end of handshake messages (whitepaper sections 5.4.4 and 5.4.7). `mac1` shows that the sender knows
//! whom it talks to; `mac2` that it has the cookie which we sent to its address and port.

use core::net::{IpAddr, SocketAddr};

use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use subtle::ConstantTimeEq;
use towline_wire::Time;
use towline_wire::limits::{COOKIE_SECRET_AGE_MAX, COOKIE_SECRET_LATENCY};
use towline_wire::wireguard::{
    COOKIE_LEN, COOKIE_NONCE_LEN, COOKIE_REPLY, COOKIE_REPLY_LEN, CookieReply, KEY_LEN, MAC_LEN,
    MACS_LEN,
};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::endpoint::{Entropy, random};
use crate::key::StaticPublic;
use crate::noise::hash::{hash, mac};

const LABEL_MAC1: &[u8] = b"mac1----";
const LABEL_COOKIE: &[u8] = b"cookie--";

/// The keys that follow from a public key: of the MACs of what is sent to it, and of the cookies that it sends.
pub(crate) struct MacKeys {
    mac1: [u8; KEY_LEN],
    cookie: [u8; KEY_LEN],
}

impl MacKeys {
    pub(crate) fn new(receiver: &StaticPublic) -> Self {
        Self {
            mac1: hash(&[LABEL_MAC1, &receiver.0]),
            cookie: hash(&[LABEL_COOKIE, &receiver.0]),
        }
    }
}

/// What the receiving side knows: our own keys, and a secret that changes.
pub(crate) struct Checker {
    keys: MacKeys,
    secret: Secret,
    drawn: Option<Time>,
}

#[derive(Zeroize, ZeroizeOnDrop)]
struct Secret([u8; KEY_LEN]);

impl Checker {
    pub(crate) fn new(ours: &StaticPublic) -> Self {
        Self {
            keys: MacKeys::new(ours),
            secret: Secret([0; KEY_LEN]),
            drawn: None,
        }
    }

    /// Whether `mac1` of a handshake message is right.
    pub(crate) fn has_mac1(&self, message: &[u8]) -> bool {
        let Some((body, macs)) = message.split_last_chunk::<MACS_LEN>() else {
            return false;
        };
        let mac1 = mac(&self.keys.mac1, &[body]);
        mac1.ct_eq(&macs[..MAC_LEN]).into()
    }

    /// Whether `mac2` was made with the cookie of this sender.
    pub(crate) fn has_mac2(&self, message: &[u8], from: &SocketAddr, now: Time) -> bool {
        let Some((before, mac2)) = message.split_last_chunk::<MAC_LEN>() else {
            return false;
        };
        if self.is_old(now) {
            return false;
        }
        let expected = mac(&self.cookie(from), &[before]);
        expected.ct_eq(mac2).into()
    }

    /// Gives the sender of a message its cookie.
    pub(crate) fn reply(
        &mut self,
        message: &[u8],
        sender: u32,
        from: &SocketAddr,
        now: Time,
        entropy: &mut dyn Entropy,
    ) -> Option<[u8; COOKIE_REPLY_LEN]> {
        if self.is_old(now) {
            self.secret = Secret(random(entropy));
            self.drawn = Some(now);
        }
        let (before, _) = message.split_last_chunk::<MAC_LEN>()?;
        let (_, mac1) = before.split_last_chunk::<MAC_LEN>()?;
        let nonce: [u8; COOKIE_NONCE_LEN] = random(entropy);
        let mut cookie = self.cookie(from);
        let tag = XChaCha20Poly1305::new(&self.keys.cookie.into())
            .encrypt_in_place_detached(&nonce.into(), mac1, &mut cookie)
            .ok()?;
        let mut reply = [0; COOKIE_REPLY_LEN];
        reply[..4].copy_from_slice(&COOKIE_REPLY.to_le_bytes());
        reply[4..8].copy_from_slice(&sender.to_le_bytes());
        reply[8..8 + COOKIE_NONCE_LEN].copy_from_slice(&nonce);
        let sealed = &mut reply[8 + COOKIE_NONCE_LEN..];
        sealed[..COOKIE_LEN].copy_from_slice(&cookie);
        sealed[COOKIE_LEN..].copy_from_slice(&tag);
        Some(reply)
    }

    fn is_old(&self, now: Time) -> bool {
        self.drawn
            .is_none_or(|drawn| now - drawn >= COOKIE_SECRET_AGE_MAX)
    }

    /// The cookie of an address and port.
    fn cookie(&self, from: &SocketAddr) -> [u8; COOKIE_LEN] {
        let port = from.port().to_be_bytes();
        match from.ip() {
            IpAddr::V4(address) => mac(&self.secret.0, &[&address.octets(), &port]),
            IpAddr::V6(address) => mac(&self.secret.0, &[&address.octets(), &port]),
        }
    }
}

/// What the sending side knows of one peer's cookies.
#[derive(Default)]
pub(crate) struct Jar {
    cookie: Option<([u8; COOKIE_LEN], Time)>,
    /// `mac1` of the message that a cookie reply may still answer.
    unanswered: Option<[u8; MAC_LEN]>,
}

impl Jar {
    /// Completes a message to the peer with both MACs.
    pub(crate) fn complete(&mut self, keys: &MacKeys, message: &mut [u8], now: Time) {
        let body_len = message.len() - MACS_LEN;
        let (body, macs) = message.split_at_mut(body_len);
        let mac1 = mac(&keys.mac1, &[body]);
        macs[..MAC_LEN].copy_from_slice(&mac1);
        self.unanswered = Some(mac1);
        let age_max = COOKIE_SECRET_AGE_MAX - COOKIE_SECRET_LATENCY;
        if let Some((cookie, given)) = self.cookie
            && now - given < age_max
        {
            let mac2 = mac(&cookie, &[body, &mac1]);
            macs[MAC_LEN..].copy_from_slice(&mac2);
        }
    }

    /// Takes the cookie of a reply, if it answers our last message and comes from the peer.
    pub(crate) fn take(&mut self, keys: &MacKeys, reply: &CookieReply<'_>, now: Time) -> bool {
        let Some(mac1) = self.unanswered else {
            return false;
        };
        let (sealed, tag) = reply.sealed_cookie.split_at(COOKIE_LEN);
        let mut cookie = [0; COOKIE_LEN];
        cookie.copy_from_slice(sealed);
        let opened = XChaCha20Poly1305::new(&keys.cookie.into()).decrypt_in_place_detached(
            reply.nonce.into(),
            &mac1,
            &mut cookie,
            tag.into(),
        );
        if opened.is_ok() {
            self.cookie = Some((cookie, now));
            self.unanswered = None;
        }
        opened.is_ok()
    }
}
