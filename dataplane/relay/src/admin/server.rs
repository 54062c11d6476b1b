//! The relay's end of the admin socket.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{
    AdminHandler, CLIENTS_PER_PAGE_MAX, CONNECTIONS_MAX, Call, IDLE_TIMEOUT, PROTOCOL_VERSION,
    REQUEST_BYTES_MAX, Refusal, RefusalKind, Reply, Request, Response,
};

/// Why the socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another relay answers there.
    #[error(
        "the admin socket {} belongs to a running relay; give this one its own with --admin-socket",
        .0.display()
    )]
    InUse(PathBuf),
    /// Something that is not a socket is in the way.
    #[error("{} is in the way of the admin socket and is not a socket; remove it", .0.display())]
    NotASocket(PathBuf),
    /// The file system said no.
    #[error("cannot make the admin socket {}: {cause}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

/// Makes the socket, for the relay's own user only. A socket left by a relay that died is
/// replaced; a missing parent directory is made. Needs a tokio runtime.
pub fn bind(path: &Path) -> Result<UnixListener, BindError> {
    let failed = |cause| BindError::Io {
        path: path.to_owned(),
        cause,
    };
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)
            .map_err(failed)?;
    }
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(BindError::InUse(path.to_owned()));
            }
            fs::remove_file(path).map_err(failed)?;
        }
    }
    // Between bind and chmod the umask decides who may connect; every peer is checked anyway.
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Serves admin connections until the future is dropped.
pub async fn serve<H: AdminHandler>(listener: UnixListener, handler: Arc<H>) -> io::Result<()> {
    let own_user = UnixStream::pair()?.0.peer_cred()?.uid();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: wait for one instead of spinning.
                tracing::warn!(%error, "the admin socket cannot accept");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let handler = Arc::clone(&handler);
        tokio::spawn(async move {
            if let Err(error) = serve_one(stream, own_user, handler.as_ref()).await {
                tracing::debug!(%error, "an admin connection ended early");
            }
            drop(place);
        });
    }
}

/// Serves one connection until its peer leaves, is idle too long or breaks the protocol.
async fn serve_one<H: AdminHandler>(
    mut stream: UnixStream,
    own_user: u32,
    handler: &H,
) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    if !may_ask(peer, own_user) {
        let refusal = refusal(
            RefusalKind::NotAllowed,
            format!("user {peer} may not administer this relay; ask as user {own_user} or root"),
        );
        return write_reply(&mut stream, &Reply::Refused(refusal)).await;
    }
    let mut received = Vec::new();
    loop {
        let Some(line) = read_line(&mut stream, &mut received).await? else {
            return Ok(());
        };
        let reply = match parse_call(&line) {
            Ok(request) => answer(request, handler)
                .await
                .map_or_else(Reply::Refused, Reply::Ok),
            Err(refusal) => Reply::Refused(refusal),
        };
        write_reply(&mut stream, &reply).await?;
    }
}

/// Root may, and the user that the relay runs as.
fn may_ask(peer: u32, own_user: u32) -> bool {
    peer == 0 || peer == own_user
}

fn parse_call(line: &[u8]) -> Result<Request, Refusal> {
    let bad = |message: String| refusal(RefusalKind::BadRequest, message);
    // The version first: a request of a later version may not parse as one of ours.
    #[derive(serde::Deserialize)]
    struct Version {
        version: u32,
    }
    let Version { version } = serde_json::from_slice(line)
        .map_err(|error| bad(format!("not an admin request: {error}")))?;
    if version != PROTOCOL_VERSION {
        return Err(bad(format!(
            "this relay speaks admin protocol {PROTOCOL_VERSION}, the request is of {version}; \
             use the towline binary that the relay runs"
        )));
    }
    let call: Call = serde_json::from_slice(line)
        .map_err(|error| bad(format!("not an admin request: {error}")))?;
    Ok(call.request)
}

async fn answer<H: AdminHandler>(request: Request, handler: &H) -> Result<Response, Refusal> {
    Ok(match request {
        Request::Status => Response::Status(Box::new(handler.status().await?)),
        Request::Clients(mut query) => {
            if query.limit == 0 || query.limit > CLIENTS_PER_PAGE_MAX {
                query.limit = CLIENTS_PER_PAGE_MAX;
            }
            Response::Clients(handler.clients(query).await?)
        }
        Request::Kick { key } => match handler.kick(key).await? {
            0 => {
                return Err(refusal(
                    RefusalKind::NotFound,
                    format!("{key} is not connected"),
                ));
            }
            connections => Response::Kicked { connections },
        },
        Request::Limit(change) => match handler.limit(change).await? {
            0 => {
                let key = change.key;
                return Err(refusal(
                    RefusalKind::NotFound,
                    format!("{key} is not connected"),
                ));
            }
            connections => Response::Limited { connections },
        },
        Request::Drain { over_ms } => {
            let (connections, over) = handler.drain(over_ms.map(Duration::from_millis)).await?;
            let over_ms = u64::try_from(over.as_millis()).unwrap_or(u64::MAX);
            Response::Draining {
                connections,
                over_ms,
            }
        }
    })
}

/// The next line without its end, or `None` when the peer has left between two lines.
/// `received` keeps what came after it.
async fn read_line(stream: &mut UnixStream, received: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(end) = received.iter().position(|&byte| byte == b'\n') {
            let mut line: Vec<u8> = received.drain(..=end).collect();
            line.pop();
            return Ok(Some(line));
        }
        if received.len() > REQUEST_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the request is too long",
            ));
        }
        let mut chunk = [0; 1024];
        let count = timeout(IDLE_TIMEOUT, stream.read(&mut chunk)).await??;
        if count == 0 {
            return Ok(None);
        }
        received.extend_from_slice(&chunk[..count]);
    }
}

async fn write_reply(stream: &mut UnixStream, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    timeout(IDLE_TIMEOUT, stream.write_all(&line)).await?
}

fn refusal(kind: RefusalKind, message: String) -> Refusal {
    Refusal { kind, message }
}

#[cfg(test)]
mod tests;
