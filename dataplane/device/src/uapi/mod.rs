//! The text of the cross-platform userspace API.
