//! A certificate that a server shows to a client of ours, which searches it for a DERP key before it is verified.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;
use towline_tls::cert::meta;
use towline_tls::pki_types::CertificateDer;

fuzz_target!(|input: &[u8]| {
    if let Some(key) = meta::key_of(&CertificateDer::from(input)) {
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = String::from_utf8_lossy(input).to_ascii_lowercase();
        assert!(
            text.contains(&format!("derpkey{hex}")),
            "a key out of nowhere"
        );
    }
});
