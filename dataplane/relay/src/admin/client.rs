//! The command line's end of the admin socket. Blocking: a command asks once and ends.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use towline_wire::NodePublic;

use super::{
    Call, ClientsPage, ClientsQuery, LimitChange, PROTOCOL_VERSION, REPLY_BYTES_MAX, Refusal,
    Reply, Request, Response, Status,
};

/// A relay that takes longer than this to answer is stuck.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no relay answers at {}: is it running, and with this --admin-socket?", .0.display())]
    NotRunning(PathBuf),
    /// The socket is another user's.
    #[error("may not open {}: run as the relay's user or as root", .0.display())]
    NotAllowed(PathBuf),
    /// It took longer than it may.
    #[error(
        "the relay at {} did not answer within {} s: its log says what it does, and a restart helps \
         if it is stuck", path.display(), within.as_secs_f32()
    )]
    TimedOut {
        /// Which socket.
        path: PathBuf,
        /// How long it had.
        within: Duration,
    },
    /// The connection broke.
    #[error("the relay at {} did not answer: {cause}", path.display())]
    Io {
        /// Which socket.
        path: PathBuf,
        /// Why. Not a `source`, which would be told once more.
        cause: io::Error,
    },
    /// The answer does not fit the question, or is not of this protocol.
    #[error(
        "the answer is not of this admin protocol ({0}); use the towline binary that the relay runs"
    )]
    Protocol(String),
    /// The relay refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// A connection to a relay's admin socket.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    answer_timeout: Duration,
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the relay that listens at `path`.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        Self::connect_with(path, ANSWER_TIMEOUT)
    }

    pub(super) fn connect_with(path: &Path, answer_timeout: Duration) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path).map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning(path.to_owned())
            }
            io::ErrorKind::PermissionDenied => ClientError::NotAllowed(path.to_owned()),
            _ => ClientError::Io {
                path: path.to_owned(),
                cause,
            },
        })?;
        let client = Self {
            path: path.to_owned(),
            answer_timeout,
            stream: BufReader::new(stream),
        };
        let stream = client.stream.get_ref();
        stream
            .set_read_timeout(Some(answer_timeout))
            .map_err(|error| client.broken(error))?;
        stream
            .set_write_timeout(Some(answer_timeout))
            .map_err(|error| client.broken(error))?;
        Ok(client)
    }

    /// How the relay is.
    pub fn status(&mut self) -> Result<Status, ClientError> {
        match self.call(Request::Status)? {
            Response::Status(status) => Ok(*status),
            other => Err(unexpected(&other)),
        }
    }

    /// A page of clients; follow [`ClientsPage::next`] for the rest.
    pub fn clients(&mut self, query: ClientsQuery) -> Result<ClientsPage, ClientError> {
        match self.call(Request::Clients(query))? {
            Response::Clients(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    /// Closes every connection of `key`; gives how many.
    pub fn kick(&mut self, key: NodePublic) -> Result<u32, ClientError> {
        match self.call(Request::Kick { key })? {
            Response::Kicked { connections } => Ok(connections),
            other => Err(unexpected(&other)),
        }
    }

    /// Changes the limit of every connection of a key; gives how many.
    pub fn limit(&mut self, change: LimitChange) -> Result<u32, ClientError> {
        match self.call(Request::Limit(change))? {
            Response::Limited { connections } => Ok(connections),
            other => Err(unexpected(&other)),
        }
    }

    /// Begins a drain; gives the connections still open and the time over which they close.
    pub fn drain(&mut self, over: Option<Duration>) -> Result<(u64, Duration), ClientError> {
        let over_ms = over.map(|over| u64::try_from(over.as_millis()).unwrap_or(u64::MAX));
        match self.call(Request::Drain { over_ms })? {
            Response::Draining {
                connections,
                over_ms,
            } => Ok((connections, Duration::from_millis(over_ms))),
            other => Err(unexpected(&other)),
        }
    }

    fn call(&mut self, request: Request) -> Result<Response, ClientError> {
        let call = Call {
            version: PROTOCOL_VERSION,
            request,
        };
        let mut line =
            serde_json::to_vec(&call).map_err(|error| ClientError::Protocol(error.to_string()))?;
        line.push(b'\n');
        // A relay that refuses us answers and closes without reading, so a failed write is no
        // reason not to look for an answer.
        let written = self.stream.get_mut().write_all(&line);
        let mut reply = Vec::new();
        let limit = REPLY_BYTES_MAX as u64;
        let read = (&mut self.stream).take(limit).read_until(b'\n', &mut reply);
        if reply.last() != Some(&b'\n') {
            let error = match (read, written) {
                (Err(error), _) | (Ok(_), Err(error)) => error,
                (Ok(_), Ok(())) => io::ErrorKind::UnexpectedEof.into(),
            };
            return Err(self.broken(error));
        }
        match serde_json::from_slice(&reply) {
            Ok(Reply::Ok(response)) => Ok(response),
            Ok(Reply::Refused(refusal)) => Err(refusal.into()),
            Err(error) => Err(ClientError::Protocol(error.to_string())),
        }
    }

    fn broken(&self, cause: io::Error) -> ClientError {
        let path = self.path.clone();
        match cause.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ClientError::TimedOut {
                path,
                within: self.answer_timeout,
            },
            _ => ClientError::Io { path, cause },
        }
    }
}

fn unexpected(response: &Response) -> ClientError {
    let name = match response {
        Response::Status(_) => "status",
        Response::Clients(_) => "clients",
        Response::Kicked { .. } => "kicked",
        Response::Limited { .. } => "limited",
        Response::Draining { .. } => "draining",
    };
    ClientError::Protocol(format!("unasked answer {name}"))
}
