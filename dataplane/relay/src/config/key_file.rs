//! Files that hold secrets: the server's key and the mesh key.
//!
//! A file that its group or anyone else may read is refused: the secret may be known already,
//! and going on would hide that.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use towline_wire::limits::MESH_KEYS_MAX;
use towline_wire::{MeshKey, NodePrivate};
use zeroize::Zeroizing;

use super::MeshKeySource;
use super::environment::DEV_MESH_KEY;
use crate::bounded_file;
use crate::secret_file::{self, Existing};

/// Larger than any key file; stops a mistaken path from filling memory.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Name of the key in derper's file.
const FIELD: &str = "PrivateKey";

/// Why a key file cannot be used. Never holds the key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file system said no.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Others may read it.
    #[error(
        "{} holds a secret and others may read it (mode {mode:04o}); run chmod 600 on it, and \
         make a new key if anyone may have read it", path.display()
    )]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It does not hold what it should.
    #[error("{place} does not hold {wanted}: {reason}")]
    Content {
        /// A file or a variable.
        place: String,
        /// What should be there.
        wanted: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// Reads the server's key from derper's JSON file, `{"PrivateKey": "privkey:<hex>"}`.
pub fn load(path: &Path) -> Result<NodePrivate, KeyFileError> {
    let text = read_secret(path)?;
    let wrong = |reason: String| KeyFileError::Content {
        place: path.display().to_string(),
        wanted: "a server key",
        reason,
    };
    let entries: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text)
        // serde_json's errors name places and types, and no content but a lone wrong character.
        .map_err(|error| wrong(format!("it is not JSON ({error})")))?;
    let key = entries
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(FIELD))
        .and_then(|(_, value)| value.as_str())
        .ok_or_else(|| wrong(format!("{FIELD} is missing")))?;
    let key: NodePrivate = key
        .parse()
        .map_err(|error| wrong(format!("{FIELD}: {error}")))?;
    if key.as_bytes() == &[0; 32] {
        return Err(wrong(format!("{FIELD} is all zeros")));
    }
    Ok(key)
}

/// Reads the server's key, or makes the file with a new one. Of several relays that start at
/// once on one path, all end up with the same key.
pub fn load_or_create(path: &Path) -> Result<NodePrivate, KeyFileError> {
    match load(path) {
        Err(KeyFileError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {
            create(path)?;
            load(path)
        }
        loaded => loaded,
    }
}

/// A key for one run only, for development mode.
pub fn fresh() -> Result<NodePrivate, KeyFileError> {
    let mut random = Zeroizing::new([0; 32]);
    getrandom::fill(random.as_mut()).map_err(|error| KeyFileError::Io {
        action: "get random bytes for",
        path: PathBuf::from("a new key"),
        cause: io::Error::other(error),
    })?;
    Ok(NodePrivate::from_random(*random))
}

fn create(path: &Path) -> Result<(), KeyFileError> {
    let failed = |cause| KeyFileError::Io {
        action: "create",
        path: path.to_owned(),
        cause,
    };
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    if let Some(parent) = parent {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .map_err(failed)?;
    }
    let key = fresh()?.to_text();
    let text = Zeroizing::new(format!("{{\n\t\"{FIELD}\": \"{}\"\n}}", *key));
    // A file that appears meanwhile is kept: all who start at once end up with its key.
    secret_file::write(path, text.as_bytes(), Existing::Kept).map_err(failed)
}

impl MeshKeySource {
    /// Reads the mesh keys: none, one, or during rotation two, of which the first is sent and
    /// both are accepted.
    pub fn load(&self) -> Result<Vec<MeshKey>, KeyFileError> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::File(path) => parse_mesh_keys(&read_secret(path)?, &path.display().to_string()),
            Self::Environment => {
                let text = Zeroizing::new(std::env::var(DEV_MESH_KEY).unwrap_or_default());
                parse_mesh_keys(&text, DEV_MESH_KEY)
            }
        }
    }
}

fn parse_mesh_keys(text: &str, place: &str) -> Result<Vec<MeshKey>, KeyFileError> {
    let wrong = |reason: String| KeyFileError::Content {
        place: place.to_owned(),
        wanted: "a mesh key of 64 hexadecimal digits (or two, a line each, during rotation)",
        reason,
    };
    let keys = text
        .split_whitespace()
        .map(|line| MeshKey::from_hex(line).map_err(|error| wrong(error.to_string())))
        .collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() || keys.len() > MESH_KEYS_MAX {
        return Err(wrong(format!("it holds {} keys", keys.len())));
    }
    if keys.iter().any(MeshKey::is_zero) {
        return Err(wrong("a key of zeros is no secret".to_owned()));
    }
    Ok(keys)
}

/// Reads a file that only its owner may read.
fn read_secret(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let failed = |cause| KeyFileError::Io {
        action: "read",
        path: path.to_owned(),
        cause,
    };
    let file = File::open(path).map_err(failed)?;
    // Of the open file, not of the path, which may come to name another file.
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o777;
    if metadata.is_file() && mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    bounded_file::read_text(file, FILE_BYTES_MAX).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_missing_key_file_is_made_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/down/derper.key");
        let made = load_or_create(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(load_or_create(&path).unwrap().as_bytes(), made.as_bytes());
        assert_eq!(
            fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "no draft is left"
        );
    }

    #[test]
    fn all_who_start_at_once_have_one_key_whatever_a_dead_one_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("derper.key");
        let left = format!("derper.key.{}.tmp", std::process::id());
        fs::write(dir.path().join(left), "half a k").unwrap();
        let keys = std::thread::scope(|scope| {
            let start = || scope.spawn(|| *load_or_create(&path).unwrap().as_bytes());
            let started: Vec<_> = (0..8).map(|_| start()).collect();
            let keys = started.into_iter().map(|one| one.join().unwrap());
            keys.collect::<std::collections::HashSet<_>>()
        });
        assert_eq!(keys.len(), 1);
    }

    #[test]
    fn derpers_own_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("derper.key");
        let hex = "50".repeat(32);
        write(
            &path,
            &format!("{{\n\t\"PrivateKey\": \"privkey:{hex}\"\n}}"),
            0o600,
        );
        assert_eq!(load(&path).unwrap().as_bytes(), &[0x50; 32]);
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        for mode in [0o644, 0o640, 0o604, 0o666] {
            write(
                &path,
                &format!("{{\"PrivateKey\": \"privkey:{}\"}}", "50".repeat(32)),
                mode,
            );
            let Err(error) = load(&path) else {
                panic!("{mode:o} was accepted")
            };
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn errors_do_not_repeat_the_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        for text in [
            "hunter2",
            r#"{"PrivateKey": "privkey:hunter2"}"#,
            r#"{"Other": "hunter2"}"#,
            "{}",
        ] {
            write(&path, text, 0o600);
            let Err(error) = load(&path) else {
                panic!("{text} was accepted")
            };
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn mesh_keys_one_or_two() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mesh");
        let (old, new) = ("0a".repeat(32), "0b".repeat(32));
        let source = MeshKeySource::File(path.clone());
        write(&path, &format!("  {new}\n"), 0o400);
        assert_eq!(source.load().unwrap().len(), 1);
        fs::remove_file(&path).unwrap();
        write(&path, &format!("{new}\n{old}\n"), 0o600);
        let keys = source.load().unwrap();
        assert_eq!(keys[0].to_hex().as_str(), new);
        assert_eq!(keys[1].to_hex().as_str(), old);
        write(&path, &" ".repeat(FILE_BYTES_MAX as usize + 1), 0o600);
        let error = source.load().err().unwrap().to_string();
        assert!(error.contains("longer than 65536 bytes"), "{error}");
        for wrong in ["", "abc", &"00".repeat(32), &format!("{new}\n{old}\n{new}")] {
            write(&path, wrong, 0o600);
            assert!(source.load().is_err(), "{wrong}");
        }
    }
}
