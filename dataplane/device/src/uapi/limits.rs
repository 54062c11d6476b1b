//! Bounds of a request.

/// Bytes of a line. Ours: the longest is an endpoint with the name of an interface, about 90.
pub const LINE_BYTES_MAX: usize = 256;

/// Lines of a request. Ours: 20,000 peers with a dozen lines each.
pub const REQUEST_LINES_MAX: usize = 1 << 18;
