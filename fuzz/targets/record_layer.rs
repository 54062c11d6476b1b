//! TLS records from an established peer, TLS 1.3 and 1.2, both roles, given to our record layer and to `rustls` with
//! the same keys: the same data, the same answers, and the same end. The input is a list of what the peer sends
//! (`towline_tls::fuzzing`), because no fuzzer guesses the tag of a record.
#![no_main]
#![forbid(unsafe_code)]

libfuzzer_sys::fuzz_target!(|input: &[u8]| towline_tls::fuzzing::against_rustls(input));
