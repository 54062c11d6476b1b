//! Writes the seeds with names into corpus/TARGET: one for each path that a fuzzer would take long to find. Files
//! that have hexadecimal names came out of long runs and stay as they are (run.sh --minimise).
//!
//! `cargo run --example seeds`, in the folder `fuzz`. A hello and a certificate are new each time; all else is fixed.
#![forbid(unsafe_code)]

mod derp;
mod http;
mod proxy;
mod tls;

use std::path::Path;
use std::{fs, io};

/// Name and bytes of a seed.
pub(crate) type Seed = (&'static str, Vec<u8>);

/// No lengths of pieces: the stream is cut at every byte.
pub(crate) const EVERY_BYTE: u8 = 0;

fn main() -> io::Result<()> {
    let targets: [(&str, Vec<Seed>); 11] = [
        ("frame_stream", derp::frame_stream()),
        ("client_info", derp::client_info()),
        ("client_frames", derp::client_frames()),
        ("http_upgrade", http::http_upgrade()),
        ("websocket", http::websocket()),
        ("proxy_header", proxy::proxy_header()),
        ("stun", http::stun()),
        ("record_layer", tls::record_layer()),
        ("sealed_records", tls::sealed_records()),
        ("tls_hello", tls::tls_hello()),
        ("meta_certificate", tls::meta_certificate()),
    ];
    for (target, seeds) in targets {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(target);
        fs::create_dir_all(&folder)?;
        for (name, bytes) in seeds {
            fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}
