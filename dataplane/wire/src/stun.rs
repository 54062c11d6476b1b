//! STUN.
