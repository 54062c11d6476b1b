//! The JSON inside the boxes of the DERP handshake: what client and server say of themselves.
//!
//! Read as Go's `encoding/json` would, because that is what clients were tested against: names match
//! without regard to case, unknown names are skipped, the last of a repeated name counts, `null`
//! changes nothing, a value of the wrong type is an error. Names match no other way: `mesh_key`, which
//! `ts_derp` sends with the value `"none"`, is unknown and not `meshKey`.
//!
//! Sealing and opening the boxes is `derp`'s; so is deciding who may come in.

mod client;
mod go_json;
mod server;

pub use client::ClientInfo;
pub use go_json::InfoError;
pub use server::ServerInfo;

#[cfg(test)]
mod tests;
