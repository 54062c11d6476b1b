//! Tunnels on a small virtual network. Each test is one rule.

mod basics;
mod net;
