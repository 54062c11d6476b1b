//! Tells whether a file was replaced or changed since it was last looked at, without reading it. Knows no content; used
//! by those who watch files: certificates and allowed keys.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What a file looks like from outside: also one of the same length that was moved into its place, and one of which only
/// the owner or the mode changed, which may be why it could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileStamp {
    inode: u64,
    size_bytes: u64,
    /// Seconds and nanoseconds, of the content and of all else.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    /// `None` when there is no such file.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            inode: metadata.ino(),
            size_bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// Remembers what files looked like when they were last taken, or refused. Looking and reading are the caller's.
pub(crate) struct Watch<S> {
    taken: S,
    last: S,
}

impl<S: Clone + PartialEq> Watch<S> {
    /// `stamp` is of the files that are in use.
    pub(crate) fn new(stamp: S) -> Self {
        Self {
            taken: stamp.clone(),
            last: stamp,
        }
    }

    /// True once for each change, when the files were the same at two looks: some programs write them in place, piece by
    /// piece or one after the other.
    pub(crate) fn look(&mut self, stamp: S) -> bool {
        let settled = stamp == self.last;
        self.last = stamp;
        let changed = settled && self.last != self.taken;
        if changed {
            self.taken = self.last.clone();
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_change_of_content_mode_or_file_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("file"), dir.path().join("other"));
        assert_eq!(FileStamp::of(&path), None);
        fs::write(&path, "one").unwrap();
        fs::write(&other, "two").unwrap();
        let first = FileStamp::of(&path);
        assert_eq!(FileStamp::of(&path), first);
        let pause = || std::thread::sleep(std::time::Duration::from_millis(20));
        pause();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        let second = FileStamp::of(&path);
        assert_ne!(second, first);
        fs::rename(&other, &path).unwrap();
        assert_ne!(FileStamp::of(&path), second);
    }
}
