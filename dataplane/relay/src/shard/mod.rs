//! Shards: one thread each, which owns a driver, a set of connections and all their state.
//!
//! `turn` is the loop, `receive`, `write`, `adopt`, `stalled`, `rounds` and `drain` are its steps; `transport` and `carry` are
//! what lies between socket bytes and the DERP stream; `mailbox` leads to the other shards, `patience` is for when it is full;
//! `command` is how the rest of the relay reaches a shard. The protocol itself is `towline_derp::relay`.

mod adopt;
mod carry;
mod command;
mod conn;
mod drain;
mod mailbox;
mod patience;
mod receive;
mod rounds;
mod stalled;
mod start;
#[cfg(test)]
mod testing;
mod transport;
mod turn;
mod write;

pub(crate) use command::{Adopted, Command, Role, ShardHandle, Snapshot};
pub(crate) use conn::WINDOW_BYTES_MIN;
pub(crate) use start::{Shards, ShardsOptions, random};
