//! Files that are read whole: with a bound, so that a mistaken path (a device, a log) does not fill memory, and wiped when
//! dropped, so that it may be a secret.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use zeroize::Zeroizing;

/// Reads what is in the file.
///
/// # Errors
/// The file system's, or that there is more than `bytes_max`.
pub(crate) fn read(file: File, bytes_max: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    // In one piece and with room to spare, so that growing leaves no copy behind.
    let len = file.metadata()?.len().min(bytes_max);
    let mut content = Zeroizing::new(Vec::with_capacity(len as usize + 64));
    file.take(bytes_max + 1).read_to_end(&mut content)?;
    if content.len() as u64 > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is longer than {bytes_max} bytes"),
        ));
    }
    Ok(content)
}

/// Reads what is in the file, as text.
///
/// # Errors
/// Those of [`read`], or that it is not UTF-8.
pub(crate) fn read_text(file: File, bytes_max: u64) -> io::Result<Zeroizing<String>> {
    let mut content = read(file, bytes_max)?;
    match String::from_utf8(std::mem::take(&mut *content)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it is not UTF-8 text",
            ))
        }
    }
}

/// Opens the file and reads what is in it, as text.
///
/// # Errors
/// Those of [`read_text`].
pub(crate) fn open_text(path: &Path, bytes_max: u64) -> io::Result<Zeroizing<String>> {
    read_text(File::open(path)?, bytes_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_be_as_long_as_its_bound_and_the_error_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "four").unwrap();
        assert_eq!(*open_text(&path, 4).unwrap(), "four");
        let error = open_text(&path, 3).unwrap_err();
        assert_eq!(error.to_string(), "it is longer than 3 bytes");
        // Without an end.
        let error = open_text(Path::new("/dev/zero"), 1000).unwrap_err();
        assert_eq!(error.to_string(), "it is longer than 1000 bytes");
        // Cut in the middle of a character, the bound is still what is wrong.
        std::fs::write(&path, "aé").unwrap();
        let error = open_text(&path, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        std::fs::write(&path, b"\xff").unwrap();
        let error = open_text(&path, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
