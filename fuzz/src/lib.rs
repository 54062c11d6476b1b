//! What the fuzz targets share: how an input says where a stream is cut, and peers with fixed keys. The targets
//! themselves are in `targets`, one file each; run.sh builds and runs them.
//!
//! A target fails by a panic. It checks what must hold for any input, never what one input gives: that is for tests.
#![forbid(unsafe_code)]

mod cuts;
pub mod derp;
pub mod one_shard;

pub use cuts::{Cuts, take_byte};
