#![forbid(unsafe_code)]
//! The `towline` binary.
fn main() {}
