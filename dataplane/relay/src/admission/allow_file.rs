//! A file of allowed keys: one `nodekey:<hex>` a line, `#` begins a comment.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use towline_wire::NodePublic;

use crate::bounded_file;
use crate::file_stamp::{FileStamp, Watch};

/// A larger file is refused: about 800,000 keys.
const FILE_BYTES_MAX: u64 = 64 << 20;

pub(super) struct AllowFile {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    keys: Arc<HashSet<NodePublic>>,
    watch: Watch<Option<FileStamp>>,
}

impl AllowFile {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let seen = FileStamp::of(path);
        let keys = Arc::new(read(path)?);
        Ok(Self {
            path: path.to_owned(),
            state: Mutex::new(State {
                keys,
                watch: Watch::new(seen),
            }),
        })
    }

    pub(super) fn allows(&self, key: &NodePublic) -> bool {
        self.state().keys.contains(key)
    }

    pub(super) fn len(&self) -> u64 {
        self.state().keys.len() as u64
    }

    /// True once for each change that has settled, as [`Watch::look`].
    pub(super) fn has_changed(&self) -> bool {
        let now = FileStamp::of(&self.path);
        self.state().watch.look(now)
    }

    /// Reads the file again. A broken one leaves the keys as they were, and is complained of once.
    pub(super) fn reload(&self) -> anyhow::Result<Arc<HashSet<NodePublic>>> {
        let seen = FileStamp::of(&self.path);
        let keys = read(&self.path);
        let mut state = self.state();
        state.watch = Watch::new(seen);
        state.keys = Arc::new(keys?);
        Ok(Arc::clone(&state.keys))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> anyhow::Result<HashSet<NodePublic>> {
    let place = || format!("reading the allowed keys in {}", path.display());
    let text = bounded_file::open_text(path, FILE_BYTES_MAX).with_context(place)?;
    parse(&text).with_context(place)
}

fn parse(text: &str) -> anyhow::Result<HashSet<NodePublic>> {
    let mut keys = HashSet::new();
    for (index, line) in text.lines().enumerate() {
        let key = line.split('#').next().unwrap_or_default().trim();
        if !key.is_empty() {
            let key = key.parse().with_context(|| {
                format!(
                    "line {}: not a key of the form nodekey:<64 hex digits>",
                    index + 1
                )
            })?;
            keys.insert(key);
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn keys_comments_and_blank_lines() {
        let key = NodePublic([7; 32]);
        let text = format!("# ours\n\n{key} # laptop\n  {}\n", NodePublic([8; 32]));
        assert_eq!(
            parse(&text).unwrap(),
            HashSet::from([key, NodePublic([8; 32])])
        );
        let error = format!("{:#}", parse("\nnodekey:12\n").unwrap_err());
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn a_broken_file_leaves_the_keys_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("allowed");
        let key = NodePublic([7; 32]);
        fs::write(&path, format!("{key}\n")).unwrap();
        let file = AllowFile::open(&path).unwrap();
        assert!(file.allows(&key) && !file.has_changed());
        fs::write(&path, "broken").unwrap();
        assert!(!file.has_changed(), "it may be half written");
        assert!(file.has_changed());
        let error = format!("{:#}", file.reload().unwrap_err());
        assert!(
            error.contains("allowed") && error.contains("line 1"),
            "{error}"
        );
        assert!(file.allows(&key) && !file.has_changed());
        fs::write(&path, "# nobody any more\n").unwrap();
        assert!(file.reload().unwrap().is_empty());
        assert!(!file.allows(&key));
        fs::remove_file(&path).unwrap();
        assert!(!file.has_changed() && file.has_changed());
        assert!(file.reload().is_err() && !file.has_changed());
    }

    #[test]
    fn a_file_without_an_end_is_an_error() {
        let error = read(Path::new("/dev/zero")).unwrap_err();
        assert!(format!("{error:#}").contains("longer than"), "{error:#}");
    }
}
