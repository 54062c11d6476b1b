//! TLS records with any content of any type under the right key, and raw ones, without `rustls` beside: what the
//! comparison of `record_layer` has to leave out, and many times faster. Whatever comes, the session goes on with
//! good records of its own or ends for good.
#![no_main]
#![forbid(unsafe_code)]

libfuzzer_sys::fuzz_target!(|input: &[u8]| towline_tls::fuzzing::records(input));
