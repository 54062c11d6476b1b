//! A session against a peer that may say anything: here its records, and in `messages` what is in
//! them.

mod messages;
mod records;

use super::peer::{Peer, SUITES};
use super::*;
use crate::error::alert as alerts;
use crate::suite::Cipher;

const AES_TLS13: (Version, Cipher) = SUITES[0];
const AES_TLS12: (Version, Cipher) = SUITES[3];

fn server(suite: (Version, Cipher)) -> (Session, Peer) {
    Peer::of_session(false, suite)
}

fn client(suite: (Version, Cipher)) -> (Session, Peer) {
    Peer::of_session(true, suite)
}

/// Opening `record` must end the session with `error` and send `alert`; nothing works after.
fn assert_ends(
    mut session: Session,
    mut peer: Peer,
    mut record: Vec<u8>,
    error: TlsError,
    alert: u8,
) {
    assert_eq!(session.open(&mut record), Err(error));
    let told = session.poll_output().map(|record| peer.open(record));
    assert_eq!(told, Some((content::ALERT, vec![alerts::FATAL, alert])));
    assert_eq!(session.poll_output(), None);
    let mut good = peer.seal(content::APPLICATION_DATA, b"good");
    assert_eq!(session.open(&mut good), Err(TlsError::Ended));
    assert_eq!(session.seal(&mut [0; 100], 10), Err(TlsError::Ended));
    assert!(session.close_notify().is_empty());
}
