//! Certificates and keys as files: derper's names, one way to read a pair. Decides nothing about when.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustls::client::verify_server_name;
use rustls::server::ParsedCertificate;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use towline_tls::cert::{CertError, CertPair};
use zeroize::Zeroizing;

use crate::bounded_file;
use crate::file_stamp::{FileStamp, Watch};

/// Larger than any chain that a handshake can carry; stops a mistaken path from filling memory.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// `<certdir>/<hostname>.crt` and `.key`.
pub(super) struct PairFiles {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// Why a pair cannot be loaded from its files.
#[derive(Debug, thiserror::Error)]
pub(super) enum PairFilesError {
    /// One of the files, or both, are not there.
    #[error("there is no {}; put the certificate and its key there, or choose another --certmode", .0.display())]
    Missing(PathBuf),
    /// The file system said no.
    #[error("cannot read {}: {cause}", path.display())]
    Read { path: PathBuf, cause: io::Error },
    /// The content is wrong.
    #[error("{}: {cause}", path.display())]
    Content { path: PathBuf, cause: CertError },
    /// The certificate is for something else; no client would accept it.
    #[error("{} is not a certificate for {hostname}: {reason}", path.display())]
    OtherName {
        path: PathBuf,
        hostname: String,
        reason: String,
    },
}

/// What tells that a file was replaced, without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp([Option<FileStamp>; 2]);

impl PairFiles {
    pub(super) fn new(dir: &Path, hostname: &str) -> Self {
        // derper's names: letters, digits, `-` and `.`; an IPv6 address loses its colons.
        let stem: String = hostname
            .chars()
            .filter(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '.'))
            .collect();
        Self {
            certificate: dir.join(format!("{stem}.crt")),
            key: dir.join(format!("{stem}.key")),
        }
    }

    /// Reads the pair and checks that it belongs together and is for `hostname`. An expired one
    /// is loaded: the operator hears of it, and it is no worse than none.
    pub(super) fn load(&self, hostname: &str) -> Result<CertPair, PairFilesError> {
        let certificate_pem = read(&self.certificate)?;
        let key_pem = read(&self.key)?;
        let pair = CertPair::from_pem(&certificate_pem, &key_pem).map_err(|cause| {
            let path = match cause {
                CertError::NoKey | CertError::KeyPem(_) | CertError::UnusableKey(_) => &self.key,
                CertError::KeyMismatch => &self.key,
                _ => &self.certificate,
            };
            PairFilesError::Content {
                path: path.clone(),
                cause,
            }
        })?;
        check_name(&certificate_pem, hostname).map_err(|reason| PairFilesError::OtherName {
            path: self.certificate.clone(),
            hostname: hostname.to_owned(),
            reason,
        })?;
        Ok(pair)
    }

    /// Says that the key is exposed, when it is. It is used all the same, as derper does.
    pub(super) fn warn_if_exposed(&self) {
        if let Some(mode) = self.exposed_mode() {
            tracing::warn!(
                path = %self.key.display(),
                mode = format_args!("{mode:04o}"),
                "any user of this host may read the key of the certificate; chmod o= it, and get another if one may have"
            );
        }
    }

    /// The permissions of the key, if anyone may read it. A group may: that is how tools that renew certificates share
    /// them.
    pub(super) fn exposed_mode(&self) -> Option<u32> {
        let mode = fs::metadata(&self.key).ok()?.mode() & 0o777;
        (mode & 0o007 != 0).then_some(mode)
    }

    /// What the files look like now.
    pub(super) fn stamp(&self) -> Stamp {
        Stamp([&self.certificate, &self.key].map(|path| FileStamp::of(path)))
    }

    /// True once for each change, when both files are there and have settled: half of a change is no pair.
    pub(super) fn have_changed(&self, watch: &mut Watch<Stamp>) -> bool {
        let stamp = self.stamp();
        stamp.0.iter().all(Option::is_some) && watch.look(stamp)
    }
}

/// Whether the first certificate in the text is for this name or address.
pub(super) fn check_name(certificate_pem: &[u8], hostname: &str) -> Result<(), String> {
    let leaf =
        CertificateDer::from_pem_slice(certificate_pem).map_err(|error| error.to_string())?;
    let name = ServerName::try_from(hostname).map_err(|error| error.to_string())?;
    let leaf = ParsedCertificate::try_from(&leaf).map_err(|error| error.to_string())?;
    verify_server_name(&leaf, &name).map_err(|error| error.to_string())
}

/// Reads a file of bounded size, wiped when dropped.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, PairFilesError> {
    match File::open(path).and_then(|file| bounded_file::read(file, FILE_BYTES_MAX)) {
        Ok(content) => Ok(content),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(PairFilesError::Missing(path.to_owned()))
        }
        Err(cause) => Err(PairFilesError::Read {
            path: path.to_owned(),
            cause,
        }),
    }
}
