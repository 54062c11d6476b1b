//! The control socket of `wg`: `/var/run/wireguard/NAME.sock`, the cross-platform userspace API.
//!
//! Who may open it may configure the device: the directory and the socket are its owner's alone.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use towline_io::link::index;
use zeroize::Zeroizing;

use crate::Device;
use crate::uapi::{Answer, Errno, Reader, Request, UapiError};

/// Where `wg` looks.
pub const CONTROL_DIRECTORY: &str = "/var/run/wireguard";

/// Connections at a time; more are closed at once. `wg` needs one, for milliseconds.
const CONNECTIONS_MAX: usize = 16;
/// A connection that says nothing for so long is closed.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another process answers there.
    #[error(
        "{0} answers already: another process runs this interface. Delete the interface (ip link del) or stop that process first"
    )]
    Taken(PathBuf),
    /// The file system said no.
    #[error("cannot make the control socket {path}: {error}")]
    System {
        /// What was to be made.
        path: PathBuf,
        /// Why it was not.
        error: io::Error,
    },
}

/// A control socket that nobody answers yet.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    guard: ControlGuard,
}

/// Ends a control socket and removes its file.
#[derive(Debug)]
pub struct ControlGuard {
    path: PathBuf,
    /// Of the file, which another process may have replaced.
    inode: u64,
    over: Arc<AtomicBool>,
}

impl ControlSocket {
    /// Makes the socket of an interface in `directory`. One that a killed process left there is replaced.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn open(directory: &Path, interface: &str) -> Result<Self, ControlError> {
        let path = directory.join(format!("{interface}.sock"));
        let system = |error| ControlError::System {
            path: path.clone(),
            error,
        };
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(directory).map_err(system)?;
        match UnixStream::connect(&path) {
            Ok(_) => return Err(ControlError::Taken(path)),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                remove(&path).map_err(system)?;
            }
            // The next line says what is wrong, if anything is.
            Err(_) => {}
        }
        let listener = UnixListener::bind(&path).map_err(system)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(system)?;
        let inode = fs::metadata(&path).map_err(system)?.ino();
        let guard = ControlGuard {
            path,
            inode,
            over: Arc::default(),
        };
        Ok(Self { listener, guard })
    }

    /// Answers for a device, on threads of its own, until the guard is dropped.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn serve(self, device: Arc<Device>) -> io::Result<ControlGuard> {
        let Self { listener, guard } = self;
        let over = Arc::clone(&guard.over);
        thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || accept(&listener, &over, &device))?;
        Ok(guard)
    }
}

fn accept(listener: &UnixListener, over: &AtomicBool, device: &Arc<Device>) {
    let count = Arc::new(AtomicUsize::new(0));
    for connection in listener.incoming() {
        if over.load(Ordering::Acquire) {
            return;
        }
        let Ok(connection) = connection else {
            // No descriptors are left, most likely; those who have some need time.
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        let Some(place) = Place::take(&count) else {
            continue;
        };
        let device = Arc::clone(device);
        let talk = move || {
            let _place = place;
            if let Err(error) = talk(&connection, &device) {
                tracing::debug!(%error, "a connection to the control socket ended early");
            }
        };
        let started = thread::Builder::new()
            .name("control".to_owned())
            .spawn(talk);
        if let Err(error) = started {
            tracing::warn!(%error, "no thread for a connection to the control socket");
        }
    }
}

/// One of `CONNECTIONS_MAX`.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(count: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(Arc::clone(count));
        (count.fetch_add(1, Ordering::AcqRel) < CONNECTIONS_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for ControlGuard {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        let is_ours = fs::metadata(&self.path).is_ok_and(|file| file.ino() == self.inode);
        if is_ours {
            // Wakes the thread that accepts, while the name is still there.
            let _ = UnixStream::connect(&self.path);
            let _ = remove(&self.path);
        }
    }
}

/// Somebody else may be faster.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Answers one request after another.
fn talk(mut connection: &UnixStream, device: &Device) -> io::Result<()> {
    connection.set_read_timeout(Some(SILENCE_MAX))?;
    connection.set_write_timeout(Some(SILENCE_MAX))?;
    let mut reader = Reader::new(index);
    let mut bytes = Zeroizing::new([0; 4096]);
    loop {
        let count = connection.read(&mut *bytes)?;
        if count == 0 {
            return Ok(());
        }
        let mut rest = &bytes[..count];
        while !rest.is_empty() {
            let (used, request) = reader.read(rest);
            rest = &rest[used..];
            let Some(request) = request else {
                continue;
            };
            let hangs_up = matches!(request, Err(UapiError::Operation));
            let text = answer(device, request)?;
            connection.write_all(text.as_bytes())?;
            if hangs_up {
                return Ok(());
            }
        }
    }
}

fn answer(device: &Device, request: Result<Request, UapiError>) -> io::Result<Zeroizing<String>> {
    Ok(match request {
        Ok(Request::Get) => Answer::Got(&device.snapshot()?).text(),
        Ok(Request::Set(set)) => match device.configure(set) {
            Ok(()) => Answer::Done.text(),
            Err(error) => Answer::Refused(error.raw_os_error().map_or(Errno::IO, Errno)).text(),
        },
        Err(error) => {
            tracing::debug!(%error, "a request to the control socket is refused");
            Answer::Refused(error.errno()).text()
        }
    })
}
