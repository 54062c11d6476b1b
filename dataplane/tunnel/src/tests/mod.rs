//! Tunnels on a small virtual network. Each test is one rule.

mod basics;
mod boringtun;
mod configuration;
mod endpoints;
mod engines;
mod flood;
mod hostile;
mod net;
mod rekey;
mod storm;
mod timers;
