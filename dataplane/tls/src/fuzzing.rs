//! Entry points of the fuzz targets: arbitrary bytes in, a panic where something is wrong.

use crate::error::TlsError;
use crate::session::differential::{STEPS_MAX, Step, compare};
use crate::session::peer::{Peer, SUITES};
use crate::session::record::PLAINTEXT_BYTES_MAX;
use crate::session::{Opened, Session};

/// A session with fixed keys is fed records: raw ones, which will not authenticate, and
/// arbitrary content under the right key, which reaches everything behind the tag.
///
/// Input: a byte for role and suite, then for each record `kind, length (2, BE), bytes`. A `kind` of
/// `0xff` makes the bytes a raw record.
pub fn records(mut input: &[u8]) {
    let Some((role, suite)) = take_role(&mut input) else {
        return;
    };
    let (mut session, mut peer) = Peer::of_session(role, suite);
    while let Some((&[kind, high, low], rest)) = input.split_first_chunk::<3>() {
        let len = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let (bytes, rest) = rest.split_at(len);
        input = rest;
        let mut record = match kind {
            0xff => bytes.to_vec(),
            kind => peer.seal(kind, &bytes[..len.min(PLAINTEXT_BYTES_MAX)]),
        };
        match session.open(&mut record) {
            Ok(Opened::Data(range)) => assert!(range.len() <= PLAINTEXT_BYTES_MAX),
            Ok(Opened::CloseNotify) => return close(session, peer),
            Ok(Opened::Handled) | Err(TlsError::Misuse(_)) => {}
            Err(error) => return assert_ended(session, peer, error),
        }
        peer.follow_own_key_updates(&session);
        answer(&mut session, &mut peer);
    }
    close(session, peer);
}

/// The same with `rustls` beside it: the two must agree. Input: a byte for role and suite, then steps.
pub fn against_rustls(mut input: &[u8]) {
    let Some((role, suite)) = take_role(&mut input) else {
        return;
    };
    let mut steps = Vec::new();
    while let Some(step) = Step::from_bytes(&mut input)
        && steps.len() < STEPS_MAX
    {
        steps.push(step);
    }
    compare(role, suite, &steps);
}

fn take_role(input: &mut &[u8]) -> Option<(bool, (crate::Version, crate::Cipher))> {
    let (&first, rest) = input.split_first()?;
    *input = rest;
    Some((
        first & 1 == 1,
        SUITES[usize::from(first >> 1) % SUITES.len()],
    ))
}

/// Whatever was said, the session still says good records in order.
fn answer(session: &mut Session, peer: &mut Peer) {
    let mut wire = Vec::new();
    while let Some(record) = session.poll_output() {
        wire.extend(record);
    }
    let mut buf = vec![0; session.prefix_len() + 4 + session.suffix_len()];
    let len = session.seal(&mut buf, 4);
    assert_eq!(len, Ok(buf.len()));
    wire.extend(buf);
    peer.open_all(wire);
}

fn close(mut session: Session, mut peer: Peer) {
    answer(&mut session, &mut peer);
    peer.open_all(session.close_notify());
    assert_eq!(session.seal(&mut [0; 100], 1), Err(TlsError::Closed));
}

fn assert_ended(mut session: Session, mut peer: Peer, error: TlsError) {
    assert_ne!(error, TlsError::Ended, "an ended session has not been fed");
    while let Some(alert) = session.poll_output() {
        peer.open_all(alert);
    }
    let mut record = [23, 3, 3, 0, 0];
    assert_eq!(session.open(&mut record), Err(TlsError::Ended));
    assert_eq!(session.seal(&mut [0; 100], 1), Err(TlsError::Ended));
    assert!(session.close_notify().is_empty());
}
