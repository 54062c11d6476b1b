//! Text on the control socket of a WireGuard interface: however it is cut, the same requests come of it, and a request
//! that is taken has only values that `wg` could mean.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;
use towline_device::uapi::{Reader, Request, UapiError};
use towline_fuzz::Cuts;

/// What a request is, without its secrets.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Get,
    Set(usize, usize),
    Refused(UapiError),
}

fn run(mut input: &[u8]) -> Option<()> {
    let cuts = Cuts::take(&mut input)?;
    let whole = read(core::iter::once(input));
    let pieces = read(cuts.pieces(input));
    assert_eq!(whole, pieces);
    Some(())
}

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut reader = Reader::default();
    let mut seen = Vec::new();
    for mut piece in pieces {
        while !piece.is_empty() {
            let (used, request) = reader.read(piece);
            assert!(used > 0);
            piece = &piece[used..];
            seen.extend(request.map(look));
        }
    }
    seen
}

fn look(request: Result<Request, UapiError>) -> Seen {
    match request {
        Ok(Request::Get) => Seen::Get,
        Ok(Request::Set(set)) => {
            let allowed = set.peers.iter().flat_map(|peer| &peer.allowed_ips);
            assert!(
                allowed
                    .clone()
                    .all(|allowed| allowed.network == allowed.network.trunc())
            );
            Seen::Set(set.peers.len(), allowed.count())
        }
        Err(error) => Seen::Refused(error),
    }
}

fuzz_target!(|input: &[u8]| {
    let _ = run(input);
});
