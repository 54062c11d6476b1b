//! Certificates: what a relay shows, how it is replaced at run time, and what a client accepts.
//!
//! Reads and writes no file and asks no clock: PEM text and times are arguments.

mod der;
mod error;
pub mod meta;
mod pair;
mod self_signed;
mod store;
mod trust;

pub use error::CertError;
pub use pair::CertPair;
pub use self_signed::SelfSigned;
pub use store::{CertStore, SniPolicy};
pub use trust::{CertPin, ServerTrust};
