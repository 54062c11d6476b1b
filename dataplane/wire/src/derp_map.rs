//! The DERP map.
