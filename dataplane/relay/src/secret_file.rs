//! Writing files that hold secrets: readable by their owner alone, whole or not at all, also when power fails.
//!
//! A file is written under a name that nobody else has and then moved to its own. What a process that died leaves
//! behind is in nobody's way.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// What becomes of a file that is there already, or appears meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    Kept,
    Replaced,
}

/// Writes `content`; the directory must be there.
pub(crate) fn write(path: &Path, content: &[u8], existing: Existing) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let mut prefix = name.to_owned();
    prefix.push(".");
    // Mode 0600, and gone when it is dropped before it got its name.
    let mut draft = tempfile::Builder::new()
        .prefix(&prefix)
        .suffix(".tmp")
        .tempfile_in(dir)?;
    draft.write_all(content)?;
    draft.as_file().sync_all()?;
    let named = match existing {
        Existing::Replaced => draft.persist(path),
        Existing::Kept => draft.persist_noclobber(path),
    };
    match named {
        Err(error)
            if existing == Existing::Kept && error.error.kind() == io::ErrorKind::AlreadyExists => {
        }
        named => {
            named.map_err(|error| error.error)?;
        }
    }
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_kept_or_replaced_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        write(&path, b"first", Existing::Kept).unwrap();
        write(&path, b"second", Existing::Kept).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first");
        write(&path, b"third", Existing::Replaced).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"third");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o600
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(write(&path, b"secret", Existing::Replaced).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write(&dir.path().join("no/such/dir"), b"", Existing::Kept).is_err());
    }
}
